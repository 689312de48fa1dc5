"""Fidelity by run and by pool: who simulates what, and what crosses the border."""

import dataclasses

import numpy as np
import pytest

from simulator.dataplane import HybridPlane, make_plane, request_pools
from simulator.errors import UsageError
from simulator.flow.plane import FlowPlane
from simulator.flow.validity import concerns, steady_load
from simulator.model import AS_THE_RUN, CANCEL, FLOW, REQUEST
from simulator.policies.cache import Cache
from simulator.policies.fallback import Fallback
from simulator.policies.service_time import ServiceTime
from simulator.request.plane import RequestPlane
from simulator.sampling import Streams
from tests.parity.worlds import E, P, build, capacity, demand, success, tell

AMPLE = P(workers=1000.0)
CHAIN = build(
    {"a": AMPLE, "b": AMPLE, "c": P(workers=1000.0, room=600.0)},  # below the zombie line
    [
        E("a", timeout=2.0, retries=1, backoff=0.05),
        E("b", "a", timeout=1.0, retries=1, backoff=0.05),
        E("c", "b", timeout=0.8, retries=2, backoff=0.05),
    ],
)
ENTRY = CHAIN.service_edge("s0")
MIXES = [(0, 1, 0), (1, 0, 1), (0, 0, 1), (1, 0, 0), (1, 1, 0), (0, 1, 1)]


def make(by_request, *, seed=1, topology=CHAIN, **options):
    mask = np.array(by_request, dtype=bool)
    return make_plane(topology, mask, streams=Streams(seed), sample_period_s=5.0, **options)


# --------------------------------------------------------------------------- who does what
def test_a_pool_goes_before_the_run():
    topology = dataclasses.replace(CHAIN, fidelity=np.array([FLOW, AS_THE_RUN, REQUEST]))
    assert request_pools(topology, "flow", []).tolist() == [False, False, True]
    assert request_pools(topology, "request", []).tolist() == [False, True, True]
    assert request_pools(topology, "auto", [0, 1]).tolist() == [False, True, True]
    assert request_pools(topology, "auto", []).tolist() == [False, False, True]


def test_an_unknown_fidelity_is_refused():
    with pytest.raises(
        UsageError, match="unknown fidelity 'packets' \\(known: flow, request, auto"
    ):
        request_pools(CHAIN, "packets", [])  # type: ignore[arg-type]


def test_an_unknown_backend_is_refused():
    with pytest.raises(UsageError, match="unknown backend 'fortran'"):
        make((0, 0, 0), backend="fortran")


def test_twins_do_not_mix():
    with pytest.raises(UsageError, match="one fidelity at a time"):
        make((0, 1, 0), backend="reference")


def test_one_fidelity_needs_no_border():
    assert isinstance(make((0, 0, 0)), FlowPlane)
    assert isinstance(make((1, 1, 1)), RequestPlane)
    assert isinstance(make((0, 1, 0)), HybridPlane)


# --------------------------------------------------------------------------- the border
@pytest.mark.parametrize("mix", MIXES)
def test_a_healthy_chain_is_the_same_in_any_mix(mix):
    plane = make(mix, guards=True)
    tell(plane, [demand(0.0, ENTRY, 400.0)], 60.0)
    _, pools, edges = plane.samples()
    assert pools[4:, :, 0].mean(axis=0) == pytest.approx([400.0] * 3, rel=0.03)
    assert pools[4:, :, 2].min() > 0.99
    assert edges[4:, ENTRY, 1].mean() == pytest.approx(400.0, rel=0.03)


@pytest.mark.parametrize("mix", MIXES)
def test_a_failure_climbs_over_the_border(mix):
    """The last pool dies for a while: its callers fail with it, and retry as they should."""
    plane = make(mix, guards=True)
    script = [demand(0.0, ENTRY, 100.0), capacity(20.0, 2, 0.0), capacity(60.0, 2, 1000.0)]
    tell(plane, script, 100.0)
    _, pools, edges = plane.samples()
    down = slice(8, 12)
    assert edges[down, ENTRY, 1].max() < 1.0
    # Two tries by the customers, two by a, three by b. Nothing is lost at the border.
    assert edges[down, ENTRY, 3].mean() == pytest.approx(200.0, rel=0.06)
    assert pools[down, 2, 0].mean() == pytest.approx(1200.0, rel=0.08)
    assert success(plane, ENTRY, last=4) > 0.99


def test_blocked_workers_are_seen_across_the_border():
    """F14: a flow pool whose callee, in requests, never answers."""
    topology = build(
        {"a": P(workers=100.0, s=0.01, rate=1e4, room=1e5), "b": P()},
        [E("a", timeout=30.0), E("b", "a", timeout=1.0, retries=1, backoff=0.0)],
    )
    plane = make((0, 1), topology=topology)
    tell(plane, [demand(0.0, 1, 500.0), capacity(0.0, 1, 0.0)], 200.0)
    served = plane.samples()[1][-20:, 0, 1].mean()
    # Few calls end per second: their smoothing costs some six per cent.
    assert served == pytest.approx(100.0 / 2.01, rel=0.1)


