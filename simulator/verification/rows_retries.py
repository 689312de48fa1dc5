"""Rows about retries: how far they multiply load, and what a budget makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.verification import bench
from simulator.verification import closed_forms as forms
from simulator.verification.bench import (
    EXACT,
    C,
    averaged,
    caller_mutant,
    chances,
    doubled_ratio,
    form_mutant,
    one_less,
    retry_mutant,
)
from simulator.verification.row import Reading, Row, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.model import Topology
    from simulator.verification.bench import Fields
    from simulator.verification.row import Fidelity


# ---------------------------------------------------------------- V08 chance of an attempt given


def failing(p_fail: float, retries: Fields, *, pools: list[Fields] | None = None) -> Topology:
    """Return ample pools of which the last fails with a given chance: so often it calls a dead one.

    The dead pool is ``z``; it has no waiting room, so it rejects at once when it has no capacity.
    """
    above = pools or [bench.pool("a", units=1000, service_time="1ms")]
    dead = bench.pool("z", queue_per_unit=0)
    names = [str(fields["id"]) for fields in above]
    # Each layer waits longer than all attempts of the one below.
    tries = retries["retries_max"] + 1
    patience = [(1.5 * tries) ** (len(names) - i) for i in range(len(names))]
    calls = [
        bench.call(names[i], names[i + 1], f"{patience[i + 1]:.6f}s", retry=retries)
        for i in range(len(names) - 1)
    ]
    calls.append(bench.call(names[-1], "z", "1s", calls=p_fail))
    client = bench.service(entry=names[0], timeout=f"{patience[0]:.6f}s", retry=retries)
    return bench.build([*above, dead], [client], calls)


FIXED = ((0.5, 3, 1.875, 0.9375), (0.1, 3, 1.111, 0.9999))


def _fixed_failure(fidelity: Fidelity) -> Iterator[Reading]:
    for p, r, tries, success in FIXED:
        name = f"f = {p:g}, {r} retries"
        if fidelity == "formula":
            yield Reading(f"attempts, {name}", tries, forms.attempts(p, r), EXACT)
            yield Reading(f"success, {name}", success, 1.0 - p ** (r + 1), EXACT)
            continue
        topology = failing(p, bench.retry(r))
        seen = [_served(fidelity, topology, c, 120.0, 20) for c in chances(f"V08 {p}", fidelity)]
        made, well = zip(*seen, strict=True)
        yield averaged(f"attempts, {name}", tries, made, within(0.01, tries))
        yield averaged(f"success, {name}", success, well, within(0.01, success))


def _served(
    fidelity: Fidelity, topology: Topology, chance: str, end_s: float, skip: int
) -> tuple[float, float]:
    """Return attempts per first try and success, without the first samples."""
    edge = topology.service_edge("s")
    script = [bench.demand(0.0, 1000.0, edge)]
    script.append(bench.capacity(0.0, 0.0, at=topology.pool("z")))
    plane = bench.play(bench.open_plane(fidelity, topology, chance=chance), script, end_s)
    rows = bench.edge_rows(plane, edge)[skip:]
    return float(rows[:, 3].sum() / rows[:, 0].sum()), bench.share(rows)


V08 = Row(
    id="V08",
    claim="with a given chance of failure, retries multiply attempts by a geometric sum",
    formula="attempts (1 - f^(r+1))/(1 - f), success 1 - f^(r+1)",
    source="Brooker, Fixing retries with token buckets and circuit breakers, 2022 (blog; its "
    "simulation gave 1.8787 and .9373)",
    inputs="f = .5 and .1, 3 retries at once, 1000 first tries/s",
    fidelities=("formula", "flow", "request"),
    measure=_fixed_failure,
    mutants=(
        form_mutant("one try less", "attempts", lambda p, r: (1.0 - p**r) / (1.0 - p)),
        retry_mutant("one retry less", "flow", retries_max=one_less),
        retry_mutant("one retry less", "request", retries_max=one_less),
    ),
)


# ---------------------------------------------------------------------- V09 budget per first try


def _budgeted(fidelity: Fidelity) -> Iterator[Reading]:
    policy = bench.retry(3, budget=bench.budget("per_first_try", 0.1))
    for p in (0.3, 0.5):
        topology = failing(p, policy)
        seen = [_served(fidelity, topology, c, 600.0, 120) for c in chances(f"V09 {p}", fidelity)]
        made, well = zip(*seen, strict=True)
        success = 1.1 * (1.0 - p)
        yield averaged(f"attempts, f = {p:g}", 1.1, made, within(0.03, 1.1))
        yield averaged(f"success, f = {p:g}", success, well, within(0.03, success))


V09 = Row(
    id="V09",
    claim="a token bucket fed by first tries holds attempts at 1 + beta, whatever fails",
    formula="attempts 1 + beta, success (1 + beta)(1 - f), where f > beta/(1 + beta)",
    source="Brooker 2022 (blog and code): retry_strategy.py deposits at the start of every call",
    inputs="beta = .1, bucket 100, 3 retries, f = .3 and .5, after two minutes",
    fidelities=("flow", "request"),
    measure=_budgeted,
    mutants=(
        retry_mutant("twice the deposit", "request", budget=doubled_ratio),
        retry_mutant("no budget", "flow", budget=None),
        retry_mutant("twice the deposit", "flow", budget=doubled_ratio),
    ),
    note="A run of 20 s that begins with a full bucket has 1.12 attempts.",
)


# ------------------------------------------------------------------------- F10 budget of a window


WHOLE = 1e-4
"""A retry needs a whole token: up to one retry a window less, of 10,000 first tries."""


def _windowed(fidelity: Fidelity) -> Iterator[Reading]:
    windowed = {"deposit": "windowed", "ratio": 0.2, "window": "10s", "min_rate": "10/s"}
    topology = failing(1.0, bench.retry(3, "10ms", budget=windowed))
    seen = [_served(fidelity, topology, c, 200.0, 50) for c in chances("F10", fidelity)]
    yield averaged("attempts", 1.21, [made for made, _ in seen], within(0.01, 1.21), bias=WHOLE)


F10 = Row(
    id="F10",
    claim="a budget of a share of the last seconds' requests holds retries at that share",
    formula="attempts 1 + ratio + min_rate/lam, when all fails",
    source="Finagle, RetryBudget, 2016 (blog): 20 % and at least 10/s, over 10 s",
    inputs="ratio .2, window 10 s, min_rate 10/s, 1000 first tries/s, 3 retries, all fail",
    fidelities=("flow", "request"),
    measure=_windowed,
    mutants=(
        retry_mutant("ratio doubled", "request", budget=doubled_ratio),
        retry_mutant("ratio doubled", "flow", budget=doubled_ratio),
        retry_mutant("no budget", "flow", budget=None),
    ),
)


# ---------------------------------------------------------------------------- V10 layered retries

LAYERS = ((1, 3, 1.0, 4.0), (2, 3, 1.0, 16.0), (3, 3, 1.0, 64.0), (5, 2, 1.0, 243.0))
PARTLY = (3, 3, 0.9, 9.99)


def _layered(fidelity: Fidelity) -> Iterator[Reading]:
    for layers, retries, p, printed in (*LAYERS, PARTLY):
        name = f"{layers} layers, {retries} retries, p = {p:g}"
        if fidelity == "formula":
            digit = 0.5e-2 if p < 1.0 else EXACT
            yield Reading(name, printed, forms.layered_attempts(p, retries, layers), digit)
            continue
        tolerance = 0.01 if fidelity == "flow" else 0.04
        found = [
            _at_the_leaf(fidelity, layers, retries, p, chance)
            for chance in chances(f"V10 {name}", fidelity)
        ]
        yield averaged(name, printed, found, within(tolerance, printed))


def _at_the_leaf(fidelity: Fidelity, layers: int, retries: int, p: float, chance: str) -> float:
    """Return attempts at the lowest pool per first try at the top."""
    names = "abcdefgh"[:layers]
    pools = [bench.pool(name, units=1_000_000, service_time="1ms") for name in names]
    topology = failing(p, bench.retry(retries), pools=pools)
    entry, leaf = topology.service_edge("s"), topology.pool(names[-1])
    script = [bench.demand(0.0, 10.0, entry), bench.capacity(0.0, 0.0, at=topology.pool("z"))]
    plane = bench.open_plane(fidelity, topology, chance=chance, period_s=10.0)
    bench.play(plane, script, 600.0)
    offered = bench.pool_rows(plane, leaf)[-20:, 0].sum()
    return float(offered / bench.edge_rows(plane, entry)[-20:, 0].sum())


V10 = Row(
    id="V10",
    claim="retries in each of L layers multiply the load of a failing leaf by (r+1)^L",
    formula="A_l = A_(l-1) (1 - p_l^(r+1))/(1 - p_l), p_(l+1) = p_l^(r+1)",
    source="Beyer et al., Site Reliability Engineering, 2016, ch. 22 (4^3 = 64); Amazon Builders' "
    "Library, Timeouts, retries and backoff with jitter (3^5 = 243)",
    inputs="leaf fails always, or with p = .9; 10 first tries/s",
    fidelities=("formula", "flow", "request"),
    measure=_layered,
    slow=frozenset({"request"}),
    mutants=(
        retry_mutant("one retry less", "request", retries_max=one_less),
        form_mutant(
            "one layer less",
            "layered_attempts",
            lambda p, r, layers: forms.attempts(p, r) ** (layers - 1),
        ),
        retry_mutant("one retry less", "flow", retries_max=one_less),
        caller_mutant("calls halved", "flow", calls=lambda n: 0.5 * n),
    ),
)


# ----------------------------------------------------------------------- V11 growth by rejections


def _growth(fidelity: Fidelity) -> Iterator[Reading]:
    yield from _rejected(fidelity, "500ms", within_frac=0.02)


def _fast_growth(fidelity: Fidelity) -> Iterator[Reading]:
    yield from _rejected(fidelity, "100ms", within_frac=0.005)


def _rejected(fidelity: Fidelity, timeout: str, *, within_frac: float) -> Iterator[Reading]:
    steady = {"service_time": "10ms", "service_distribution": "deterministic"}
    pool = bench.pool(units=100, concurrency=1, queue_per_unit=0, **steady)
    client = bench.service(timeout=timeout, retry=bench.retry(10, "1s"))
    plane = bench.open_plane(fidelity, bench.build([pool], [client]))
    rows = bench.pool_rows(bench.play(plane, [bench.demand(0.0, 10_100.0)], 4.0))
    for second, theory in enumerate((100.0, 200.0, 300.0, 400.0)):
        rejected = float(rows[second, 0] - rows[second, 1])
        name = f"rejected in second {second + 1}"
        yield Reading(name, theory, rejected, within(within_frac, theory), unit="/s")


V11 = Row(
    id="V11",
    claim="one per cent above capacity, retries after a second add one per cent every second",
    formula="rejected in second n: n (lam - C)",
    source="Beyer et al., Site Reliability Engineering, 2016, ch. 22",
    inputs="C = 10,000/s, 10,100/s offered, retry 1 s after a rejection, no queue, T = 500 ms",
    fidelities=("flow",),
    measure=_growth,
    mutants=(
        retry_mutant("backoff of half a second", "flow", backoff_base="500ms"),
        retry_mutant("no retries", "flow", retries_max=0),
    ),
    note="The flow sends a rejected attempt again one step (T/20) later than its backoff says, so "
    "each second lacks a step of the growth. A statement about means: with Poisson arrivals a pool "
    "without a queue loses more (Erlang B), so it is no statement about requests.",
)

V11_FAST = Row(
    id="V11-fast",
    claim="the same growth is not slept through when the backoff is long against the timeout",
    formula=V11.formula,
    source=V11.source,
    inputs="as V11, but T = 100 ms",
    fidelities=("flow",),
    measure=_fast_growth,
    mutants=(retry_mutant("backoff of half a second", "flow", backoff_base="500ms"),),
    note="This row was red: the first block of one memory was compared with the two calm steps "
    "before it and ended before the retries came back, so the pool fell asleep. Since then two "
    "blocks of a memory are compared.",
)


# -------------------------------------------------------------------------- V20, V21 retry budgets


def _budget_threshold(fidelity: Fidelity) -> Iterator[Reading]:
    policy = bench.budget("per_first_try", 0.1)
    topology = bench.one_pool(3, budget=policy)
    if fidelity == "request":
        for rate, recovered in ((890.0, 1.0), (930.0, 0.0)):
            states = bench.recoveries(topology, bench.outage(rate), 600.0, f"V20 {rate}")
            yield averaged(f"runs that recover at {rate:g}/s", recovered, states, 0.1)
        return

    def recovers(rate: float) -> bool:
        plane = bench.play(bench.open_plane(fidelity, topology), bench.outage(rate), 600.0)
        return bench.is_well(plane)

    theory = C / 1.1
    observed = bench.boundary(recovers, 700.0, 990.0)
    yield Reading("lam*", theory, observed, within(0.02, theory), unit="/s")


V20 = Row(
    id="V20",
    claim="a budget with deposits per first try moves the threshold to C/(1 + beta)",
    formula="lam* = C/(1 + beta)",
    source="derived: in the bad state nothing succeeds, so attempts are (1 + beta) lam",
    inputs="C = 1000/s, T = 1 s, r = 3, beta = .1, bucket 100, outage of 5 s; lam* = 909/s: ten "
    "runs at 890/s and ten at 930/s",
    fidelities=("flow", "request"),
    measure=_budget_threshold,
    mutants=(
        retry_mutant("ratio doubled", "request", budget=doubled_ratio),
        retry_mutant("no budget", "flow", budget=None),
        retry_mutant("ratio doubled", "flow", budget=doubled_ratio),
    ),
)


def _budget_per_success(fidelity: Fidelity) -> Iterator[Reading]:
    topology = bench.one_pool(3, budget=bench.budget("per_success", 0.1))
    theory = (C / 960.0 - 1.0) / 0.1
    found = []
    for chance in chances("V21", fidelity):
        plane = bench.open_plane(fidelity, topology, chance=chance)
        found.append(bench.last_share(bench.play(plane, bench.outage(960.0), 600.0), 100))
    yield averaged("success", theory, found, 0.02 if fidelity == "flow" else 0.08)


V21 = Row(
    id="V21",
    claim="a budget with deposits per success does not collapse: goodput sticks",
    formula="success (C/lam - 1)/beta for C/(1 + beta) < lam < C",
    source="derived: attempts lam (1 + beta p) fill the capacity C",
    inputs="C = 1000/s, T = 1 s, r = 3, beta = .1, bucket 100, lam = 960/s, outage of 5 s",
    fidelities=("flow", "request"),
    measure=_budget_per_success,
    mutants=(
        retry_mutant("ratio doubled", "request", budget=doubled_ratio),
        retry_mutant(
            "deposits per first try",
            "flow",
            budget=lambda b: b | {"deposit": "per_first_try"},
        ),
        retry_mutant("ratio doubled", "flow", budget=doubled_ratio),
    ),
    note="The formula is a fluid limit: with 100 servers some answers are late by chance, and runs "
    "differ (a request-level program of its own had 0.36).",
)


ROWS = (F10, V08, V09, V10, V11, V11_FAST, V20, V21)
