"""Laws of the data plane that hold for any numbers. The guards of the plane check conservation."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simulator.errors import InvariantError
from simulator.flow.plane import FlowPlane
from simulator.flow.reference import ReferencePlane
from simulator.model import (
    CANCEL,
    CONTROL,
    DEADLINE_AWARE,
    FIFO,
    LIFO,
    NO_BUDGET,
    PER_FIRST_TRY,
    PER_SUCCESS,
    ZOMBIE,
    Topology,
)
from tests.parity.worlds import Change, E, P, build, capacity, demand, outage, success, tell

RATES = st.floats(1.0, 3000.0)
POOLS = st.builds(
    P,
    rate=st.floats(100.0, 2000.0),
    workers=st.floats(20.0, 2000.0),
    s=st.floats(0.01, 0.4),
    deterministic=st.booleans(),
    room=st.sampled_from([np.inf, 0.0, 300.0, 5000.0]),
    discipline=st.sampled_from([FIFO, LIFO]),
    late=st.sampled_from([ZOMBIE, CANCEL, DEADLINE_AWARE]),
)
EDGES = st.builds(
    E,
    st.just("a"),
    timeout=st.floats(0.3, 3.0),
    retries=st.integers(0, 4),
    backoff=st.floats(0.0, 2.0),
    exponential=st.booleans(),
    jitter=st.booleans(),
    budget=st.sampled_from([NO_BUDGET, PER_FIRST_TRY, PER_SUCCESS]),
)


def run(topology: Topology, script: list[Change], end_s: float) -> FlowPlane:
    """Let the script happen, sampled every second, guards on."""
    plane = FlowPlane(topology, sample_period_s=1.0, guards=True)
    tell(plane, script, end_s)
    return plane


@given(POOLS, EDGES, RATES, st.floats(0.0, 1500.0))
def test_first_tries_are_conserved_and_goodput_is_at_most_capacity(pool, edge, rate, cut):
    topology = build({"a": pool}, [edge])
    plane = run(topology, [demand(0.0, 0, rate), capacity(5.0, 0, cut)], 20.0)
    totals = {name: float(x[0]) for name, x in plane.totals().items()}
    gone = totals["ok"] + totals["failed"] + totals["in_flight"]
    assert totals["first"] == pytest.approx(gone, rel=1e-6, abs=1e-6)
    assert totals["first"] == pytest.approx(rate * plane.now_s, rel=1e-6)
    t_s, by_pool, by_edge = plane.samples()
    # A pool may sleep over the border between two samples.
    h = float(plane.arrays.pools["h"][0])
    slack = 1.0 + h
    capacities = np.where(t_s - t_s[0] < 5.0 + h, max(pool.rate, cut), cut)
    assert (by_pool[:, 0, 1] <= capacities * slack * 1.002 + 1e-6).all()
    assert (by_edge[:, 0, 1] <= by_pool[:, 0, 1] * 1.002 + 1e-6).all()
    assert (by_pool[:, 0, 2] >= 0.0).all()
    assert (by_pool[:, 0, 2] <= 1.0 + 1e-9).all()
    assert (by_pool[:, 0, 3:5] >= -1e-6).all()
    assert totals["attempts"] <= (edge.retries + 1) * totals["first"] * (1.0 + 1e-9)


def test_the_guard_finds_a_lost_request():
    plane = run(build({"a": P()}, [E("a")]), [demand(0.0, 0, 100.0)], 1.0)
    plane.arrays.edges[0]["first"] += 1.0
    with pytest.raises(InvariantError, match="first tries are not conserved on edge 0"):
        plane.advance(2.0)
    slow = ReferencePlane(build({"a": P()}, [E("a")]), guards=True)
    slow._edges[0].first += 1.0
    with pytest.raises(InvariantError, match="first tries are not conserved on edge 0"):
        slow.advance(2.0)


@given(POOLS, EDGES, st.floats(10.0, 2000.0))
def test_twice_of_everything_changes_no_share(pool, edge, rate):
    # A budget has a fixed bucket: it is doubled too.
    results = []
    for n in (1.0, 2.0):
        big = dataclasses.replace(
            pool, rate=n * pool.rate, workers=n * pool.workers, room=n * pool.room
        )
        topology = build({"a": big}, [dataclasses.replace(edge, bucket=n * edge.bucket)])
        script = outage(n * rate, start_s=5.0, length_s=2.0, full=n * pool.rate)
        plane = FlowPlane(topology, sample_period_s=1.0, adaptive=False)
        results.append(tell(plane, script, 15.0).plane.samples())
    (_, pools, edges), (_, pools2, edges2) = results
    np.testing.assert_allclose(edges2 / 2.0, edges, rtol=1e-7, atol=1e-5)
    np.testing.assert_allclose(pools2[:, :, [0, 1, 3, 4]] / 2.0, pools[:, :, [0, 1, 3, 4]],
                               rtol=1e-7, atol=1e-5)  # fmt: skip


@given(st.floats(1.0, 2.5), st.sampled_from([np.inf, 850.0, 5000.0]))
def test_more_retries_never_save_an_overloaded_pool(load, room):
    # FIFO and zombies: with other disciplines a retry can be luckier than its first try.
    lost = []
    for retries in range(4):
        topology = build({"a": P(room=room)}, [E("a", retries=retries, backoff=0.1)])
        plane = run(topology, [demand(0.0, 0, 1000.0 * load)], 60.0)
        ok = float(plane.totals()["ok"][0])
        lost.append(float(plane.totals()["first"][0]) - ok)
    # A pool at the edge may sleep through a few of 60,000 first tries (E18: two in a thousand).
    slack = 1e-4 * 60.0 * 1000.0 * load
    assert all(more >= less * 0.995 - slack for less, more in itertools.pairwise(lost))


@given(st.floats(0.0, 3.0), st.booleans(), st.booleans())
def test_backoff_does_not_move_the_threshold(backoff, exponential, jitter):
    # Open system: backoff defers work, it does not lower it. lam* = 1000 / 3.
    edge = E("a", retries=2, backoff=backoff, exponential=exponential, jitter=jitter)
    topology = build({"a": P()}, [edge])
    assert success(run(topology, outage(0.9 * 1000 / 3, length_s=10.0), 400.0)) > 0.99
    assert success(run(topology, outage(1.1 * 1000 / 3, length_s=60.0), 700.0)) < 0.01


@given(POOLS, EDGES, RATES)
def test_an_unused_pool_changes_nothing(pool, edge, rate):
    alone = build({"a": pool}, [edge])
    company = build({"a": pool, "z": P()}, [edge])
    script = outage(rate, start_s=3.0, length_s=2.0)
    one, two = run(alone, script, 12.0), run(company, script, 12.0)
    for x, y in zip(one.samples()[1:], two.samples()[1:], strict=True):
        assert x[:, 0].tobytes() == y[:, 0].tobytes()


@given(st.floats(10.0, 500.0), st.floats(0.56, 1.0), st.floats(0.1, 20.0), st.booleans())
def test_a_removal_that_never_binds_does_not_show(rate, left, length_s, noisy):
    topology = build({"a": P(s=0.01)}, [E("a", retries=3)])
    rng = np.random.Generator(np.random.PCG64DXSM(1)) if noisy else None
    assume(not noisy or rate < 300.0)
    plane = FlowPlane(topology, sample_period_s=1.0, rng=rng)
    script = [
        demand(0.0, 0, rate),
        capacity(10.0, 0, 1000.0 * left),
        capacity(10.0 + length_s, 0, 1000.0),
    ]
    tell(plane, script, 60.0)
    totals = plane.totals()
    assert totals["ok"][0] + totals["in_flight"][0] == pytest.approx(totals["first"][0], rel=1e-6)
    assert totals["attempts"][0] == pytest.approx(totals["first"][0], rel=1e-6)
    if not noisy:
        assert plane.samples()[1][:, 0, 2].min() == pytest.approx(1.0, abs=1e-6)


@given(POOLS, EDGES, st.floats(10.0, 200.0), st.floats(0.1, 30.0))
def test_a_total_outage_works_and_what_comes_back_is_used(pool, edge, rate, length_s):
    roomy = dataclasses.replace(pool, rate=2000.0, workers=4000.0)
    topology = build({"a": roomy}, [edge])
    script = [demand(0.0, 0, rate), capacity(5.0, 0, 0.0, workers=0.0)]
    plane = run(topology, script, 5.0 + length_s)
    served = float(plane.samples()[1][6:, 0, 1].sum())
    assert served == 0.0
    outlook = plane.outlook(0)
    assert outlook.success_frac == 0.0
    assert outlook.latency_s == np.inf
    calm = (edge.retries + 1) * rate < 0.9 * 2000.0 and edge.timeout > 2.0 * pool.s
    assume(calm and pool.room != 0.0)
    tell(plane, [capacity(plane.now_s, 0, 2000.0)], plane.now_s + 200.0)
    p_in_time = 1.0 if pool.deterministic else 1.0 - np.exp(-edge.timeout / pool.s)
    assert success(plane) >= p_in_time - 1e-3


@given(
    POOLS, EDGES, RATES, st.lists(st.tuples(st.floats(0.0, 20.0), st.integers(0, 100)), max_size=8)
)
def test_any_sequence_of_removals_and_additions_while_busy(pool, edge, rate, changes):
    topology = build({"a": pool}, [edge])
    script: list[Change] = [demand(0.0, 0, rate)]
    for t_s, units in changes:
        fields = {"rate_rps": pool.rate * units / 100, "workers": pool.workers * units / 100}
        script.append((t_s, "set_capacity", {"pool": 0, "units": float(units)} | fields))
    plane = run(topology, script, 25.0)  # guards are on
    assert np.isfinite(plane.samples()[1]).all()
    assert np.isfinite(plane.samples()[2]).all()


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.0, 500.0)), min_size=1, max_size=6))
def test_injected_work_arrives_whole(work):
    topology = build({"a": P()}, [E("a"), E("a", kind=CONTROL, timeout=30.0)])
    edge = topology.control_edge("c0")
    script: list[Change] = [demand(0.0, 0, 300.0)]
    script += [(t, "inject", {"edge": edge, "requests": n}) for t, n in work]
    plane = run(topology, script, 40.0)
    assert plane.totals()["first"][edge] == pytest.approx(sum(n for _, n in work), abs=1e-6)


@given(st.floats(0.0, 1.0))
def test_shed_first_tries_fail_at_once_and_are_not_retried(frac):
    topology = build({"a": P(s=0.01)}, [E("a", retries=3)])
    script: list[Change] = [
        demand(0.0, 0, 400.0),
        (10.0, "set_admission", {"edge": 0, "frac": frac}),
    ]
    plane = run(topology, script, 40.0)
    first, ok, failed, attempts = plane.samples()[2][-5:, 0, :4].mean(axis=0)
    assert failed == pytest.approx((1.0 - frac) * first, abs=0.5)
    assert ok == pytest.approx(frac * first, abs=0.5)
    assert attempts == pytest.approx(frac * first, abs=0.5)
