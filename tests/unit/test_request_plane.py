import math

import numpy as np
import pytest

from simulator.errors import InvariantError
from simulator.flow.plane import FlowPlane
from simulator.model import (
    ASYNCHRONOUS,
    CANCEL,
    CONTROL,
    DEADLINE_AWARE,
    LIFO,
    OPTIONAL,
    PER_FIRST_TRY,
    PER_SUCCESS,
)
from simulator.request.memory import processors, whole
from simulator.request.plane import RequestPlane
from tests.parity.worlds import E, P, build, capacity, demand, outage, success, tell


def plane(pools, edges, *, seed=1, period_s=1.0):
    rng = np.random.default_rng(seed)
    return RequestPlane(build(pools, edges), rng=rng, sample_period_s=period_s, guards=True)


def fixed(rate=10.0, s=0.1, **fields):
    """One processor, deterministic: everything can be worked out by hand."""
    return P(
        units=1, rate=rate, workers=fields.pop("workers", 1), s=s, deterministic=True, **fields
    )


# ---------------------------------------------------------------- what is given


@pytest.mark.parametrize(
    ("rate", "s", "count"),
    [(0.0, 0.1, 0), (1000.0, 0.1, 100), (5.0, 0.1, 1), (1001.0, 0.1, 101), (70.0, 0.1, 7)],
)
def test_processors_serve_the_full_rate(rate, s, count):
    assert processors(rate, s) == count


def test_whole_numbers_forgive_the_last_digits():
    assert whole(2.9999999999) == 3
    assert whole(2.9) == 2
    assert whole(math.inf) == 1 << 62


# ---------------------------------------------------------------- worked out by hand


def test_injected_work_is_served_one_after_the_other():
    p = plane({"a": fixed()}, [E("a", kind=CONTROL, timeout=10.0)], period_s=0.5)
    p.inject(0, 2.4)
    p.inject(0, 1.7)  # 4.1 together: four requests, of which each takes 0.1 s
    assert p.totals()["first"][0] == 4
    assert p.samples()[0].size == 0
    p.advance(0.5)
    assert p.totals()["ok"][0] == 4
    assert p.latency_quantiles(0, np.array([0.25, 0.5, 0.75, 1.0])) == pytest.approx(
        [0.1, 0.2, 0.3, 0.4], rel=1 / 32
    )


def test_an_attempt_is_rejected_when_the_room_is_full():
    p = plane({"a": fixed(room=2)}, [E("a", kind=CONTROL, timeout=10.0)], period_s=0.5)
    p.inject(0, 5)  # one in service, two wait, two are rejected
    p.advance(1.0)
    totals = p.totals()
    assert (totals["ok"][0], totals["failed"][0], totals["attempts"][0]) == (3, 2, 5)


def test_retries_come_after_their_backoff_and_no_later():
    # Nothing is served. Timeout 1 s; delays 0.5, 1.0, 1.5: attempts at 0, 1.5, 3.5 and 6.
    edge = E("a", kind=CONTROL, timeout=1.0, retries=3, backoff=0.5, exponential=True, cap=1.5)
    p = plane({"a": fixed()}, [edge])
    p.set_capacity(0, rate_rps=0.0, workers=1.0, units=1.0)
    p.inject(0, 1)
    seen: dict[int, float] = {}
    for tick in range(1, 160):
        p.advance(tick * p.tick_s)
        seen.setdefault(int(p.totals()["attempts"][0]), p.now_s)
    for n, t_s in ((2, 1.5), (3, 3.5), (4, 6.0)):  # seen at the end of the tick
        assert t_s - 1e-9 <= seen[n] <= t_s + p.tick_s + 1e-9
    assert p.totals()["failed"][0] == 1
    assert p.samples()[1][-1, 0, 4] == 4  # the dead wait still


def test_full_jitter_spreads_the_delay_evenly():
    edge = E("a", kind=CONTROL, timeout=1.0, retries=1, backoff=4.0, jitter=True)
    p = plane({"a": fixed()}, [edge], period_s=0.05)
    p.set_capacity(0, rate_rps=0.0, workers=1.0, units=1.0)
    p.inject(0, 4000)
    p.advance(7.0)
    again = p.samples()[2][:, 0, 3] * 0.05
    assert again[20:].sum() == pytest.approx(4000)
    quarters = again[20:100].reshape(4, 20).sum(axis=1)
    assert quarters == pytest.approx([1000] * 4, abs=4 * math.sqrt(750))


