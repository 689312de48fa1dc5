from itertools import pairwise

import pytest
from pydantic import TypeAdapter

from simulator.engine.demand import steps_of
from simulator.mechanism import Action, Effect
from simulator.scenario.schema import DemandShape
from tests.engine_world import World, acts, chain, data, records


def ill(*names, start_s=100.0):
    """Let pools or services become impaired one after the other, a second apart."""
    return lambda plane: plane.crossings.extend(
        (start_s + i, name, True) for i, name in enumerate(names)
    )


def cause_of(trace, name):
    (record,) = records(trace, "impaired", name)
    return chain(trace, record)[1:]


def crash(pool, count, at_s=50.0):
    return {"fault": [Effect(at_s, "crash", pool=pool, count=count)]}


def test_a_pool_short_of_units_fails_by_its_own_loss():
    # 1 of 10 units is left: 40/s for 100/s offered.
    trace = World(faults=crash("api", 9, at_s=61.0), plane=ill("store", "api")).run()
    assert cause_of(trace, "api") == ["unit api", "fault api"]


def test_a_pool_with_enough_units_fails_by_its_callee():
    trace = World(faults=crash("api", 1, at_s=61.0), plane=ill("store", "api")).run()
    assert cause_of(trace, "api") == ["impaired store"]


def test_a_callee_that_lost_units_explains_its_caller_before_it_is_impaired_itself():
    trace = World(faults=crash("store", 6), plane=ill("api", "store")).run()
    assert cause_of(trace, "api") == ["unit store", "fault store"]


def test_the_nearest_callee_explains_a_service_and_its_entry():
    trace = World(plane=ill("store", "read", "api")).run()
    assert cause_of(trace, "read") == ["impaired store"]
    assert cause_of(trace, "api") == ["impaired store"]
    trace = World(plane=ill("store", "api", "read")).run()
    assert cause_of(trace, "read") == ["impaired api", "impaired store"]


def layered(kind_to_left, kind_to_right):
    """Return a region in which ``api`` calls ``left`` and ``right``, ``left`` calls ``deep``."""
    pool = {"units": 10, "concurrency": 4, "service_time": "100ms"}
    call = {"timeout": "1s"}
    return {
        "id": "layers",
        "zones": ["a"],
        "pools": [pool | {"id": name} for name in ("api", "deep", "left", "right")],
        "dependencies": [
            call | {"from": "api", "to": "left", "kind": kind_to_left},
            call | {"from": "api", "to": "right", "kind": kind_to_right},
            call | {"from": "left", "to": "deep"},
            call | {"from": "deep", "to": "left"},
        ],
        "services": [
            {
                "id": "read", "entry": "api", "first_tries": "100/s",
                "customers": 1.0, "timeout": "2s",
            }
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "order", "cause"),
    [
        (("required", "required"), ("left", "right"), "right"),
        (("required", "required"), ("right", "left"), "left"),
        (("required", "optional"), ("left", "right"), "left"),
        (("optional", "required"), ("left", "right"), "right"),
        (("required", "asynchronous"), ("deep", "right"), "deep"),
        (("required", "required"), ("right", "deep"), "right"),
    ],
)
def test_required_callees_come_first_then_near_ones_then_late_ones(kinds, order, cause):
    trace = World(region=layered(*kinds), plane=ill(*order, "api")).run()
    assert cause_of(trace, "api")[0] == f"impaired {cause}"


def test_a_callee_fails_by_the_load_of_its_caller():
    trace = World(plane=ill("api", "store")).run()
    assert cause_of(trace, "store") == ["impaired api"]
    trace = World(plane=ill("read", "api")).run()
    assert cause_of(trace, "api") == ["impaired read"]


def test_a_restored_pool_explains_nothing_any_more():
    def plane(p):
        p.crossings += [(100.0, "store", True), (110.0, "store", False), (120.0, "api", True)]

    trace = World(plane=plane).run()
    assert cause_of(trace, "api") == []
    (restored,) = records(trace, "restored")
    assert chain(trace, restored) == ["restored store", "impaired store"]


def test_a_loss_that_was_made_good_explains_nothing_any_more():
    # Crashed at 10, repaired by 90 (boot 60 s).
    effects = [Effect(10.0, "crash", pool="api", count=9), Effect(30.0, "repair", pool="api")]
    trace = World(faults={"fault": effects}, plane=ill("api")).run()
    assert cause_of(trace, "api") == []


def test_operations_explain_the_pool_that_serves_them():
    world = World(scripts={"it": (50.0, acts(Action("describe", "api")))}, plane=ill("control"))
    assert cause_of(world.run(), "control") == ["script it"]


def test_a_rise_of_demand_explains_what_nothing_else_does():
    demand = {"shape": {"kind": "step", "steps": [{"at": "80s", "factor": 3.0}]}}
    assert cause_of(World(demand=demand, plane=ill("api")).run(), "api") == ["demand write"]
    back = {"kind": "step", "steps": [{"at": "80s", "factor": 3.0}, {"at": "90s", "factor": 1.0}]}
    assert cause_of(World(demand={"shape": back}, plane=ill("api")).run(), "api") == []


def test_the_trigger_explains_the_rest():
    faults = {"fault": [Effect(50.0, "capacity_factor", pool="store", factor=1.0)]}
    assert cause_of(World(faults=faults, plane=ill("api")).run(), "api") == []
    world = World(faults=faults, trigger=("fault",), plane=ill("api"))
    assert cause_of(world.run(), "api") == ["fault store"]
    world = World(scripts={"it": (50.0, acts())}, trigger=("it",), plane=ill("api"))
    assert cause_of(world.run(), "api") == ["script it"]


