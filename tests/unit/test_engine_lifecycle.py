from dataclasses import replace
from typing import Any

import pytest

from simulator.errors import InvariantError, UsageError
from simulator.mechanism import Action, Effect, Look, Wait
from simulator.state import Why, spread
from tests.engine_world import World, acts, chain, data, records

API, CONTROL, STORE = range(3)


def units(trace, pool):
    """Return (time, zone, from, to, count) of all unit records of a pool."""
    return [
        (r.t_s, d["zone"], d["from"], d["to"], d["count"])
        for r in records(trace, "unit", pool)
        for d in (data(r),)
    ]


def rates(world, pool):
    """Return (time, rate) of all changes that reached the data plane, the first one excluded."""
    return [(c[0], pytest.approx(c[2])) for c in world.calls("capacity") if c[1] == pool][1:]


def operate(*actions, **parts):
    world = World(scripts={"it": (0.0, acts(*actions))}, **parts)
    return world, world.run()


def strike(*effects, **parts):
    world = World(faults={"fault": list(effects)}, **parts)
    return world, world.run()


def test_parts_of_a_spread_are_fair_and_never_too_large():
    assert spread(5, [3, 3]) == [3, 2]
    assert spread(3, [1, 1, 1]) == [1, 1, 1]
    assert spread(10, [1, 2]) == [3, 7]
    assert spread(0, [1, 2]) == [0, 0]
    assert spread(4, [0, 0]) == [0, 0]


# ---------------------------------------------------------------------- start
def test_the_data_plane_starts_with_what_is_declared():
    world = World(horizon="1s")
    world.run()
    assert world.calls("capacity") == [
        (0.0, "api", 400.0, 40.0, 10.0),
        (0.0, "control", 160.0, 16.0, 4.0),
        (0.0, "store", 600.0, 60.0, 6.0),
    ]


# ---------------------------------------------------------------------- add
def test_added_units_boot_then_serve():
    world, trace = operate(Action("add", "api", count=3))
    # 0.5 s answer, 10 s operation, 60 s boot; no warm-up declared.
    assert units(trace, "api") == [
        (10.5, "a", "ordered", "provisioning", 2),
        (10.5, "b", "ordered", "provisioning", 1),
        (70.5, "a", "provisioning", "in_service", 2),
        (70.5, "b", "provisioning", "in_service", 1),
    ]
    assert rates(world, "api") == [(70.5, 480.0), (70.5, 520.0)]
    assert chain(trace, records(trace, "unit")[-1]) == ["unit api", "operation api", "script it"]


def test_units_warm_up_in_four_steps():
    world, trace = operate(Action("add", "store", zone="b", count=2))
    assert units(trace, "store") == [
        (10.5, "b", "ordered", "provisioning", 2),
        (110.5, "b", "provisioning", "warming", 2),
        (150.5, "b", "warming", "in_service", 2),
    ]
    assert rates(world, "store") == [
        (110.5, 640.0), (120.5, 680.0), (130.5, 720.0), (140.5, 760.0), (150.5, 800.0),
    ]  # fmt: skip
    assert [data(r)["in_service"] for r in records(trace, "unit")] == [3, 5, 5]


def test_boots_wait_for_slots_over_all_pools_in_order():
    _, trace = operate(Action("add", "api", zone="a", count=4), Action("add", "store", count=1))
    ready = [u for u in units(trace, "api") + units(trace, "store") if u[2] == "provisioning"]
    assert ready == [
        (70.5, "a", "provisioning", "in_service", 3),
        (130.5, "a", "provisioning", "in_service", 1),
        (170.5, "a", "provisioning", "warming", 1),
    ]


def test_break_glass_needs_no_slots():
    action = Action("add", "api", zone="a", count=9, via="break-glass", takes_s=10.0)
    _, trace = operate(action)
    assert units(trace, "api")[-1] == (70.0, "a", "provisioning", "in_service", 9)


