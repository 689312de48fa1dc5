"""Policies of the data plane in the compiled event loop, against cases worked out by hand."""

from typing import Any

import numpy as np
import pytest

from simulator.model import CANCEL, CONTROL, LIFO, PER_SUCCESS, ZOMBIE
from simulator.policies.adaptive_throttling import AdaptiveThrottling
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
from simulator.policies.retry import Retry
from simulator.request.plane import RequestPlane
from tests.parity.worlds import E, P, build


def made(policy, **fields):
    """Make a policy from what a scenario file would say."""
    return policy.model_validate(fields)


def made_plane(pools, edges):
    rng = np.random.Generator(np.random.PCG64DXSM(1))
    return RequestPlane(build(pools, edges), rng=rng, sample_period_s=0.05, guards=True)


def clockwork(*policies, **fields):
    """One processor that serves each attempt in exactly 0.1 s."""
    own: dict[str, Any] = {"units": 1, "rate": 10.0, "workers": 9.0, "deterministic": True}
    return P(policies=policies, **(own | fields))


BROKEN = {"rate": 0.0, "room": 0.0}
"""A pool that rejects all."""


def operation(*policies, callee="a", timeout=1.0, **fields):
    return E(callee, kind=CONTROL, timeout=timeout, policies=policies, **fields)


def total(plane, name, edge=0):
    return int(plane.totals()[name][edge])


def ends(plane, edge=0, *, name=1):
    """Return when first tries ended well, to 0.05 s."""
    counts = plane.samples()[2][:, edge, name] * 0.05
    return [round(0.05 * (i + 1), 2) for i, n in enumerate(counts) for _ in range(round(n))]


# ---------------------------------------------------------------- pools


def test_rate_limit_lets_a_burst_in_and_then_its_rate():
    plane = made_plane({"a": clockwork(made(RateLimit, rate="10/s", burst=2))}, [operation()])
    plane.inject(0, 5.0)
    assert total(plane, "failed") == 3
    plane.advance(0.15)
    plane.inject(0, 3.0)  # one token and a half
    assert total(plane, "failed") == 3 + 2


def test_concurrency_limit_counts_who_waits_for_callees():
    edges = [E("b", "a", timeout=0.5), operation()]
    limit = made(ConcurrencyLimit, limit=3)
    plane = made_plane({"a": clockwork(limit), "b": clockwork(rate=0.0)}, edges)
    plane.inject(1, 5.0)
    plane.advance(0.45)  # three have been served here, and wait for the dead callee
    plane.inject(1, 1.0)
    assert total(plane, "failed", 1) == 3


def test_adaptive_limit_falls_once_per_target():
    limit = made(ConcurrencyLimit, limit=10, adaptive=True, limit_min=2, target="250ms")
    plane = made_plane({"a": clockwork(limit)}, [operation()])
    plane.inject(0, 5.0)
    plane.advance(0.2)
    assert plane.arrays.pools["limit"][0] == 10.0  # answers at 0.1 and 0.2 s are in time
    plane.advance(0.5)
    assert plane.arrays.pools["limit"][0] == 9.0  # those at 0.3, 0.4 and 0.5 s are not
    plane.inject(0, 6.0)
    plane.advance(0.6)  # six of nine are in the pool, and the first is answered in time
    assert plane.arrays.pools["limit"][0] == pytest.approx(9.0 + 1.0 / 9.0)


def test_shedding_refuses_the_less_important_earlier():
    edges = [operation(priority=1), operation(priority=0), operation(priority=7)]
    pool = clockwork(made(LoadShedding, room_frac=(1.0, 0.55)), room=10.0)
    plane = made_plane({"a": pool}, edges)
    plane.inject(0, 8.0)  # one starts, five wait
    plane.inject(2, 1.0)  # classes behind the list are like the last
    plane.inject(1, 6.0)  # five more find room
    assert [total(plane, "failed", e) for e in range(3)] == [2, 1, 1]


def test_rejections_are_work():
    pool = clockwork(made(Rejection, work=0.5), room=0.0, workers=1.0)
    plane = made_plane({"a": pool}, [operation()])
    plane.inject(0, 2.0)  # served until 0.1 s; the rejection is worked off until 0.15 s
    plane.advance(0.1)
    plane.inject(0, 1.0)
    assert total(plane, "failed") == 2
    plane.advance(0.2)
    plane.inject(0, 1.0)
    assert total(plane, "failed") == 2


