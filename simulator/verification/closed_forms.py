"""Closed forms of queueing theory and of pools with retries, each with its source.

λ: arrivals per second, μ: services per second of one server, c: servers, a = λ/μ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_FLAT = 1e-4
"""Below this exponent an integral is taken from its series: the closed form would cancel."""


@dataclass(frozen=True, slots=True)
class Steady:
    """Means of a queue in its steady state."""

    p_wait: float
    """Share of arrivals that wait."""
    wait_s: float
    """Mean wait."""
    queue: float
    """Mean number waiting."""
    time_s: float
    """Mean time from arrival to departure."""
    present: float
    """Mean number waiting or in service."""


def erlang_b(servers: int, load: float) -> float:
    """Return the share blocked in M/M/c/c, by ``B_i = a·B_(i-1) / (i + a·B_(i-1))``.

    References
    ----------
    Kleinrock, *Queueing Systems* I (1975), section 3.6.
    """
    blocked = 1.0
    for i in range(1, servers + 1):
        blocked = load * blocked / (i + load * blocked)
    return blocked


def erlang_c(servers: int, load: float) -> float:
    """Return the share that waits in M/M/c, ``c·B / (c - a·(1 - B))`` (Kleinrock I, sec. 3.5)."""
    if load >= servers:
        return 1.0
    blocked = erlang_b(servers, load)
    return servers * blocked / (servers - load * (1.0 - blocked))


def mmc(lam: float, mu: float, servers: int) -> Steady:
    """Return the means of M/M/c (Kleinrock I, section 3.5)."""
    p_wait = erlang_c(servers, lam / mu)
    wait_s = p_wait / (servers * mu - lam)
    time_s = wait_s + 1.0 / mu
    return Steady(p_wait, wait_s, lam * wait_s, time_s, lam * time_s)


def mmc_tail(lam: float, mu: float, servers: int, t_s: float) -> float:
    """Return P(wait + service > t) of M/M/c in order of arrival; needs ``c·μ - λ ≠ μ``.

    The wait is 0 with probability ``1 - P_w`` and else exponential with rate ``c·μ - λ``.
    """
    p_wait = erlang_c(servers, lam / mu)
    theta = servers * mu - lam
    if servers == 1:
        return math.exp(-theta * t_s)
    served, waited = math.exp(-mu * t_s), math.exp(-theta * t_s)
    return (1.0 - p_wait) * served + p_wait * (theta * served - mu * waited) / (theta - mu)


def mg1(lam: float, mean_s: float, cv2: float) -> float:
    """Return the mean time in M/G/1; ``cv2``: squared coefficient of variation of the service.

    References
    ----------
    Pollaczek 1930, Khinchine 1932: Kleinrock I, eq. 5.70.
    """
    return mean_s + lam * mean_s**2 * (1.0 + cv2) / (2.0 * (1.0 - lam * mean_s))


def priority_waits(rates: Sequence[float], mu: float) -> list[float]:
    """Return the mean waits of classes in M/M/1 without pre-emption, the first most important.

    References
    ----------
    Cobham, *Priority assignment in waiting line problems*, Operations Research 2(1), 1954.
    """
    residual_s = sum(rates) / mu**2
    waits, before = [], 0.0
    for rate in rates:
        load = before + rate / mu
        waits.append(residual_s / ((1.0 - before) * (1.0 - load)))
        before = load
    return waits


def hedged(mu: float, delay_s: float) -> tuple[float, float, float]:
    """Return (attempts, mean latency, its 99th percentile) with a copy after ``delay_s``.

    Ample servers, exponential service: ``P(L > t) = exp(-μ·t)`` up to the delay, then both run and
    it is ``exp(-μ·(2·t - delay))``.
    """
    late = math.exp(-mu * delay_s)
    return 1.0 + late, (1.0 - late) / mu + late / (2.0 * mu), _hedged_tail(mu, delay_s, 0.01)


def _hedged_tail(mu: float, delay_s: float, p: float) -> float:
    alone_s = -math.log(p) / mu
    return alone_s if alone_s <= delay_s else 0.5 * (alone_s + delay_s)


def birth_death(births: Sequence[float], deaths: Sequence[float]) -> np.ndarray:
    """Return (n + 1,) stationary probabilities of states 0 … n (Kleinrock I, eq. 3.11).

    Parameters
    ----------
    births : Sequence[float]
        (n,) rate from state i to i + 1.
    deaths : Sequence[float]
        (n,) rate from state i + 1 to i.
    """
    logs = np.concatenate(([0.0], np.cumsum(np.log(births) - np.log(deaths))))
    weights = np.exp(logs - logs.max())
    p: np.ndarray = weights / weights.sum()
    return p


def mm1k(lam: float, mu: float, most: int) -> tuple[float, float, float]:
    """Return (share rejected, mean time of the others, throughput) with ``most`` in the system."""
    p = birth_death([lam] * most, [mu] * most)
    through = lam * (1.0 - float(p[-1]))
    return float(p[-1]), float(np.arange(most + 1) @ p) / through, through


def erlang_a(lam: float, mu: float, servers: int, theta: float) -> tuple[float, float]:
    """Return (share that abandons, mean queue) of M/M/c+M with patience of mean ``1/θ``.

    References
    ----------
    Garnett, Mandelbaum, Reiman, *Designing a call center with impatient customers*,
    Manufacturing & Service Operations Management 4(3), 2002: an exact birth-death chain.
    """
    n = np.arange(1, 20 * servers + 1000)
    deaths = np.minimum(n, servers) * mu + np.maximum(n - servers, 0) * theta
    p = birth_death([lam] * len(n), list(deaths))
    queue = float(np.maximum(np.arange(len(p)) - servers, 0) @ p)
    return theta * queue / lam, queue


def mmc_impatient(
    lam: float, mu: float, servers: int, patience_s: Sequence[float] | np.ndarray
) -> tuple[float, float]:
    """Return (share that abandons, mean queue) of M/M/c+G; patience takes each value alike.

    The offered wait of an arrival has density ``v(x) = λ·p_(c-1)·exp(λ·H(x) - c·μ·x)`` with
    ``H(x) = ∫ P(patience > u) du`` from 0 to x.

    References
    ----------
    Baccelli, Hebuterne, *On queues with impatient customers*, Performance '81;
    Zeltyn, Mandelbaum, *Call centers with impatient customers*, Queueing Systems 51, 2005, eq. 2.
    """
    ends = np.sort(np.asarray(patience_s, dtype=np.float64))
    starts = np.concatenate(([0.0], ends))
    lengths = np.diff(starts)
    alive = 1.0 - np.arange(len(ends) + 1) / len(ends)
    rate = lam * alive - servers * mu  # of growth of the exponent, on each piece
    height = np.exp(np.concatenate(([0.0], np.cumsum(rate[:-1] * lengths))))
    mass, moment = _integrals(rate, np.append(lengths, np.inf))
    mass, moment = height * mass, height * (starts * mass + moment)
    blocked = erlang_b(servers, lam / mu)
    free = (servers * mu / lam) * blocked / (1.0 - blocked)  # p_(c-1) over p_0 + ... + p_(c-1)
    share = lam * free / (1.0 + lam * free * mass.sum())
    lost = share * float(mass @ (1.0 - alive))
    # Who gives up after end i has waited min(offered wait, end i): pieces up to i, and beyond.
    beyond = mass.sum() - np.cumsum(mass)[:-1]
    waited = np.cumsum(moment)[:-1] + ends * beyond
    return float(lost), float(lam * share * waited.mean())


def _integrals(rate: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the integrals of ``exp(rate·y)`` and ``y·exp(rate·y)`` from 0 to each length."""
    endless = np.isinf(lengths)
    finite = np.where(endless, 1.0, lengths)
    x = rate * finite
    flat = np.abs(x) < _FLAT
    r = np.where(flat, 1.0, rate)
    mass = np.where(flat, finite * (1.0 + x / 2.0), np.expm1(x) / r)
    moment = np.where(flat, finite**2 * (0.5 + x / 3.0), (1.0 + np.exp(x) * (x - 1.0)) / r**2)
    return np.where(endless, -1.0 / r, mass), np.where(endless, 1.0 / r**2, moment)