def test_a_capacity_factor_counts_as_a_loss_only_if_it_lowers_capacity():
    def faults(*factors):
        return {
            "fault": [
                Effect(10.0 * i, "capacity_factor", pool="api", factor=f)
                for i, f in enumerate(factors)
            ]
        }

    assert cause_of(World(faults=faults(0.5), plane=ill("api")).run(), "api") == ["fault api"]
    assert cause_of(World(faults=faults(2.0), plane=ill("api")).run(), "api") == []
    trace = World(faults=faults(0.2, 0.5), plane=ill("api")).run()
    assert trace.records[records(trace, "impaired")[0].cause].t_s == 0.0, "the rise is no loss"


def test_a_callee_on_two_paths_counts_as_required_if_one_of_them_is():
    region = layered("required", "required")
    call = {"timeout": "1s"}
    region["pools"] = [*region["pools"], region["pools"][0] | {"id": "other"}]
    region["dependencies"] = [
        call | {"from": "api", "to": "left"},
        call | {"from": "api", "to": "right"},
        call | {"from": "left", "to": "deep", "kind": "optional"},
        call | {"from": "right", "to": "deep", "kind": "required"},
        call | {"from": "left", "to": "other", "kind": "optional"},
    ]
    trace = World(region=region, plane=ill("deep", "other", "api")).run()
    assert cause_of(trace, "api") == ["impaired deep"]


def test_a_slow_down_counts_as_a_loss():
    faults = {"fault": [Effect(50.0, "service_time_factor", pool="api", factor=9.0)]}
    assert cause_of(World(faults=faults, plane=ill("api")).run(), "api") == ["fault api"]
    faults = {"fault": [Effect(50.0, "service_time_factor", pool="api", factor=0.5)]}
    assert cause_of(World(faults=faults, plane=ill("api")).run(), "api") == []


def test_loops_react_to_losses_and_to_callers():
    def loop(pool):
        return {"loop": (600.0, lambda _v: [Action("describe", pool)])}

    world = World(faults=crash("store", 1), loops=loop("store"), horizon="700s")
    (decision,) = records(world.run(), "loop")
    assert data(decision) == {"verb": "describe", "pool": "store", "count": 0}
    assert chain(world.run(), decision)[1:] == ["unit store", "fault store"]
    world = World(plane=ill("api"), loops=loop("store"), horizon="700s")
    (decision,) = records(world.run(), "loop")
    assert chain(world.run(), decision)[1:] == ["impaired api"]


# ---------------------------------------------------------------------- demand
def test_demand_changes_only_when_its_factor_does():
    demand = {
        "shape": {"kind": "constant", "factor": 0.5},
        "services": {
            "write": {
                "kind": "step",
                "steps": [{"at": "10s", "factor": 1.0}, {"at": "20s", "factor": 2.0}],
            }
        },
    }
    world = World(demand=demand)
    trace = world.run()
    assert world.calls("demand") == [
        (0.0, "read", 50.0),
        (0.0, "write", 10.0),
        (20.0, "write", 20.0),
    ]
    (record,) = records(trace, "demand")
    assert (record.t_s, record.subject, record.text) == (20.0, "write", "first tries × 2")
    assert data(record) == {"factor": 2.0, "first_tries_rps": 20.0}


def shape(kind, **fields):
    return TypeAdapter(DemandShape).validate_python({"kind": kind} | fields)


def jumps(*steps):
    return shape("step", steps=[{"at": at, "factor": factor} for at, factor in steps])


@pytest.mark.parametrize(
    ("declared", "steps"),
    [
        (shape("constant", factor=2.0), [(0.0, 2.0)]),
        (jumps(("50s", 3.0), ("10s", 2.0)), [(0.0, 1.0), (10.0, 2.0), (50.0, 3.0)]),
        (jumps((0, 3.0)), [(0.0, 3.0)]),
        (jumps(("100s", 3.0)), [(0.0, 1.0)]),
        (
            shape("ramp", start="10s", end="30s", to=2.0, every="10s"),
            [(0.0, 1.0), (10.0, 1.25), (20.0, 1.75), (30.0, 2.0)],
        ),
        (shape("ramp", start="10s", end="10s", to=2.0), [(0.0, 1.0), (10.0, 2.0)]),
        (
            shape("csv", file="x", points=[(5.0, 2.0), (7.0, 2.0), (9.0, 1.0)]),
            [(0.0, 1.0), (5.0, 2.0), (9.0, 1.0)],
        ),
        (
            shape("csv", file="x", points=[(0.0, 4.0), (5.0, 2.0), (5.0, 3.0)]),
            [(0.0, 4.0), (5.0, 3.0)],
        ),
    ],
)
def test_shapes_as_steps(declared, steps):
    found = steps_of(declared, 100.0)
    assert [t for t, _ in found] == [t for t, _ in steps]
    assert [f for _, f in found] == pytest.approx([f for _, f in steps])


def test_a_day_has_its_peak_in_time_and_its_mean():
    day = shape("diurnal", factor=2.0, amplitude=0.5, peak_at="14h", every="15min")
    steps = steps_of(day, 86_400.0)
    times_s = [t for t, _ in steps] + [86_400.0]
    widths = [b - a for a, b in pairwise(times_s)]
    mean = sum(w * f for w, (_, f) in zip(widths, steps, strict=True)) / 86_400.0
    assert mean == pytest.approx(2.0)
    peak_s, peak = max(steps, key=lambda s: s[1])
    assert peak == pytest.approx(3.0, rel=1e-3)
    assert abs(peak_s - 50_400.0) <= 900.0
    assert min(f for _, f in steps) == pytest.approx(1.0, rel=1e-3)
