"""Laws of the request fidelity that hold for any numbers, and those that both fidelities keep."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.flow.plane import FlowPlane
from simulator.model import CANCEL, DEADLINE_AWARE, FIFO, LIFO, ZOMBIE, Topology
from simulator.request.plane import RequestPlane
from simulator.sampling import Streams
from tests.parity.worlds import Change, E, P, build, capacity, demand, outage, success, tell

SEEDS = st.integers(0, 1000)
POOLS = st.builds(
    P,
    units=st.just(10),
    rate=st.floats(20.0, 400.0),
    workers=st.floats(5.0, 400.0),
    s=st.floats(0.01, 0.4),
    deterministic=st.booleans(),
    room=st.sampled_from([np.inf, 0.0, 30.0, 500.0]),
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
)
FIDELITIES = pytest.mark.parametrize("kind", [FlowPlane, RequestPlane])


def requests(topology: Topology, seed: int, *, period_s: float = 1.0) -> RequestPlane:
    """Make a plane with the guards on."""
    rng = Streams(seed).stream("requests")
    return RequestPlane(topology, sample_period_s=period_s, rng=rng, guards=True)


def plane_of(kind, topology: Topology, seed: int = 1) -> FlowPlane | RequestPlane:
    """Make a plane of either fidelity."""
    if kind is FlowPlane:
        return FlowPlane(topology, sample_period_s=1.0, guards=True)
    return requests(topology, seed)


def same(one, other) -> bool:
    """Whether two planes have seen exactly the same."""
    series = zip(one.samples(), other.samples(), strict=True)
    totals, others = one.totals(), other.totals()
    return all(np.array_equal(a, b) for a, b in series) and all(
        np.array_equal(totals[name], others[name]) for name in totals
    )


@given(POOLS, EDGES, st.floats(1.0, 600.0), st.floats(0.0, 300.0), SEEDS)
def test_first_tries_are_conserved(pool, edge, rate, cut, seed):
    plane = requests(build({"a": pool}, [edge]), seed)
    tell(plane, [demand(0.0, 0, rate), capacity(5.0, 0, cut, workers=pool.workers)], 12.0)
    totals = {name: x[0] for name, x in plane.totals().items()}
    assert totals["first"] == totals["ok"] + totals["failed"] + totals["in_flight"]
    assert totals["first"] <= totals["attempts"] + totals["in_flight"]
    assert totals["attempts"] <= (edge.retries + 1) * totals["first"]
    _, pools, edges = plane.samples()
    assert (pools >= 0.0).all()
    assert (edges >= 0.0).all()
    assert (pools[:, :, 2] <= 1.0).all()


@given(POOLS, EDGES, st.floats(1.0, 600.0), SEEDS, st.lists(st.floats(0.1, 11.9), max_size=4))
def test_where_an_advance_is_cut_does_not_matter(pool, edge, rate, seed, cuts):
    topology = build({"a": pool}, [edge])
    script = outage(rate, start_s=3.0, length_s=2.0, full=pool.rate)
    whole = tell(requests(topology, seed), script, 12.0).plane
    script += [(t_s, "edge_success", {"edge": 0}) for t_s in cuts]  # asks, and so cuts
    assert same(tell(requests(topology, seed), script, 12.0).plane, whole)


@FIDELITIES
@given(POOLS, EDGES, st.floats(1.0, 400.0), st.floats(0.1, 11.9), SEEDS)
@settings(max_examples=25)
def test_a_saved_state_goes_on_as_if_nothing_had_been(kind, pool, edge, rate, at_s, seed):
    topology = build({"a": pool}, [edge])
    script = outage(rate, start_s=3.0, length_s=2.0, full=pool.rate)
    before = [change for change in script if change[0] <= at_s]
    after = [change for change in script if change[0] > at_s]
    whole = tell(
        plane_of(kind, topology, seed), [*script, (at_s, "edge_success", {"edge": 0})], 12.0
    ).plane
    first = tell(plane_of(kind, topology, seed), before, at_s).plane
    second = plane_of(kind, topology, seed + 1)
    second.restore(first.save())
    assert same(tell(second, after, 12.0).plane, whole)


@given(POOLS, EDGES, st.floats(1.0, 400.0), POOLS, st.floats(1.0, 400.0), SEEDS)
@settings(max_examples=25)
def test_another_pool_changes_nothing(pool, edge, rate, other, load, seed):
    """Its requests have streams of their own; only the grid of ticks must be the same."""
    alone = build({"a": pool}, [edge])
    there = E("b", timeout=edge.timeout)
    both = build({"a": pool, "b": other}, [edge, there])
    script = outage(rate, start_s=3.0, length_s=2.0, full=pool.rate)
    one = tell(requests(alone, seed), script, 10.0).plane
    two = tell(requests(both, seed), [*script, demand(0.0, 1, load)], 10.0).plane
    np.testing.assert_array_equal(two.samples()[2][:, 0], one.samples()[2][:, 0])
    np.testing.assert_array_equal(two.samples()[1][:, 0], one.samples()[1][:, 0])


def final(kind, topology: Topology, script: list[Change], end_s: float) -> float:
    """Return the success at the end; the mean of some seeds where there is chance."""
    seeds = (1,) if kind is FlowPlane else (1, 2, 3)
    return float(
        np.mean([success(tell(plane_of(kind, topology, s), script, end_s).plane) for s in seeds])
    )


def small(retries: int, *, room: float = np.inf, timeout: float = 1.0, backoff: float = 0.05):
    """One pool of 200/s with 40 workers."""
    pool = P(units=40, rate=200.0, workers=40.0, s=0.2, room=room)
    return build({"a": pool}, [E("a", retries=retries, timeout=timeout, backoff=backoff)])


@FIDELITIES
@given(st.floats(0.3, 0.9), st.floats(0.5, 8.0))
@settings(max_examples=10)
def test_more_retries_never_free_a_stuck_pool(kind, load, length_s):
    """F3: the bad state needs (r + 1) load > 1, so what sticks with r sticks with r + 1."""
    script = outage(200.0 * load, length_s=length_s, full=200.0)
    ends = [final(kind, small(r), script, 120.0) for r in range(4)]
    assert all(more <= less + 0.1 for less, more in itertools.pairwise(ends))


@FIDELITIES
@given(st.floats(0.3, 0.9), st.floats(0.5, 8.0))
@settings(max_examples=8)
def test_more_room_never_frees_a_stuck_pool(kind, load, length_s):
    """F4: the bad state needs a waiting room above C (T - s)."""
    script = outage(200.0 * load, length_s=length_s, full=200.0)
    ends = [final(kind, small(3, room=room), script, 120.0) for room in (100.0, 1000.0, np.inf)]
    assert all(more <= less + 0.1 for less, more in itertools.pairwise(ends))


@FIDELITIES
@given(st.floats(0.3, 0.9), st.floats(0.5, 8.0))
@settings(max_examples=8)
def test_more_patience_never_sustains_a_stuck_pool_behind_a_bounded_room(kind, load, length_s):
    """F4: the zombie line C (T - s) grows with T, and the room stays."""
    script = outage(200.0 * load, length_s=length_s, full=200.0)
    ends = [final(kind, small(3, room=150.0, timeout=t), script, 120.0) for t in (0.5, 1.2, 2.5)]
    assert all(more >= less - 0.1 for less, more in itertools.pairwise(ends))


@FIDELITIES
@pytest.mark.parametrize("backoff", [0.0, 0.5, 2.0])
def test_backoff_does_not_move_the_threshold_of_an_open_system(kind, backoff):
    topology = small(2, backoff=backoff)  # C/(r+1) = 66.7/s
    below, above = (outage(x, length_s=25.0, full=200.0) for x in (55.0, 80.0))
    assert final(kind, topology, below, 400.0) > 0.9
    assert final(kind, topology, above, 400.0) < 0.1


@FIDELITIES
@given(st.floats(0.3, 1.6), st.integers(0, 3), st.sampled_from([np.inf, 150.0, 400.0]))
@settings(max_examples=8)
def test_twice_of_everything_changes_no_share(kind, load, retries, room):
    """Exact in the flow; in requests up to chance, away from the edge of the good state."""
    assume(kind is FlowPlane or not 0.85 < load < 1.15)
    ends = []
    for n in (1, 2):
        pool = P(units=40 * n, rate=200.0 * n, workers=40.0 * n, s=0.2, room=room * n)
        topology = build({"a": pool}, [E("a", retries=retries, backoff=0.05)])
        ends.append(final(kind, topology, [demand(0.0, 0, 200.0 * n * load)], 80.0))
    assert ends[1] == pytest.approx(ends[0], abs=1e-6 if kind is FlowPlane else 0.06)


@FIDELITIES
@given(st.permutations(["a", "b", "c"]), st.floats(50.0, 150.0))
@settings(max_examples=10)
def test_new_names_permute_the_results(kind, names, rate):
    """Exact in the flow. In requests names choose the streams: equal up to chance."""
    pools = [P(rate=300.0, s=0.05, workers=400.0), P(rate=200.0, workers=400.0), P(rate=250.0)]
    ends = []
    for x in (["a", "b", "c"], names):
        edges = [E(x[0], retries=2, timeout=2.0), E(x[1], x[0], timeout=1.0), E(x[2], x[1])]
        topology = build(dict(zip(x, pools, strict=True)), edges)
        plane = plane_of(kind, topology)
        tell(plane, [demand(0.0, topology.service_edge("s0"), rate)], 60.0)
        rows = plane.samples()[1][20:, [topology.pool(name) for name in x]]
        ends.append(rows[:, :, [0, 1, 2]].mean(axis=0))
    if kind is FlowPlane:
        np.testing.assert_allclose(ends[1], ends[0], rtol=1e-6, atol=1e-6)
    else:  # well: nothing amplifies chance
        np.testing.assert_allclose(ends[1], ends[0], rtol=0.1, atol=0.05)


@FIDELITIES
@given(st.floats(20.0, 180.0), st.floats(0.0, 150.0), st.floats(2.0, 8.0))
@settings(max_examples=10)
def test_a_trigger_that_is_not_there_does_not_show(kind, rate, left, length_s):
    """Capacity that is taken and given back at once is no change."""
    topology = small(2)
    calm = [demand(0.0, 0, rate)]
    blink = [capacity(length_s, 0, left, workers=40.0), capacity(length_s, 0, 200.0, workers=40.0)]
    one = plane_of(kind, topology)
    tell(one, calm, 20.0)
    two = plane_of(kind, topology)
    two_script = [*calm, *blink]
    tell(two, two_script, 20.0)
    np.testing.assert_allclose(two.samples()[2], one.samples()[2], rtol=1e-2, atol=1e-2)


def test_one_more_client_policy_that_never_binds_does_not_show():
    """A budget that never runs dry leaves every number as it was."""
    plain = E("a", retries=2, backoff=0.1)
    rich = dataclasses.replace(plain, budget=1, ratio=10.0, bucket=1e9)
    script = outage(150.0, start_s=3.0, length_s=1.0, full=200.0)
    pool = P(units=40, rate=200.0, workers=40.0, s=0.2)
    one, two = (
        tell(requests(build({"a": pool}, [e]), 5), script, 30.0).plane for e in (plain, rich)
    )
    assert same(one, two)
