from typing import Any

import pytest
from pydantic import ValidationError

from simulator.faults.capacity_factor import CapacityFactor
from simulator.faults.crash import Crash
from simulator.faults.slow_down import SlowDown
from simulator.faults.zone_loss import ZoneLoss
from simulator.mechanism import Effect
from tests.fakes import build, config


def test_a_crash_takes_the_share_and_is_repaired_later():
    fault = build(
        Crash, pools=["store", "api"], zone="a", frac="30%", at="10min", repair_after="1h"
    )
    assert list(fault.effects()) == [
        Effect(600.0, "crash", "store", "a", frac=0.3),
        Effect(600.0, "crash", "api", "a", frac=0.3),
        Effect(4200.0, "repair", "store", "a", frac=0.3),
        Effect(4200.0, "repair", "api", "a", frac=0.3),
    ]


def test_a_crash_by_count_without_repair():
    fault = build(Crash, pools=["*"], count=3, at="1s")
    assert [(e.pool, e.count, e.zone) for e in fault.effects()] == [
        ("api", 3, ""),
        ("control", 3, ""),
        ("store", 3, ""),
    ]


@pytest.mark.parametrize("amount", [{}, {"count": 1, "frac": "1%"}])
def test_a_crash_needs_exactly_one_amount(amount):
    with pytest.raises(ValidationError, match="either count or frac"):
        config(Crash, pools=["api"], at="1s", **amount)


@pytest.mark.parametrize(
    ("cls", "what", "factor"),
    [(CapacityFactor, "capacity_factor", 0.4), (SlowDown, "service_time_factor", 3.0)],
)
def test_factors_come_and_go(cls, what, factor):
    lasts: dict[str, Any] = {"for": "5min"}
    fault = build(cls, pools=["s*"], factor=factor, at="1min", **lasts)
    assert list(fault.effects()) == [
        Effect(60.0, what, "store", factor=factor),
        Effect(360.0, what, "store", factor=1.0),
    ]
    assert len(list(build(cls, pools=["s*"], factor=factor, at="1min").effects())) == 1


def test_a_zone_is_lost_and_returns():
    lasts: dict[str, Any] = {"for": "30min"}
    fault = build(ZoneLoss, zone="b", at="1h", **lasts)
    assert list(fault.effects()) == [
        Effect(3600.0, "zone_loss", zone="b"),
        Effect(5400.0, "zone_return", zone="b"),
    ]
    assert [e.what for e in build(ZoneLoss, zone="b", at="1h").effects()] == ["zone_loss"]
