"""Policies in the flow: kernel against twin, each alone and any together."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from simulator.flow.plane import FlowPlane
from simulator.flow.policy_layout import special_pools
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
from tests.parity.test_kernel_against_twin import RTOL, SINGLE, agree
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
