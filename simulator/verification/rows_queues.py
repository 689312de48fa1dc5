"""Rows about one waiting line: the textbook's queues, request by request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.stats import poisson

from simulator.verification import bench
from simulator.verification import closed_forms as forms
from simulator.verification.bench import EXACT, averaged, chances, form_mutant, pool_mutant
from simulator.verification.row import Reading, Row, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from simulator.contract import DataPlane
    from simulator.model import Topology
    from simulator.verification.row import Fidelity

PATIENT = "20s"
"""A timeout that nothing here reaches."""


def line(
    servers: int, service: str, *, timeout: str = PATIENT, room: int | None = None
) -> Topology:
    """Return one pool of so many servers, with a waiting room, and its clients."""
    pool = bench.pool(units=1, concurrency=servers, service_time=service, queue_per_unit=room)
    return bench.build([pool], [bench.service(timeout=timeout)])


def steady(topology: Topology, rate: float, length_s: float, chance: str) -> DataPlane:
    """Return the request plane after a time at a rate, sampled every half of a second."""
    plane = bench.open_plane("request", topology, chance=chance, period_s=0.5)
    return bench.play(plane, [bench.demand(0.0, rate)], length_s)


def settled(plane: DataPlane, edge: int = 0) -> np.ndarray:
    """Return the rows of a service without the first twentieth."""
    rows = bench.edge_rows(plane, edge)
    return rows[len(rows) // 20 :]


# -------------------------------------------------------------------------------- V01 Erlang B

LOSS = ((10, 5.0, 0.018385, 20_000.0), (100, 90.0, 0.026957, 2_000.0))
"""Servers, load, share lost, simulated time (s)."""


def _erlang_b(fidelity: Fidelity) -> Iterator[Reading]:
    for servers, load, printed, length_s in LOSS:
        name = f"blocked, c = {servers}, a = {load:g}"
        if fidelity == "request":
            topology = line(servers, "100ms", room=0)
            planes = (
                steady(topology, 10.0 * load, length_s, chance) for chance in chances(f"V01 {name}")
            )
            lost = [1.0 - bench.share(settled(plane)) for plane in planes]
            yield averaged(name, printed, lost, within(0.03, printed))
            continue
        blocked = forms.erlang_b(servers, load)
        yield Reading(name, printed, blocked, EXACT)
        # The share of time in the full state of a truncated Poisson law.
        truncated = float(poisson.pmf(servers, load) / poisson.cdf(servers, load))
        yield Reading(f"{name}, from the Poisson law", truncated, blocked, 1e-12)


def _one_server_more(servers: int, load: float) -> float:
    return float(poisson.pmf(servers + 1, load) / poisson.cdf(servers + 1, load))


V01 = Row(
    id="V01",
    claim="without a waiting room, requests are lost as Erlang's B says",
    formula="B_i = a B_(i-1) / (i + a B_(i-1)), B_0 = 1",
    source="Kleinrock, Queueing Systems I, 1975, sec. 3.6",
    inputs="c = 10, a = 5; c = 100, a = 90; s = 100 ms",
    fidelities=("formula", "request"),
    measure=_erlang_b,
    mutants=(
        form_mutant("one server more", "erlang_b", _one_server_more),
        pool_mutant("one waits", "request", queue_per_unit=1),
    ),
    slow=frozenset({"request"}),
)


# -------------------------------------------------------------------------------- V02 Erlang C


def _mmc(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "request":
        yield from _mmc_requests()
        return
    form = forms.mmc(8.0, 1.0, 10)
    yield Reading("share that waits", 0.409180, form.p_wait, EXACT)
    yield Reading("mean time W", 1.204590, form.time_s, EXACT, unit="s")
    yield Reading("mean number L", 9.636721, form.present, EXACT)
    for servers, load, percent, digit in ((5, 2.5, 13.0, 0.5), (10, 5.0, 3.6, 0.05)):
        name = f"share that waits, c = {servers}, a = {load:g}, as published"
        yield Reading(name, percent, 100.0 * forms.erlang_c(servers, load), digit, unit="%")


def _mmc_requests() -> Iterator[Reading]:
    """Measure mean time and mean number; ten times as fast as the formula's example."""
    planes = [steady(line(10, "100ms"), 80.0, 3000.0, chance) for chance in chances("V02")]
    times = [bench.mean_time_s(plane) for plane in planes]
    yield averaged("mean time W, mu = 10/s", 0.1204590, times, within(0.02, 0.120459), unit="s")
    numbers = [float(settled(plane)[:, 4].mean()) for plane in planes]
    yield averaged("mean number L", 9.636721, numbers, within(0.02, 9.636721))


