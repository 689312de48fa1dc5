"""Rows about overload: when it sustains itself, how it ends, and what disciplines make of it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from simulator.verification import bench
from simulator.verification import closed_forms as forms
from simulator.verification.bench import (
    UNITS,
    C,
    S,
    T,
    caller_mutant,
    form_mutant,
    one_less,
    pool_mutant,
    retry_mutant,
)
from simulator.verification.row import Reading, Row, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from simulator.model import Topology
    from simulator.verification.bench import Change, Fields
    from simulator.verification.row import Fidelity


def room(requests: int) -> Fields:
    """Return the waiting room of the standard pool as in a region file."""
    return {"queue_per_unit": requests // UNITS}


def played(
    fidelity: Fidelity, topology: Topology, script: list[Change], end_s: float
) -> np.ndarray:
    """Return the rows of the service, second by second."""
    return bench.edge_rows(bench.play(bench.open_plane(fidelity, topology), script, end_s))


# ------------------------------------------------------------------- V14 sustained overload


def _threshold(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "formula":
        for r, printed in ((1, 500.0), (2, 333.333), (3, 250.0)):
            yield Reading(
                f"lam*, {r} retries", printed, forms.sustained_threshold(C, r), 1e-3, unit="/s"
            )
        return
    yield from (_threshold_in_flow(r) for r in (1, 2, 3))
    # The outage must be long enough to bring the bad state about in the first place.
    yield _threshold_in_flow(3, "2s", outage_s=20.0)
    yield _threshold_in_flow(3, "1s", outage_s=20.0, growth="exponential")


def _threshold_in_flow(
    retries: int, delay: str = "0s", *, outage_s: float = 5.0, growth: str = "fixed"
) -> Reading:
    jitter = "none" if growth == "fixed" else "full"
    topology = bench.one_pool(retries, delay, backoff=growth, jitter=jitter)
    theory = forms.sustained_threshold(C, retries)

    def recovers(rate: float) -> bool:
        script = bench.outage(rate, outage_s)
        return bench.is_well(bench.play(bench.open_plane("flow", topology), script, 1520.0))

    observed = bench.boundary(recovers, 0.5 * theory, min(1.9 * theory, 990.0))
    name = f"lam*, {retries} retries, {growth} backoff {delay}"
    return Reading(name, theory, observed, within(0.05, theory), unit="/s")


V14 = Row(
    id="V14",
    claim="with zombies in a FIFO queue, overload sustains itself above C/(r+1), whatever the "
    "backoff",
    formula="lam* = C/(r+1)",
    source="Huang et al., Metastable Failures in the Wild, OSDI 2022, theorem 2 with w_L* = r+1",
    inputs="C = 1000/s, T = 1 s, outage of 5 s (20 s with backoff), 25 min to come back",
    fidelities=("formula", "flow"),
    measure=_threshold,
    mutants=(
        form_mutant("C/r", "sustained_threshold", lambda c, r: c / r),
        retry_mutant("one retry more", "flow", retries_max=lambda r: r + 1),
        retry_mutant("one retry less", "flow", retries_max=one_less),
        pool_mutant("last in first out", "flow", discipline="lifo"),
    ),
)


# ---------------------------------------------------------------------------- V15 hysteresis

STEP_S = 60
SEEN_S = 20
"""Of each step the last seconds count."""
HALF = 0.5
"""Success share between the good state and the bad one."""


def _hysteresis(fidelity: Fidelity) -> Iterator[Reading]:
    up = [float(x) for x in range(100, 1101, 50)]
    rates = up + up[-2::-1]
    topology = bench.one_pool(3, of=room(5000))
    script = [bench.demand(STEP_S * i, rate) for i, rate in enumerate(rates)]
    rows = played(fidelity, topology, script, STEP_S * len(rates))
    ends = range(STEP_S, STEP_S * len(rates) + 1, STEP_S)
    well = [bench.share(rows[end - SEEN_S : end]) > HALF for end in ends]
    falls = next((rate for rate, good in zip(rates, well, strict=True) if not good), math.nan)
    turns = [b for (a, b) in pairwise(range(len(rates))) if well[b] and not well[a]]
    back = rates[turns[0]] if turns else math.nan
    yield Reading("collapse on the way up", C, falls, 50.0, unit="/s")
    yield Reading("recovery on the way down", 225.0, back, 25.0, unit="/s")


V15 = Row(
    id="V15",
    claim="a pool that collapses at C comes back only below C/(r+1)",
    formula="up: lam = C; down: lam = C/(r+1), between the steps 250/s and 200/s",
    source="Huang et al., OSDI 2022, theorem 2; Bronson et al., HotOS 2021 (hidden capacity)",
    inputs="r = 3, K = 5000, load from 100/s to 1100/s and back in steps of 50/s, 60 s each",
    fidelities=("flow",),
    measure=_hysteresis,
    mutants=(
        retry_mutant("retries ignored", "flow", retries_max=0),
        retry_mutant("one retry less", "flow", retries_max=one_less),
    ),
)


# ------------------------------------------------------------------------- V16 shed and recover

SHED = ((100.0, 9.0), (150.0, 12.0), (200.0, 21.0), (225.0, 41.0))
SHED_AT_S = 60


def _shed(fidelity: Fidelity) -> Iterator[Reading]:
    topology = bench.one_pool(3, "50ms", of=room(5000))
    for to_rps, theory in SHED:
        script = [*bench.outage(700.0, start_s=10.0), bench.demand(SHED_AT_S, to_rps)]
        rows = played(fidelity, topology, script, 300.0)[SHED_AT_S:]
        good = rows[:, 1] >= 0.9 * rows[:, 0]
        well = [i for i in range(len(good) - 10) if good[i : i + 10].all()]
        observed = float(well[0]) if well else math.nan
        yield Reading(f"recovery at {to_rps:g}/s", theory, observed, 2.0, unit="s")


V16 = Row(
    id="V16",
    claim="after shedding below C/(r+1) the backlog is worked off with what is left of C",
    formula="(K - C (T - s))/(C - (r+1) lam'), and about T for the last attempts",
    source="derived; a request-level program of its own gave 9, 12, 21, 41 s",
    inputs="K = 5000, r = 3, backoff 50 ms, 700/s, outage of 5 s, shed to lam' 45 s later",
    fidelities=("flow",),
    measure=_shed,
    mutants=(
        pool_mutant("half the room", "flow", queue_per_unit=lambda k: k // 2),
        pool_mutant("late work is cancelled", "flow", late_work="cancel"),
    ),
)


# --------------------------------------------------------------------------------- V17 overload

WELL = 0.95
"""Success share from which ten seconds count as recovered."""


def _overload(fidelity: Fidelity) -> Iterator[Reading]:
    _, late_s, lost = _overloaded(fidelity, bench.one_pool())
    backlog, spare = (2000.0 - C) * 30.0, C - 500.0
    theory = (backlog - C * (T - S)) / spare
    yield Reading("FIFO: late recovery", theory, late_s, 2.0, unit="s")
    yield Reading("FIFO: lost first tries", 87_200.0, lost, within(0.02, 87_200.0))
    well, late_s, _ = _overloaded(fidelity, bench.one_pool(of={"discipline": "lifo"}))
    yield Reading("LIFO: success", C / 2000.0, well, 0.01)
    yield Reading("LIFO: late recovery", 0.0, late_s, 2.0, unit="s")
    well, _, _ = _overloaded(fidelity, bench.one_pool(of=room(850)))
    yield Reading("K = 850: success", 0.39, well, 0.02)


def _overloaded(fidelity: Fidelity, topology: Topology) -> tuple[float, float, float]:
    """Return (success while overloaded, time to recover, lost first tries)."""
    script = [bench.demand(0.0, 500.0), bench.demand(60.0, 2000.0), bench.demand(90.0, 500.0)]
    rows = played(fidelity, topology, script, 240.0)
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
    fidelities=("flow",),
    measure=_overload,
    mutants=(
        pool_mutant("never LIFO", "flow", discipline="fifo"),
        pool_mutant("no waiting room is kept", "flow", queue_per_unit=None),
        pool_mutant("late work is cancelled", "flow", late_work="cancel"),
    ),
)


# -------------------------------------------------------------------------- V18 tipping duration

TIPPING = ((300.0, 2.14), (500.0, 1.44), (700.0, 1.07), (900.0, 0.85))


def _tipping(fidelity: Fidelity) -> Iterator[Reading]:
    topology = bench.one_pool(3)
    for rate, theory in TIPPING:

        def recovers(length_s: float, rate: float = rate) -> bool:
            script = bench.outage(rate, length_s)
            return bench.is_well(bench.play(bench.open_plane(fidelity, topology), script, 100.0))

        observed = bench.boundary(recovers, 0.4 * theory, 2.0 * theory)
        yield Reading(f"D* at {rate:g}/s", theory, observed, within(0.05, theory), unit="s")


V18 = Row(
    id="V18",
    claim="a full outage of more than D* tips the pool into the bad state for good",
    formula="D*: solution of the age-structured fluid, steps of T/100",
    source="derived; the envelope of the step is in MODEL.md (E17)",
    inputs="C = 1000/s, T = 1 s, s = 0.1 s, r = 3; 300, 500, 700, 900/s",
    fidelities=("flow",),
    measure=_tipping,
    mutants=(
        caller_mutant("longer timeout", "flow", timeout="1.2s"),
        retry_mutant("backoff of 2 s", "flow", backoff_base="2s"),
        pool_mutant("longer service", "flow", service_time="200ms", unit_rate="100/s"),
    ),
)


# ------------------------------------------------------------------------ V19 expired discard


def _discard(fidelity: Fidelity) -> Iterator[Reading]:
    for late_work, theory, tolerance in (("deadline_aware", 1.0, 0.05), ("zombie", 0.0, 0.01)):
        topology = bench.one_pool(3, of={"late_work": late_work})
        rows = played(fidelity, topology, bench.outage(700.0), 300.0)
        yield Reading(f"success, {late_work}", theory, bench.share(rows[-20:]), tolerance)


V19 = Row(
    id="V19",
    claim="discarding what cannot be answered in time (age + s > T) ends the bad state",
    formula="success 1 with the discard, 0 without",
    source="derived; a request-level program of its own recovers with age + s > T, and has 0.8 % "
    "goodput with age > T",
    inputs="lam = 700/s, r = 3, outage of 5 s",
    fidelities=("flow",),
    measure=_discard,
    mutants=(
        pool_mutant("nothing is discarded", "flow", late_work="zombie"),
        pool_mutant("discarded at age T", "flow", late_work="cancel"),
    ),
    note="FIFO with cancel (age > T) is not held to theory in the flow: it stands on a knife's "
    "edge there and keeps some goodput that requests lose (MODEL.md).",
)


# ------------------------------------------------------------------------------ V23 traffic stop


def _stop(fidelity: Fidelity) -> Iterator[Reading]:
    topology = bench.one_pool(3, "50ms", of=room(5000))

    def stuck(stop_s: float) -> bool:
        script = [
            *bench.outage(700.0, start_s=10.0),
            bench.demand(60.0, 0.0),
            bench.demand(60.0 + stop_s, 700.0),
        ]
        return not bench.is_well(bench.play(bench.open_plane(fidelity, topology), script, 200.0))

    observed = bench.boundary(stuck, 4.0, 8.0, steps=5)
    yield Reading("shortest stop", 5.5, observed, 0.5, unit="s")


V23 = Row(
    id="V23",
    claim="a full traffic stop must last longer than the queue q/C and the pending retries",
    formula="q/C = 5 s is not enough, 6 s is",
    source="derived; a request-level program of its own stays stuck after 5 s and recovers after "
    "6 s",
    inputs="5000 zombies, C = 1000/s, 700/s back at once, r = 3, backoff 50 ms",
    fidelities=("flow",),
    measure=_stop,
    mutants=(
        pool_mutant("half the room", "flow", queue_per_unit=lambda k: k // 2),
        retry_mutant("backoff of 2 s", "flow", backoff_base="2s"),
    ),
)


# --------------------------------------------------------------------------------------- F8 LIFO


def _lifo(fidelity: Fidelity) -> Iterator[Reading]:
    topology = bench.one_pool(3, of={"discipline": "lifo"})
    for rate in (1300.0, 2500.0):
        rows = played(fidelity, topology, [bench.demand(0.0, rate)], 200.0)
        yield Reading(f"success at {rate:g}/s", C / rate, bench.share(rows[-20:]), 0.01)
    for rate in (300.0, 700.0, 950.0):
        rows = played(fidelity, topology, bench.outage(rate), 120.0)
        yield Reading(f"success after an outage, {rate:g}/s", 1.0, bench.share(rows[-20:]), 1e-3)


F8 = Row(
    id="F8",
    claim="last in first out answers C/lam of first tries, retries or not, and has no bad state",
    formula="success min(1, C/lam)",
    source="derived; Maurer, Fail at Scale, ACM Queue 13(8), 2015 (adaptive LIFO)",
    inputs="C = 1000/s, T = 1 s, r = 3; 1300 and 2500/s; outages of 5 s at 300, 700, 950/s",
    fidelities=("flow",),
    measure=_lifo,
    mutants=(pool_mutant("first in first out", "flow", discipline="fifo"),),
)


# --------------------------------------------------------------------------- F14 blocked callers

WORKERS = 100
CALLER_S = 0.01


def _blocked(fidelity: Fidelity) -> Iterator[Reading]:
    for r in (0, 1, 3):
        theory = WORKERS / (CALLER_S + (r + 1) * T)
        observed = _started(fidelity, bench.pool("b"), "1s", retries=r, dead=True)
        name = f"callee dead, {r} retries"
        yield Reading(name, theory, observed, within(0.05, theory), unit="/s")
    for slow_s in (0.5, 1.0, 2.0):
        theory = WORKERS / (CALLER_S + slow_s)
        slow = {"service_time": f"{slow_s:g}s", "service_distribution": "deterministic"}
        callee = bench.pool("b", units=1000, concurrency=1000, unit_rate="100/s", **slow)
        observed = _started(fidelity, callee, "10s")
        name = f"callee takes {slow_s:g} s"
        yield Reading(name, theory, observed, within(0.05, theory), unit="/s")


def _started(
    fidelity: Fidelity, callee: Fields, timeout: str, *, retries: int = 0, dead: bool = False
) -> float:
    """Return what a pool of workers starts per second when its callee keeps them waiting."""
    fields = {"service_time": f"{CALLER_S:g}s", "unit_rate": "10k/s", "queue_per_unit": 10_000}
    caller = bench.pool("a", units=10, concurrency=WORKERS // 10, **fields)
    edge = bench.call("a", "b", timeout, retry=bench.retry(retries))
    topology = bench.build([caller, callee], [bench.service(timeout="30s")], [edge])
    script = [bench.demand(0.0, 500.0, topology.service_edge("s"))]
    if dead:
        script.append(bench.capacity(0.0, 0.0, at=1))
    plane = bench.play(bench.open_plane(fidelity, topology, period_s=10.0), script, 300.0)
    return float(bench.pool_rows(plane)[-10:, 1].mean())


F14 = Row(
    id="F14",
    claim="callers blocked on a callee are limited by workers over the time that a call holds one",
    formula="workers/(s + E[time of the calls]); all calls timing out: workers/(s + (r+1) T)",
    source="Little, Operations Research 9(3), 1961 (L = lambda W)",
    inputs="100 workers, s = 10 ms, 500/s offered; callee dead (T = 1 s) or slow (T = 10 s)",
    fidelities=("flow",),
    measure=_blocked,
    mutants=(
        retry_mutant("one retry more", "flow", retries_max=lambda r: r + 1),
        caller_mutant("callers do not wait", "flow", kind=lambda _: "asynchronous"),
    ),
)


ROWS = (F8, F14, V14, V15, V16, V17, V18, V19, V23)
