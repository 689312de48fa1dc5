import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.guardrails.capacity_floor import CapacityFloor
from simulator.guardrails.removal_velocity import RemovalVelocity
from simulator.mechanism import Action
from tests.fakes import DECLARED, FakeInventory, build

OTHER = [Action("add", "api", count=99), Action("restart", "api", count=99), Action("describe")]


def answer(guardrail, action, inventory):
    """Units let through."""
    verdict = guardrail.judge(action, inventory)
    assert verdict == guardrail.judge(action, inventory), "same question, same answer"
    assert verdict.decision in {"allow", "clip", "refuse"}
    assert bool(verdict.reason) == (verdict.decision != "allow")
    return {"allow": action.count, "clip": verdict.count, "refuse": 0}[verdict.decision]


@pytest.mark.parametrize("cls", [RemovalVelocity, CapacityFloor])
def test_other_operations_pools_and_exempt_actors_pass(cls):
    books = FakeInventory(zones={p: {"a": 0, "b": 0} for p in DECLARED})
    guardrail = build(cls, pools=["api"], exempt=["anna"])
    for action in OTHER:
        assert answer(guardrail, action, books) == action.count
    assert answer(guardrail, Action("remove", "store", count=20), books) == 20
    assert answer(guardrail, Action("remove", "api", count=30, by="anna"), books) == 30
    assert answer(guardrail, Action("remove", "api", count=30, by="bob"), books) < 30


def test_velocity_clips_then_refuses_then_forgets():
    guardrail = build(RemovalVelocity, frac_max="10%", window="1h")
    books = FakeInventory(now_s=100.0)
    assert answer(guardrail, Action("remove", "api", count=3), books) == 3
    assert answer(guardrail, Action("drain", "api", count=30), books) == 4
    books.removals.append((100.0, "api", 4))
    assert answer(guardrail, Action("remove", "api", count=1), books) == 0
    assert answer(guardrail, Action("remove", "store", count=1), books) == 1
    books.now_s = 3701.0
    assert answer(guardrail, Action("remove", "api", count=9), books) == 4


def test_velocity_over_the_region_counts_other_pools():
    guardrail = build(RemovalVelocity, frac_max="50%", region_frac_max="10%")
    books = FakeInventory(now_s=10.0, removals=[(5.0, "store", 5)])
    assert answer(guardrail, Action("remove", "api", count=9), books) == 2
    assert "region" in guardrail.judge(Action("remove", "api", count=9), books).reason


def test_velocity_lets_a_small_pool_lose_one_unit():
    books = FakeInventory()
    assert answer(build(RemovalVelocity), Action("remove", "control", count=2), books) == 1
    strict = build(RemovalVelocity, units_min=0)
    assert answer(strict, Action("remove", "control", count=2), books) == 0


def test_replacement_counts_only_where_asked():
    action, books = Action("replace", "api", count=30), FakeInventory()
    assert answer(build(RemovalVelocity), action, books) == 30
    assert answer(build(RemovalVelocity, verbs=["replace"]), action, books) == 2


@given(
    frac=st.floats(0, 1),
    units_min=st.integers(0, 5),
    window_min=st.integers(1, 30),
    wishes=st.lists(
        st.tuples(
            st.floats(0, 1200), st.sampled_from(sorted(DECLARED)), st.integers(0, 50), st.booleans()
        ),
        max_size=40,
    ),
)
def test_velocity_holds_in_every_window(frac, units_min, window_min, wishes):
    window_s = 60.0 * window_min
    guardrail = build(
        RemovalVelocity,
        frac_max=frac,
        region_frac_max=frac,
        units_min=units_min,
        window=f"{window_min}min",
    )
    books = FakeInventory()
    for pause_s, pool, count, drains in wishes:
        books.now_s += pause_s
        action = Action("drain" if drains else "remove", pool, count=count)
        books.removals.append((books.now_s, pool, answer(guardrail, action, books)))
    for end_s, _, _ in books.removals:
        inside = [r for r in books.removals if end_s - window_s <= r[0] <= end_s]
        for pool, units in [*DECLARED.items(), ("", sum(DECLARED.values()))]:
            removed = sum(n for _, p, n in inside if pool in {"", p})
            assert removed <= max(units_min, frac * units + 1e-6)


def test_floor_clips_and_refuses():
    guardrail = build(CapacityFloor, frac_min="75%")
    books = FakeInventory()
    assert answer(guardrail, Action("remove", "api", count=10), books) == 10
    assert answer(guardrail, Action("remove", "api", count=11), books) == 10
    books.zones["api"] = {"a": 10, "b": 10}
    assert answer(guardrail, Action("drain", "api", count=1), books) == 0


def test_the_larger_floor_counts():
    guardrail = build(CapacityFloor, frac_min="10%", units_min=18)
    assert answer(guardrail, Action("remove", "store", count=9), FakeInventory()) == 2


def test_the_floor_in_units_is_shared_by_the_zones():
    guardrail = build(CapacityFloor, frac_min=0, units_min=10, per_zone=True)
    books = FakeInventory()
    assert answer(guardrail, Action("remove", "store", "a", count=9), books) == 5


def test_floor_per_zone():
    books = FakeInventory()
    books.zones["api"] = {"a": 12, "b": 20}
    loose = build(CapacityFloor, frac_min="50%")
    tight = build(CapacityFloor, frac_min="50%", per_zone=True)
    in_a, spread = Action("remove", "api", "a", count=12), Action("remove", "api", count=12)
    assert (answer(loose, in_a, books), answer(tight, in_a, books)) == (12, 2)
    # 2 of 12 may go in zone a: of 32 units, 5 may go in proportion.
    assert (answer(loose, spread, books), answer(tight, spread, books)) == (12, 5)


@given(
    frac=st.floats(0, 1),
    units_min=st.integers(0, 60),
    per_zone=st.booleans(),
    wishes=st.lists(
        st.tuples(st.sampled_from(["", "a", "b"]), st.integers(0, 40)), min_size=1, max_size=20
    ),
)
def test_floor_is_never_crossed(frac, units_min, per_zone, wishes):
    guardrail = build(CapacityFloor, frac_min=frac, units_min=units_min, per_zone=per_zone)
    books = FakeInventory()
    zones = books.zones["api"]
    for zone, count in wishes:
        before = dict(zones)
        left = answer(guardrail, Action("remove", "api", zone, count=count), books)
        for name, share in split(left, zones, zone).items():
            zones[name] -= share
        if sum(zones.values()) < sum(before.values()):
            assert sum(zones.values()) >= max(frac * 40 - 1e-6, units_min)
        for name in zones if per_zone else ():
            if zones[name] < before[name]:
                assert zones[name] >= frac * 20 - 1e-6


def split(count, zones, zone):
    """Divide a removal over zones in proportion to their units, by largest remainder."""
    if zone:
        return {zone: min(count, zones[zone])}
    total = sum(zones.values())
    parts = {z: count * n // total if total else 0 for z, n in zones.items()}
    order = sorted(zones, key=lambda z: (-(count * zones[z] % total) if total else 0, z))
    for z in order[: count - sum(parts.values())]:
        parts[z] += 1
    return parts