V02 = Row(
    id="V02",
    claim="arrivals wait in a pool of c servers as Erlang's C says",
    formula="P_w = c B / (c - a (1 - B)); W = P_w/(c mu - lam) + 1/mu; L = lam W",
    source="Kleinrock I, sec. 3.5; two values published by Brooker 2020 (blog)",
    inputs="lam = 8/s, mu = 1/s, c = 10 (request level: lam = 80/s, mu = 10/s)",
    fidelities=("formula", "request"),
    measure=_mmc,
    mutants=(
        form_mutant("waits as often as it loses", "erlang_c", forms.erlang_b),
        pool_mutant("service without spread", "request", service_distribution="deterministic"),
        pool_mutant("one server more", "request", concurrency=11),
    ),
)


# ------------------------------------------------------------------------------ V03 sojourn tail

TAILS = ((9.0, 10.0, 1, 1.0, 0.367879, 200_000.0), (90.0, 1.0, 100, 2.0, 0.138597, 1_000.0))
"""λ, μ, servers, t, share beyond t, simulated time (s)."""


def _tail(fidelity: Fidelity) -> Iterator[Reading]:
    for lam, mu, servers, t_s, printed, length_s in TAILS:
        name = f"P(W + S > {t_s:g} s), c = {servers}, lam = {lam:g}/s"
        if fidelity == "formula":
            yield Reading(name, printed, forms.mmc_tail(lam, mu, servers, t_s), EXACT)
            continue
        topology = line(servers, f"{1.0 / mu:g}s", timeout=f"{t_s:g}s")
        planes = (steady(topology, lam, length_s, chance) for chance in chances(f"V03 {name}"))
        late = [1.0 - bench.share(settled(plane)) for plane in planes]
        yield averaged(name, printed, late, within(0.03, printed))


def _wait_alone(lam: float, mu: float, servers: int, t_s: float) -> float:
    return forms.erlang_c(servers, lam / mu) * math.exp(-(servers * mu - lam) * t_s)


V03 = Row(
    id="V03",
    claim="the share of requests that outlast a timeout is the tail of wait plus service",
    formula="P(W+S>t) = (1-P_w) e^(-mu t) + P_w (th e^(-mu t) - mu e^(-th t))/(th - mu), "
    "th = c mu - lam",
    source="Kleinrock I, sec. 3.5 and 5.12",
    inputs="M/M/1 9/s on 10/s, t = 1 s; M/M/100 90/s, mu = 1/s, t = 2 s",
    fidelities=("formula", "request"),
    measure=_tail,
    mutants=(
        form_mutant("service forgotten", "mmc_tail", _wait_alone),
        pool_mutant("last in first out", "request", discipline="lifo"),
        pool_mutant("late work is cancelled", "request", late_work="cancel"),
    ),
    slow=frozenset({"request"}),
)


# ----------------------------------------------------------------------------------- V04 M/M/1/K

MM1K = (0.192586, 0.692614, 9.688962)


