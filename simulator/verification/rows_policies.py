"""Rows about policies: what callers and pools do against overload, and what it costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from simulator.policies import adaptive_throttling, deadline
from simulator.policies import retry as retries
from simulator.verification import bench
from simulator.verification import closed_forms as forms
from simulator.verification.bench import (
    EXACT,
    C,
    averaged,
    caller_mutant,
    chances,
    form_mutant,
    pool_mutant,
    retry_mutant,
)
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.contract import DataPlane
    from simulator.model import Topology
    from simulator.verification.bench import Change
    from simulator.verification.row import Fidelity

# ------------------------------------------------------------------------ V12 adaptive throttling

SMALL_C = 100.0
THROTTLED = ((2.0, 500.0, 200.0, 0.6), (1.1, 200.0, 110.0, 0.45))
"""K, load, load of the backend, share refused by the client."""
SETTLED_S = 3000
END_S = 4200


def _throttled(fidelity: Fidelity) -> Iterator[Reading]:
    for k, lam, backend, refused in THROTTLED:
        name = f"K = {k:g}, {lam:g}/s"
        if fidelity == "formula":
            sent, share = forms.throttled_load(k, lam, SMALL_C)
            yield Reading(f"backend, {name}", backend, sent, EXACT, unit="/s")
            yield Reading(f"refused, {name}", refused, share, EXACT)
            # The client's own rule, at its fixed point over two minutes.
            rule = adaptive_throttling.refusal_probability(120.0 * lam, 120.0 * SMALL_C, k)
            yield Reading(f"refused by the rule, {name}", refused, rule, within(0.02, refused))
            continue
        seen = [_backend(fidelity, k, lam, c) for c in chances(f"V12 {name}", fidelity)]
        yield averaged(f"backend, {name}", backend, seen, within(0.02, backend), unit="/s")
        shares = [1.0 - rate / lam for rate in seen]
        yield averaged(f"refused, {name}", refused, shares, within(0.02, refused))


def _backend(fidelity: Fidelity, k: float, lam: float, chance: str) -> float:
    """Return what a pool is offered whose client throttles itself."""
    pool = bench.pool(units=1, concurrency=10, service_time="100ms", queue_per_unit=80)
    client = bench.service(timeout="2s", adaptive_throttling={"k": k})
    plane = bench.open_plane(fidelity, bench.build([pool], [client]), chance=chance)
    bench.play(plane, [bench.demand(0.0, lam)], END_S)
    return float(bench.pool_rows(plane)[SETTLED_S:, 0].mean())


_REFUSAL = adaptive_throttling.refusal_probability

V12 = Row(
    id="V12",
    claim="a client that throttles itself sends its backend at most K times what that accepts",
    formula="backend min(lam, K C), refused 1 - K C/lam",
    source="Beyer et al., Site Reliability Engineering, 2016, ch. 21",
    inputs="C = 100/s; K = 2 at 500/s, K = 1.1 at 200/s; window 2 min, means of 20 min after 50",
    fidelities=("formula", "flow", "request"),
    measure=_throttled,
    slow=frozenset({"request"}),
    mutants=(
        caller_mutant("K = 1.5", "request", adaptive_throttling={"k": 1.5}),
        form_mutant("K is forgotten", "throttled_load", lambda k, lam, c: (c, 1.0 - c / lam)),
        Mutant(
            "accepts count once",
            lambda: replaced(
                adaptive_throttling, "refusal_probability", lambda r, a, k: _REFUSAL(r, a, k / k)
            ),
            "formula",
        ),
        caller_mutant("K = 1.5", "flow", adaptive_throttling={"k": 1.5}),
    ),
    note="A client that starts cold has asked more often than it was answered: with K = 1.1 it "
    "throttles itself at first and lets through a tenth more in each window, for half an hour.",
)


# --------------------------------------------------------------------------- V13 gRPC's throttle


def _throttle(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "direct":
        yield from _throttle_sequence()
        return
    # All fails, so tokens only fall: half of the bucket, less the one that stops it, is retried.
    topology = bench.one_pool(4, "10ms", budget=bench.budget("throttle", 0.1))
    script = [bench.demand(0.0, 100.0), bench.capacity(0.0, 0.0)]
    plane = bench.play(bench.open_plane(fidelity, topology), script, 60.0)
    totals = plane.totals()
    granted = float(totals["attempts"][0] - totals["first"][0])
    tolerance = 0.5 if fidelity == "request" else 1.5
    yield Reading("retries while all fails, bucket 100", 49.0, granted, tolerance)


def _throttle_sequence() -> Iterator[Reading]:
    """Go through the test vector: bucket 4, ratio 1.6; fail, succeed, fail, fail."""
    tokens = 4.0
    answers = []
    for good in (False, True, False, False):
        tokens = min(4.0, tokens + 1.6) if good else max(0.0, tokens - 1.0)
        answers.append(retries.throttle_allows(tokens, 4.0))
    for i, expected in ((0, 1.0), (2, 1.0), (3, 0.0)):
        yield Reading(f"retry after attempt {i + 1}", expected, float(answers[i]), 0.0)


V13 = Row(
    id="V13",
    claim="gRPC's throttle lets retries pass while more than half of the bucket is there",
    formula="tokens -1 a failure, +ratio a success; retry if tokens > bucket/2",
    source="gRPC proposal A6 and its test vector",
    inputs="bucket 4, ratio 1.6: fail, succeed, fail, fail; and a dead pool, bucket 100",
    fidelities=("direct", "flow", "request"),
    measure=_throttle,
    mutants=(
        retry_mutant(
            "an ordinary bucket", "request", budget=lambda b: b | {"deposit": "per_success"}
        ),
        Mutant(
            "half a bucket is enough",
            lambda: replaced(retries, "throttle_allows", lambda tokens, b: tokens >= 0.5 * b),
            "direct",
        ),
        retry_mutant("an ordinary bucket", "flow", budget=lambda b: b | {"deposit": "per_success"}),
    ),
)


# ---------------------------------------------------------------------------- V22 costly rejection

COSTLY = ((0.5, 1, 0.888889), (0.5, 3, 0.5), (0.2, 3, 0.8836))
"""φ, retries, threshold in units of C."""


def _rejection(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "formula":
        for phi, r, printed in COSTLY:
            found = forms.costly_rejection_threshold(phi, r)
            yield Reading(f"lam*/C, phi = {phi:g}, r = {r}", printed, found, 1e-4)
        return
    theory = C * forms.costly_rejection_threshold(0.5, 1)
    costly = {"rejection": {"work": 0.5}}
    topology = bench.one_pool(1, "500ms", of=bench.room(300) | costly)
    if fidelity == "request":
        topology = bench.one_pool(1, "2s", jitter="full", of=bench.room(200) | costly)
        for rate, recovered in ((844.0, 1.0), (933.0, 0.0)):
            name = f"runs that recover at {rate:g}/s"
            states = bench.recoveries(topology, _burst(rate), 400.0, f"V22 {name}")
            yield averaged(name, recovered, states, 0.1)
        return

    def recovers(rate: float) -> bool:
        plane = bench.open_plane(fidelity, topology)
        return bench.last_share(bench.play(plane, _burst(rate), 1000.0), 100) > WELL

    observed = bench.boundary(recovers, 500.0, 990.0)
    yield Reading("lam*", theory, observed, within(0.05, theory), unit="/s")


WELL = 0.9


def _burst(rate: float) -> list[Change]:
    return [bench.demand(0.0, rate), bench.demand(20.0, 3000.0), bench.demand(30.0, rate)]


V22 = Row(
    id="V22",
    claim="rejections that cost work sustain an overload that a short queue would end",
    formula="lam* = C/max_p (1 - p^(r+1)) (1 + phi p/(1 - p)); r = 1: C/(1 + phi^2/(4 (1 - phi)))",
    source="derived; slow error paths: Bronson et al., HotOS 2021. A request-level program of its "
    "own recovers at 844/s and collapses at 933/s",
    inputs="phi = .5, r = 1, C = 1000/s, K = 300, backoff 500 ms, 3000/s for 10 s (requests: K = "
    "200, full jitter up to 2 s, ten runs each of 400 s)",
    fidelities=("formula", "flow", "request"),
    measure=_rejection,
    slow=frozenset({"request"}),
    mutants=(
        pool_mutant("a rejection costs nothing", "request", rejection={"work": 0.0}),
        form_mutant(
            "a rejection costs nothing", "costly_rejection_threshold", lambda _phi, _r: 1.0
        ),
        pool_mutant("a rejection costs nothing", "flow", rejection={"work": 0.0}),
        pool_mutant("a rejection costs a service", "flow", rejection={"work": 1.0}),
    ),
    note="The formula takes a retry's chance of rejection as that of a first try. Requests with a "
    "fixed backoff come back in step with the swings of the queue: at 933/s the bad state then "
    "ends within minutes, at 960/s it does not (any size of the pool). Full jitter makes the "
    "chances independent. K = 200 keeps the wait below T while rejections take most of C.",
)


# ------------------------------------------------------------------------ V44 deadline propagation

LEFT_S = (23.0, 19.0)


def _deadline(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "direct":
        for spent_s, left_s in ((7.0, LEFT_S[0]), (11.0, LEFT_S[1])):
            found = deadline.time_left(math.inf, 30.0, spent_s, 0.0)
            yield Reading(f"left after {spent_s:g} s", left_s, found, 0.0, unit="s")
        return
    plane, topology = _chain_of_three(fidelity)
    for callee, left_s in zip("bc", LEFT_S, strict=True):
        edge = next(
            e
            for e in range(topology.n_edges)
            if topology.edge_callee[e] == topology.pool(callee) and topology.edge_caller[e] >= 0
        )
        observed = bench.mean_time_s(plane, edge)
        yield Reading(f"a call to {callee} waits", left_s, observed, 0.01, unit="s")


def _chain_of_three(fidelity: Fidelity) -> tuple[DataPlane, Topology]:
    """Let a request spend 7 s at a, its call 4 s at b, and wait for c, which does not answer."""
    plain = {"service_distribution": "deterministic", "units": 100, "concurrency": 100}
    pools = [
        bench.pool("a", service_time="7s", **plain),
        bench.pool("b", service_time="4s", **plain),
        bench.pool("c", service_time="1s", **plain),
    ]
    calls = [bench.call(x, y, "100s", deadline={}) for x, y in ("ab", "bc")]
    topology = bench.build(pools, [bench.service(entry="a", timeout="30s")], calls)
    script = [
        bench.demand(0.0, 10.0, topology.service_edge("s")),
        bench.capacity(0.0, 0.0, at=2, workers=10_000.0, units=100.0),
    ]
    plane = bench.open_plane(fidelity, topology)
    return bench.play(plane, script, 200.0), topology


V44 = Row(
    id="V44",
    claim="a call inherits what is left of the time of the request that it serves",
    formula="timeout min(own, deadline - now): 30 s, 7 s spent: 23 s; 4 s more: 19 s",
    source="Beyer et al., Site Reliability Engineering, 2016, ch. 22",
    inputs="30 s; 7 s of service at a, 4 s at b, c does not answer",
    fidelities=("direct", "request"),
    measure=_deadline,
    mutants=(
        caller_mutant("no deadline is passed on", "request", deadline=lambda _: None),
        Mutant(
            "the deadline is forgotten",
            lambda: replaced(deadline, "time_left", lambda timeout, *_: timeout),
            "direct",
        ),
    ),
)


ROWS = (V12, V13, V22, V44)