# ---------------------------------------------------------------------- remove
def test_removal_is_spread_and_clipped_at_what_exists():
    world, trace = operate(Action("remove", "api", count=3), Action("remove", "api", count=100))
    assert units(trace, "api") == [
        (5.5, "a", "in_service", "removed", 2),
        (5.5, "b", "in_service", "removed", 1),
        (11.0, "a", "in_service", "removed", 3),
        (11.0, "b", "in_service", "removed", 4),
    ]
    assert rates(world, "api") == [(5.5, 280.0), (11.0, 0.0)]


def test_removal_takes_warm_units_before_warming_ones():
    _, trace = operate(
        Action("add", "store", zone="a", count=2, via="break-glass"),
        Action("remove", "store", zone="a", count=4, via="break-glass", takes_s=110.0),
    )
    # Ready at 100.1, warm at 140.1; 4 of 3 + 2 are removed at 110.1 or so: one warming is left.
    last = records(trace, "unit")[-1]
    assert (data(last)["to"], data(last)["count"]) == ("in_service", 1)


def test_a_pool_below_its_minimum_serves_nothing():
    world, _ = operate(Action("remove", "store", count=3), Action("remove", "store", count=1))
    assert rates(world, "store") == [(5.5, 300.0), (11.0, 0.0)]
    last = [c for c in world.calls("capacity") if c[1] == "store"][-1]
    assert last[3:] == (20.0, 2.0), "units and workers are still there"


def test_drained_units_are_removed_after_ten_service_times():
    world, trace = operate(Action("drain", "api", zone="b", count=2))
    assert units(trace, "api") == [
        (0.5, "b", "in_service", "draining", 2),
        (1.5, "b", "draining", "removed", 2),
    ]
    assert rates(world, "api") == [(0.5, 320.0)]


# ---------------------------------------------------------------------- replace, restart
def test_replacement_takes_failed_units_first():
    world, trace = operate(
        Action("replace", "api", count=3),
        faults={"fault": [Effect(0.0, "crash", pool="api", zone="a", count=2)]},
    )
    assert units(trace, "api")[1:] == [
        (5.5, "a", "failed", "removed", 2),
        (5.5, "b", "in_service", "removed", 1),
        (5.5, "a", "ordered", "provisioning", 2),
        (5.5, "b", "ordered", "provisioning", 1),
        (65.5, "a", "provisioning", "in_service", 2),
        (65.5, "b", "provisioning", "in_service", 1),
    ]
    assert world.started.state.serving(API) == 10


def test_restarted_units_come_back_after_a_boot():
    world, trace = operate(Action("restart", "api", count=4))
    assert units(trace, "api")[0] == (0.5, "a", "in_service", "provisioning", 2)
    assert units(trace, "api")[-1] == (60.5, "b", "provisioning", "in_service", 2)
    assert world.started.state.ordered[API] == [0, 0]


# ---------------------------------------------------------------------- faults
def test_crash_and_repair():
    world, trace = strike(
        Effect(10.0, "crash", pool="api", frac=0.5), Effect(20.0, "repair", pool="api")
    )
    assert [(u[0], u[3], u[4]) for u in units(trace, "api")] == [
        (10.0, "failed", 3), (10.0, "failed", 2),
        (20.0, "provisioning", 3), (20.0, "provisioning", 2),
        (80.0, "in_service", 3), (80.0, "in_service", 2),
    ]  # fmt: skip
    assert rates(world, "api")[0] == (10.0, 200.0)
    assert chain(trace, records(trace, "unit")[0]) == ["unit api", "fault api"]
    assert data(records(trace, "fault")[0])["what"] == "crash"


