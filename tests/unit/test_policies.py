"""Policies: their rows, their decisions by hand, and the published presets."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from simulator.policies import (
    adaptive_throttling,
    cache,
    circuit_breaker,
    concurrency_limit,
    contention,
    deadline,
    discipline,
    memory_pressure,
    rate_limit,
    retry,
    service_time,
)
from simulator.policies.load_shedding import LoadShedding
from simulator.policies.presets import RETRY_PRESETS
from simulator.policies.retry import Retry
from simulator.policies.service_time import ServiceTime
from simulator.policies.tables import (
    EDGE_COLUMNS,
    EDGE_POLICIES,
    POOL_COLUMNS,
    POOL_POLICIES,
    edge_table,
    pool_table,
    with_columns,
)
from simulator.sampling import Streams


# --------------------------------------------------------------------------- tables
@pytest.mark.parametrize("policy", [*EDGE_POLICIES, *POOL_POLICIES], ids=lambda p: p.__name__)
def test_a_policy_writes_columns_of_its_side_only(policy):
    columns = EDGE_COLUMNS if policy.side == "edge" else POOL_COLUMNS
    assert set(policy.columns) <= set(columns)
    needed = {"limit": 5, "delay": "1s", "rate": "5/s", "hit_max": 0.5, "keys": 10}
    needed |= {"full_attempts": 10, "per_attempt": "0.1s"}
    fields = {n: needed[n] for n, f in policy.model_fields.items() if f.is_required()}
    row = policy.model_validate(fields).row()
    assert set(row) <= set(policy.columns)
    assert all(type(row[name]) is type(policy.columns[name]) for name in row)


def test_absent_policies_are_neutral_and_not_special():
    table = edge_table([{}, {"retries": 3, "budget": 1}, {"breaker": 1}])
    assert table["special"].tolist() == [0, 0, 1]
    assert table["clients"].tolist() == [1, 1, 1]
    table = pool_table([{}, {"service_kind": 1}, {"rejection_work": 0.5}])
    assert table["special"].tolist() == [0, 0, 1]


def test_changed_columns_leave_the_table_as_it_was():
    table = edge_table([{}, {"hedge": 1, "hedge_delay": 0.1}])
    changed = with_columns(table, hedge=0, hedge_delay=0.0, retries=[1, 2])
    assert changed["special"].tolist() == [0, 0]
    assert changed["retries"].tolist() == [1, 2]
    assert table["special"].tolist() == [0, 1]
    assert table["retries"].tolist() == [0, 0]


# --------------------------------------------------------------------------- retries
@pytest.mark.parametrize(
    ("growth", "expected"),
    [
        (retry.FIXED, [0.5, 0.5, 0.5, 0.5]),
        (retry.LINEAR, [0.5, 1.0, 1.5, 2.0]),
        (retry.EXPONENTIAL, [0.5, 1.0, 2.0, 3.0]),
    ],
)
def test_backoff_grows_up_to_its_cap(growth, expected):
    assert [retry.backoff_full(k, 0.5, 3.0, growth) for k in range(4)] == expected


@pytest.mark.parametrize(
    ("jitter", "low", "high"),
    [
        (retry.NONE, 2.0, 2.0),
        (retry.FULL, 0.0, 2.0),
        (retry.EQUAL, 1.0, 2.0),
        (retry.DECORRELATED, 0.5, 2.1),
    ],
)
def test_jitter_spreads_the_delay(jitter, low, high):
    """Attempt 2 of base 0.5 s, exponential; the delay before was 0.7 s."""
    args = (2, 0.5, 10.0, retry.EXPONENTIAL, jitter)
    assert retry.backoff_low(*args) == low
    assert retry.backoff_high(*args, 0.7) == pytest.approx(high)


def test_decorrelated_jitter_starts_from_the_base_and_keeps_to_the_cap():
    args = (0.5, 1.2, retry.FIXED, retry.DECORRELATED)
    assert retry.backoff_high(0, *args, 99.0) == 1.2
    assert retry.backoff_high(3, *args, 0.3) == pytest.approx(0.9)


def test_grpc_throttle_lets_pass_above_half():
    assert retry.throttle_allows(2.1, 4.0)
    assert not retry.throttle_allows(2.0, 4.0)


def test_windowed_budget_pays_for_a_share_and_a_floor():
    assert retry.windowed_balance(1000.0, 150.0, 0.2, 100.0) == pytest.approx(150.0)


@pytest.mark.parametrize("name", RETRY_PRESETS)
def test_presets_are_valid_and_can_be_overridden(name):
    assert Retry(preset=name).retries_max == RETRY_PRESETS[name]["retries_max"]
    assert Retry(preset=name, retries_max=7).retries_max == 7


def test_presets_say_what_their_sources_say():
    finagle = Retry(preset="finagle").budget
    assert finagle is not None
    assert (finagle.ratio, finagle.window, finagle.min_rate) == (0.2, 10.0, 10.0)
    aws = Retry(preset="aws_standard")
    assert (aws.retries_max, aws.backoff_cap, aws.jitter) == (2, 20.0, "full")
    assert Retry(preset="sre_per_request").budget is None
    brooker = Retry(preset="brooker_token_bucket").budget
    assert brooker is not None
    assert (brooker.deposit, brooker.ratio, brooker.bucket) == ("per_first_try", 0.1, 5)


# --------------------------------------------------------------------------- other callers
def test_deadlines_shrink_on_the_way_down():
    """The example of the SRE book: 30 s, 7 s spent, then 4 s."""
    assert deadline.time_left(60.0, 30.0, 7.0, 0.0) == 23.0
    assert deadline.time_left(60.0, 30.0, 11.0, 0.0) == 19.0
    assert deadline.time_left(5.0, 30.0, 11.0, 0.0) == 5.0
    assert deadline.time_left(60.0, 30.0, 29.9, 0.2) <= 0.0


@pytest.mark.parametrize(
    ("requests", "accepts", "expected"),
    [(0.0, 0.0, 0.0), (100.0, 60.0, 0.0), (100.0, 0.0, 100.0 / 101.0), (1000.0, 200.0, 600 / 1001)],
)
def test_refusal_of_adaptive_throttling(requests, accepts, expected):
    assert adaptive_throttling.refusal_probability(requests, accepts, 2.0) == pytest.approx(
        expected
    )


def test_a_breaker_opens_at_its_share_of_enough_calls():
    assert circuit_breaker.opens(100.0, 50.0, 100.0, 0.5)
    assert not circuit_breaker.opens(99.0, 99.0, 100.0, 0.5)
    assert not circuit_breaker.opens(100.0, 49.0, 100.0, 0.5)


def test_a_cache_fills_and_then_stays():
    hit, n = 0.0, 0
    while hit < 0.75:
        hit += cache.filling(hit, 0.8, 100.0)
        n += 1
    assert 100 < n < 400
    assert cache.filling(0.8, 0.8, 100.0) == 0.0


# --------------------------------------------------------------------------- pools
def test_limits_by_hand():
    assert rate_limit.refilled(2.0, 10.0, 5.0, 0.2) == 4.0
    assert rate_limit.refilled(2.0, 10.0, 5.0, 9.0) == 5.0
    assert concurrency_limit.raised(10.0, 5.0, 100.0) == 10.5
    assert concurrency_limit.raised(99.9, 50.0, 100.0) == 100.0
    assert concurrency_limit.lowered(100.0, 0.9, 20.0) == 90.0
    assert concurrency_limit.lowered(21.0, 0.9, 20.0) == 20.0


def test_shedding_fills_up_missing_classes_with_the_last():
    row = LoadShedding(room_frac=(1.0, 0.5)).row()
    assert [row[f"shed_{i}"] for i in range(4)] == [1.0, 0.5, 0.5, 0.5]


def test_slower_with_more_in_the_pool():
    assert contention.contention_factor(0.0, 0.001, 0.1, 5.0) == 1.0
    assert contention.contention_factor(100.0, 0.001, 0.1, 5.0) == pytest.approx(2.0)
    assert contention.contention_factor(1e6, 0.001, 0.1, 5.0) == 5.0
    factors = [memory_pressure.memory_factor(n, 100.0, 300.0, 1.7) for n in (0, 100, 200, 300, 900)]
    assert factors == pytest.approx([1.0, 1.0, 1.35, 1.7, 1.7])


def test_codel_and_lifo_decide_by_the_queue():
    assert discipline.codel_age(10.0, 9.95, 0.1, 0.005) == 0.1
    assert discipline.codel_age(10.0, 9.0, 0.1, 0.005) == 0.005
    assert discipline.serves_youngest(discipline.LIFO, 0.0, 0.0)
    assert discipline.serves_youngest(discipline.ADAPTIVE_LIFO, 11.0, 10.0)
    assert not discipline.serves_youngest(discipline.ADAPTIVE_LIFO, 10.0, 10.0)
    assert not discipline.serves_youngest(discipline.FIFO, 1e9, 0.0)


# --------------------------------------------------------------------------- service times
LAWS = [
    ServiceTime(),
    ServiceTime(kind="deterministic"),
    ServiceTime(kind="lognormal", cv=2.0),
    ServiceTime(kind="bimodal", slow_frac=0.05, slow_factor=20.0),
    ServiceTime(kind="hyperexponential", cv=3.0),
]
SQUARED_CV = [1.0, 0.0, 4.0, 0.05 * 0.95 * 19.0**2 / 1.95**2, 9.0]


def numbers(law):
    row = law.row()
    return int(row["service_kind"]), 0.2, float(row["service_a"]), float(row["service_b"])


@pytest.mark.parametrize(("law", "squared_cv"), list(zip(LAWS, SQUARED_CV, strict=True)))
def test_mean_and_variation_of_service_times(law, squared_cv):
    u = Streams(3).stream("service").random((200_000, 2))
    kind, mean, a, b = numbers(law)
    x = np.array([service_time.draw(kind, mean, a, b, *pair) for pair in u])
    assert x.mean() == pytest.approx(mean, abs=4.5 * x.std() / math.sqrt(len(x)) + 1e-12)
    assert x.var() / mean**2 == pytest.approx(squared_cv, rel=0.12, abs=1e-12)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("slack", [0.01, 0.05, 0.15, 0.2, 0.25, 1.0, 3.0])
def test_share_that_ends_in_time_is_the_distribution_of_the_draws(law, slack):
    u = Streams(4).stream("service").random((40_000, 2))
    kind, mean, a, b = numbers(law)
    share = np.mean([service_time.draw(kind, mean, a, b, *pair) <= slack for pair in u])
    expected = service_time.ends_within(kind, mean, a, b, slack)
    assert share == pytest.approx(expected, abs=4.5 * math.sqrt(0.25 / len(u)))
    assert service_time.ends_within(kind, mean, a, b, 0.0) == 0.0


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (ServiceTime, {"kind": "hyperexponential", "cv": 0.9}),
        (ServiceTime, {"kind": "bimodal", "slow_frac": 0}),
        (Retry, {"preset": "unheard-of"}),
        (Retry, {"retries_max": 11}),
        (LoadShedding, {"room_frac": ()}),
        (memory_pressure.MemoryPressure, {"from_attempts": 5, "full_attempts": 5}),
        (circuit_breaker.CircuitBreaker, {"calls_min": 0}),
        (concurrency_limit.ConcurrencyLimit, {"limit": 0}),
    ],
)
def test_nonsense_is_refused(model, fields):
    with pytest.raises(ValidationError):
        model.model_validate(fields)
