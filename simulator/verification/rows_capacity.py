"""Rows about capacity that falls with the backlog: contention, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulator.policies import contention, memory_pressure
from simulator.verification import bench
from simulator.verification import closed_forms_capacity as forms
from simulator.verification.bench import (
    C,
    T,
    averaged,
    chances,
    pool_mutant,
    retry_mutant,
)
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.model import Topology
    from simulator.verification.bench import Change
    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]


def _form_mutant(name: str, form: str, error: Callable[..., object]) -> Mutant:
    return Mutant(name, lambda: replaced(forms, form, error), "formula")


def _recovers(topology: Topology, script: list[Change], end_s: float, *, sleep: bool) -> bool:
    plane = bench.open_plane("flow", topology, sleep=sleep)
    return bench.is_well(bench.play(plane, script, end_s))


# ------------------------------------------------------------------------------- F13 contention

BASE_S: Final = 0.1
PER_ATTEMPT_S: Final = 0.001
FACTOR_MAX: Final = 100.0
SETTLED_S: Final = 100.0
BURST: Final = 2000.0
"""First tries per second that bring the bad state about: above 1/ε, so that n grows."""


def _contended(retries: int = 0, timeout: str = "1s") -> Topology:
    """Return a pool that nothing but contention limits."""
    pool = bench.pool(
        concurrency=10_000,
        service_time=f"{BASE_S:g}s",
        unit_rate="100k/s",
        service_distribution="deterministic",
        contention={"per_attempt": f"{PER_ATTEMPT_S:g}s", "factor_max": FACTOR_MAX},
    )
    return bench.build([pool], [bench.service(timeout=timeout, retry=bench.retry(retries))])


def _contention(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "formula":
        yield from _contention_by_balance()
        return
    for rate in (500.0, 800.0):
        theory = forms.contended_time_s(rate, BASE_S, PER_ATTEMPT_S)
        name = f"time of a service at {rate:g}/s"
        seen = [_mean_time_s(fidelity, rate, c) for c in chances(f"F13 {name}", fidelity)]
        tolerance = 0.001 if fidelity == "flow" else 0.03
        # A request that starts counts itself.
        bias = 0.0 if fidelity == "flow" else PER_ATTEMPT_S * theory / BASE_S
        yield averaged(name, theory, seen, within(tolerance, theory), bias=bias, unit="s")
    for retries in (0, 1, 3):
        theory = forms.contended_threshold(BASE_S, PER_ATTEMPT_S, T, retries)
        yield from _contention_threshold(fidelity, retries, theory)
    if fidelity == "flow":
        yield from _contention_present()


def _contention_by_balance() -> Iterator[Reading]:
    """Step towards the balance n = a·(s + ε·n), and look at where services take T."""
    for rate, printed in ((500.0, 0.2), (800.0, 0.5)):
        n = 0.0
        for _ in range(1000):
            n = rate * BASE_S * contention.contention_factor(n, PER_ATTEMPT_S, BASE_S, FACTOR_MAX)
        found = forms.contended_time_s(rate, BASE_S, PER_ATTEMPT_S)
        yield Reading(f"time of a service at {rate:g}/s", printed, found, 1e-9, unit="s")
        yield Reading(f"the same by balance, {rate:g}/s", n / rate, found, 1e-9, unit="s")
    for retries, printed in ((0, 900.0), (1, 450.0), (3, 225.0)):
        found = forms.contended_threshold(BASE_S, PER_ATTEMPT_S, T, retries)
        yield Reading(f"lam*, r = {retries}", printed, found, 1e-9, unit="/s")
        took = forms.contended_time_s((retries + 1) * found, BASE_S, PER_ATTEMPT_S)
        yield Reading(f"time of a service there, r = {retries}", T, took, 1e-9, unit="s")


def _mean_time_s(fidelity: Fidelity, rate: float, chance: str) -> float:
    topology = _contended(timeout="10s")
    plane = bench.open_plane(fidelity, topology, chance=chance, sleep=False)
    bench.play(plane, [bench.demand(0.0, rate)], SETTLED_S)
    time_s, ended = bench.total_time_s(plane), float(plane.totals()["ok"][0])
    bench.play(plane, [], 3.0 * SETTLED_S)
    return (bench.total_time_s(plane) - time_s) / (float(plane.totals()["ok"][0]) - ended)


def _burst(rate: float) -> list[Change]:
    return [bench.demand(0.0, rate), bench.demand(20.0, BURST), bench.demand(25.0, rate)]


def _contention_threshold(fidelity: Fidelity, retries: int, theory: float) -> Iterator[Reading]:
    topology = _contended(retries)
    if fidelity == "request":
        for part, recovered in ((0.9, 1.0), (1.1, 0.0)):
            name = f"runs that recover at {part:g} lam*, r = {retries}"
            states = bench.recoveries(topology, _burst(part * theory), 300.0, f"F13 {name}")
            yield averaged(name, recovered, states, 0.1)
        return

    def recovers(rate: float) -> bool:
        return _recovers(topology, _burst(rate), 600.0, sleep=False)

    observed = bench.boundary(recovers, 0.5 * theory, 1.08 * theory)
    yield Reading(f"lam*, r = {retries}", theory, observed, within(0.02, theory), unit="/s")


def _contention_present() -> Iterator[Reading]:
    """Return how many are present in the bad state: finite below 1/ε, up to the bound above."""
    for rate in (235.0, 260.0):
        attempts = 4.0 * rate
        most = attempts * BASE_S * FACTOR_MAX
        took = forms.contended_time_s(attempts, BASE_S, PER_ATTEMPT_S)
        theory = min(attempts * took, most)
        plane = bench.open_plane("flow", _contended(3), sleep=False)
        bench.play(plane, _burst(rate), 2000.0)
        seen = float(plane.arrays.pool_state[0]["serving"])  # type: ignore[attr-defined]
        yield Reading(
            f"present in the bad state, {rate:g}/s, r = 3", theory, seen, within(0.01, theory)
        )


def _asleep(fidelity: Fidelity) -> Iterator[Reading]:
    """Look at the bad state as runs have it: pools sleep while their flows do not change."""
    attempts = 4.0 * 235.0
    theory = attempts * forms.contended_time_s(attempts, BASE_S, PER_ATTEMPT_S)
    plane = bench.open_plane(fidelity, _contended(3))
    bench.play(plane, _burst(235.0), 2000.0)
    seen = float(plane.arrays.pool_state[0]["serving"])  # type: ignore[attr-defined]
    yield Reading("success at 235/s, r = 3", 0.0, bench.last_share(plane), 0.01)
    yield Reading("present at 235/s, r = 3", theory, seen, within(0.01, theory))


F13 = Row(
    id="F13",
    claim="services that slow each other down sustain an overload that is nobody's queue",
    formula="n(a) = a s/(1 - eps a); bad state iff (r+1) lam >= (T - s)/(eps T), with n((r+1) lam) "
    "finite below 1/eps",
    source="derived from Little, Operations Research 9(3), 1961; Gunther, Guerrilla Capacity "
    "Planning, 2007 (contention)",
    inputs="s = .1 s, eps = 1 ms, at most 100 times as slow, T = 1 s, ample workers and "
    "processors, constant work; 2000/s for 5 s",
    fidelities=("formula", "flow", "request"),
    measure=_contention,
    mutants=(
        _form_mutant(
            "contention without feedback", "contended_time_s", lambda a, s, eps: s * (1.0 + eps * a)
        ),
        _form_mutant(
            "retries are forgotten",
            "contended_threshold",
            lambda s, eps, timeout, _r: (timeout - s) / (eps * timeout),
        ),
        pool_mutant("half the contention", "flow", contention={"per_attempt": "500us"}),
        pool_mutant("half the contention", "request", contention={"per_attempt": "500us"}),
        pool_mutant("no contention", "flow", contention=lambda _: None),
        retry_mutant("one retry more", "flow", retries_max=lambda r: r + 1),
    ),
    note="Stepped all the way (F13-asleep has what sleeping makes of it). A request counts itself, "
    "so its time is longer by eps/(1 - eps a).",
)

F13_ASLEEP = Row(
    id="F13-asleep",
    claim="contention is not slept through",
    formula=F13.formula,
    source=F13.source,
    inputs="as F13, r = 3, pools may sleep",
    fidelities=("flow",),
    measure=_asleep,
    mutants=(pool_mutant("half the contention", "flow", contention={"per_attempt": "500us"}),),
    note="Flows are steady long before the number in service is: a pool that looked at flows alone "
    "fell asleep with the contention of a moment ago, and stayed fast.",
)


# -------------------------------------------------------------------------- F3-work memory full

WORK: Final = 1.7
FROM, FULL = 200, 400


def _degraded(retries: int) -> Topology:
    pressure = {"from_attempts": FROM, "full_attempts": FULL, "work_max": WORK}
    return bench.one_pool(retries, of={"memory_pressure": pressure})


def _memory(fidelity: Fidelity) -> Iterator[Reading]:
    for retries, printed in ((0, 588.235), (1, 294.118), (2, 196.078), (3, 147.059)):
        theory = forms.degraded_threshold(C, retries, WORK)
        if fidelity == "formula":
            yield Reading(f"lam*, r = {retries}", printed, theory, 1e-3, unit="/s")
            continue
        topology = _degraded(retries)
        if fidelity == "request":
            for part, recovered in ((0.95, 1.0), (1.05, 0.0)):
                name = f"runs that recover at {part:g} lam*, r = {retries}"
                script = bench.outage(part * theory)
                states = bench.recoveries(topology, script, 400.0, f"F3-work {name}")
                yield averaged(name, recovered, states, 0.1)
            continue

        def recovers(rate: float, topology: Topology = topology) -> bool:
            return _recovers(topology, bench.outage(rate), 1520.0, sleep=True)

        observed = bench.boundary(recovers, 0.5 * theory, 1.5 * theory)
        yield Reading(f"lam*, r = {retries}", theory, observed, within(0.05, theory), unit="/s")


_MEMORY_FACTOR = memory_pressure.memory_factor

F3_WORK = Row(
    id="F3-work",
    claim="if a backlog makes work dearer, overload sustains itself above C/((r+1) w)",
    formula="lam* = C/(w_L* w_C*), w_L* = r + 1, w_C* = the factor on the work when memory is full",
    source="Huang et al., Metastable Failures in the Wild, OSDI 2022, theorem 2",
    inputs="C = 1000/s, T = 1 s, r = 0 to 3, w = 1.7 from 400 attempts on (felt from 200 on), "
    "outage of 5 s, 25 min to come back (requests: 375 s, ten runs each)",
    fidelities=("formula", "flow", "request"),
    measure=_memory,
    slow=frozenset({"request"}),
    mutants=(
        _form_mutant("work stays as cheap", "degraded_threshold", lambda c, r, _w: c / (r + 1)),
        pool_mutant("work stays as cheap", "request", memory_pressure=lambda _: None),
        pool_mutant("work stays as cheap", "flow", memory_pressure=lambda _: None),
        pool_mutant(
            "twice the work",
            "flow",
            memory_pressure=lambda p: p | {"work_max": 2.0},
        ),
        retry_mutant("one retry more", "flow", retries_max=lambda r: r + 1),
    ),
    note="Without retries (r = 0) the bad state is memory's alone: below C/w it ends, whatever the "
    "queue.",
)


ROWS = (F3_WORK, F13, F13_ASLEEP)