def test_a_capacity_factor_scales_one_zone_or_all():
    world, _ = strike(
        Effect(10.0, "capacity_factor", pool="api", zone="a", factor=0.5),
        Effect(20.0, "capacity_factor", pool="api", factor=0.1),
        Effect(30.0, "capacity_factor", factor=1.0),
    )
    assert rates(world, "api") == [(10.0, 300.0), (20.0, 40.0), (30.0, 400.0)]
    assert rates(world, "store") == [(30.0, 600.0)]


def test_a_slow_down_lengthens_service_and_costs_rate():
    world, _ = strike(
        Effect(10.0, "service_time_factor", pool="api", factor=4.0),
        Effect(20.0, "service_time_factor", pool="api", factor=1.0),
    )
    assert rates(world, "api") == [(10.0, 100.0), (20.0, 400.0)]
    assert world.calls("service") == [
        (10.0, "api", pytest.approx(0.4)), (20.0, "api", pytest.approx(0.1)),
    ]  # fmt: skip


def test_a_slow_zone_gets_a_smaller_share_of_the_work():
    world, _ = strike(Effect(10.0, "service_time_factor", pool="api", zone="a", factor=4.0))
    assert rates(world, "api") == [(10.0, 250.0)]
    # 40 workers at 250/s hold 0.16 s each.
    assert world.calls("service") == [(10.0, "api", pytest.approx(0.16))]


def test_a_zone_goes_dark_and_boots_again():
    world, trace = strike(
        Effect(10.0, "zone_loss", zone="a"), Effect(20.0, "zone_return", zone="a")
    )
    assert rates(world, "api") == [(10.0, 200.0), (20.0, 200.0), (80.0, 400.0)]
    assert units(trace, "store") == [
        (10.0, "a", "in_service", "failed", 3),
        (20.0, "a", "failed", "provisioning", 3),
        (120.0, "a", "provisioning", "warming", 3),
        (160.0, "a", "warming", "in_service", 3),
    ]


def overlap(start, end):
    """Two faults of one kind: a from 10 to 30, b from 20 to 40."""
    return {
        name: [replace(start, at_s=at_s), replace(end, at_s=at_s + 20.0)]
        for name, at_s in (("a", 10.0), ("b", 20.0))
    }


@pytest.mark.parametrize(
    ("what", "factor"), [("capacity_factor", 0.5), ("service_time_factor", 2.0)]
)
def test_factors_of_faults_that_overlap_multiply(what, factor):
    start = Effect(0.0, what, pool="api", factor=factor)
    world = World(faults=overlap(start, replace(start, factor=1.0)))
    world.run()
    assert rates(world, "api") == [(10.0, 200.0), (20.0, 100.0), (30.0, 200.0), (40.0, 400.0)]


def test_a_zone_returns_when_all_its_losses_have_ended():
    loss = Effect(0.0, "zone_loss", zone="a")
    world = World(faults=overlap(loss, replace(loss, what="zone_return")))
    trace = world.run()
    assert [u[0] for u in units(trace, "api")] == [10.0, 40.0, 100.0]
    assert world.started is not None
    assert world.started.state.serving(API) == 10


def test_a_return_without_a_loss_ends_nobody_else_s_loss():
    loss = Effect(10.0, "zone_loss", zone="a")
    world = World(faults={"a": [loss], "b": [replace(loss, at_s=20.0, what="zone_return")]})
    world.run()
    assert world.started is not None
    assert world.started.state.serving(API) == 5


def test_a_repair_brings_back_what_the_crash_took():
    world, trace = strike(
        Effect(10.0, "crash", pool="api", frac=0.4), Effect(20.0, "repair", pool="api", frac=0.4)
    )
    assert world.started.state.serving(API) == 10
    assert sum(u[4] for u in units(trace, "api") if u[2] == "failed") == 4


def test_a_repair_leaves_what_another_fault_took():
    crash = Effect(10.0, "crash", pool="api", zone="a", count=2)
    faults = {
        "a": [crash, Effect(30.0, "repair", pool="api")],
        "b": [replace(crash, at_s=20.0, zone="b", count=3)],
    }
    world = World(faults=faults)
    world.run()
    assert world.started is not None
    assert world.started.state.counts["failed"][API] == [0, 3]