def test_contention_counts_those_present():
    # Factor 1 + n: 0.2 s alone (nobody else had come), 0.3 s with one waiting, 0.2 s alone.
    plane = made_plane({"a": clockwork(made(Contention, per_attempt="100ms"))}, [operation()])
    plane.inject(0, 3.0)
    plane.advance(1.0)
    assert ends(plane) == [0.2, 0.5, 0.7]


@pytest.mark.parametrize(("units", "expected"), [(4, [0.15, 0.35, 0.5]), (2, [0.2, 0.5, 0.7])])
def test_memory_fills_and_shrinks_with_the_units(units, expected):
    # Factor 1 + 2 · n/4, or with half of the units 1 + 2 · n/2.
    policy = made(MemoryPressure, full_attempts=4, work_max=3.0)
    plane = made_plane({"a": clockwork(policy, units=4)}, [operation()])
    plane.set_capacity(0, rate_rps=10.0, workers=9.0, units=float(units))
    plane.inject(0, 3.0)
    plane.advance(1.0)
    assert ends(plane) == expected


def order_of_service(pool, edges):
    """Inject one request into each edge at the same time; return when each was served."""
    plane = made_plane({"a": pool}, edges)
    for e in range(len(edges)):
        plane.inject(e, 1.0)
    plane.advance(1.0)
    return [ends(plane, e) for e in range(len(edges))]


def test_adaptive_lifo_turns_when_few_wait():
    policy = made(Discipline, kind="adaptive_lifo", lifo_above=1)
    pool = clockwork(policy, discipline=ADAPTIVE_LIFO)
    # The first starts; of three the last goes next, of two too, and the last alone.
    assert order_of_service(pool, [operation()] * 4) == [[0.1], [0.4], [0.3], [0.2]]


def test_priority_goes_by_class_and_then_by_age():
    pool = clockwork(discipline=PRIORITY)
    edges = [operation(priority=i) for i in (2, 1, 0, 1, 0)]
    assert order_of_service(pool, edges) == [[0.1], [0.4], [0.2], [0.5], [0.3]]


def test_codel_drops_what_has_waited_once_the_queue_stands():
    policy = made(Discipline, kind="codel", interval="150ms", target="20ms")
    plane = made_plane({"a": clockwork(policy, discipline=CODEL)}, [operation()])
    plane.inject(0, 4.0)  # 0.1 s after it was empty, 0.1 s is not too old; 0.2 s after it, 0.2 s is
    plane.advance(1.0)
    assert ends(plane) == [0.1, 0.2]
    assert ends(plane, name=2) == [0.2, 0.2]


# ---------------------------------------------------------------- callers


def test_throttling_lets_almost_nothing_through_to_a_pool_that_rejects():
    # The n-th attempt goes out with probability 1/n: 7.5 of 1,000 in the mean, deviation 2.4.
    policy = made(AdaptiveThrottling, k=1.0, window="1m")
    plane = made_plane({"a": clockwork(**BROKEN)}, [operation(policy, retries=2)])
    plane.inject(0, 1000.0)
    assert total(plane, "failed") == 1000
    # What goes out is rejected and retried; what is refused here is not.
    assert 1 < total(plane, "attempts") < 20


def test_breaker_opens_probes_and_closes():
    policy = made(
        CircuitBreaker, failed_frac=0.5, calls_min=3, window="5s", open_for="1s", probes=2
    )
    plane = made_plane({"a": clockwork(**BROKEN)}, [operation(policy)])
    plane.inject(0, 10.0)
    assert total(plane, "attempts") == 3
    plane.advance(0.95)
    plane.inject(0, 1.0)
    assert total(plane, "attempts") == 3  # still open
    plane.advance(1.0)
    plane.inject(0, 5.0)
    assert total(plane, "attempts") == 4  # one probe failed: open for another second
    plane._topology.queue_per_unit[0] = np.inf
    plane.set_capacity(0, rate_rps=10.0, workers=9.0, units=1.0)
    plane.advance(2.05)
    plane.inject(0, 3.0)
    assert total(plane, "attempts") == 6  # two probes, no more
    plane.advance(2.3)
    plane.inject(0, 3.0)
    assert total(plane, "attempts") == 9  # both succeeded: closed
    assert total(plane, "ok") == 2


