"""Laws of the engine under random operations, faults and orders."""

from functools import partial
from math import ceil
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from simulator.contract import Outlook
from simulator.engine.simulation import Phase
from simulator.guardrails.capacity_floor import CapacityFloor
from simulator.guardrails.removal_velocity import RemovalVelocity
from simulator.mechanism import BREAK_GLASS, Act, Action, Effect, Verdict, Wait
from simulator.state import LIFECYCLE, spread
from tests.engine_world import REGION, World, data, records
from tests.fakes import build

POOLS, ZONES = ("api", "control", "store"), ("", "a", "b")
UNIT_VERBS = ("add", "remove", "replace", "restart", "drain")

actions = st.builds(
    Action,
    verb=st.sampled_from((*UNIT_VERBS, "describe", "throttle")),
    pool=st.sampled_from(POOLS),
    zone=st.sampled_from(ZONES),
    count=st.integers(-1, 12),
    factor=st.floats(0.0, 1.0),
    via=st.sampled_from(("", BREAK_GLASS)),
    takes_s=st.floats(0.0, 100.0),
)
effects = st.builds(
    Effect,
    at_s=st.floats(0.0, 500.0),
    what=st.sampled_from(
        ("crash", "repair", "capacity_factor", "service_time_factor", "zone_loss", "zone_return")
    ),
    pool=st.sampled_from(("", *POOLS)),
    zone=st.sampled_from(ZONES),
    count=st.integers(0, 8),
    frac=st.floats(0.0, 1.0),
    factor=st.floats(0.1, 5.0),
)
plans = st.lists(st.tuples(st.floats(0.0, 60.0), actions), max_size=12)
outlooks = st.builds(
    Outlook,
    accept_frac=st.floats(0.0, 1.0),
    wait_s=st.just(0.0),
    latency_s=st.floats(0.0, 40.0),
    success_frac=st.floats(0.0, 1.0),
)


def follow(plan):
    def run(_context):
        for wait_s, action in plan:
            yield Wait(wait_s)
            yield Act(action)

    return run


def world_of(plans, strikes=(), outlook=None, **parts: Any):
    def plane(fake):
        if outlook is not None:
            fake.outlooks = lambda _t_s: outlook

    return World(
        scripts={f"script-{i}": (10.0, follow(plan)) for i, plan in enumerate(plans)},
        faults={"faults": list(strikes)},
        plane=plane,
        horizon="20min",
        **parts,
    )


@given(st.lists(plans, max_size=3), st.lists(effects, max_size=6), outlooks)
def test_units_are_conserved_and_every_change_has_a_cause(scripts, strikes, outlook):
    world = world_of(scripts, strikes, outlook)
    trace = world.run()  # guards are on: every event checks the counts
    assert world.started is not None
    state = world.started.state
    levels = {name: [list(row) for row in state.declared] for name in ("in_service",)}
    counts = {name: [[0, 0] for _ in POOLS] for name in LIFECYCLE}
    counts["in_service"] = levels["in_service"]
    ordered = [[0, 0] for _ in POOLS]
    for r in records(trace, "unit"):
        d, p = data(r), POOLS.index(r.subject)
        z = "ab".index(d["zone"])
        assert d["count"] > 0
        assert 0 <= r.cause < r.id
        assert trace.records[r.cause].kind in {"operation", "fault"}
        counts[d["to"]][p][z] += d["count"]
        if d["from"] == "ordered":
            ordered[p][z] += d["count"]
        elif d["from"] == "in_service":
            # Warming units may be taken too; together they are what serves.
            counts["in_service"][p][z] -= d["count"]
        else:
            counts[d["from"]][p][z] -= d["count"]
        assert counts["in_service"][p][z] + counts["warming"][p][z] == d["in_service"]
    assert ordered == state.ordered
    for name in ("provisioning", "draining", "removed", "failed"):
        assert counts[name] == state.counts[name], name


@given(st.lists(plans, max_size=3), st.lists(effects, max_size=6))
def test_the_data_plane_is_told_what_the_units_can_do(scripts, strikes):
    world = world_of(scripts, strikes)
    world.run()
    assert world.started is not None
    state = world.started.state
    for p, name in enumerate(POOLS):
        rate_rps, workers, units = [c[2:] for c in world.calls("capacity") if c[1] == name][-1]
        assert units == state.serving(p)
        assert rate_rps == state.rate_rps(p)
        assert workers == state.workers(p)
        best = max(
            f / s for f, s in zip(state.capacity_factor[p], state.service_factor[p], strict=True)
        )
        unit_rps = float(state.topology.unit_rate_rps[p])
        assert 0.0 <= rate_rps <= unit_rps * units * best * (1.0 + 1e-9)


