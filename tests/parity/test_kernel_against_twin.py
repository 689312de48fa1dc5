"""The compiled kernel and its readable twin are the same model, to 1e-9."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.flow.plane import FlowPlane
from simulator.flow.reference import ReferencePlane
from simulator.model import (
    ASYNCHRONOUS,
    CANCEL,
    CONTROL,
    DEADLINE_AWARE,
    FIFO,
    LIFO,
    NO_BUDGET,
    OPTIONAL,
    PER_FIRST_TRY,
    PER_SUCCESS,
    REQUIRED,
    ZOMBIE,
)
from tests.parity.worlds import E, P, Told, build, capacity, demand, distance, outage, tell

RTOL = 1e-9


def both(topology, script, end_s, *, sample_s=1.0, seed=None) -> tuple[Told, Told]:
    """Let the same happen to the kernel and to the twin."""

    def rng():
        return None if seed is None else np.random.Generator(np.random.PCG64DXSM(seed))

    fast = FlowPlane(topology, sample_period_s=sample_s, rng=rng(), adaptive=False)
    slow = ReferencePlane(topology, sample_period_s=sample_s, rng=rng())
    return tell(fast, script, end_s), tell(slow, script, end_s)


def agree(topology, script, end_s, **settings) -> Told:
    """Assert that kernel and twin agree; return the twin's story."""
    fast, slow = both(topology, script, end_s, **settings)
    assert distance(fast.plane, slow.plane) <= RTOL
    assert fast.crossings == slow.crossings
    for pool in range(topology.n_pools):
        assert fast.plane.pool_success(pool) == pytest.approx(
            slow.plane.pool_success(pool), abs=1e-8
        )
    for edge in range(topology.n_edges):
        assert fast.plane.edge_success(edge) == pytest.approx(
            slow.plane.edge_success(edge), abs=1e-8
        )
        one, two = fast.plane.outlook(edge), slow.plane.outlook(edge)
        assert dataclasses.astuple(one) == pytest.approx(dataclasses.astuple(two), 1e-8, 1e-8)
    return slow