def _mm1k(fidelity: Fidelity) -> Iterator[Reading]:
    names = (("share rejected", ""), ("mean time W", "s"), ("throughput", "/s"))
    if fidelity == "formula":
        found = forms.mm1k(12.0, 10.0, 10)
        for (name, unit), printed, value in zip(names, MM1K, found, strict=True):
            yield Reading(name, printed, value, EXACT, unit=unit)
        return
    measured = [_short_queue(chance) for chance in chances("V04")]
    columns = zip(*measured, strict=True)
    for (name, unit), printed, values in zip(names, MM1K, columns, strict=True):
        yield averaged(name, printed, values, within(0.02, printed), unit=unit)


def _short_queue(chance: str) -> tuple[float, float, float]:
    """Return (share rejected, mean time of the others, throughput)."""
    plane = steady(line(1, "100ms", room=9), 12.0, 18_000.0, chance)
    rows = settled(plane)
    answered = bench.share(rows)
    # A rejected request is there for no time: the mean over all is less by their share.
    time_s = bench.mean_time_s(plane) / answered
    return 1.0 - answered, time_s, float(rows[:, 1].mean())


_MM1K = forms.mm1k

V04 = Row(
    id="V04",
    claim="a short queue under overload rejects what it must, and no more",
    formula="p_n = rho^n / sum rho^i, i = 0 ... K",
    source="Kleinrock I, sec. 3.6",
    inputs="lam = 12/s, mu = 10/s, at most K = 10 in the system",
    fidelities=("formula", "request"),
    measure=_mm1k,
    mutants=(
        form_mutant("room for one more", "mm1k", lambda lam, mu, k: _MM1K(lam, mu, k + 1)),
        pool_mutant("room for one more", "request", queue_per_unit=10),
    ),
)


# ----------------------------------------------------------------------------- V45 first passage

LEVEL = 50
PASSAGES = 1600
LONGEST_S = 20_000.0


def _passage(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "formula":
        for lam, printed, digit in ((8.0, 175_135.0, 0.5), (9.0, 1_880.3, 0.05)):
            name = f"0 to {LEVEL}, {lam:g}/s on 10/s"
            yield Reading(name, printed, forms.first_passage_s(lam, 10.0, LEVEL), digit, unit="s")
        return
    theory = forms.first_passage_s(9.5, 10.0, LEVEL)
    # The system is full with 49: the first that is rejected would have been the fiftieth.
    topology = line(1, "100ms", room=LEVEL - 2)
    times = [_first_rejection_s(topology, chance) for chance in chances("V45", n=PASSAGES)]
    name = f"0 to {LEVEL}, 9.5/s on 10/s"
    yield averaged(name, theory, times, within(0.12, theory), bias=0.5, unit="s")


def _first_rejection_s(topology: Topology, chance: str) -> float:
    plane = bench.open_plane("request", topology, chance=chance, period_s=100.0)
    plane.watch_edge(0, below=0.999999)
    plane.set_demand(0, 9.5)
    crossing = plane.advance(LONGEST_S)
    return math.nan if crossing is None else crossing.t_s


_PASSAGE = forms.first_passage_s

V45 = Row(
    id="V45",
    claim="the good state of a small pool ends by chance after the first passage of its queue",
    formula="T_k = 1/lam + (mu/lam) T_(k-1), summed over k = 0 ... 49",
    source="Keilson, Markov Chain Models, 1979, ch. 5",
    inputs="M/M/1, mu = 10/s, from empty to 50; lam = 8/s and 9/s (request level: 9.5/s)",
    fidelities=("formula", "request"),
    measure=_passage,
    mutants=(
        form_mutant(
            "one step less", "first_passage_s", lambda lam, mu, n: _PASSAGE(lam, mu, n - 1)
        ),
        pool_mutant("room for five more", "request", queue_per_unit=LEVEL + 3),
    ),
    slow=frozenset({"request"}),
    note="At the request level the time is read at the end of a tick of 1 s (bias 0.5 s).",
)


ROWS = (V01, V02, V03, V04, V45)
