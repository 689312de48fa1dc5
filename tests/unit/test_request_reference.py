"""The SimPy twin of the request fidelity, against cases worked out by hand and closed forms."""

import math

import numpy as np
import pytest

from simulator.errors import InvariantError
from simulator.model import (
    ASYNCHRONOUS,
    CANCEL,
    CONTROL,
    DEADLINE_AWARE,
    LIFO,
    OPTIONAL,
    PER_FIRST_TRY,
    PER_SUCCESS,
    REQUIRED,
)
from simulator.request.reference import RequestReference
from simulator.request.reference.clock import Chance, Clock
from tests.parity.worlds import E, P, build, capacity, demand, tell


def twin(pools, edges, *, seed=1, period_s=1.0):
    rng = np.random.Generator(np.random.PCG64DXSM(seed))
    return RequestReference(build(pools, edges), rng=rng, sample_period_s=period_s, guards=True)


def clockwork(**fields):
    """One processor that serves each attempt in exactly 0.1 s."""
    return P(**{"units": 1, "rate": 10.0, "workers": 1.0, "deterministic": True} | fields)


def operation(callee="a", **fields):
    return E(callee, kind=CONTROL, **fields)


def outcome(plane, edge=0):
    totals = plane.totals()
    return tuple(int(totals[name][edge]) for name in ("first", "ok", "failed", "attempts"))


def test_clock_does_what_is_due_at_the_end_too():
    clock, seen = Clock(), []
    clock.after(1.0, lambda: seen.append("at the end"))
    clock.after(1.0 + 1e-12, lambda: seen.append("behind it"))
    clock.run_through(1.0)
    assert seen == ["at the end"]
    assert clock.now == 1.0


def test_turns_come_one_after_the_other_and_before_other_events():
    clock, seen = Clock(), []

    def first():
        clock.turn().callbacks.append(lambda _: seen.append("turn"))
        seen.append("first")

    clock.after(1.0, first)
    clock.after(1.0, lambda: seen.append("second"))
    clock.run_through(2.0)
    assert seen == ["first", "turn", "second"]


def test_chance_draws_only_what_is_uncertain():
    chance = Chance(key=5)
    assert not chance.happens(0.0)
    assert chance.happens(1.0)
    assert chance.drawn == 0
    draws = np.array([chance.happens(0.3) for _ in range(10_000)])
    assert draws.mean() == pytest.approx(0.3, abs=4.0 * math.sqrt(0.21 / 10_000))


def test_whole_requests_arrive_and_the_rest_waits():
    plane = twin({"a": clockwork()}, [operation(timeout=1.0)])
    plane.inject(0, 2.6)
    plane.inject(0, 1.5)
    plane.advance(0.35)
    assert outcome(plane) == (4, 3, 0, 4)


@pytest.mark.parametrize(
    ("pool", "served"),
    # Six at once, 0.1 s each, timeout 0.25 s: FIFO and LIFO serve two of them in time. A zombie
    # pool works on for all; the others start nobody after the timeout.
    [
        ({}, 6),
        ({"discipline": LIFO}, 6),
        ({"late": CANCEL}, 3),
        ({"late": DEADLINE_AWARE}, 2),
    ],
)
def test_late_work(pool, served):
    plane = twin({"a": clockwork(**pool)}, [operation(timeout=0.25)])
    plane.inject(0, 6.0)
    plane.advance(1.0)
    assert outcome(plane) == (6, 2, 4, 6)
    assert plane.samples()[1][:, 0, 1].sum() == served


def test_full_room_rejects_and_retries_wait_their_backoff():
    # One in service, one waits, the third is rejected at 0, 0.07 and (served at 0.21) 0.14 s.
    edge = operation(timeout=1.0, retries=3, backoff=0.07)
    plane = twin({"a": clockwork(room=1.0)}, [edge])
    plane.inject(0, 3.0)
    plane.advance(1.0)
    assert outcome(plane) == (3, 3, 0, 5)
    assert plane.samples()[1][0, 0, 2] == pytest.approx(3 / 5)


def test_budget_per_first_try_pays_for_part_of_the_retries():
    # No room, so all but the first fail. 0.5 tokens each, 1 at the start and at most: the bucket
    # pays for one retry at once and then for every second.
    edge = operation(retries=1, budget=PER_FIRST_TRY, ratio=0.5, bucket=1.0)
    plane = twin({"a": clockwork(room=0.0)}, [edge])
    plane.inject(0, 1.0)
    for _ in range(8):
        plane.inject(0, 1.0)
    # tokens before the 8 failures: 1, .5, 1, .5, ...: four retries
    assert outcome(plane) == (9, 0, 8, 9 + 4)