def test_a_repair_may_be_done_in_parts():
    repair = Effect(20.0, "repair", pool="api", count=2)
    world, trace = strike(
        Effect(10.0, "crash", pool="api", count=3), repair, replace(repair, at_s=30.0)
    )
    back = [(u[0], u[4]) for u in units(trace, "api") if u[2] == "failed"]
    assert back == [(20.0, 1), (20.0, 1), (30.0, 1)]
    assert world.started.state.serving(API) == 10


def test_units_that_boot_in_a_lost_zone_wait_for_it():
    world, trace = operate(
        Action("add", "api", zone="a", count=1),
        faults={
            "fault": [Effect(30.0, "zone_loss", zone="a"), Effect(100.0, "zone_return", zone="a")]
        },
    )
    assert (70.5, "a", "provisioning", "failed", 1) in units(trace, "api")
    assert units(trace, "api")[-1] == (160.0, "a", "provisioning", "in_service", 6)
    assert world.started.state.serving(API) == 11


def test_new_units_go_to_zones_that_live():
    _, trace = operate(
        Action("add", "api", count=4, via="break-glass", takes_s=20.0),
        Action("replace", "api", zone="a", count=5, via="break-glass", takes_s=5.0),
        faults={"fault": [Effect(10.0, "zone_loss", zone="a")]},
    )
    ordered = [u[1:] for u in units(trace, "api") if u[2] == "ordered"]
    assert ordered == [("b", "ordered", "provisioning", 4), ("b", "ordered", "provisioning", 5)]


def test_repair_does_not_reach_into_a_dark_zone():
    world, trace = strike(Effect(10.0, "zone_loss", zone="a"), Effect(20.0, "repair", pool="api"))
    assert world.started.state.counts["failed"][API] == [5, 0]
    assert [u[3] for u in units(trace, "api")] == ["failed"]


@pytest.mark.parametrize(
    ("effect", "message"),
    [
        (Effect(-1.0, "crash", pool="api"), "before the start"),
        (Effect(1.0, "melt", pool="api"), "unknown effect 'melt'"),
    ],
)
def test_impossible_effects_are_refused(effect, message):
    with pytest.raises(UsageError, match=message):
        strike(effect)


# ---------------------------------------------------------------------- books
def test_the_units_column_of_the_trace_follows_the_records():
    _, trace = operate(Action("remove", "api", count=4), Action("add", "api", count=1))
    column = trace.pool_series[:, API, -1]
    # Removed at 5.5, ordered at 16, serving at 76.
    assert column[:3].tolist() == [6.0, 7.0, 7.0]
    assert trace.pool_series[:, STORE, -1].tolist() == [6.0] * 60


def test_a_change_at_the_time_of_a_sample_is_not_in_it():
    _, trace = strike(Effect(60.0, "crash", pool="api", count=10))
    assert trace.pool_series[:2, API, -1].tolist() == [10.0, 0.0]


def test_telemetry_shows_units_as_they_were_when_the_sample_was_taken():
    seen: list[Any] = []

    def look(_context):
        for _ in range(3):
            yield Wait(60.0)
            seen.append((yield Look()).units("api"))

    World(
        scripts={"it": (35.0, look)},
        faults={"fault": [Effect(60.0, "crash", pool="api", count=3)]},
    ).run()
    # Looks at 95, 155 and 215 show the samples of 60, 120 and 180.
    assert seen == [10, 7, 7]


def test_lost_units_are_noticed():
    world = World()
    run = world.build()
    run.state.check()
    run.state.take(API, 0, 1, to="removed", why=Why())
    run.state.check()
    run.state.order(API, 0, 1, Why())
    run.state.counts["provisioning"][API][0] += 1
    with pytest.raises(InvariantError, match="'api'"):
        run.state.check()