def test_bulkhead_refuses_and_the_refused_may_try_again():
    edge = operation(made(Bulkhead, limit=2), retries=1, backoff=0.15)
    plane = made_plane({"a": clockwork()}, [edge])
    plane.inject(0, 5.0)
    plane.advance(0.1)
    assert total(plane, "attempts") == 2
    plane.advance(0.15)  # one was answered at 0.1 s: one of three finds its place
    assert total(plane, "attempts") == 3
    assert total(plane, "failed") == 2


@pytest.mark.parametrize(("late", "served"), [(ZOMBIE, 4), (CANCEL, 3)])
def test_hedge_overtakes_its_original(late, served):
    # LIFO: the hedges sent at 0.05 s are younger than what waits; that of the first is never
    # needed. The first success ends both.
    plane = made_plane(
        {"a": clockwork(discipline=LIFO, late=late)}, [operation(made(Hedging, delay="50ms"))]
    )
    plane.inject(0, 2.0)
    plane.advance(1.0)
    assert ends(plane) == [0.1, 0.2]
    assert total(plane, "attempts") == 4
    pool = plane.arrays.pools[0]
    assert (pool["offered"], pool["ok"], pool["bad"]) == (4, 2, 0)
    assert pool["served"] == served


def test_hedged_attempt_fails_when_its_timeout_comes():
    plane = made_plane(
        {"a": clockwork(rate=0.0)}, [operation(made(Hedging, delay="500ms"), timeout=0.6)]
    )
    plane.inject(0, 1.0)
    plane.advance(0.57)
    assert total(plane, "in_flight") == 1
    plane.advance(0.6)
    assert total(plane, "failed") == 1
    assert plane.arrays.pools["bad"][0] == 2


@pytest.mark.parametrize(
    ("share", "work", "ok_s"),
    [(1.0, 0.0, [0.35]), (1.0, 0.5, [0.4]), (0.0, 0.5, [])],
)
def test_fallback_answers_at_a_price(share, work, ok_s):
    policy = made(Fallback, success_frac=share, work=work)
    edges = [E("b", "a", timeout=0.25, policies=(policy,)), operation()]
    plane = made_plane({"a": clockwork(), "b": clockwork(rate=0.0)}, edges)
    plane.inject(1, 1.0)
    plane.advance(0.6)
    assert ends(plane, 1) == ok_s
    assert total(plane, "failed", 0) == 1
    assert total(plane, "failed", 1) == (not ok_s)


def test_cache_fills_with_what_comes_back():
    policy = made(Cache, hit_max=0.5, keys=1, hit_start=0.0)
    plane = made_plane({"a": clockwork()}, [operation(policy)])
    for fraction in (0.25, 0.25 + 0.5 * 0.25 / 0.75):
        sent = total(plane, "attempts")
        while total(plane, "attempts") == sent:
            plane.inject(0, 1.0)  # hits are no attempts, and succeed at once
        assert total(plane, "first") - total(plane, "ok") == 1
        plane.advance(plane.now_s + 0.2)
        assert plane.arrays.edges["hit"][0] == pytest.approx(fraction)
    plane.set_hit_frac(0, 0.9)
    assert plane.arrays.edges["hit"][0] == 0.5  # no more than it can hold
    plane.set_hit_frac(0, 0.0)
    plane.inject(0, 1.0)
    assert total(plane, "in_flight") == 1


def test_a_warm_cache_answers_its_share():
    policy = made(Cache, hit_max=0.8, keys=1000)
    pool = P(rate=1000.0, workers=100.0)
    plane = made_plane({"a": pool}, [E("a", policies=(policy,))])
    plane.set_demand(0, 500.0)
    plane.advance(40.0)
    share = 1.0 - total(plane, "attempts") / total(plane, "first")
    assert share == pytest.approx(0.8, abs=4 * 0.4 / np.sqrt(20_000))


@pytest.mark.parametrize(("reserve", "end_s"), [("0s", 0.5), ("250ms", 0.25)])
def test_calls_inherit_the_deadline(reserve, end_s):
    edges = [
        E("b", "a", calls=2.0, timeout=1.0, policies=(made(Deadline, reserve=reserve),)),
        operation(timeout=0.5),
    ]
    plane = made_plane({"a": clockwork(), "b": clockwork(rate=0.0)}, edges)
    plane.inject(1, 1.0)
    plane.advance(1.0)
    assert ends(plane, 0, name=2) == [end_s] * 2  # nothing is left for the second call
    assert total(plane, "attempts", 0) == 1
    assert total(plane, "failed", 1) == 1