def traffic(gamma: Sequence[float], routing: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the arrival rates of a network, ``λ = γ·(I - P)^-1``.

    References
    ----------
    Jackson, *Networks of waiting lines*, Operations Research 5(4), 1957.
    """
    matrix = np.eye(len(gamma)) - np.asarray(routing, dtype=np.float64)
    rates: np.ndarray = np.linalg.solve(matrix.T, np.asarray(gamma, dtype=np.float64))
    return rates


def first_passage_s(lam: float, mu: float, level: int) -> float:
    """Return the mean time in which M/M/1 goes from empty to ``level``.

    ``T_k = 1/λ + (μ/λ)·T_(k-1)`` from k to k + 1 (Keilson, *Markov Chain Models*, 1979, ch. 5).
    """
    total, step = 0.0, 0.0
    for k in range(level):
        step = 1.0 / lam + (mu / lam) * step if k else 1.0 / lam
        total += step
    return total


# ------------------------------------------------------------------------------------ retries


def attempts(p_fail: float, retries: int) -> float:
    """Return attempts per first try: ``(1 - p^(r+1)) / (1 - p)``, or ``r + 1`` if all fail."""
    if p_fail >= 1.0:
        return retries + 1.0
    return (1.0 - p_fail ** (retries + 1)) / (1.0 - p_fail)


def layered_attempts(p_leaf: float, retries: int, layers: int) -> float:
    """Return attempts at the leaf per first try at the top, when each layer retries.

    What one layer sees of the layer below fails with ``p^(r+1)``.
    """
    total, p = 1.0, p_leaf
    for _ in range(layers):
        total *= attempts(p, retries)
        p **= retries + 1
    return total


def sustained_threshold(capacity: float, retries: int) -> float:
    """Return the load above which overload sustains itself: ``C/(r+1)``.

    References
    ----------
    Huang et al., *Metastable Failures in the Wild*, OSDI 2022, theorem 2 with ``w_L* = r + 1``.
    """
    return capacity / (retries + 1)


def throttled_load(k: float, lam: float, capacity: float) -> tuple[float, float]:
    """Return (load of the backend, share rejected by clients) under adaptive throttling.

    A client sends as long as requests stay below K times what was accepted.

    References
    ----------
    Beyer et al., *Site Reliability Engineering*, O'Reilly 2016, ch. 21.
    """
    sent = min(lam, k * capacity)
    return sent, 1.0 - sent / lam


def costly_rejection_threshold(phi: float, retries: int) -> float:
    """Return the load (in units of C) above which rejections that cost φ services sustain overload.

    Work in a state where a share p is rejected: ``λ·(1 - p^(r+1))·(1 + φ·p/(1 - p)) = C``.
    """
    p = np.linspace(0.0, 0.9999, 200_001)
    work = (1.0 - p ** (retries + 1)) * (1.0 + phi * p / (1.0 - p))
    return 1.0 / float(work.max())