SINGLE = {
    "fifo": (P(), E("a", retries=3)),
    "no retry": (P(), E("a")),
    "lifo": (P(discipline=LIFO), E("a", retries=3)),
    "cancel": (P(late=CANCEL), E("a", retries=3)),
    "deadline": (P(late=DEADLINE_AWARE), E("a", retries=3)),
    "lifo deadline": (P(late=DEADLINE_AWARE, discipline=LIFO), E("a", retries=1)),
    "room": (P(room=5000.0), E("a", retries=3)),
    "little room": (P(room=850.0), E("a", retries=3)),
    "no room": (P(room=0.0), E("a", retries=2)),
    "per first try": (P(), E("a", retries=3, budget=PER_FIRST_TRY)),
    "per success": (P(), E("a", retries=3, budget=PER_SUCCESS)),
    "fixed": (P(), E("a", retries=3, backoff=0.7)),
    "half a step": (P(), E("a", retries=3, backoff=0.125)),
    "exponential": (P(), E("a", retries=5, backoff=0.1, exponential=True, cap=1.0)),
    "jitter": (P(), E("a", retries=3, backoff=0.5, exponential=True, jitter=True)),
    "jitter, room": (P(room=850.0), E("a", retries=3, backoff=0.1, jitter=True)),
    "deterministic": (P(deterministic=True), E("a", retries=3)),
    "slow service": (P(s=0.4, workers=400.0), E("a", retries=2)),
    "odd timeout": (P(), E("a", timeout=0.73, retries=2, backoff=0.2)),
    "few workers": (P(workers=60.0), E("a", retries=1)),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("rate", [240.0, 701.0, 1130.0])
def test_one_pool(name, rate):
    pool, edge = SINGLE[name]
    agree(build({"a": pool}, [edge]), outage(rate, start_s=5.0, length_s=3.0), 25.0)


def test_two_timeouts_in_one_pool():
    edges = [
        E("a", timeout=0.5, retries=2, backoff=0.1),
        E("a", timeout=3.0, retries=1, budget=PER_SUCCESS),
    ]
    script = [*outage(300.0, start_s=5.0, length_s=2.0), demand(0.0, 1, 420.0)]
    for late in (ZOMBIE, CANCEL, DEADLINE_AWARE):
        agree(build({"a": P(late=late)}, edges), script, 25.0)


REGIONS = {
    "chain": (
        {"a": P(late=DEADLINE_AWARE), "b": P(rate=900.0), "c": P(rate=800.0, s=0.05)},
        [
            E("a", timeout=4.0, retries=1),
            E("b", "a", timeout=2.0, retries=2, backoff=0.1),
            E("c", "b", retries=2, backoff=0.2, jitter=True, exponential=True),
        ],
    ),
    "diamond": (
        {"a": P(), "b": P(), "c": P(rate=1300.0), "d": P(rate=900.0, room=4000.0)},
        [
            E("a", timeout=5.0),
            E("b", "a", calls=0.5, timeout=2.0, retries=1),
            E("c", "a", calls=1.7, timeout=2.0, retries=1, backoff=0.1),
            E("d", "b", retries=2),
            E("d", "c", calls=0.3, timeout=1.5, retries=1, budget=PER_FIRST_TRY),
        ],
    ),
    "cycle": (
        {"a": P(), "b": P(rate=1200.0)},
        [
            E("a", timeout=4.0, retries=1),
            E("b", "a", timeout=2.0, retries=1, backoff=0.3),
            E("a", "b", calls=0.2, retries=1),
        ],
    ),
    "fan-in": (
        {"a": P(), "b": P(deterministic=True), "c": P(), "d": P(rate=1500.0)},
        [
            E("a", timeout=3.0),
            E("b", timeout=3.0, retries=1),
            E("c", timeout=3.0),
            *(
                E("d", x, retries=i, backoff=0.1, timeout=1.0 + 0.3 * i)
                for i, x in enumerate("abc")
            ),
        ],
    ),
    "optional and asynchronous": (
        {"a": P(), "b": P(rate=700.0), "c": P(rate=700.0), "d": P(rate=700.0)},
        [
            E("a", timeout=3.0, retries=1),
            E("b", "a", kind=OPTIONAL, retries=1),
            E("c", "a", kind=ASYNCHRONOUS, calls=2.0, retries=2),
            E("d", "a", kind=REQUIRED, timeout=0.5),
        ],
    ),
    "blocked callers": (
        {"a": P(rate=5000.0, workers=200.0, s=0.01), "b": P(rate=900.0)},
        [E("a", timeout=8.0, retries=1), E("b", "a", retries=1, timeout=2.0)],
    ),
    "operations": (
        {"a": P(), "b": P(rate=50.0, workers=5.0)},
        [E("a", timeout=3.0), E("b", "a", calls=0.02), E("b", kind=CONTROL, timeout=30.0)],
    ),
}


@pytest.mark.parametrize("name", REGIONS)
def test_regions(name):
    pools, edges = REGIONS[name]
    topology = build(pools, edges)
    last, entry = topology.n_pools - 1, topology.service_edge("s0")
    script = [
        *(demand(0.0, topology.service_edge(s), 431.0) for s in topology.service_ids),
        (0.0, "watch_edge", {"edge": entry, "below": 0.9}),
        (0.0, "watch_pool", {"pool": last, "below": 0.95}),
        capacity(8.0, last, 37.0),
        (14.0, "set_service_time", {"pool": 0, "service_s": 0.23}),
        (17.0, "set_admission", {"edge": entry, "frac": 0.4}),
        capacity(20.0, last, 1000.0),
        (22.0, "set_service_time", {"pool": 0, "service_s": 0.1}),
        (26.0, "set_admission", {"edge": entry, "frac": 1.0}),
        demand(30.0, entry, 250.0),
    ]
    if topology.control_plane_ids:
        edge = topology.control_edge("c0")
        script += [
            (t, "inject", {"edge": edge, "requests": n}) for t, n in ((3.0, 40.0), (9.1, 7.0))
        ]
    told = agree(topology, script, 45.0)
    assert any(crossing.below for crossing in told.crossings)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_draws_are_the_same(seed):
    pools, edges = REGIONS["chain"]
    script = [demand(0.0, 2, 431.0), capacity(8.0, 2, 37.0), capacity(12.0, 2, 900.0)]
    agree(build(pools, edges), script, 25.0, seed=seed)


def test_mean_of_the_noise_is_the_flow():
    # Poisson first tries: standard error of the mean rate over 2,000 s is sqrt(500 / 2000) = 0.5.
    topology = build({"a": P()}, [E("a")])
    rng = np.random.Generator(np.random.PCG64DXSM(5))
    plane = FlowPlane(topology, sample_period_s=10.0, rng=rng)
    tell(plane, [demand(0.0, 0, 500.0)], 2000.0)
    totals = plane.totals()
    assert totals["first"][0] / 2000.0 == pytest.approx(500.0, abs=2.0)
    # The pool is busy now: what it serves is its own noise, 1,000/s in the mean.
    before = plane.totals()["ok"][0]
    tell(plane, [demand(2000.0, 0, 1200.0)], 2400.0)
    served = plane.samples()[1][205:, 0, 1]
    assert before == pytest.approx(1e6, rel=0.01)
    assert float(served.mean()) == pytest.approx(1000.0, abs=6.5)  # 4 x sqrt(1000 / 350)


@st.composite
def regions(draw):
    """A region of one to four pools, any edges (cycles too), anything that a pool may be.

    Only leaves are deterministic or deadline-aware: with callees these are switches in a feedback
    loop (the time of callees against the deadline), where the last bit decides what happens next.
    The regions above have both.
    """
    names = "abcd"[: draw(st.integers(1, 4))]
    pools = {
        name: P(
            rate=draw(st.sampled_from([313.0, 557.0, 911.0, 1409.0])),
            workers=draw(st.sampled_from([41.0, 109.0, 1013.0])),
            s=draw(st.sampled_from([0.011, 0.052, 0.107, 0.31])),
            deterministic=draw(st.booleans()),
            room=draw(st.sampled_from([np.inf, 613.0, 3019.0])),
            discipline=draw(st.sampled_from([FIFO, LIFO])),
            late=draw(st.sampled_from([ZOMBIE, CANCEL, DEADLINE_AWARE])),
        )
        for name in names
    }

    def edge(callee, caller=None):
        return E(
            callee,
            caller,
            kind=draw(st.sampled_from([REQUIRED, OPTIONAL, ASYNCHRONOUS])) if caller else 3,
            calls=draw(st.sampled_from([0.31, 1.0, 1.83])) if caller else 1.0,
            timeout=draw(st.sampled_from([0.43, 1.0, 2.71])),
            retries=draw(st.integers(0, 3)),
            backoff=draw(st.sampled_from([0.0, 0.11, 0.6])),
            exponential=draw(st.booleans()),
            jitter=draw(st.booleans()),
            budget=draw(st.sampled_from([NO_BUDGET, PER_FIRST_TRY, PER_SUCCESS])),
        )

    pairs = [(x, y) for x in names for y in names if x != y]
    inner = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=5)) if pairs else []
    for name in {x for x, _ in inner}:
        pools[name] = dataclasses.replace(pools[name], deterministic=False)
        if pools[name].late == DEADLINE_AWARE:
            pools[name] = dataclasses.replace(pools[name], late=CANCEL)
    return build(pools, [edge("a"), *(edge(y, x) for x, y in inner)])


@given(
    regions(),
    st.sampled_from([97.0, 307.0, 701.0, 1303.0]),
    st.sampled_from([0.0, 53.0, 401.0]),
)
def test_any_small_region(topology, rate, cut):
    entry = topology.service_edge("s0")
    last = topology.n_pools - 1

    def script(factor):
        return [
            demand(0.0, entry, rate * factor),
            (0.0, "watch_edge", {"edge": entry, "below": 0.9}),
            capacity(2.0, last, cut, workers=100.0),
            capacity(4.0, last, 811.0, workers=100.0),
        ]

    fast, slow = both(topology, script(1.0), 9.0)
    off = distance(fast.plane, slow.plane)
    if off > RTOL:
        # Callers that block each other can be chaotic: then a change of the input in its twelfth
        # digit must do as much to the twin itself.
        near = [
            tell(ReferencePlane(topology, sample_period_s=1.0), script(1.0 + x), 9.0).plane
            for x in (1e-12, -1e-12, 1e-11)
        ]
        assert off <= 100.0 * max(distance(plane, slow.plane) for plane in near)
    else:
        assert fast.crossings == slow.crossings