@pytest.mark.parametrize(
    ("late", "served", "waiting"), [(0, 5, 0), (CANCEL, 1, 0), (DEADLINE_AWARE, 1, 0)]
)
def test_late_work(late, served, waiting):
    # Five arrive at once, service takes 1 s, timeout 1.5 s: only the first can be answered in time,
    # and the second is in service when its caller gives up. With zombies all five are served;
    # a deadline-aware pool does not even begin the second.
    p = plane({"a": fixed(rate=1.0, s=1.0, late=late)}, [E("a", kind=CONTROL, timeout=1.5)])
    p.inject(0, 5)
    p.advance(10.0)
    _, pools, edges = p.samples()
    assert edges[:, 0, 1].sum() == pytest.approx(1.0 / 0.975 * 0.975, rel=0.05)
    assert round(pools[:, 0, 1].sum() * (10.0 / len(pools))) == served + (late == CANCEL)
    assert pools[-1, 0, 3] == waiting


def test_lifo_serves_the_youngest():
    # Of ten at once the last is served first; FIFO the other way round.
    p = plane({"a": fixed(discipline=LIFO)}, [E("a", kind=CONTROL, timeout=0.35)])
    p.inject(0, 10)
    p.advance(2.0)
    assert p.totals()["ok"][0] == 3
    assert p.samples()[1][-1, 0, 3] == 0


def test_calls_are_made_in_sequence_and_the_worker_is_held():
    # a: 0.1 s, then b (0.2 s) and c (0.3 s): 0.6 s a request. One worker, so 3 requests take 1.8 s.
    pools = {"a": fixed(), "b": fixed(5.0, 0.2), "c": fixed(10 / 3, 0.3)}
    edges = [E("b", caller="a", timeout=4.0), E("c", caller="a", timeout=4.0, kind=OPTIONAL)]
    p = plane(pools, [*edges, E("a", kind=CONTROL, timeout=9.0)], period_s=0.4)
    p.inject(2, 3)
    p.advance(1.7)
    assert p.totals()["ok"][2] == 2
    assert p.samples()[1][0, 0, 6] == 1
    p.advance(2.1)
    assert p.totals()["ok"].tolist() == [3, 3, 3]
    assert p.latency_quantiles(2, 1.0) == pytest.approx(1.8, rel=1 / 32)


def test_asynchronous_calls_do_not_hold():
    pools = {"a": fixed(), "b": fixed(1.0, 1.0)}
    edges = [E("b", caller="a", timeout=9.0, kind=ASYNCHRONOUS, calls=2.0)]
    p = plane(pools, [*edges, E("a", kind=CONTROL, timeout=9.0)])
    p.inject(1, 3)
    p.advance(0.45)
    assert p.totals()["ok"].tolist() == [0, 3]
    assert p.totals()["first"].tolist() == [6, 3]
    p.advance(8.0)
    assert p.totals()["ok"].tolist() == [6, 3]


@pytest.mark.parametrize(("kind", "ok"), [(0, 0), (OPTIONAL, 3), (ASYNCHRONOUS, 3)])
def test_only_a_required_call_fails_the_request(kind, ok):
    pools = {"a": fixed(), "b": fixed(1.0, 1.0)}
    edges = [E("b", caller="a", timeout=0.2, kind=kind or 3), E("a", kind=CONTROL, timeout=9.0)]
    p = plane(pools, edges)
    p.set_capacity(1, rate_rps=0.0, workers=1.0, units=1.0)
    p.inject(1, 3)
    p.advance(3.0)
    assert p.totals()["ok"].tolist() == [0, ok]
    assert p.totals()["failed"].tolist() == [3, 3 - ok]


def test_fractional_calls_are_made_by_chance():
    pools = {"a": P(workers=500.0), "b": P(rate=5000.0, workers=500.0)}
    p = plane(pools, [E("b", caller="a", calls=1.25), E("a")])
    p.set_demand(1, 500.0)
    p.advance(60.0)
    first = p.totals()["first"]
    assert first[0] / first[1] == pytest.approx(1.25, abs=4 * math.sqrt(0.1875 / 30_000) + 0.002)


