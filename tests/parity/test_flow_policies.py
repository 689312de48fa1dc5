"""Policies in the flow: kernel against twin, each alone and any together."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.flow.plane import FlowPlane
from simulator.flow.policy_layout import special_pools
from simulator.flow.reference import ReferencePlane
from simulator.model import CANCEL, DEADLINE_AWARE, LIFO, OPTIONAL, ZOMBIE
from simulator.policies.adaptive_throttling import AdaptiveThrottling
from simulator.policies.base import Policy
from simulator.policies.bulkhead import Bulkhead
from simulator.policies.cache import Cache
from simulator.policies.circuit_breaker import CircuitBreaker
from simulator.policies.concurrency_limit import ConcurrencyLimit
from simulator.policies.contention import Contention
from simulator.policies.deadline import Deadline
from simulator.policies.discipline import ADAPTIVE_LIFO, CODEL, PRIORITY, Discipline
from simulator.policies.fallback import Fallback
from simulator.policies.hedging import Hedging
from simulator.policies.load_shedding import LoadShedding
from simulator.policies.memory_pressure import MemoryPressure
from simulator.policies.rate_limit import RateLimit
from simulator.policies.rejection import Rejection
from simulator.policies.retry import Retry, RetryBudget
from simulator.policies.service_time import ServiceTime
from tests.parity.test_kernel_against_twin import RTOL, SINGLE, agree, both
from tests.parity.worlds import E, P, build, capacity, demand, distance, outage, tell


def of(policy: type[Policy], /, **settings: object) -> Policy:
    """Make a policy as a file would."""
    return policy.model_validate(settings)


BREAKER = of(CircuitBreaker, calls_min=20, window="2s", open_for="3s", probes=40)
THROTTLING = of(AdaptiveThrottling, k=1.5, window="6s")


def _retry(**settings: object) -> Policy:
    return of(Retry, retries_max=3, backoff_base="200ms", backoff_cap="1s", **settings)


def _budget(deposit: str, **settings: object) -> Policy:
    return _retry(budget=of(RetryBudget, deposit=deposit, ratio=0.2, **settings))


ONE_POOL: dict[str, tuple[list[Policy], list[Policy]]] = {
    "log-normal": ([of(ServiceTime, kind="lognormal", cv=1.7)], []),
    "bimodal": ([of(ServiceTime, kind="bimodal", slow_frac=0.05, slow_factor=20.0)], []),
    "hyper-exponential": ([of(ServiceTime, kind="hyperexponential", cv=2.0)], []),
    "linear": ([], [_retry(backoff="linear", jitter="none")]),
    "equal jitter": ([], [_retry(jitter="equal")]),
    "decorrelated jitter": ([], [_retry(jitter="decorrelated")]),
    "windowed budget": ([], [_budget("windowed", window="3s", min_rate="20/s")]),
    "throttle": ([], [_budget("throttle", bucket=200)]),
    "adaptive LIFO": ([of(Discipline, kind="adaptive_lifo", lifo_above=150)], []),
    "priority": ([of(Discipline, kind="priority")], []),
    "CoDel": ([of(Discipline, kind="codel")], []),
    "CoDel, wide": ([of(Discipline, kind="codel", interval="500ms", target="110ms")], []),
    "rate limit": ([of(RateLimit, rate="500/s", burst=900)], []),
    "concurrency limit": ([of(ConcurrencyLimit, limit=120)], []),
    "adaptive limit": ([of(ConcurrencyLimit, limit=700, adaptive=True, target="400ms")], []),
    "load shedding": ([of(LoadShedding)], []),
    "rejection": ([of(RateLimit, rate="400/s"), of(Rejection, work=0.4)], []),
    "contention": ([of(Contention, per_attempt="0.2ms", factor_max=7.0)], []),
    "memory pressure": ([of(MemoryPressure, full_attempts=3000, from_attempts=100)], []),
    "throttling": ([], [THROTTLING]),
    "breaker": ([], [BREAKER]),
    "bulkhead": ([], [of(Bulkhead, limit=90)]),
    "cache": ([], [of(Cache, hit_max=0.7, keys=2000, hit_start=0.1)]),
    "hedging": ([], [of(Hedging, delay="300ms")]),
    "hedging, early": ([of(ServiceTime, kind="bimodal")], [of(Hedging, delay="50ms")]),
    "hedging, LIFO": ([of(Discipline, kind="lifo")], [of(Hedging, delay="200ms")]),
    "hedging, priority": ([of(Discipline, kind="priority")], [of(Hedging, delay="200ms")]),
    "hedging, bulkhead": ([], [of(Hedging, delay="200ms"), of(Bulkhead, limit=90)]),
    "hedging, breaker": ([], [of(Hedging, delay="200ms"), BREAKER, THROTTLING]),
    "hedging, CoDel": ([of(Discipline, kind="codel")], [of(Hedging, delay="100ms")]),
    "hedging, shedding": (
        [of(LoadShedding), of(Rejection, work=0.1)],
        [of(Hedging, delay="200ms")],
    ),
}
"""Policies of the pool, of its callers."""
KINDS = {"adaptive_lifo": ADAPTIVE_LIFO, "priority": PRIORITY, "codel": CODEL, "lifo": LIFO}


def pool_of(policies: list[Policy], **fields: Any) -> P:
    """Make a pool with these policies; the kind of a discipline is a field of its own."""
    for policy in policies:
        if isinstance(policy, Discipline):
            fields["discipline"] = KINDS.get(policy.kind, 0)
    return P(policies=tuple(policies), **fields)


@pytest.mark.parametrize("name", ONE_POOL)
@pytest.mark.parametrize(
    ("rate", "late"), [(240.0, ZOMBIE), (701.0, CANCEL), (1130.0, ZOMBIE), (433.0, DEADLINE_AWARE)]
)
def test_one_pool(name, rate, late):
    pool, edge = ONE_POOL[name]
    room = 900.0 if "shedding" in name or name == "rejection" else np.inf
    edges = [
        E("a", retries=3, policies=(*edge,), clients=2),
        E("a", timeout=1.7, retries=1, backoff=0.1, priority=2, policies=(*edge,)),
    ]
    topology = build({"a": pool_of(pool, room=room, late=late)}, edges)
    script = [*outage(rate, start_s=5.0, length_s=3.0), demand(0.0, 1, 0.3 * rate)]
    agree(topology, script, 25.0)


CALLS: dict[str, list[Policy]] = {
    "deadline": [of(Deadline, reserve="300ms")],
    "fallback": [of(Fallback, success_frac=0.8, work=0.5)],
    "breaker and fallback": [BREAKER, of(Fallback, work=2.0)],
    "cache": [of(Cache, hit_max=0.9, keys=1000)],
    "bulkhead": [of(Bulkhead, limit=40)],
    "throttling": [THROTTLING],
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_between_pools(name):
    pools = {"a": P(rate=2000.0, workers=300.0, s=0.02), "b": P(rate=900.0), "c": P(s=0.03)}
    edges = [
        E("a", timeout=3.0, retries=1),
        E("b", "a", calls=0.7, timeout=4.0, retries=2, policies=tuple(CALLS[name])),
        E("c", "b", kind=OPTIONAL, timeout=1.5, policies=tuple(CALLS[name])),
    ]
    topology = build(pools, edges)
    script = [
        demand(0.0, topology.service_edge("s0"), 431.0),
        capacity(6.0, 1, 37.0),
        capacity(12.0, 1, 1000.0),
        capacity(16.0, 2, 0.0),
        capacity(19.0, 2, 1000.0),
    ]
    agree(topology, script, 30.0)


@pytest.mark.parametrize("name", [n for n in SINGLE if n != "no room"])
def test_a_pool_whose_policies_never_bind_is_a_plain_one(name):
    pool, edge = SINGLE[name]
    script = outage(701.0, start_s=5.0, length_s=3.0)
    bound = dataclasses.replace(pool, policies=(of(ConcurrencyLimit, limit=10**9),))
    plain, special = build({"a": pool}, [edge]), build({"a": bound}, [edge])
    assert not special_pools(plain).any()
    assert special_pools(special).all()
    a, b = (
        tell(FlowPlane(t, sample_period_s=1.0, adaptive=False), script, 25.0).plane
        for t in (plain, special)
    )
    assert distance(a, b) <= RTOL


def regions(draw: Any) -> tuple[Any, int]:
    """Draw a pool or a chain of two with any policies at once, and a number for the script."""
    pick = [draw(st.sampled_from(sorted(ONE_POOL))) for _ in range(draw(st.integers(1, 3)))]
    pool = [policy for name in pick for policy in ONE_POOL[name][0]]
    edge = [policy for name in pick for policy in ONE_POOL[name][1]]
    late = draw(st.sampled_from([ZOMBIE, CANCEL]))
    room = draw(st.sampled_from([np.inf, 700.0]))
    clients = draw(st.integers(1, 3))
    pools = {"a": pool_of(pool, room=room, late=late)}
    edges = [E("a", retries=2, backoff=0.1, policies=tuple(edge), clients=clients)]
    if draw(st.booleans()):
        call = CALLS[draw(st.sampled_from(sorted(CALLS)))]
        pools["b"] = P(rate=2000.0, workers=400.0, s=0.03)
        edges = [
            E("b", timeout=2.0, retries=1),
            E("a", "b", calls=0.8, retries=2, priority=1, policies=(*edge, *call)),
        ]
    return build(pools, edges), len(pools)


class Solid:
    """A plane whose success shares are told only where more than dust was offered."""

    def __init__(self, plane):
        self.plane = plane

    def samples(self):
        t_s, pools, edges = self.plane.samples()
        pools = pools.copy()
        pools[:, :, 2] = np.where(pools[:, :, 0] > 1e-3, pools[:, :, 2], 1.0)
        return t_s, pools, edges

    def totals(self):
        return self.plane.totals()


def apart(a, b):
    """Return the distance of two planes; the share of a millionth of a request is rounding."""
    planes: list[Any] = [Solid(a), Solid(b)]
    return distance(*planes)


@given(st.data(), st.sampled_from([307.0, 701.0, 1303.0]), st.sampled_from([0.0, 53.0]))
def test_any_policies_together(data, rate, cut):
    topology, _ = regions(data.draw)
    entry = topology.service_edge("s0")

    def script(factor):
        return [
            demand(0.0, entry, rate * factor),
            capacity(2.0, 0, cut, workers=100.0),
            capacity(4.0, 0, 811.0, workers=100.0),
        ]

    fast, slow = both(topology, script(1.0), 12.0)
    off = apart(fast.plane, slow.plane)
    if off > RTOL:
        # A breaker, or an adaptive limit, decides by a threshold: then the last bit may decide, and
        # a change of the input in its twelfth digit must do as much to the twin itself.
        near = [
            apart(
                tell(ReferencePlane(topology, sample_period_s=1.0), script(1.0 + x), 12.0).plane,
                slow.plane,
            )
            for x in (1e-12, -1e-12, 1e-11, -1e-11)
        ]
        assert off <= 100.0 * max(near)


SLEEPY = ["log-normal", "equal jitter", "windowed budget", "throttle", "adaptive LIFO", "priority"]
SLEEPY += ["CoDel", "rate limit", "concurrency limit", "load shedding", "rejection", "contention"]
SLEEPY += ["memory pressure", "throttling", "breaker", "bulkhead", "cache", "hedging"]


WAKEFUL = {"adaptive limit", "cache", "contention", "memory pressure", "priority"}
"""What moves all the time, fills slowly, or decides by a queue that grows."""


@pytest.mark.parametrize("rate", [240.0, 701.0])
@pytest.mark.parametrize("name", [*SLEEPY, "adaptive limit"])
def test_sleep_does_not_show(name, rate):
    pool, edge = ONE_POOL[name]
    room = 900.0 if "shedding" in name or name == "rejection" else np.inf
    edges = [
        E("a", retries=2, backoff=0.1, policies=(*edge,)),
        E("a", timeout=1.7, retries=1, priority=2, policies=(*edge,)),
    ]
    topology = build({"a": pool_of(pool, room=room)}, edges)
    script = [*outage(rate, start_s=20.0, length_s=4.0), demand(0.0, 1, 0.2 * rate)]
    script += [demand(200.0, 0, 0.3 * rate), demand(200.0, 1, 0.1 * rate)]
    fine = FlowPlane(topology, sample_period_s=10.0, adaptive=False)
    sleepy = FlowPlane(topology, sample_period_s=10.0)
    tell(fine, script, 600.0)
    tell(sleepy, script, 600.0)
    assert sleepy.steps < 0.9 * fine.steps or name in WAKEFUL
    a, b = fine.totals(), sleepy.totals()
    for which in ("ok", "failed", "attempts"):
        np.testing.assert_allclose(b[which], a[which], rtol=0.01, atol=2.0)
    for e in range(2):
        assert sleepy.edge_success(e) == pytest.approx(fine.edge_success(e), abs=0.01)


def test_a_sleeper_wakes_when_the_control_empties_the_cache():
    edges = [E("a", policies=(of(Cache, hit_max=0.8, keys=5000),))]
    topology = build({"a": P(rate=100.0, workers=100.0)}, edges)
    script = [demand(0.0, 0, 200.0), (300.0, "set_hit_frac", {"edge": 0, "frac": 0.0})]
    sleepy = FlowPlane(topology, sample_period_s=10.0)
    tell(sleepy, script[:1], 290.0)
    assert sleepy.arrays.pools["awake"][0] == 0
    assert sleepy.edge_success(0) > 0.99
    told = [
        tell(make(topology, sample_period_s=10.0), script, 600.0).plane
        for make in (FlowPlane, ReferencePlane)
    ]
    assert told[0].samples()[2][-1, 0, 1] < 20.0  # the cache cannot fill: every query times out
    np.testing.assert_allclose(told[0].samples()[2], told[1].samples()[2], rtol=0.01, atol=2.0)


@pytest.mark.parametrize("name", [*SLEEPY, "adaptive limit", "hedging, breaker"])
@pytest.mark.parametrize("adaptive", [True, False])
def test_cutting_an_advance_changes_no_bit(name, adaptive):
    pool, edge = ONE_POOL[name]
    topology = build({"a": pool_of(pool)}, [E("a", retries=2, policies=(*edge,))])
    script = outage(701.0, start_s=5.0, length_s=3.0)
    asked = [(t, "pool_success", {"pool": 0}) for t in np.linspace(0.3, 39.0, 57)]
    whole, parts = (
        tell(FlowPlane(topology, sample_period_s=1.0, adaptive=adaptive), what, 40.0).plane
        for what in (script, script + asked)
    )
    for x, y in zip(whole.samples(), parts.samples(), strict=True):
        assert x.tobytes() == y.tobytes()


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("name", [*SLEEPY, "adaptive limit", "hedging, breaker"])
def test_a_plane_goes_on_from_its_saved_state_bit_by_bit(name, seed):
    pool, edge = ONE_POOL[name]
    topology = build({"a": pool_of(pool)}, [E("a", retries=2, policies=(*edge,))])
    script = outage(701.0, start_s=5.0, length_s=3.0)

    def plane(number):
        rng = None if number is None else np.random.Generator(np.random.PCG64DXSM(number))
        return FlowPlane(topology, sample_period_s=0.1, rng=rng)

    whole = tell(plane(seed), script, 40.0).plane
    first = tell(plane(seed), script, 20.0).plane
    second = plane(None if seed is None else 99)
    second.restore(first.save())
    tell(second, [], 40.0)
    for x, y in zip(whole.samples(), second.samples(), strict=True):
        assert x.tobytes() == y.tobytes()
    for column, other in zip(whole.totals().values(), second.totals().values(), strict=True):
        assert column.tobytes() == other.tobytes()
    assert second.save() == whole.save()


def test_a_saved_state_fits_its_own_region_only():
    one, two = build({"a": P()}, [E("a")]), build({"a": P(), "b": P()}, [E("a"), E("b")])
    with pytest.raises(ValueError, match="another region"):
        FlowPlane(two).restore(FlowPlane(one).save())
    rng = np.random.Generator(np.random.PCG64DXSM(1))
    with pytest.raises(ValueError, match="noise"):
        FlowPlane(one, rng=rng).restore(FlowPlane(one).save())


@given(st.data(), st.sampled_from([307.0, 1303.0]), st.sampled_from([0.0, 53.0]))
def test_first_tries_are_conserved_with_any_policies(data, rate, cut):
    topology, _ = regions(data.draw)
    entry = topology.service_edge("s0")
    plane = FlowPlane(topology, sample_period_s=1.0, guards=True)
    script = [demand(0.0, entry, rate), capacity(3.0, 0, cut), capacity(6.0, 0, 900.0)]
    tell(plane, script, 20.0)
    assert plane.totals()["first"][entry] == pytest.approx(rate * plane.now_s, rel=1e-6)
    assert np.isfinite(plane.samples()[1]).all()
    assert (plane.samples()[1][:, :, 3:5] >= -1e-6).all()
    totals = plane.totals()
    assert (totals["ok"] + totals["failed"] <= totals["first"] * (1.0 + 1e-9) + 1e-6).all()


def test_a_hedge_after_the_timeout_is_never_sent():
    late = build({"a": P()}, [E("a", timeout=1.0, policies=(of(Hedging, delay="2s"),))])
    plane = tell(FlowPlane(late, sample_period_s=1.0), [demand(0.0, 0, 1500.0)], 20.0).plane
    assert plane.totals()["attempts"][0] == pytest.approx(plane.totals()["first"][0])