def test_windowed_budget_forgets():
    budget = {"deposit": "windowed", "ratio": 0.5, "window": "2s", "min_rate": "0/s"}
    policy = made(Retry, retries_max=1, backoff_base="0s", budget=budget)
    plane = made_plane({"a": clockwork(**BROKEN)}, [operation(policy)])
    plane.inject(0, 4.0)
    assert total(plane, "attempts") == 4 + 2  # half as many retries as first tries
    plane.advance(2.0)
    plane.inject(0, 1.0)
    plane.advance(2.05)
    assert total(plane, "attempts") == 6 + 1


def test_throttle_stops_at_half_of_the_bucket():
    budget = {"deposit": "throttle", "ratio": 0.5, "bucket": 8}
    policy = made(Retry, retries_max=10, backoff_base="0s", budget=budget)
    plane = made_plane({"a": clockwork(**BROKEN)}, [operation(policy)])
    plane.inject(0, 1.0)
    plane.advance(0.05)
    assert total(plane, "attempts") == 4  # 7, 6, 5 tokens are left: more than 4; then 4


@pytest.mark.parametrize(("clients", "retries"), [(1, 1), (2, 2), (3, 3)])
def test_clients_have_buckets_of_their_own(clients, retries):
    edge = operation(retries=1, budget=PER_SUCCESS, bucket=1.0, clients=clients)
    plane = made_plane({"a": clockwork(**BROKEN)}, [edge])
    plane.inject(0, 4.0)
    plane.advance(0.05)
    assert total(plane, "attempts") == 4 + retries


@pytest.mark.parametrize(
    ("jitter", "low", "high"),
    [("none", 0.2, 0.2), ("full", 0.0, 0.2), ("equal", 0.1, 0.2), ("decorrelated", 0.2, 0.6)],
)
def test_first_delays_fill_the_range_between_their_bounds(jitter, low, high):
    # Everything is rejected at once, so attempts follow each other by their delays alone.
    policy = made(Retry, retries_max=1, backoff_base="200ms", jitter=jitter)
    plane = made_plane({"a": clockwork(**BROKEN)}, [operation(policy, timeout=0.1)])
    plane.inject(0, 4000.0)
    seen = []
    while total(plane, "in_flight"):
        plane.advance(plane.now_s + plane.tick_s)
        seen.append(total(plane, "attempts") - 4000)
    assert seen[-1] == 4000
    at_s = plane.tick_s * np.arange(1, len(seen) + 1)
    even = np.clip((at_s - low) / max(high - low, 1e-12), 0.0, 1.0) * 4000
    assert np.abs(seen - even)[at_s != low].max() < 4 * np.sqrt(4000 / 4)


def test_decorrelated_delays_grow_from_the_one_before():
    policy = made(
        Retry, retries_max=3, backoff_base="100ms", backoff_cap="450ms", jitter="decorrelated"
    )
    plane = made_plane({"a": clockwork(**BROKEN)}, [operation(policy, timeout=0.1)])
    plane.inject(0, 2000.0)
    longest: dict[int, float] = {}
    while total(plane, "in_flight"):
        atts, delay = plane.arrays.atts, plane.arrays.more["delay"]
        for k in (1, 2, 3):
            waits = (atts["live"] == 1) & (atts["k"] == k)
            if waits.any():
                longest[k] = max(longest.get(k, 0.0), float(delay[waits].max()))
                assert delay[waits].min() >= 0.1
        plane.advance(plane.now_s + plane.tick_s)
    assert total(plane, "attempts") == 8000
    assert longest[1] == pytest.approx(0.3, abs=0.001)
    assert 0.44 < longest[2] <= 0.45  # three times 0.3 s, cut at the cap
    assert 0.44 < longest[3] <= 0.45


def test_windows_and_states_are_saved():
    policy = made(CircuitBreaker, failed_frac=0.5, calls_min=3, open_for="1s", probes=2)
    hedge = made(Hedging, delay="50ms")
    pools, edges = {"a": clockwork(**BROKEN)}, [operation(policy, hedge, retries=2, clients=2)]
    one, two = made_plane(pools, edges), made_plane(pools, edges)
    one.inject(0, 9.0)
    two.restore(one.save())
    for plane in (one, two):
        plane.advance(1.5)
        plane.inject(0, 9.0)
        plane.advance(3.0)
    assert one.save() == two.save()
    assert total(one, "attempts") > 3