def test_admission_refuses_first_tries_without_an_attempt():
    p = plane({"a": P()}, [E("a", retries=2)])
    p.set_demand(0, 500.0)
    p.set_admission(0, 0.3)
    p.advance(40.0)
    totals = p.totals()
    assert totals["attempts"][0] == totals["first"][0] - totals["failed"][0]
    assert totals["attempts"][0] / totals["first"][0] == pytest.approx(0.3, abs=0.015)


@pytest.mark.parametrize("budget", [PER_FIRST_TRY, PER_SUCCESS])
def test_a_bucket_pays_for_retries(budget):
    # Nothing is served: the bucket of 10 and a tenth of a token per first try pay for retries.
    edge = E("a", kind=CONTROL, timeout=1.0, retries=3, budget=budget, ratio=0.1, bucket=10)
    p = plane({"a": fixed()}, [edge])
    p.set_capacity(0, rate_rps=0.0, workers=1.0, units=1.0)
    p.inject(0, 30)
    p.advance(1.1)
    assert p.totals()["attempts"][0] == 40
    p.inject(0, 30)
    p.advance(9.0)
    assert p.totals()["attempts"][0] == (73 if budget == PER_FIRST_TRY else 70)


def test_what_is_in_service_ends_when_capacity_goes():
    p = plane({"a": fixed(rate=4.0, s=0.5, workers=2)}, [E("a", kind=CONTROL, timeout=9.0)])
    p.inject(0, 4)
    p.advance(0.45)
    p.set_capacity(0, rate_rps=0.0, workers=2.0, units=1.0)
    p.advance(5.0)
    assert p.totals()["ok"][0] == 2
    p.set_capacity(0, rate_rps=4.0, workers=2.0, units=1.0)
    p.advance(6.0)
    assert p.totals()["ok"][0] == 4


def test_slower_service_is_felt_by_what_starts_later():
    p = plane({"a": fixed()}, [E("a", kind=CONTROL, timeout=99.0)])
    p.inject(0, 2)
    p.set_service_time(0, 1.0)  # the same rate of 10/s with ten processors, but one worker
    p.advance(3.0)
    assert p.latency_quantiles(0, np.array([0.5, 1.0])) == pytest.approx([0.1, 1.1], rel=1 / 32)


# ---------------------------------------------------------------- arrivals


def test_first_tries_are_a_poisson_process_of_the_given_rate():
    p = plane({"a": P()}, [E("a")], period_s=0.5)
    p.set_demand(0, 40.0)
    p.advance(1000.0)
    counts = p.samples()[2][:, 0, 0] * 0.5
    assert counts.mean() == pytest.approx(20.0, abs=4 * math.sqrt(20 / 2000))
    assert counts.var() == pytest.approx(20.0, rel=4 * math.sqrt(2 / 2000))


def test_a_change_of_rate_keeps_what_is_left_of_the_wait():
    # With all the rate changes the process is the same, stretched: no draw is lost or added.
    slow, fast = (plane({"a": P()}, [E("a")], seed=5) for _ in range(2))
    slow.set_demand(0, 50.0)
    slow.advance(200.0)
    for i in range(40):
        fast.set_demand(0, 100.0 if i % 2 else 0.0)
        fast.advance(5.0 * (i + 1))
    assert abs(slow.totals()["first"][0] - fast.totals()["first"][0]) <= 1


# ---------------------------------------------------------------- ticks, books, state


def busy_world():
    pools = {
        "a": P(units=10, rate=500, s=0.05, workers=60, room=200, late=CANCEL),
        "b": P(units=10, rate=900, s=0.02, workers=100, room=50, discipline=LIFO),
        "c": P(units=4, rate=700, workers=50, s=0.01, deterministic=True, late=DEADLINE_AWARE),
    }
    edges = [
        E("b", caller="a", calls=1.3, timeout=0.5, retries=2, backoff=0.1, jitter=True,
          exponential=True, budget=PER_FIRST_TRY),
        E("c", caller="a", kind=OPTIONAL, timeout=0.4, retries=1),
        E("c", caller="b", kind=ASYNCHRONOUS, calls=0.4, timeout=0.3),
        E("a", timeout=1.0, retries=3, backoff=0.2, budget=PER_SUCCESS),
        E("b", timeout=2.0, retries=1, backoff=0.1, jitter=True),
        E("a", kind=CONTROL, timeout=5.0),
    ]  # fmt: skip
    return pools, edges


