"""Rows about overload: what queue disciplines and blocked callers make of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from simulator.verification import bench
from simulator.verification.bench import (
    C,
    S,
    T,
    averaged,
    caller_mutant,
    chances,
    pool_mutant,
    retry_mutant,
)
from simulator.verification.row import Reading, Row, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.model import Topology
    from simulator.verification.bench import Fields
    from simulator.verification.row import Fidelity


# --------------------------------------------------------------------------------- V17 overload

WELL = 0.95
"""Success share from which ten seconds count as recovered."""


def _overload(fidelity: Fidelity) -> Iterator[Reading]:
    backlog, spare = (2000.0 - C) * 30.0, C - 500.0
    late_s = (backlog - C * (T - S)) / spare
    _, late, lost = _repeated(fidelity, "FIFO", {})
    yield averaged("FIFO: late recovery", late_s, late, 2.0, unit="s")
    yield averaged("FIFO: lost first tries", 87_200.0, lost, within(0.02, 87_200.0))
    well, late, _ = _repeated(fidelity, "LIFO", {"discipline": "lifo"})
    yield averaged("LIFO: success", C / 2000.0, well, 0.01)
    yield averaged("LIFO: late recovery", 0.0, late, 2.0, unit="s")
    well, _, _ = _repeated(fidelity, "K = 850", bench.room(850))
    yield averaged("K = 850: success", 0.39, well, 0.02)


def _repeated(fidelity: Fidelity, name: str, pool: Fields) -> list[tuple[float, ...]]:
    topology = bench.one_pool(of=pool)
    seen = [_overloaded(fidelity, topology, c) for c in chances(f"V17 {name}", fidelity)]
    return list(zip(*seen, strict=True))


def _overloaded(fidelity: Fidelity, topology: Topology, chance: str) -> tuple[float, float, float]:
    """Return (success while overloaded, time to recover, lost first tries)."""
    script = [bench.demand(0.0, 500.0), bench.demand(60.0, 2000.0), bench.demand(90.0, 500.0)]
    rows = bench.played(fidelity, topology, script, 240.0, chance)
    windows = [rows[90 + i : 100 + i] for i in range(140)]
    well = [i for i, w in enumerate(windows) if bench.share(w) >= WELL]
    late_s = float(well[0]) if well else math.nan
    return bench.share(rows[60:90]), late_s, float(rows[:, 2].sum())


V17 = Row(
    id="V17",
    claim="after an overload a FIFO queue works for clients who gave up; LIFO or a short queue "
    "does not",
    formula="FIFO late by (q - C(T-s))/(C - lam); LIFO success C/lam; K: C/lam F(T - K/C)",
    source="derived; a request-level program of its own gave 58 s, 87,200 lost, 0.500, 0.389",
    inputs="2000/s for 30 s on C = 1000/s, before and after 500/s; T = 1 s, no retries",
    fidelities=("flow", "request"),
    measure=_overload,
    mutants=(
        pool_mutant("never LIFO", "request", discipline="fifo"),
        pool_mutant("never LIFO", "flow", discipline="fifo"),
        pool_mutant("no waiting room is kept", "flow", queue_per_unit=None),
        pool_mutant("late work is cancelled", "flow", late_work="cancel"),
    ),
)


# ------------------------------------------------------------------------ V19 expired discard


DISCARDS = (("deadline_aware", 1.0, 0.05), ("zombie", 0.0, 0.01))
AT_AGE_T = ("cancel", 0.0, 0.05)
FINITE = 0.02
"""What a hundred servers answer in time by chance where a fluid answers nothing."""


def _discard(fidelity: Fidelity) -> Iterator[Reading]:
    cases = DISCARDS if fidelity == "flow" else (*DISCARDS, AT_AGE_T)
    for late_work, theory, tolerance in cases:
        topology = bench.one_pool(3, of={"late_work": late_work})
        found = [
            bench.share(bench.played(fidelity, topology, bench.outage(700.0), 300.0, chance)[-60:])
            for chance in chances(f"V19 {late_work}", fidelity)
        ]
        bias = FINITE if late_work == AT_AGE_T[0] else 0.0
        yield averaged(f"success, {late_work}", theory, found, tolerance, bias=bias)


V19 = Row(
    id="V19",
    claim="discarding what cannot be answered in time (age + s > T) ends the bad state",
    formula="success 1 with age + s > T, 0 without; at age > T the wait is pinned at T: near 0",
    source="derived; a request-level program of its own recovers with age + s > T, and has 0.8 % "
    "goodput with age > T",
    inputs="lam = 700/s, r = 3, outage of 5 s",
    fidelities=("flow", "request"),
    measure=_discard,
    mutants=(
        pool_mutant("nothing is discarded", "request", late_work="zombie"),
        pool_mutant("nothing is discarded", "flow", late_work="zombie"),
        pool_mutant("discarded at age T", "flow", late_work="cancel"),
    ),
    note="FIFO with cancel (age > T) is not held to theory in the flow: it stands on a knife's "
    "edge there and keeps some goodput that requests lose (MODEL.md). Requests: goodput is 0 in "
    "the limit of many servers; the bias is what a hundred answer in time by chance.",
)


# -------------------------------------------------------------------------- F4 waiting room

ROOMS = ((850, 1.0), (5000, 0.0))
"""Waiting room below and above C (T - s), and whether the pool recovers."""


def _room(fidelity: Fidelity) -> Iterator[Reading]:
    for requests, theory in ROOMS:
        topology = bench.one_pool(3, of=bench.room(requests))
        found = [
            bench.share(bench.played(fidelity, topology, bench.outage(700.0), 220.0, chance)[-100:])
            for chance in chances(f"F4 {requests}", fidelity)
        ]
        yield averaged(f"success, K = {requests}", theory, found, 0.02)


F4 = Row(
    id="F4",
    claim="overload sustains itself only if the waiting room is above C (T - s)",
    formula="K* = C (T - s) = 900: nothing that is let in times out below it",
    source="derived: what waits K/C is answered in time up to K/C = T - s",
    inputs="C = 1000/s, T = 1 s, s = 0.1 s, r = 3, 700/s, outage of 5 s; K = 850 and 5000",
    fidelities=("flow", "request"),
    measure=_room,
    mutants=(
        pool_mutant("twice the room", "flow", queue_per_unit=lambda k: 2 * k),
        pool_mutant("three times the room", "request", queue_per_unit=lambda k: 3 * k),
    ),
    note="Just above C (T - s) a flow is stuck where requests recover (MODEL.md): not held here.",
)


# --------------------------------------------------------------------------------------- F8 LIFO


def _lifo(fidelity: Fidelity) -> Iterator[Reading]:
    topology = bench.one_pool(3, of={"discipline": "lifo"})
    exact = 1e-3 if fidelity == "flow" else 0.01
    cases = [
        (f"success at {rate:g}/s", C / rate, [bench.demand(0.0, rate)], 0.01)
        for rate in (1300.0, 2500.0)
    ]
    cases += [
        (f"success after an outage, {rate:g}/s", 1.0, bench.outage(rate), exact)
        for rate in (300.0, 700.0, 950.0)
    ]
    for name, theory, script, tolerance in cases:
        found = [
            bench.share(bench.played(fidelity, topology, script, 220.0, chance)[-100:])
            for chance in chances(f"F8 {name}", fidelity)
        ]
        yield averaged(name, theory, found, tolerance)


F8 = Row(
    id="F8",
    claim="last in first out answers C/lam of first tries, retries or not, and has no bad state",
    formula="success min(1, C/lam)",
    source="derived; Maurer, Fail at Scale, ACM Queue 13(8), 2015 (adaptive LIFO)",
    inputs="C = 1000/s, T = 1 s, r = 3; 1300 and 2500/s; outages of 5 s at 300, 700, 950/s",
    fidelities=("flow", "request"),
    measure=_lifo,
    slow=frozenset({"request"}),
    mutants=(
        pool_mutant("first in first out", "request", discipline="fifo"),
        pool_mutant("first in first out", "flow", discipline="fifo"),
    ),
)


# --------------------------------------------------------------------------- F14 blocked callers

WORKERS = 100
CALLER_S = 0.01
BATCH = WORKERS / 1000.0
"""Workers that time out together start together: 1000 s hold one batch more, or less."""


def _blocked(fidelity: Fidelity) -> Iterator[Reading]:
    for r in (0, 1, 3):
        theory = WORKERS / (CALLER_S + (r + 1) * T)
        name = f"callee dead, {r} retries"
        found = [
            _started(fidelity, bench.pool("b"), "1s", c, retries=r, dead=True)
            for c in chances(f"F14 {name}", fidelity)
        ]
        yield averaged(name, theory, found, within(0.05, theory), bias=BATCH, unit="/s")
    for slow_s in (0.5, 1.0, 2.0):
        theory = WORKERS / (CALLER_S + slow_s)
        slow = {"service_time": f"{slow_s:g}s", "service_distribution": "deterministic"}
        callee = bench.pool("b", units=1000, concurrency=1000, unit_rate="100/s", **slow)
        name = f"callee takes {slow_s:g} s"
        found = [_started(fidelity, callee, "10s", c) for c in chances(f"F14 {name}", fidelity)]
        yield averaged(name, theory, found, within(0.05, theory), bias=BATCH, unit="/s")


def _started(
    fidelity: Fidelity,
    callee: Fields,
    timeout: str,
    chance: str,
    *,
    retries: int = 0,
    dead: bool = False,
) -> float:
    """Return what a pool of workers starts per second when its callee keeps them waiting."""
    fields = {"service_time": f"{CALLER_S:g}s", "unit_rate": "10k/s", "queue_per_unit": 10_000}
    caller = bench.pool("a", units=10, concurrency=WORKERS // 10, **fields)
    edge = bench.call("a", "b", timeout, retry=bench.retry(retries))
    topology = bench.build([caller, callee], [bench.service(timeout="30s")], [edge])
    script = [bench.demand(0.0, 500.0, topology.service_edge("s"))]
    if dead:
        script.append(bench.capacity(0.0, 0.0, at=1))
    plane = bench.open_plane(fidelity, topology, chance=chance, period_s=10.0)
    return float(bench.pool_rows(bench.play(plane, script, 1100.0))[-100:, 1].mean())


F14 = Row(
    id="F14",
    claim="callers blocked on a callee are limited by workers over the time that a call holds one",
    formula="workers/(s + E[time of the calls]); all calls timing out: workers/(s + (r+1) T)",
    source="Little, Operations Research 9(3), 1961 (L = lambda W)",
    inputs="100 workers, s = 10 ms, 500/s offered; callee dead (T = 1 s) or slow (T = 10 s); means "
    "of 1000 s",
    note="Workers that are held equally long start in batches: a window of 1000 s may hold one "
    "batch more or less (bias 0.1/s).",
    fidelities=("flow", "request"),
    measure=_blocked,
    slow=frozenset({"request"}),
    mutants=(
        retry_mutant("one retry more", "request", retries_max=lambda r: r + 1),
        retry_mutant("one retry more", "flow", retries_max=lambda r: r + 1),
        caller_mutant("callers do not wait", "flow", kind=lambda _: "asynchronous"),
    ),
)


ROWS = (F4, F8, F14, V17, V19)