def test_totals_and_watches_come_from_the_right_plane():
    plane = make((0, 1, 0))
    watches = [plane.watch_pool(p, below=0.9) for p in range(3)]
    edge = plane.watch_edge(ENTRY, below=0.9)
    assert len({*watches, edge}) == 4
    script = [demand(0.0, ENTRY, 100.0), capacity(10.0, 2, 0.0)]
    told = tell(plane, script, 40.0)
    assert [c.watch for c in told.crossings[:3]] == [watches[2], watches[1], watches[0]]
    assert edge in {c.watch for c in told.crossings}
    totals = plane.totals()
    gone = totals["ok"] + totals["failed"] + totals["in_flight"]
    np.testing.assert_allclose(totals["first"], gone, rtol=1e-6, atol=1e-3)
    assert plane.pool_success(1) < 0.1
    assert plane.edge_success(ENTRY) < 0.1
    assert plane.outlook(ENTRY).success_frac < 0.1
    assert plane.latencies(ENTRY, [0.5]) is None
    assert plane.latencies(int(np.flatnonzero(CHAIN.edge_callee == 1)[0]), [0.5]).shape == (8, 1)


def test_the_same_seed_gives_the_same_and_cuts_do_not_matter():
    script = [demand(0.0, ENTRY, 300.0), capacity(20.0, 2, 100.0), capacity(30.0, 2, 1000.0)]
    one = tell(make((0, 1, 0)), script, 60.0).plane.samples()
    cuts = [(t, "edge_success", {"edge": 0}) for t in (3.3, 21.7, 45.0)]
    two = tell(make((0, 1, 0)), script + cuts, 60.0).plane.samples()
    other = tell(make((0, 1, 0), seed=2), script, 60.0).plane.samples()
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[2], other[2])


# --------------------------------------------------------------------------- where flows fail
def reasons(first_rps, pool, *edges):
    topology = build({"a": pool}, list(edges) or [E("a")])
    return [c.reason for c in concerns(topology, np.array([first_rps]))]


def test_a_usual_pool_raises_no_concern():
    assert reasons(600.0, P()) == []
    assert reasons(950.0, P()) == []


@pytest.mark.parametrize(
    ("first_rps", "pool", "edge", "text"),
    [
        (90.0, P(rate=100.0, workers=10.0), E("a"), "small pool near saturation: 10 attempts"),
        (450.0, P(rate=500.0, workers=100.0, s=0.19), E("a", timeout=0.2), "short zombie line"),
        (100.0, P(), E("a", timeout=0.3), "timeout of only 3 service times"),
        (100.0, P(late=CANCEL), E("a"), "knife's edge"),
        (100.0, P(room=1000.0), E("a"), "just above the zombie line: 1000 against 900"),
        (100.0, P(), E("a", clients=100, retries=1, budget=1), "single clients"),
    ],
)
def test_concerns_and_their_reasons(first_rps, pool, edge, text):
    found = reasons(first_rps, pool, edge)
    assert len(found) >= 1
    assert any(text in reason for reason in found), found


def test_fallbacks_that_cost_work_are_a_concern_of_their_caller():
    edges = [E("a"), E("b", "a", policies=(Fallback(work=3.0),))]
    topology = build({"a": P(workers=1000.0), "b": P()}, edges)
    found = concerns(topology, np.array([100.0]))
    assert [(c.pool, "fallbacks" in c.reason) for c in found] == [(0, True)]


@pytest.mark.parametrize(
    ("law", "heavy"),
    [
        (ServiceTime(), False),
        (ServiceTime(kind="lognormal", cv=0.8), False),
        (ServiceTime(kind="lognormal", cv=2.0), True),
        (ServiceTime(kind="bimodal", slow_frac=0.01, slow_factor=2.0), False),
        (ServiceTime(kind="bimodal", slow_frac=0.01, slow_factor=50.0), True),
        (ServiceTime(kind="hyperexponential", cv=3.0), True),
    ],
)
def test_heavy_tails_are_a_concern(law, heavy):
    assert any("heavy tail" in r for r in reasons(100.0, P(policies=(law,)))) is heavy


def test_steady_load_follows_calls_circles_and_caches():
    pools = {"a": P(), "b": P(), "c": P()}
    edges = [E("a"), E("b", "a", calls=2.0), E("c", "b", policies=(Cache(hit_max=0.9, keys=10),))]
    assert steady_load(build(pools, edges), np.array([100.0])) == pytest.approx([100, 200, 20])
    round_ = [E("a"), E("b", "a", calls=0.5), E("a", "b", calls=0.5)]
    assert steady_load(build({"a": P(), "b": P()}, round_), np.array([90.0])) == pytest.approx(
        [120.0, 60.0]
    )
    endless = [E("a"), E("b", "a", calls=1.0), E("a", "b", calls=1.0)]
    assert np.isinf(steady_load(build({"a": P(), "b": P()}, endless), np.array([90.0]))).all()


def test_steady_load_of_a_large_region_is_the_same():
    n = 400
    names = [f"p{i:03}" for i in range(n)]
    edges = [E(names[0]), *(E(names[i], names[i - 1], calls=0.99) for i in range(1, n))]
    found = steady_load(build(dict.fromkeys(names, P()), edges), np.array([100.0]))
    assert found == pytest.approx(100.0 * 0.99 ** np.arange(n))


def test_a_saved_state_goes_on_bit_by_bit():
    script = [demand(0.0, ENTRY, 300.0), capacity(20.0, 2, 100.0)]
    whole = tell(make((0, 1, 0)), script, 60.0).plane.samples()
    first = tell(make((0, 1, 0)), script, 30.0).plane
    second = make((0, 1, 0), seed=9)
    second.restore(first.save())
    assert all(
        np.array_equal(a, b)
        for a, b in zip(tell(second, [], 60.0).plane.samples(), whole, strict=True)
    )
    with pytest.raises(ValueError, match="another region"):
        make((0, 1), topology=build({"a": P(), "b": P()}, [E("a"), E("b", "a")])).restore(
            first.save()
        )
