"""Rows about networks of pools and about impatience, and Little's law on all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.verification import bench
from simulator.verification import closed_forms as forms
from simulator.verification.bench import (
    averaged,
    caller_mutant,
    chances,
    form_mutant,
    pool_mutant,
)
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from simulator.contract import DataPlane
    from simulator.model import Topology
    from simulator.verification.row import Fidelity

# ----------------------------------------------------------------------------------- V05 Jackson

GAMMA = (5.0, 1.0, 0.0)
ROUTING = ((0.0, 0.6, 0.4), (0.2, 0.0, 0.3), (0.0, 0.1, 0.0))
JACKSON_MU = (4.0, 3.0, 5.0)
JACKSON_C = (2, 3, 1)
TANDEM = ((0.0, 0.6, 0.0), (0.0, 0.0, 0.9), (0.0, 0.0, 0.0))
"""Without cycles or forks: each pool hears of at most one other."""
ENTRIES = 2
"""Pools that customers call."""


def _jackson(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "formula":
        yield from _jackson_formula()
        return
    rates = forms.traffic(GAMMA, ROUTING)
    seen = [_offered(_network(fidelity, ROUTING, c)) for c in chances("V05 rates", fidelity)]
    tolerance = 0.005 if fidelity == "flow" else 0.03
    for i, rate in enumerate(rates):
        values = [offered[i] for offered in seen]
        theory = float(rate)
        yield averaged(f"lam_{i + 1}", theory, values, within(tolerance, theory), unit="/s")
    if fidelity == "request":
        yield from _tandem_queues()


def _jackson_formula() -> Iterator[Reading]:
    rates = forms.traffic(GAMMA, ROUTING)
    for i, rate in enumerate((5.9976, 4.9881, 3.8955)):
        yield Reading(f"lam_{i + 1}", rate, float(rates[i]), 0.5e-4, unit="/s")
    numbers = [
        forms.mmc(float(rate), mu, c).present
        for rate, mu, c in zip(rates, JACKSON_MU, JACKSON_C, strict=True)
    ]
    for i, number in enumerate((3.4237, 2.0335, 3.5269)):
        yield Reading(f"L_{i + 1}", number, numbers[i], 0.5e-4)
    yield Reading("time in the network", 1.49734, sum(numbers) / sum(GAMMA), 0.5e-5, unit="s")


def _tandem_queues() -> Iterator[Reading]:
    rates = forms.traffic(GAMMA, TANDEM)
    planes = [_network("request", TANDEM, chance) for chance in chances("V05 tandem")]
    for i, (rate, mu, c) in enumerate(zip(rates, JACKSON_MU, JACKSON_C, strict=True)):
        theory = forms.mmc(float(rate), mu, c).present
        values = [_present(plane, i) for plane in planes]
        yield averaged(f"L_{i + 1}, no cycles", theory, values, within(0.03, theory))


def _present(plane: DataPlane, at: int) -> float:
    """Return the mean number that waits at a pool or is served."""
    rows = bench.pool_rows(plane, at)[100:]
    return float(rows[:, 3].mean() + rows[:, 1].mean() / JACKSON_MU[at])


def _offered(plane: DataPlane) -> list[float]:
    return [float(bench.pool_rows(plane, i)[100:, 0].mean()) for i in range(len(GAMMA))]


def _network(fidelity: Fidelity, routing: Sequence[Sequence[float]], chance: str) -> DataPlane:
    """Return pools that call each other without waiting for answers, after some hours."""
    names = ("a", "b", "c")
    pools = [
        bench.pool(n, units=1, concurrency=c, service_time=f"{1 / mu:.9f}s")
        for n, mu, c in zip(names, JACKSON_MU, JACKSON_C, strict=True)
    ]
    calls = [
        bench.call(names[i], names[j], "100s", kind="asynchronous", calls=p)
        for i, row in enumerate(routing)
        for j, p in enumerate(row)
        if p > 0.0
    ]
    services = [bench.service(f"s{i}", names[i], "100s") for i in range(ENTRIES)]
    topology = bench.build(pools, services, calls)
    entries = [topology.service_edge(f"s{i}") for i in range(ENTRIES)]
    script = [bench.demand(0.0, GAMMA[i], entries[i]) for i in range(ENTRIES)]
    plane = bench.open_plane(fidelity, topology, chance=chance, period_s=2.0)
    return bench.play(plane, script, 6000.0 if fidelity == "flow" else 20_000.0)


V05 = Row(
    id="V05",
    claim="calls between pools, cycles included, add up as in Jackson's networks",
    formula="lam = gamma (I - P)^-1; each pool by itself as M/M/c",
    source="Jackson, Operations Research 5(4), 1957; Burke, ibid. 4(6), 1956 (no cycles)",
    inputs="gamma = (5, 1, 0)/s, P = ((0, .6, .4), (.2, 0, .3), (0, .1, 0)), mu = (4, 3, 5)/s, "
    "c = (2, 3, 1); no cycles: only 1 to 2 (.6) and 2 to 3 (.9)",
    fidelities=("formula", "flow", "request"),
    measure=_jackson,
    mutants=(
        form_mutant(
            "routing the other way",
            "traffic",
            lambda gamma, p: np.linalg.solve(np.eye(3) - np.asarray(p), np.asarray(gamma)),
        ),
        caller_mutant("calls halved", "flow", calls=lambda n: 0.5 * n),
        caller_mutant("calls halved", "request", calls=lambda n: 0.5 * n),
    ),
    slow=frozenset({"request"}),
    note="Calls are drawn independently, Jackson's customers go one way or the other: with forks "
    "and cycles the rates agree, but arrivals come in groups and queues are longer than M/M/c (the "
    "third 3.2 instead of 2.7). So queues are held to theory where there are neither. The mean "
    "flow has no chance and no waiting below capacity: it is held to the rates only.",
)


# ---------------------------------------------------------------------------------- V06 Erlang A

THETA = 0.5
CLASSES = 10
"""Classes of equal size, with the mid-quantiles of exponential patience as timeouts."""
PATIENCE_S = -np.log1p(-(np.arange(CLASSES) + 0.5) / CLASSES) / THETA


def _erlang_a(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "request":
        yield from _impatient(100.0, 20_000.0)
        yield from _impatient(120.0, 3_000.0)
        return
    for lam, p_printed, q_printed in ((100.0, 0.03303, 6.606), (120.0, 0.16679, 40.030)):
        lost, queue = forms.erlang_a(lam, 1.0, 100, THETA)
        yield Reading(f"abandon, {lam:g}/s", p_printed, lost, 0.5e-5)
        yield Reading(f"queue, {lam:g}/s", q_printed, queue, 0.5e-3)
        # The same from the theory of general patience, in 2000 classes of equal size.
        patience = -np.log1p(-(np.arange(2000) + 0.5) / 2000) / THETA
        lost_g, queue_g = forms.mmc_impatient(lam, 1.0, 100, patience)
        yield Reading(f"abandon, {lam:g}/s, as M/M/c+G", lost, lost_g, 1e-5)
        yield Reading(f"queue, {lam:g}/s, as M/M/c+G", queue, queue_g, 1e-3)
    lost, queue = forms.erlang_a(120.0, 1.0, 100, THETA)
    yield Reading("abandon, fluid limit 1 - C/lam", 1.0 - 100 / 120, lost, 0.01 * lost)
    yield Reading("queue, fluid limit (lam - C)/theta", 40.0, queue, 0.4)


def _impatient(lam: float, length_s: float) -> Iterator[Reading]:
    """Measure a pool of a hundred servers with ten classes of patience."""
    pool = bench.pool(units=1, concurrency=100, service_time="1s", late_work="cancel")
    clients = [bench.service(f"s{i}", timeout=f"{t:.6f}s") for i, t in enumerate(PATIENCE_S)]
    topology = bench.build([pool], clients)
    script = [bench.demand(0.0, lam / CLASSES, edge) for edge in range(CLASSES)]
    lost, queue = [], []
    for chance in chances(f"V06 {lam:g}"):
        plane = bench.open_plane("request", topology, chance=chance, period_s=1.0)
        rows = bench.pool_rows(bench.play(plane, script, length_s))[100:]
        lost.append(1.0 - float(rows[:, 1].sum() / rows[:, 0].sum()))
        queue.append(float(rows[:, 3].mean()))
    p_theory, q_theory = forms.mmc_impatient(lam, 1.0, 100, PATIENCE_S)
    yield averaged(f"abandon, {lam:g}/s, ten classes", p_theory, lost, within(0.03, p_theory))
    yield averaged(f"queue, {lam:g}/s, ten classes", q_theory, queue, within(0.03, q_theory))


_ERLANG_A = forms.erlang_a

V06 = Row(
    id="V06",
    claim="impatient requests leave the queue as in Erlang's A",
    formula="birth-death chain with deaths min(n, c) mu + (n - c)+ theta; P_ab = theta E[Q]/lam; "
    "any patience: v(x) = lam p_(c-1) exp(lam int_0^x P(patience > u) du - c mu x)",
    source="Garnett, Mandelbaum, Reiman, M&SOM 4(3), 2002; Zeltyn, Mandelbaum, Queueing Systems "
    "51, 2005; Whitt, Operations Research 54(1), 2006 (fluid limit)",
    inputs="c = 100, mu = 1/s, patience of mean 2 s; lam = 100/s and 120/s",
    fidelities=("formula", "request"),
    measure=_erlang_a,
    mutants=(
        form_mutant(
            "twice as patient",
            "erlang_a",
            lambda lam, mu, c, theta: _ERLANG_A(lam, mu, c, 0.5 * theta),
        ),
        pool_mutant("nobody leaves", "request", late_work="zombie"),
    ),
    slow=frozenset({"request"}),
    note="A timeout is a constant of its edge: exponential patience is ten classes of clients with "
    "the mid-quantiles as timeouts, and theory is that of this patience (its limit is Erlang's A).",
)


# ------------------------------------------------------------------------------ V07 Little's law


def _half_the_time() -> AbstractContextManager[None]:
    whole = bench.total_time_s
    return replaced(bench, "total_time_s", lambda plane: 0.5 * whole(plane))


def _little(fidelity: Fidelity) -> Iterator[Reading]:
    cases = {
        "waiting line": (bench.one_pool(), 900.0),
        "retries of rejected": (bench.one_pool(10, "1s", of={"queue_per_unit": 0}), 900.0),
        "LIFO in overload": (bench.one_pool(3, "500ms", of={"discipline": "lifo"}), 1300.0),
    }
    if fidelity == "flow":  # nothing waits in a mean flow below its capacity
        cases = {"LIFO in overload": cases["LIFO in overload"]}
    for name, (topology, rate) in cases.items():
        gaps = [_gap(fidelity, topology, rate, c) for c in chances(f"V07 {name}", fidelity)]
        yield averaged(f"(L - lam W)/L, {name}", 0.0, gaps, 0.01)


def _gap(fidelity: Fidelity, topology: Topology, rate: float, chance: str) -> float:
    """Return how far the number present is from rate times time, as a share."""
    plane = bench.open_plane(fidelity, topology, chance=chance, period_s=0.1, sleep=False)
    bench.play(plane, [bench.demand(0.0, rate)], 40.0)
    before = bench.total_time_s(plane)
    started = len(bench.edge_rows(plane))
    bench.play(plane, [], 140.0)
    rows = bench.edge_rows(plane)[started:]
    times = (bench.total_time_s(plane) - before) / 100.0
    if fidelity == "flow":
        times -= bench.S * float(rows[:, 1].mean())
    return 1.0 - times / float(rows[:, 4].mean())


V07 = Row(
    id="V07",
    claim="the number of first tries in flight is their rate times the time they take",
    formula="L = lam W, over first tries, with all their retries and backoffs",
    source="Little, Operations Research 9(3), 1961",
    inputs="C = 1000/s: 900/s waiting; 900/s without a queue, retried after 1 s; 1300/s LIFO, 3 "
    "retries after 500 ms; 100 s",
    fidelities=("flow", "request"),
    measure=_little,
    mutants=(
        Mutant("half of the time is forgotten", _half_the_time, "flow"),
        Mutant("half of the time is forgotten", _half_the_time, "request"),
    ),
    note="The flow books a success when its service starts: the service time of successes is no "
    "part of its L, and is taken from W.",
)


ROWS = (V05, V06, V07)
