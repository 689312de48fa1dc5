"""Sleeping pools, cut advances and renamed pools: nothing of it may show in the results."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.flow.plane import FlowPlane
from simulator.model import DEADLINE_AWARE, LIFO, PER_FIRST_TRY, PER_SUCCESS
from tests.parity.test_kernel_against_twin import REGIONS
from tests.parity.worlds import E, P, build, capacity, demand, outage, success, tell

VARIANTS = {
    "zombie": (P(), E("a", retries=3)),
    "room": (P(room=5000.0), E("a", retries=3, backoff=0.05)),
    "small room": (P(room=850.0), E("a", retries=3)),
    "lifo": (P(discipline=LIFO), E("a", retries=3)),
    "deadline": (P(late=DEADLINE_AWARE), E("a", retries=3)),
    "first try": (P(), E("a", retries=3, budget=PER_FIRST_TRY)),
    "success": (P(), E("a", retries=3, budget=PER_SUCCESS)),
    "backoff": (P(), E("a", retries=3, backoff=5.0)),
    "jitter": (P(), E("a", retries=3, backoff=1.0, exponential=True, jitter=True)),
}
LOST_RTOL = 0.01
"""Envelope of lost first tries, sleeping against stepping all the way (MODEL, E18)."""
STATE_ATOL = 0.01
"""Envelope of the success share at the end."""


def planes(topology, script, end_s, *, sample_s=10.0) -> tuple[FlowPlane, FlowPlane]:
    """Return (stepped finely, with sleep) after the script."""
    fine = FlowPlane(topology, sample_period_s=sample_s, adaptive=False)
    sleepy = FlowPlane(topology, sample_period_s=sample_s)
    return tell(fine, script, end_s).plane, tell(sleepy, script, end_s).plane


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("rate", [200.0, 700.0, 1200.0])
def test_sleep_does_not_show_in_one_pool(name, rate):
    pool, edge = VARIANTS[name]
    script = [*outage(rate), demand(300.0, 0, 220.0)]
    fine, sleepy = planes(build({"a": pool}, [edge]), script, 900.0)
    assert sleepy.steps < 0.6 * fine.steps
    assert success(sleepy, last=3) == pytest.approx(success(fine, last=3), abs=STATE_ATOL)
    a, b = fine.totals(), sleepy.totals()
    for which in ("failed", "attempts"):
        assert b[which][0] == pytest.approx(a[which][0], rel=LOST_RTOL, abs=1.0)


@pytest.mark.parametrize("name", sorted(REGIONS))
def test_sleep_does_not_show_in_a_region(name):
    pools, edges = REGIONS[name]
    topology = build(pools, edges)
    last = topology.n_pools - 1
    script = [demand(0.0, topology.service_edge(s), 431.0) for s in topology.service_ids]
    script += [capacity(20.0, last, 37.0), capacity(60.0, last, 2000.0)]
    script += [demand(200.0, topology.service_edge(s), 60.0) for s in topology.service_ids]
    fine, sleepy = planes(topology, script, 600.0)
    # The control edge with its timeout of 30 s gives its pool a long memory.
    assert sleepy.steps < (0.8 if name == "operations" else 0.6) * fine.steps
    a, b = fine.totals(), sleepy.totals()
    scale = a["first"].sum()
    for which in ("failed", "ok", "first"):
        assert np.abs(b[which] - a[which]).max() < LOST_RTOL * scale
    for edge in range(topology.n_edges):
        assert sleepy.edge_success(edge) == pytest.approx(fine.edge_success(edge), abs=STATE_ATOL)


def test_a_steady_day_costs_almost_nothing():
    pools, edges = REGIONS["diamond"]
    topology = build(pools, edges)
    plane = FlowPlane(topology)
    tell(plane, [demand(0.0, topology.service_edge("s0"), 200.0)], 86_400.0)
    assert plane.steps < 10_000
    totals = plane.totals()
    assert totals["first"][-1] == pytest.approx(200.0 * 86_400.0, rel=1e-6)
    assert totals["failed"].sum() < 1e-3 * totals["first"].sum()


@pytest.mark.parametrize("adaptive", [True, False])
@given(cuts=st.lists(st.floats(0.0, 60.0), max_size=12))
def test_cutting_an_advance_changes_no_bit(adaptive, cuts):
    pools, edges = REGIONS["chain"]
    topology = build(pools, edges)
    script = [demand(0.0, 2, 431.0), capacity(11.0, 2, 37.0), capacity(17.0, 2, 900.0)]
    script.append((0.0, "watch_edge", {"edge": 2, "below": 0.9}))

    def run(extra):
        plane = FlowPlane(topology, sample_period_s=1.0, adaptive=adaptive)
        stops = [(t, "pool_success", {"pool": 0}) for t in extra]  # asks, changes nothing
        return tell(plane, [*script, *stops], 60.0)

    whole, parts = run([]), run(cuts)
    assert whole.crossings == parts.crossings
    for x, y in zip(whole.plane.samples(), parts.plane.samples(), strict=True):
        assert x.tobytes() == y.tobytes()
    one, two = whole.plane.totals(), parts.plane.totals()
    for name, column in one.items():
        np.testing.assert_allclose(two[name], column, rtol=1e-12)


@pytest.mark.parametrize("adaptive", [True, False])
def test_names_of_pools_do_not_matter(adaptive):
    pools, edges = REGIONS["diamond"]
    other = {"a": "z", "b": "k", "c": "b", "d": "a"}
    renamed = [
        dataclasses.replace(e, callee=other[e.callee], caller=other[e.caller] if e.caller else None)
        for e in edges
    ]
    results = []
    for world, names in (
        (build(pools, edges), dict(zip("abcd", "abcd", strict=True))),
        (build({other[p]: x for p, x in pools.items()}, renamed), other),
    ):
        leaf = world.pool(names["d"])
        plane = FlowPlane(world, sample_period_s=1.0, adaptive=adaptive)
        script = [demand(0.0, world.service_edge("s0"), 431.0)]
        script += [capacity(10.0, leaf, 37.0), capacity(20.0, leaf, 900.0)]
        tell(plane, script, 60.0)
        _, by_pool, by_edge = plane.samples()
        order = [world.pool(names[p]) for p in "abcd"]
        results.append((by_pool[:, order], by_edge[:, world.service_edge("s0")]))
    for x, y in zip(*results, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-7)


def test_a_callee_does_not_fall_asleep_over_the_first_calls():
    # The caller steps every 0.4 s, the callee every 0.1 s: when the first calls come, the callee
    # has seen two quiet blocks, the last of them in the same tick.
    pools, edges = REGIONS["blocked callers"]
    topology = build(pools, edges)
    plane = FlowPlane(topology)
    tell(plane, [demand(0.0, topology.service_edge("s0"), 431.0)], 60.0)
    calls, first = plane.totals()["first"]
    assert calls == pytest.approx(first, rel=0.01)


@given(at_s=st.floats(5.0, 15.0))
def test_a_sleeper_does_not_miss_a_change_at_the_end_of_its_block(at_s):
    # Block means cannot show what came last: the callee dies at any moment while blocks of the
    # caller (memory of 10 s) are under way.
    pools, edges = {"a": P(), "b": P()}, [E("a", timeout=10.0, retries=1), E("b", "a")]
    topology = build(pools, edges)
    plane = FlowPlane(topology)
    tell(plane, [demand(0.0, 1, 300.0), capacity(at_s, 1, 0.0)], 120.0)
    assert plane.edge_success(1) == pytest.approx(0.0, abs=1e-3)


def test_a_sleeping_caller_wakes_when_its_workers_run_out():
    """Nothing ends on the edge for a whole timeout, and still the calls under way grow."""
    pools = {"a": P(rate=1e4, workers=1000.0, s=0.1, room=1e5), "b": P()}
    edges = [E("a", timeout=30.0), E("b", "a", calls=0.05, timeout=100.0)]
    topology = build(pools, edges)
    script = [demand(0.0, topology.service_edge("s0"), 1000.0), capacity(300.0, 1, 0.0)]
    plane = FlowPlane(topology, sample_period_s=10.0)
    tell(plane, script, 395.0)
    blocked, served = plane.samples()[1][-3:, 0, 6], plane.samples()[1][-3:, 0, 1]
    assert blocked.max() <= 1000.0 * 1.05
    assert served.max() < 500.0