def test_budget_per_success_is_spent_for_good_without_successes():
    edge = operation(retries=4, budget=PER_SUCCESS, ratio=1.0, bucket=5.0)
    plane = twin({"a": clockwork(rate=1e-9, room=0.0)}, [edge])
    plane.inject(0, 10.0)
    assert outcome(plane) == (10, 0, 9, 10 + 5)


def test_calls_are_made_one_after_the_other_and_hold_the_worker():
    edges = [E("b", "a", calls=2.0, timeout=1.0), operation(timeout=1.0)]
    plane = twin({"a": clockwork(), "b": clockwork()}, edges, period_s=0.05)
    plane.inject(1, 2.0)
    told = tell(plane, [], 1.0)
    # 0.1 s of own service and 0.2 s of calls each, the second after the first.
    latency = told.plane.samples()[2][:, 1, 1] * 0.05
    assert np.flatnonzero(latency).tolist() == [5, 11]  # samples that end at 0.30 and 0.60 s
    assert outcome(plane, 0) == (4, 4, 0, 4)
    assert plane.outlook(1).latency_s == pytest.approx(0.1 + 0.2 * (1.0 - 0.95**2))


@pytest.mark.parametrize(
    ("kind", "ok", "at_s"), [(REQUIRED, 0, 0.6), (OPTIONAL, 1, 0.6), (ASYNCHRONOUS, 1, 0.1)]
)
def test_what_a_failed_call_does_to_the_request(kind, ok, at_s):
    edges = [E("b", "a", kind=kind, timeout=0.25, retries=1), operation(timeout=2.0)]
    plane = twin({"a": clockwork(), "b": clockwork(rate=0.0)}, edges)
    plane.inject(1, 1.0)
    plane.advance(at_s - 0.02)
    assert plane.totals()["in_flight"][1] == 1
    plane.advance(at_s + 0.02)
    assert plane.totals()["in_flight"][1] == 0
    assert plane.totals()["ok"][1] == ok


def test_shrunken_capacity_lets_services_end():
    plane = twin({"a": clockwork(rate=20.0, workers=2.0)}, [operation(timeout=2.0)])
    plane.inject(0, 4.0)
    plane.set_capacity(0, rate_rps=0.0, workers=2.0, units=1.0)
    plane.advance(1.0)
    assert outcome(plane) == (4, 2, 0, 4)
    plane.set_capacity(0, rate_rps=10.0, workers=1.0, units=1.0)
    plane.advance(1.15)
    assert outcome(plane) == (4, 3, 0, 4)


def test_a_change_of_rate_draws_nothing():
    edges = [E("a", timeout=1.0)]
    slow, fast = (twin({"a": clockwork()}, edges) for _ in range(2))
    tell(slow, [demand(0.0, 0, 4.0)], 30.0)
    tell(
        fast, [demand(t, 0, r) for t, r in ((0.0, 8.0), (5.0, 0.0), (10.0, 2.0), (20.0, 4.0))], 35.0
    )
    assert slow.totals()["first"] == fast.totals()["first"]  # 120 = 40 + 20 + 60 in both


def test_open_queue_is_as_long_as_theory_says():
    # M/M/1 at 0.6: 1.5 present in the mean, variance 3.75, relaxation time about 2 s: the standard
    # error over 3,000 s is 0.07.
    pool = P(units=1, rate=10.0, workers=1e6)
    plane = twin({"a": pool}, [E("a", timeout=1000.0)], period_s=1.5)
    tell(plane, [demand(0.0, 0, 6.0)], 3000.0)
    assert plane.samples()[2][:, 0, 4].mean() == pytest.approx(1.5, abs=0.28)


def test_crossings_stop_the_advance():
    plane = twin({"a": P(units=1, rate=50.0, workers=50.0)}, [E("a", timeout=0.4)])
    watch = plane.watch_edge(0, below=0.9)
    story = [demand(0.0, 0, 30.0), capacity(2.0, 0, 0.0), capacity(4.0, 0, 500.0)]
    told = tell(plane, story, 30.0)
    assert [(c.watch, c.below) for c in told.crossings] == [(watch, True), (watch, False)]
    assert 2.4 < told.crossings[0].t_s < 4.4
    assert told.crossings[1].t_s > 4.0


def test_lost_first_tries_are_noticed():
    plane = twin({"a": clockwork()}, [E("a")])
    plane.set_demand(0, 50.0)
    plane.advance(1.0)
    plane._edges[0].ok += 1
    with pytest.raises(InvariantError, match="not conserved on edge 0"):
        plane.advance(2.0)