def busy(seed=5):
    p = plane(*busy_world(), seed=seed)
    p.watch_edge(3, below=0.9)
    p.watch_pool(1, below=0.8)
    return p


BUSY = [
    demand(0.0, 3, 300.0),
    demand(0.0, 4, 200.0),
    (0.0, "inject", {"edge": 5, "requests": 20.5}),
    (0.0, "set_admission", {"edge": 4, "frac": 0.9}),
    (10.0, "set_capacity", {"pool": 0, "rate_rps": 50.0, "workers": 6.0, "units": 1.0}),
    demand(10.0, 4, 700.0),
    (20.0, "set_capacity", {"pool": 0, "rate_rps": 500.0, "workers": 60.0, "units": 10.0}),
    (20.0, "set_service_time", {"pool": 1, "service_s": 0.04}),
]


def same(a, b):
    pairs = [*zip(a.samples(), b.samples(), strict=True)]
    pairs += [(a.totals()[k], b.totals()[k]) for k in a.totals()]
    pairs += [(a.latency_counts(e), b.latency_counts(e)) for e in range(6)]
    return all(np.array_equal(x, y) for x, y in pairs)


def test_splitting_an_advance_changes_no_bit():
    a, b = busy(), busy()
    one = tell(a, BUSY, 40.0)
    steps = [(t, "set_admission", {"edge": 3, "frac": 1.0}) for t in np.arange(0.0, 40.0, 0.37)]
    two = tell(b, sorted([*BUSY, *steps], key=lambda c: c[0]), 40.0)
    assert one.crossings == two.crossings != []
    assert same(a, b)
    assert not same(a, tell(busy(seed=6), BUSY, 40.0).plane)


def test_a_saved_run_goes_on_bit_by_bit():
    a = busy()
    tell(a, BUSY, 15.0)
    b = busy(seed=9)
    b.restore(a.save())
    for p in (a, b):
        p.set_demand(3, 400.0)
        while p.advance(40.0) is not None:
            pass
    assert same(a, b)
    other = plane({"a": P()}, [E("a")])
    with pytest.raises(ValueError, match="another region"):
        other.restore(a.save())


def test_guards_notice_a_lost_request():
    p = plane({"a": P()}, [E("a")])
    p.set_demand(0, 900.0)
    p.advance(5.0)
    p.arrays.edges["first"][0] += 1
    with pytest.raises(InvariantError, match="not conserved on edge 0"):
        p.advance(6.0)


def test_a_backlog_of_a_million_attempts():
    p = plane({"a": fixed(rate=1.0, s=1.0)}, [E("a", kind=CONTROL, timeout=9.0, retries=1)])
    p.inject(0, 700_000)
    p.advance(17.0)
    # 8 answers before the timeouts at 9 s, which all retry; 17 services have begun
    assert p.totals()["in_flight"][0] == 700_000 - 8
    assert p.samples()[1][-1, 0, 3] == 700_000 - 17 + 700_000 - 8
    assert p.samples()[1][-1, 0, 4] == 700_000 - 17


def test_a_region_without_edges_and_a_pool_without_callers():
    p = plane({"a": P()}, [], period_s=1.5)
    assert p.advance(30.0) is None
    _, pools, edges = p.samples()
    assert pools.shape == (20, 1, 7)
    assert edges.shape == (20, 0, 5)
    assert (pools[:, 0, 2] == 1.0).all()


def test_ten_thousand_attempts_start_at_one_instant():
    p = plane({"a": P(units=1, rate=1e5, workers=1e4, s=0.1)}, [E("a", kind=CONTROL, timeout=9.0)])
    p.set_capacity(0, rate_rps=0.0, workers=1e4, units=1.0)
    p.inject(0, 30_000)
    p.advance(1.0)
    p.set_capacity(0, rate_rps=1e5, workers=1e4, units=1.0)
    assert p.arrays.pools["busy"][0] == 10_000
    p.advance(5.0)
    assert p.totals()["ok"][0] == 30_000


def test_a_hopeless_attempt_is_dropped_on_arrival():
    p = plane({"a": fixed(late=DEADLINE_AWARE)}, [E("a", kind=CONTROL, timeout=0.09)])
    p.inject(0, 3)
    p.advance(1.0)
    assert p.totals()["failed"][0] == 3
    assert p.samples()[1][:, 0, 1].sum() == 0.0