@given(st.lists(plans, min_size=2, max_size=4), st.lists(effects, max_size=4), st.randoms())
def test_the_order_in_which_mechanisms_are_listed_does_not_matter(scripts, strikes, chance):
    world = world_of(scripts, strikes, seed=3)
    world.guardrails = {"g": lambda _a, _i: Verdict("allow"), "f": clip}
    world.loops = {"l": (100.0, replace_one), "k": (100.0, replace_one)}
    plain = world.run().digest
    for part in ("scripts", "guardrails", "loops", "faults"):
        items = list(getattr(world, part).items())
        chance.shuffle(items)
        setattr(world, part, dict(items))
    assert world.run().digest == plain


def clip(action, _inventory):
    return Verdict("clip", count=3) if action.count > 3 else Verdict("allow")


def replace_one(_view):
    return [Action("replace", "api", count=1)]


@given(st.lists(plans, max_size=3), outlooks)
def test_a_guardrail_that_never_fires_leaves_the_digest_unchanged(scripts, outlook):
    world = world_of(scripts, (), outlook)
    plain = world.run().digest
    world.guardrails = {
        "allows": lambda _a, _i: Verdict("allow"),
        "clips-nothing": lambda action, _i: Verdict("clip", count=action.count),
    }
    assert world.run().digest == plain


BUSY = REGION | {
    "control_planes": [
        REGION["control_planes"][0] | {"rate_limit": "50/s", "burst": 50, "concurrency": 20}
    ]
}
"""A region whose control plane executes many operations at once."""
removals = st.builds(
    Action,
    verb=st.sampled_from(("remove", "drain")),
    pool=st.sampled_from(POOLS),
    zone=st.sampled_from(ZONES),
    count=st.integers(1, 10),
)
crowds = st.lists(
    st.lists(st.tuples(st.sampled_from((0.0, 3.0, 60.0)), removals), min_size=1, max_size=4),
    min_size=2,
    max_size=5,
)


@given(crowds, st.floats(0.0, 1.0))
def test_removals_asked_for_at_once_never_break_the_floor(scripts, frac_min):
    world = world_of(scripts, region=BUSY)
    world.guardrails = {"floor": build(CapacityFloor, frac_min=frac_min).judge}
    world.run()
    assert world.started is not None
    state = world.started.state
    for p in range(len(POOLS)):
        assert state.serving(p) >= ceil(frac_min * sum(state.declared[p]) - 1e-9)


@given(crowds, st.floats(0.0, 1.0), st.sampled_from((1, 7, 60)))
def test_removals_asked_for_at_once_never_exceed_the_velocity(scripts, frac_max, window_s):
    guardrail = build(RemovalVelocity, frac_max=frac_max, window=f"{window_s}s")
    world = world_of(scripts, region=BUSY)
    world.guardrails = {"velocity": guardrail.judge}
    world.run()
    assert world.started is not None
    state = world.started.state
    for end in state.removals:
        window = [r for r in state.removals if 0.0 <= end.t_s - r.t_s <= window_s]
        limit = max(1.0, frac_max * sum(state.declared[end.pool]) + 1e-6)
        assert sum(r.units for r in window if r.pool == end.pool) <= limit


@given(st.lists(plans, max_size=3), st.lists(effects, max_size=4), outlooks)
def test_causes_come_before_their_effects_and_time_does_not_turn_back(scripts, strikes, outlook):
    trace = world_of(scripts, strikes, outlook).run()
    assert [r.id for r in trace.records] == list(range(len(trace.records)))
    for before, after in zip(trace.records, trace.records[1:], strict=False):
        assert before.t_s <= after.t_s
    for r in trace.records:
        assert r.cause < r.id
        if r.kind in {"operation", "failure", "refusal", "unit"}:
            assert r.cause >= 0, "nothing changes without a cause"


@given(
    st.lists(
        st.tuples(st.sampled_from((1.0, 2.0)), st.sampled_from(Phase), st.sampled_from("abc")),
        max_size=20,
    ),
    st.randoms(),
)
def test_the_order_of_one_instant_does_not_depend_on_insertion(events, chance):
    def order_of(listed):
        sim = World(horizon="1s").build().sim
        seen: list[tuple[float, Phase, str]] = []
        for t_s, phase, actor in listed:
            sim.at(t_s, phase, actor, partial(seen.append, (t_s, phase, actor)))
        sim.run_to(10.0)
        return seen

    shuffled = list(events)
    chance.shuffle(shuffled)
    assert order_of(events) == order_of(shuffled) == sorted(events)


@given(st.integers(0, 10_000), st.lists(st.integers(0, 1000), min_size=1, max_size=6))
def test_a_spread_is_complete_fair_and_within_bounds(count, weights):
    total = sum(weights)
    parts = spread(count, weights)
    assert sum(parts) == (count if total else 0)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - count * weight / max(total, 1)) < 1.0
        if count <= total:
            assert part <= weight
