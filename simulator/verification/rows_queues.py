"""Rows about waiting lines: the textbook's queues, and Little's law on every one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import poisson

from simulator.verification import bench
from simulator.verification import closed_forms as forms
from simulator.verification.bench import EXACT, form_mutant
from simulator.verification.row import Reading, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.verification.row import Fidelity


# -------------------------------------------------------------------------------- V01 Erlang B


def _erlang_b(fidelity: Fidelity) -> Iterator[Reading]:
    for servers, load, printed in ((10, 5.0, 0.018385), (100, 90.0, 0.026957)):
        name = f"blocked, c = {servers}, a = {load:g}"
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
    inputs="c = 10, a = 5; c = 100, a = 90",
    fidelities=("formula",),
    measure=_erlang_b,
    mutants=(form_mutant("one server more", "erlang_b", _one_server_more),),
)


# -------------------------------------------------------------------------------- V02 Erlang C


def _mmc(fidelity: Fidelity) -> Iterator[Reading]:
    steady = forms.mmc(8.0, 1.0, 10)
    yield Reading("share that waits", 0.409180, steady.p_wait, EXACT)
    yield Reading("mean time W", 1.204590, steady.time_s, EXACT, unit="s")
    yield Reading("mean number L", 9.636721, steady.present, EXACT)
    for servers, load, percent, digit in ((5, 2.5, 13.0, 0.5), (10, 5.0, 3.6, 0.05)):
        name = f"share that waits, c = {servers}, a = {load:g}, as published"
        yield Reading(name, percent, 100.0 * forms.erlang_c(servers, load), digit, unit="%")


V02 = Row(
    id="V02",
    claim="arrivals wait in a pool of c servers as Erlang's C says",
    formula="P_w = c B / (c - a (1 - B)); W = P_w/(c mu - lam) + 1/mu; L = lam W",
    source="Kleinrock I, sec. 3.5; two values published by Brooker 2020 (blog)",
    inputs="lam = 8/s, mu = 1/s, c = 10",
    fidelities=("formula",),
    measure=_mmc,
    mutants=(form_mutant("waits as often as it loses", "erlang_c", forms.erlang_b),),
)


# ------------------------------------------------------------------------------ V03 sojourn tail

TAILS = ((9.0, 10.0, 1, 1.0, 0.367879), (90.0, 1.0, 100, 2.0, 0.138597))


def _tail(fidelity: Fidelity) -> Iterator[Reading]:
    for lam, mu, servers, t_s, printed in TAILS:
        name = f"P(W + S > {t_s:g} s), c = {servers}, lam = {lam:g}/s"
        yield Reading(name, printed, forms.mmc_tail(lam, mu, servers, t_s), EXACT)


def _wait_alone(lam: float, mu: float, servers: int, t_s: float) -> float:
    theta = servers * mu - lam
    return forms.erlang_c(servers, lam / mu) * float(np.exp(-theta * t_s))


V03 = Row(
    id="V03",
    claim="the share of requests that outlast a timeout is the tail of wait plus service",
    formula="P(W+S>t) = (1-P_w) e^(-mu t) + P_w (th e^(-mu t) - mu e^(-th t))/(th - mu), "
    "th = c mu - lam",
    source="Kleinrock I, sec. 3.5 and 5.12",
    inputs="M/M/1 9/s on 10/s, t = 1 s; M/M/100 90/s, mu = 1/s, t = 2 s",
    fidelities=("formula",),
    measure=_tail,
    mutants=(form_mutant("service forgotten", "mmc_tail", _wait_alone),),
)


# ----------------------------------------------------------------------------------- V04 M/M/1/K


def _mm1k(fidelity: Fidelity) -> Iterator[Reading]:
    rejected, time_s, through = forms.mm1k(12.0, 10.0, 10)
    yield Reading("share rejected", 0.192586, rejected, EXACT)
    yield Reading("mean time W", 0.692614, time_s, EXACT, unit="s")
    yield Reading("throughput", 9.688962, through, EXACT, unit="/s")


_MM1K = forms.mm1k

V04 = Row(
    id="V04",
    claim="a short queue under overload rejects what it must, and no more",
    formula="p_n = rho^n / sum rho^i, i = 0 ... K",
    source="Kleinrock I, sec. 3.6",
    inputs="lam = 12/s, mu = 10/s, at most K = 10 in the system",
    fidelities=("formula",),
    measure=_mm1k,
    mutants=(form_mutant("room for one more", "mm1k", lambda lam, mu, k: _MM1K(lam, mu, k + 1)),),
)


# ----------------------------------------------------------------------------------- V05 Jackson

GAMMA = (5.0, 1.0, 0.0)
ROUTING = ((0.0, 0.6, 0.4), (0.2, 0.0, 0.3), (0.0, 0.1, 0.0))
JACKSON_MU = (4.0, 3.0, 5.0)
JACKSON_C = (2, 3, 1)
ENTRIES = 2
"""Pools that customers call."""


def _jackson(fidelity: Fidelity) -> Iterator[Reading]:
    printed = (5.9976, 4.9881, 3.8955)
    rates = forms.traffic(GAMMA, ROUTING)
    if fidelity == "flow":
        yield from _jackson_rates(fidelity)
        return
    for i, rate in enumerate(printed):
        yield Reading(f"lam_{i + 1}", rate, float(rates[i]), 0.5e-4, unit="/s")
    numbers = [
        forms.mmc(float(rate), mu, c).present
        for rate, mu, c in zip(rates, JACKSON_MU, JACKSON_C, strict=True)
    ]
    for i, number in enumerate((3.4237, 2.0335, 3.5269)):
        yield Reading(f"L_{i + 1}", number, numbers[i], 0.5e-4)
    yield Reading("time in the network", 1.49734, sum(numbers) / sum(GAMMA), 0.5e-5, unit="s")


def _jackson_rates(fidelity: Fidelity) -> Iterator[Reading]:
    """Measure the rates of pools that call each other without waiting."""
    names = ("a", "b", "c")
    pools = [
        bench.pool(n, units=1, concurrency=c, service_time=f"{1 / mu:.9f}s")
        for n, mu, c in zip(names, JACKSON_MU, JACKSON_C, strict=True)
    ]
    calls = [
        bench.call(names[i], names[j], "60s", kind="asynchronous", calls=p)
        for i, row in enumerate(ROUTING)
        for j, p in enumerate(row)
        if p > 0.0
    ]
    services = [bench.service(f"s{i}", names[i], "60s") for i in range(ENTRIES)]
    topology = bench.build(pools, services, calls)
    entries = [topology.service_edge(f"s{i}") for i in range(ENTRIES)]
    script = [bench.demand(0.0, GAMMA[i], entries[i]) for i in range(ENTRIES)]
    plane = bench.play(bench.open_plane(fidelity, topology, period_s=60.0), script, 6000.0)
    for i, theory in enumerate(forms.traffic(GAMMA, ROUTING)):
        observed = float(bench.pool_rows(plane, i)[20:, 0].mean())
        yield Reading(f"lam_{i + 1}", float(theory), observed, 0.005 * float(theory), unit="/s")


V05 = Row(
    id="V05",
    claim="calls between pools, cycles included, add up as in Jackson's networks",
    formula="lam = gamma (I - P)^-1; each pool by itself as M/M/c",
    source="Jackson, Operations Research 5(4), 1957",
    inputs="gamma = (5, 1, 0)/s, P = ((0, .6, .4), (.2, 0, .3), (0, .1, 0)), mu = (4, 3, 5)/s, "
    "c = (2, 3, 1)",
    fidelities=("formula", "flow"),
    measure=_jackson,
    mutants=(
        form_mutant(
            "routing the other way",
            "traffic",
            lambda gamma, p: np.linalg.solve(np.eye(3) - np.asarray(p), np.asarray(gamma)),
        ),
        bench.caller_mutant("calls halved", "flow", calls=lambda n: 0.5 * n),
    ),
    note="The mean flow has no chance and no waiting below capacity: it is held to the rates only.",
)


# ---------------------------------------------------------------------------------- V06 Erlang A


def _erlang_a(fidelity: Fidelity) -> Iterator[Reading]:
    for lam, p_printed, q_printed in ((100.0, 0.03303, 6.606), (120.0, 0.16679, 40.030)):
        lost, queue = forms.erlang_a(lam, 1.0, 100, 0.5)
        yield Reading(f"abandon, {lam:g}/s", p_printed, lost, 0.5e-5)
        yield Reading(f"queue, {lam:g}/s", q_printed, queue, 0.5e-3)
        # The same from the theory of general patience, in 2000 classes of equal size.
        patience = -np.log1p(-(np.arange(2000) + 0.5) / 2000) / 0.5
        lost_g, queue_g = forms.mmc_impatient(lam, 1.0, 100, patience)
        yield Reading(f"abandon, {lam:g}/s, as M/M/c+G", lost, lost_g, 1e-5)
        yield Reading(f"queue, {lam:g}/s, as M/M/c+G", queue, queue_g, 1e-3)
    lost, queue = forms.erlang_a(120.0, 1.0, 100, 0.5)
    yield Reading("abandon, fluid limit 1 - C/lam", 1.0 - 100 / 120, lost, 0.01 * lost)
    yield Reading("queue, fluid limit (lam - C)/theta", 40.0, queue, 0.4)


_ERLANG_A = forms.erlang_a

V06 = Row(
    id="V06",
    claim="impatient requests leave the queue as in Erlang's A",
    formula="birth-death chain with deaths min(n, c) mu + (n - c)+ theta; P_ab = theta E[Q]/lam",
    source="Garnett, Mandelbaum, Reiman, M&SOM 4(3), 2002; Zeltyn, Mandelbaum, Queueing Systems "
    "51, 2005; Whitt, Operations Research 54(1), 2006 (fluid limit)",
    inputs="c = 100, mu = 1/s, patience of mean 2 s; lam = 100/s and 120/s",
    fidelities=("formula",),
    measure=_erlang_a,
    mutants=(
        form_mutant(
            "twice as patient",
            "erlang_a",
            lambda lam, mu, c, theta: _ERLANG_A(lam, mu, c, 0.5 * theta),
        ),
    ),
)


# ----------------------------------------------------------------------------- V45 first passage


def _passage(fidelity: Fidelity) -> Iterator[Reading]:
    for lam, printed, digit in ((8.0, 175_135.0, 0.5), (9.0, 1_880.3, 0.05)):
        name = f"0 to 50, {lam:g}/s on 10/s"
        yield Reading(name, printed, forms.first_passage_s(lam, 10.0, 50), digit, unit="s")


_PASSAGE = forms.first_passage_s

V45 = Row(
    id="V45",
    claim="the good state of a small pool ends by chance after the first passage of its queue",
    formula="T_k = 1/lam + (mu/lam) T_(k-1), summed over k = 0 ... 49",
    source="Keilson, Markov Chain Models, 1979, ch. 5",
    inputs="M/M/1, mu = 10/s, from empty to 50; lam = 8/s and 9/s",
    fidelities=("formula",),
    measure=_passage,
    mutants=(
        form_mutant(
            "one step less", "first_passage_s", lambda lam, mu, n: _PASSAGE(lam, mu, n - 1)
        ),
    ),
)


ROWS = (V01, V02, V03, V04, V05, V06, V45)