def test_outlook():
    p = plane({"a": fixed(room=2)}, [E("a", kind=CONTROL, timeout=10.0)])
    free = p.outlook(0)
    assert (free.accept_frac, free.wait_s, free.success_frac) == (1.0, 0.0, 1.0)
    assert free.latency_s == pytest.approx(0.1)
    p.inject(0, 3)
    full = p.outlook(0)
    assert (full.accept_frac, full.wait_s) == (0.0, pytest.approx(0.2))
    p.set_capacity(0, rate_rps=0.0, workers=0.0, units=0.0)
    assert p.outlook(0).wait_s == math.inf


# ---------------------------------------------------------------- against the flow, and theory


@pytest.mark.parametrize(
    ("retries", "load", "comes_back"),
    [(1, 0.95, True), (1, 1.05, False), (3, 0.95, True), (3, 1.05, False)],
)
def test_the_bad_state_lives_above_capacity_by_attempts(retries, load, comes_back):
    # Theory F3: FIFO with zombies sustains itself iff (r + 1) * load > C.
    edges = [E("a", retries=retries)]
    rate = load * 1000.0 / (retries + 1)
    p = plane({"a": P()}, edges)
    flow = FlowPlane(build({"a": P()}, edges), sample_period_s=1.0)
    for one in (p, flow):
        tell(one, outage(rate), 300.0)
        assert (success(one) > 0.9) is comes_back


def test_lifo_serves_what_it_can_in_overload():
    # Theory F8: success C / load.
    p = plane({"a": P(discipline=LIFO)}, [E("a")])
    tell(p, [demand(0.0, 0, 2000.0)], 60.0)
    assert success(p) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("shed", "recovery_s"), [(100.0, 9), (150.0, 12), (200.0, 21)])
def test_recovery_after_shedding(shed, recovery_s):
    # Theory F6: 5,000 wait, FIFO with zombies and 3 retries; then demand is cut.
    p = plane({"a": P(room=5000.0)}, [E("a", retries=3)])
    script = [*outage(700.0), demand(60.0, 0, shed)]
    tell(p, script, 120.0)
    rows = p.samples()[2][:, 0]
    good = rows[:, 1] >= 0.95 * (rows[:, 1] + rows[:, 2])
    back = 1 + max(i for i in range(len(good)) if not good[i])
    assert back - 60 == pytest.approx(recovery_s, abs=2)


def test_waiting_time_of_a_pool_without_retries():
    # Erlang C for 50 servers at 80 %: mean wait 86.95 us; mean number in service 40.
    p = plane({"a": P(units=1, rate=5000.0, workers=50.0, s=0.01)}, [E("a", timeout=5.0)])
    p.set_demand(0, 4000.0)
    p.advance(10.0)
    before = p.arrays.edges[0].copy()
    p.advance(200.0)
    edge = p.arrays.edges[0]
    mean = (edge["latency_sum"] - before["latency_sum"]) / (edge["ok"] - before["ok"])
    assert mean == pytest.approx(0.01 + 86.95e-6, abs=4 * 0.012 / math.sqrt(760_000))
    assert p.latency_quantiles(0, 0.5) == pytest.approx(0.01 * math.log(2), rel=0.03)


def test_an_outage_against_the_flow():
    # A trigger that passes: queue, lost first tries and recovery of both fidelities agree.
    pools = {"a": P(units=100, rate=10_000.0, workers=1000.0, s=0.1)}
    edges = [E("a", retries=2, backoff=0.5)]
    script = [demand(0.0, 0, 2500.0), capacity(20.0, 0, 4000.0), demand(20.0, 0, 6000.0),
              capacity(30.0, 0, 10_000.0), demand(30.0, 0, 2500.0)]  # fmt: skip
    rows = []
    for one in (plane(pools, edges), FlowPlane(build(pools, edges), sample_period_s=1.0)):
        tell(one, script, 80.0)
        rows.append((one.samples()[1][:, 0, 3], one.totals()))
    (queue, totals), (flow_queue, flow_totals) = rows
    assert queue[-1] < 100.0
    # what is in service (400 to 1,000 attempts of 100,000) is not in the queue of requests
    assert math.sqrt(np.mean((queue - flow_queue) ** 2)) < 0.03 * flow_queue.max()
    assert totals["failed"][0] == pytest.approx(flow_totals["failed"][0], rel=0.03)
    assert totals["attempts"][0] == pytest.approx(flow_totals["attempts"][0], rel=0.03)
