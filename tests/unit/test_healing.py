import math

import pytest

from simulator.healing.autoscaler import Autoscaler
from simulator.healing.unhealthy_replacer import UnhealthyReplacer
from simulator.mechanism import Action
from tests.fakes import FakeView, build


def rounds(loop, *failing, units=None):
    """Decisions for the shares of failing checks of ``api``."""
    counts = {"api": 40 if units is None else units}
    return [
        sum(a.count for a in loop.decide(FakeView(failing={"api": share}, count=counts)))
        for share in failing
    ]


def test_replacer_waits_for_several_failing_checks():
    loop = build(UnhealthyReplacer, threshold=3, replace_frac_max="100%")
    assert rounds(loop, 0.2, 0.2, 0.1, 0.1, 0.0, 0.5, 0.5, 0.5) == [0, 0, 4, 4, 0, 0, 0, 20]


def test_replacer_acts_through_replace_and_only_on_its_pools():
    loop = build(UnhealthyReplacer, pools=["store"], threshold=1, period="10s")
    assert loop.period_s == 10.0
    view = FakeView(failing={"api": 1.0, "store": 0.1})
    assert loop.decide(view) == [Action("replace", "store", count=2)]


def test_replacer_is_limited_per_period():
    loop = build(UnhealthyReplacer, threshold=1)
    assert rounds(loop, 0.9, 0.9) == [4, 4]


def test_replacer_starts_again_after_missing_data():
    loop = build(UnhealthyReplacer, threshold=2)
    assert rounds(loop, 0.1, None, 0.1, 0.1) == [0, 0, 0, 4]


def test_replacer_fails_open_only_where_asked():
    assert rounds(build(UnhealthyReplacer, threshold=1), 1.0) == [4]
    careful = build(UnhealthyReplacer, threshold=1, fail_open_above="50%")
    assert rounds(careful, 1.0, 0.6, 0.5, 0.05) == [0, 0, 4, 2]


@pytest.mark.parametrize(
    ("units", "failing", "replaced"),
    [
        (10, 0.1, 1),  # most of the pool is gone: a tenth of what is left
        (36, 0.1, 4),  # four of forty are broken
        (0, 1.0, 40),  # all are broken
        (60, 0.5, 30),  # more units than declared
    ],
)
def test_replacer_counts_the_fleet_that_there_is(units, failing, replaced):
    loop = build(UnhealthyReplacer, threshold=1, replace_frac_max="100%")
    assert rounds(loop, failing, units=units) == [replaced]


def test_replacer_leaves_a_healthy_region_alone():
    loop = build(UnhealthyReplacer)
    assert [loop.decide(FakeView(now_s=30.0 * n)) for n in range(5)] == [[]] * 5


def scale(loop, t_s, load, units: int | None = 40):
    actions = loop.decide(FakeView(now_s=t_s, load={"api": load}, count={"api": units}))
    return sum(a.count if a.verb == "add" else -a.count for a in actions)


def scaler(**settings):
    return build(Autoscaler, **({"pools": ["api"], "target": "50%"} | settings))


def test_autoscaler_aims_at_the_target():
    assert scale(scaler(), 0.0, 0.75) == 20
    assert scale(scaler(scale_in_frac_max="100%"), 0.0, 0.4) == -8


def test_autoscaler_lets_small_deviations_be():
    assert [scale(scaler(), 0.0, load) for load in (0.46, 0.5, 0.54)] == [0, 0, 0]


def test_autoscaler_steps_are_bounded():
    assert scale(scaler(scale_out_frac_max="25%"), 0.0, 2.0) == 10
    assert scale(scaler(), 0.0, 0.1) == -4


def test_autoscaler_stays_within_its_bounds():
    loop = scaler(frac_min="90%", frac_max=1.2, scale_in_frac_max="100%")
    assert scale(loop, 0.0, 2.0) == 8
    assert scale(loop, 1e4, 2.0, units=50) == 0
    assert scale(loop, 2e4, 0.1, units=40) == -4
    assert scale(loop, 3e4, 0.1, units=30) == 0


def test_autoscaler_cools_down():
    loop = scaler(scale_out_cooldown="1min", scale_in_cooldown="10min")
    assert scale(loop, 0.0, 0.75) == 20
    assert scale(loop, 59.0, 0.75, units=60) == 0
    assert scale(loop, 61.0, 0.6, units=60) == 12
    assert scale(loop, 300.0, 0.1, units=72) == 0
    assert scale(loop, 661.0, 0.1, units=72) == -4


def test_autoscaler_does_nothing_without_data():
    assert scale(scaler(), 0.0, None) == 0
    assert scale(scaler(), 0.0, 2.0, units=None) == 0


def test_autoscaler_fills_a_pool_that_has_no_capacity():
    assert scale(scaler(), 0.0, math.inf, units=0) == 40
