"""Policies of the data plane: the compiled request plane and its SimPy twin do the same."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.model import (
    ASYNCHRONOUS,
    CANCEL,
    DEADLINE_AWARE,
    FIFO,
    LIFO,
    OPTIONAL,
    PER_SUCCESS,
    REQUIRED,
    ZOMBIE,
)
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
from simulator.policies.retry import Retry, RetryBudget
from simulator.policies.service_time import ServiceTime
from tests.parity.request_story import agree, pair
from tests.parity.worlds import E, P, build, capacity, demand, tell

POOL = P(rate=50.0, workers=40.0, s=0.1, room=60.0)
"""Five processors, and a service time of 0.1 s."""


def made(policy, **fields):
    """Make a policy from what a scenario file would say."""
    return policy.model_validate(fields)


def with_pool(*policies, **fields):
    return dataclasses.replace(POOL, policies=policies, **fields)


def story(topology, *, rate=40.0):
    """Calm, overload, an outage of the last pool, and calm again."""
    last = topology.n_pools - 1
    script = [
        (0.0, "watch_edge", {"edge": topology.service_edge("s0"), "below": 0.9}),
        capacity(4.0, last, 0.0, workers=40.0),
        capacity(6.0, last, 50.0, workers=40.0),
    ]
    for i, name in enumerate(topology.service_ids):
        edge = topology.service_edge(name)
        loads = ((0.0, rate), (2.0, 1.7 * rate), (4.0, 0.6 * rate))
        script += [demand(t, edge, load / (1 + i)) for t, load in loads]
    return script


def matters(topology, plain, end_s=12.0):
    """Assert that plane and twin agree, and that the policy made a difference."""
    told = agree(topology, story(topology), end_s)
    other = tell(pair(plain)[1], story(plain), end_s)
    one, two = told.plane.totals(), other.plane.totals()
    assert any(one[name].tolist() != two[name].tolist() for name in one)


CHAIN = [E("a", timeout=1.5, retries=1), E("b", "a", timeout=0.4, retries=2, backoff=0.05)]


def chain(*, edge=(), pool=(), caller=(), **fields):
    """Two pools, one of which calls the other."""
    call = dataclasses.replace(CHAIN[1], policies=tuple(edge), **fields)
    pools = {"a": with_pool(*caller), "b": with_pool(*pool)}
    return build(pools, [CHAIN[0], call])


EDGE_POLICIES = {
    "throttling": made(AdaptiveThrottling, k=1.3, window="1s"),
    "breaker": made(
        CircuitBreaker, failed_frac=0.3, calls_min=5, window="700ms", open_for="600ms", probes=3
    ),
    "nervous breaker": made(
        CircuitBreaker, failed_frac=0.1, calls_min=1, window="300ms", open_for="50ms", probes=1
    ),
    "bulkhead": made(Bulkhead, limit=4),
    "hedging": made(Hedging, delay="120ms"),
    "late hedging": made(Hedging, delay="300ms"),
    "fallback": Fallback(),
    "fallback that fails": made(Fallback, success_frac=0.4),
    "fallback that works": made(Fallback, success_frac=0.7, work=0.8),
    "cache": made(Cache, hit_max=0.8, keys=60, hit_start=0.0),
    "warm cache": made(Cache, hit_max=0.5, keys=9),
    "deadline": Deadline(),
    "deadline with reserve": made(Deadline, reserve="1.2s"),
}


@pytest.mark.parametrize("clients", [1, 4])
@pytest.mark.parametrize("name", EDGE_POLICIES)
def test_policy_of_a_caller(name, clients):
    matters(chain(edge=[EDGE_POLICIES[name]], clients=clients), chain(clients=clients))


@pytest.mark.parametrize("late", [ZOMBIE, CANCEL, DEADLINE_AWARE])
@pytest.mark.parametrize("name", ["hedging", "deadline", "breaker"])
def test_policy_of_a_caller_and_late_work(name, late):
    pools = {"a": dataclasses.replace(POOL, late=late), "b": dataclasses.replace(POOL, late=late)}
    call = dataclasses.replace(CHAIN[1], policies=(EDGE_POLICIES[name],))
    matters(build(pools, [CHAIN[0], call]), build(pools, CHAIN))


def test_deadlines_go_down_a_chain():
    edges = [
        E("a", timeout=0.6, retries=1),
        E("b", "a", timeout=0.5, retries=1, policies=(Deadline(),)),
        E("c", "b", timeout=0.5, retries=1, calls=1.5, policies=(made(Deadline, reserve="50ms"),)),
    ]
    plain = [dataclasses.replace(edge, policies=()) for edge in edges]
    pools = {name: with_pool() for name in "abc"}
    matters(build(pools, edges), build(pools, plain))


def test_breaker_opens_at_exactly_its_minimum_of_calls():
    # All are rejected at once: the fourth failure opens it, not the fifth.
    policy = made(CircuitBreaker, calls_min=4, window="9s", open_for="9s", probes=1)
    topology = build({"a": with_pool(rate=0.0, room=0.0)}, [E("a", policies=(policy,))])
    told = agree(topology, [demand(0.0, 0, 2.0)], 6.0)
    assert told.plane.totals()["first"][0] > 4 == told.plane.totals()["attempts"][0]


def test_an_emptied_cache_fills_again():
    topology = chain(edge=[EDGE_POLICIES["warm cache"]])
    script = [*story(topology), (3.0, "set_hit_frac", {"edge": 0, "frac": 0.0})]
    told = agree(topology, script, 9.0)
    kept = tell(pair(topology)[1], story(topology), 9.0)
    assert told.plane.totals()["attempts"][0] != kept.plane.totals()["attempts"][0]


BUDGETS = {
    "windowed": made(RetryBudget, deposit="windowed", ratio=0.2, window="1s", min_rate="1/s"),
    "throttle": made(RetryBudget, deposit="throttle", ratio=0.1, bucket=10),
    "per success": made(RetryBudget, deposit="per_success", ratio=0.1, bucket=5),
    "per first try": made(RetryBudget, deposit="per_first_try", ratio=0.1, bucket=5),
}


@pytest.mark.parametrize("clients", [1, 3])
@pytest.mark.parametrize("name", BUDGETS)
def test_budget(name, clients):
    edges = [made(Retry, retries_max=3, backoff_base="20ms", budget=BUDGETS[name])]
    plain = [made(Retry, retries_max=3, backoff_base="20ms")]
    matters(chain(edge=edges, clients=clients), chain(edge=plain))


def test_clients_have_states_of_their_own():
    edge = E("a", timeout=0.5, retries=3, budget=PER_SUCCESS, bucket=3.0, clients=7)
    alone = dataclasses.replace(edge, clients=1, bucket=21.0)
    matters(build({"a": POOL}, [edge]), build({"a": POOL}, [alone]))


@pytest.mark.parametrize("jitter", ["none", "full", "equal", "decorrelated"])
@pytest.mark.parametrize("backoff", ["fixed", "linear", "exponential"])
def test_backoff(jitter, backoff):
    retry = made(
        Retry,
        retries_max=4,
        backoff=backoff,
        backoff_base="70ms",
        backoff_cap="500ms",
        jitter=jitter,
    )
    topology = build({"a": with_pool(room=5.0)}, [E("a", timeout=0.5, policies=(retry,))])
    agree(topology, story(topology), 9.0)


POOL_POLICIES = {
    "rate limit": made(RateLimit, rate="30/s", burst=4),
    "fixed limit": made(ConcurrencyLimit, limit=8),
    "adaptive limit": made(ConcurrencyLimit, limit=40, adaptive=True, limit_min=3, target="150ms"),
    "shedding": made(LoadShedding, room_frac=(1.0, 0.1)),
    "rejection": made(Rejection, work=0.5),
    "contention": made(Contention, per_attempt="5ms"),
    "bounded contention": made(Contention, per_attempt="50ms", factor_max=1.5),
    "memory": made(MemoryPressure, full_attempts=40, from_attempts=5, work_max=2.0),
    "log-normal": made(ServiceTime, kind="lognormal", cv=2.0),
    "bimodal": made(ServiceTime, kind="bimodal", slow_frac=0.1, slow_factor=8.0),
    "hyper-exponential": made(ServiceTime, kind="hyperexponential", cv=2.0),
}


@pytest.mark.parametrize("name", POOL_POLICIES)
def test_policy_of_a_pool(name):
    # The second service's attempts are less important. The room is small: there are rejections.
    edges = [*CHAIN, E("b", timeout=0.5, retries=2, backoff=0.03, priority=1)]
    plain, pool = with_pool(room=12.0), with_pool(POOL_POLICIES[name], room=12.0)
    matters(build({"a": POOL, "b": pool}, edges), build({"a": POOL, "b": plain}, edges))


DISCIPLINES = {
    "adaptive lifo": (ADAPTIVE_LIFO, made(Discipline, kind="adaptive_lifo", lifo_above=6)),
    "priority": (PRIORITY, made(Discipline, kind="priority")),
    "codel": (CODEL, made(Discipline, kind="codel", interval="100ms", target="20ms")),
}


@pytest.mark.parametrize("late", [ZOMBIE, CANCEL, DEADLINE_AWARE])
@pytest.mark.parametrize("name", DISCIPLINES)
def test_discipline(name, late):
    kind, policy = DISCIPLINES[name]
    edges = [
        E("a", timeout=0.6, retries=2, priority=1),
        E("a", timeout=0.9, retries=1, backoff=0.1, priority=0),
    ]
    plain = with_pool(late=late)
    pool = with_pool(policy, made(Rejection, work=0.1), late=late, discipline=kind)
    matters(build({"a": pool}, edges), build({"a": plain}, edges))


def test_memory_shrinks_with_the_units():
    pool = with_pool(POOL_POLICIES["memory"])
    topology = build({"a": pool}, [E("a", timeout=0.6, retries=2)])
    fields = {"pool": 0, "rate_rps": 40.0, "workers": 40.0, "units": 37.0}
    agree(topology, [*story(topology), (1.0, "set_capacity", fields)], 9.0)


@st.composite
def policies(draw, kinds):
    """Any of some policies, none of them twice."""
    names = draw(st.lists(st.sampled_from(sorted(kinds)), max_size=4))
    by_class = {type(kinds[name]): kinds[name] for name in names}
    return tuple(by_class.values())


@st.composite
def regions(draw):
    """A region of up to three pools with any policies, some of whose times are the same."""
    names = "abc"[: draw(st.integers(1, 3))]
    is_round = draw(st.booleans())
    pools = {}
    for name in names:
        kind = draw(st.sampled_from([FIFO, LIFO, *(k for k, _ in DISCIPLINES.values())]))
        extra = tuple(policy for k, policy in DISCIPLINES.values() if k == kind)
        pools[name] = P(
            units=10,
            rate=40.0 if is_round else draw(st.sampled_from([13.7, 41.3])),
            workers=draw(st.sampled_from([6.0, 40.0])),
            s=0.1 if is_round else draw(st.sampled_from([0.052, 0.107])),
            deterministic=is_round,
            room=draw(st.sampled_from([4.0, 30.0])),
            discipline=kind,
            late=draw(st.sampled_from([ZOMBIE, CANCEL, DEADLINE_AWARE])),
            policies=extra + draw(policies(POOL_POLICIES)),
        )
        if is_round:
            pools[name] = dataclasses.replace(
                pools[name],
                policies=tuple(p for p in pools[name].policies if not isinstance(p, ServiceTime)),
            )

    def edge(callee, caller=None):
        own = draw(policies(EDGE_POLICIES))
        if draw(st.booleans()):
            budget = BUDGETS[draw(st.sampled_from(sorted(BUDGETS)))]
            backoff = draw(st.sampled_from(["fixed", "linear", "exponential"]))
            jitter = draw(st.sampled_from(["none", "full", "equal", "decorrelated"]))
            base = draw(st.sampled_from(["0s", "100ms", "70ms"]))
            own += (
                made(
                    Retry,
                    retries_max=draw(st.integers(0, 4)),
                    backoff=backoff,
                    backoff_base=base,
                    backoff_cap="300ms",
                    jitter=jitter,
                    budget=draw(st.sampled_from([None, budget])),
                ),
            )
        return E(
            callee,
            caller,
            kind=draw(st.sampled_from([REQUIRED, OPTIONAL, ASYNCHRONOUS])) if caller else 3,
            calls=draw(st.sampled_from([0.5, 1.0, 2.5])) if caller else 1.0,
            timeout=draw(st.sampled_from([0.2, 0.4, 1.0] if is_round else [0.21, 0.43, 1.37])),
            retries=draw(st.integers(0, 2)),
            clients=draw(st.sampled_from([1, 3])),
            priority=draw(st.integers(0, 5)),
            policies=own,
        )

    pairs = [(x, y) for x in names for y in names if x != y]
    inner = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=4)) if pairs else []
    return build(pools, [edge("a"), edge(names[-1]), *(edge(y, x) for x, y in inner)])


@given(
    regions(),
    st.sampled_from([15.0, 40.0]),
    st.integers(0, 2**32),
    st.lists(st.floats(0.0, 6.6), max_size=3),
)
def test_any_combination(topology, rate, seed, cuts):
    agree(topology, story(topology, rate=rate), 6.6, seed=seed, cuts=cuts)
