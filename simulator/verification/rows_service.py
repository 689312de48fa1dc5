"""Rows about single requests: spread of service, classes, hedges, bulkheads and breakers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from simulator.verification import bench
from simulator.verification import closed_forms as forms
from simulator.verification.bench import (
    EXACT,
    averaged,
    caller_mutant,
    chances,
    form_mutant,
    pool_mutant,
)
from simulator.verification.row import Reading, Row, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.verification.row import Fidelity

# ------------------------------------------------------------------- Q01 spread of service times

MEAN_S = 0.1
MG1_RPS = 7.0
SPREADS: dict[str, tuple[dict[str, Any], float]] = {
    "deterministic": ({"kind": "deterministic"}, 0.0),
    "exponential": ({"kind": "exponential"}, 1.0),
    "log-normal": ({"kind": "lognormal", "cv": 1.5}, 2.25),
    "bimodal": ({"kind": "bimodal", "slow_frac": 0.1, "slow_factor": 10.0}, 2.018),
    "hyperexponential": ({"kind": "hyperexponential", "cv": 2.0}, 4.0),
}
"""Distribution as in a region file, and its squared coefficient of variation."""


def _spread(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "formula":
        yield Reading("M/D/1 at .8", 0.3, forms.mg1(8.0, MEAN_S, 0.0), EXACT, unit="s")
        markov = forms.mmc(8.0, 10.0, 1).time_s
        yield Reading("M/M/1 at .8", markov, forms.mg1(8.0, MEAN_S, 1.0), 1e-12, unit="s")
        # A tenth takes ten times as long: E[S²]/E[S]² - 1 = 10.9/1.9² - 1.
        yield Reading("bimodal cv²", 10.9 / 1.9**2 - 1.0, SPREADS["bimodal"][1], 1e-2)
        return
    for name, (kind, cv2) in SPREADS.items():
        pool = bench.pool(units=1, concurrency=1, service_time="100ms", service_distribution=kind)
        topology = bench.build([pool], [bench.service(timeout="100s")])
        cv2_exact = 10.9 / 1.9**2 - 1.0 if name == "bimodal" else cv2
        theory = forms.mg1(MG1_RPS, MEAN_S, cv2_exact)
        times = []
        for chance in chances(f"Q01 {name}", n=30):
            plane = bench.open_plane("request", topology, chance=chance, period_s=100.0)
            bench.play(plane, [bench.demand(0.0, MG1_RPS)], 20_000.0)
            times.append(bench.mean_time_s(plane))
        yield averaged(f"mean time, {name}", theory, times, within(0.03, theory), unit="s")


_MG1 = forms.mg1

Q01 = Row(
    id="Q01",
    claim="the wait grows with the spread of service times, not with their mean alone",
    formula="W = s + lam s² (1 + cv²)/(2 (1 - rho))",
    source="Pollaczek 1930, Khinchine 1932: Kleinrock I, eq. 5.70",
    inputs="M/G/1, s = 100 ms, 7/s; cv² = 0, 1, 2.25, 2.02, 4",
    fidelities=("formula", "request"),
    measure=_spread,
    slow=frozenset({"request"}),
    mutants=(
        form_mutant("spread forgotten", "mg1", lambda lam, s, _cv2: _MG1(lam, s, 0.0)),
        pool_mutant("always exponential", "request", service_distribution="exponential"),
    ),
)


# ------------------------------------------------------------------------------ Q02 priorities

CLASSES_RPS = (3.0, 5.0)
PRIORITY_MU = 10.0


def _priorities(fidelity: Fidelity) -> Iterator[Reading]:
    theory = forms.priority_waits(CLASSES_RPS, PRIORITY_MU)
    if fidelity == "formula":
        for i, printed in ((0, 0.114286), (1, 0.571429)):
            yield Reading(f"wait of class {i}", printed, theory[i], EXACT, unit="s")
        # Work is conserved: the mean over classes, by load, is the wait without classes.
        mean = sum(r * w for r, w in zip(CLASSES_RPS, theory, strict=True)) / sum(CLASSES_RPS)
        plain = forms.mmc(sum(CLASSES_RPS), PRIORITY_MU, 1).wait_s
        yield Reading("mean wait", plain, mean, 1e-12, unit="s")
        return
    pool = bench.pool(units=1, concurrency=1, service_time="100ms", discipline="priority")
    clients = [bench.service(f"s{i}", timeout="200s", priority=i) for i in range(2)]
    topology = bench.build([pool], clients)
    waits = []
    for chance in chances("Q02"):
        plane = bench.open_plane("request", topology, chance=chance, period_s=100.0)
        bench.play(plane, [bench.demand(0.0, CLASSES_RPS[i], i) for i in range(2)], 40_000.0)
        waits.append([bench.mean_time_s(plane, i) - 1.0 / PRIORITY_MU for i in range(2)])
    for i, values in enumerate(zip(*waits, strict=True)):
        yield averaged(f"wait of class {i}", theory[i], values, within(0.03, theory[i]), unit="s")


Q02 = Row(
    id="Q02",
    claim="with priorities the important wait less and the others more, at the same mean",
    formula="W_i = W_0/((1 - sigma_(i-1)) (1 - sigma_i)), W_0 = lam E[S²]/2, sigma: load so far",
    source="Cobham, Operations Research 2(1), 1954; Kleinrock, Queueing Systems II, eq. 3.31",
    inputs="M/M/1, mu = 10/s, no pre-emption; class 0 at 3/s, class 1 at 5/s",
    fidelities=("formula", "request"),
    measure=_priorities,
    slow=frozenset({"request"}),
    mutants=(
        form_mutant(
            "no classes",
            "priority_waits",
            lambda rates, mu: [forms.mmc(sum(rates), mu, 1).wait_s] * 2,
        ),
        pool_mutant("first in first out", "request", discipline="fifo"),
    ),
)


# -------------------------------------------------------------------------------- Q03 bulkheads

BULKHEADS = ("exponential", "deterministic")


def _bulkhead(fidelity: Fidelity) -> Iterator[Reading]:
    theory = forms.erlang_b(10, 10.0)
    if fidelity == "formula":
        yield Reading("B(10, 10)", 0.214582, theory, EXACT)
        return
    for kind in BULKHEADS:
        pool = bench.pool(units=10, concurrency=100, service_distribution=kind)
        topology = bench.build([pool], [bench.service(timeout="20s", bulkhead={"limit": 10})])
        refused = [
            1.0 - bench.share(rows[100:])
            for rows in (
                bench.played(fidelity, topology, [bench.demand(0.0, 100.0)], 2000.0, chance)
                for chance in chances(f"Q03 {kind}")
            )
        ]
        yield averaged(f"refused, {kind} service", theory, refused, within(0.03, theory))


_ERLANG_B = forms.erlang_b

Q03 = Row(
    id="Q03",
    claim="a bulkhead refuses what Erlang's B says, whatever the spread of the service",
    formula="B(limit, lam s), for any distribution of the same mean",
    source="Sevastyanov, Theory of Probability and its Applications 2(1), 1957 (insensitivity)",
    inputs="at most 10 under way, s = 100 ms, 100/s, exponential and deterministic",
    fidelities=("formula", "request"),
    measure=_bulkhead,
    mutants=(
        form_mutant("one more", "erlang_b", lambda c, a: _ERLANG_B(c + 1, a)),
        caller_mutant("one more", "request", bulkhead={"limit": 11}),
    ),
)


# ---------------------------------------------------------------------------------- Q04 hedges

HEDGE_S = 0.1


def _hedges(fidelity: Fidelity) -> Iterator[Reading]:
    sent, mean_s, p99_s = forms.hedged(10.0, HEDGE_S)
    if fidelity == "formula":
        yield Reading("attempts", 1.367879, sent, EXACT)
        yield Reading("mean latency", 0.081606, mean_s, EXACT, unit="s")
        yield Reading("99th percentile", 0.280259, p99_s, EXACT, unit="s")
        return
    pool = bench.pool(units=10, concurrency=1000)
    topology = bench.build([pool], [bench.service(timeout="5s", hedging={"delay": f"{HEDGE_S}s"})])
    seen: list[tuple[float, float, float]] = []
    for chance in chances("Q04"):
        plane: Any = bench.open_plane(fidelity, topology, chance=chance)
        bench.play(plane, [bench.demand(0.0, 500.0)], 200.0)
        totals = plane.totals()
        made = float(totals["attempts"][0] / totals["first"][0])
        tail_s = float(plane.latency_quantiles(0, 0.99))
        seen.append((made, bench.mean_time_s(plane), tail_s))
    tries, means, tails = zip(*seen, strict=True)
    yield averaged("attempts", sent, tries, within(0.01, sent))
    yield averaged("mean latency", mean_s, means, within(0.01, mean_s), unit="s")
    yield averaged("99th percentile", p99_s, tails, within(0.03, p99_s), bias=BIN * p99_s, unit="s")


BIN = 0.01
"""Latencies are counted in bins of at most 3 %; within a bin they count as spread evenly."""

Q04 = Row(
    id="Q04",
    claim="a second attempt when the first is slow cuts the tail for some more load",
    formula="attempts 1 + e^(-mu d); P(L > t) = e^(-mu t) up to d, then e^(-mu (2 t - d))",
    source="Dean and Barroso, The Tail at Scale, CACM 56(2), 2013 (the idea); derived",
    inputs="exponential service, mu = 10/s, ample servers, hedge after d = 100 ms",
    fidelities=("formula", "request"),
    measure=_hedges,
    mutants=(
        form_mutant("no hedge", "hedged", lambda mu, _d: (1.0, 1.0 / mu, math.log(100.0) / mu)),
        caller_mutant("hedged late", "request", hedging={"delay": "200ms"}),
    ),
)


# --------------------------------------------------------------------------------- Q05 breakers

BREAKER = {"calls_min": 100, "window": "60s", "open_for": "10s", "probes": 1}


def _breaker(fidelity: Fidelity) -> Iterator[Reading]:
    pool = bench.pool(queue_per_unit=0)
    topology = bench.build([pool], [bench.service(circuit_breaker=BREAKER)])
    script = [bench.demand(0.0, 100.0), bench.capacity(0.0, 0.0)]
    found = []
    for chance in chances("Q05", fidelity):
        plane = bench.open_plane(fidelity, topology, chance=chance)
        rows = bench.pool_rows(bench.play(plane, script, 1000.0))
        found.append(float(rows[100:, 0].sum()))
    yield averaged("calls in 900 s", 90.0, found, 4.0)


Q05 = Row(
    id="Q05",
    claim="an open breaker lets one probe through each time that it has been open long enough",
    formula="calls per second 1/open_for, while all fails",
    source="Nygard, Release It!, 2nd ed. 2018, ch. 5",
    inputs="all rejected at once, 100/s wanted, open for 10 s, one probe; 900 s",
    fidelities=("flow", "request"),
    measure=_breaker,
    mutants=(
        caller_mutant("no breaker", "flow", circuit_breaker=None),
        caller_mutant("open for 5 s", "request", circuit_breaker=lambda b: b | {"open_for": "5s"}),
    ),
)


ROWS = (Q01, Q02, Q03, Q04, Q05)
