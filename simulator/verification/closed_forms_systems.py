"""Closed forms for repair, redundancy, sharding, cascades and incident statistics."""

from __future__ import annotations

import math
from functools import partial
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from simulator.verification.closed_forms import birth_death

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "borel",
    "bridge_reliability",
    "cut_looks_worse_clt",
    "giant_share",
    "hypergeometric",
    "k_of_n",
    "lognormal_capped_mean",
    "lognormal_length_biased",
    "lognormal_sigma",
    "mean_time_to_k_failed",
    "mean_time_to_k_failed_single_crew",
    "product_limit",
    "repairman",
    "ring_loads",
    "rollout",
    "star_loads",
    "watts_probability",
    "watts_window",
]


# ---------------------------------------------------------------------------------- repair
def repairman(units: int, crews: int, fail_rate: float, repair_rate: float) -> np.ndarray:
    """Return (units + 1,) float64: the stationary law of the failed units.

    Machine-repairman model, birth ``(N - n) f``, death ``min(n, R) m`` (Gross et al.,
    *Fundamentals of Queueing Theory*, 4th ed. 2008, sec. 2.8).
    """
    n = np.arange(units)
    births, deaths = (units - n) * fail_rate, np.minimum(n + 1, crews) * repair_rate
    return birth_death(births.tolist(), deaths.tolist())


def k_of_n(needed: int, units: int, availability: float) -> float:
    """Return the chance that at least `needed` of `units` independent units are up."""
    a = availability
    return sum(comb(units, i) * a**i * (1.0 - a) ** (units - i) for i in range(needed, units + 1))


def mean_time_to_k_failed(births: Sequence[float], deaths: Sequence[float]) -> float:
    """Return the mean first passage time of a birth-death chain from 0 to ``len(births)``.

    ``T_k = 1/b_k + (d_k/b_k) T_(k-1)`` for the step from k to k + 1 (Karlin & Taylor, *A First
    Course in Stochastic Processes*, 1975, ch. 4); ``deaths[0]`` is not used.
    """
    total = step = 0.0
    for k, birth in enumerate(births):
        step = 1.0 / birth + (deaths[k] / birth * step if k else 0.0)
        total += step
    return total


def mean_time_to_k_failed_single_crew(
    units: int, failed: int, fail_rate: float, repair_rate: float
) -> float:
    """Return the mean time until `failed` of `units` are down at once, with one repair crew."""
    births = [(units - k) * fail_rate for k in range(failed)]
    return mean_time_to_k_failed(births, [repair_rate] * failed)


# ---------------------------------------------------------------------------------- sharding
def hypergeometric(total: int, marked: int, drawn: int) -> np.ndarray:
    """Return (drawn + 1,) float64: the chances of 0, 1, … marked ones among those drawn."""
    ways = [comb(marked, i) * comb(total - marked, drawn - i) for i in range(drawn + 1)]
    return np.array([w / comb(total, drawn) for w in ways])


# ---------------------------------------------------------------------------------- graphs
def giant_share(mean_degree: float) -> float:
    """Return the share S of a large Erdős-Rényi graph in its giant component, ``S = 1 - e^(-zS)``.

    Newman, *Networks*, 2nd ed. 2018, sec. 11.5.
    """
    from scipy.optimize import brentq

    if mean_degree <= 1.0:
        return 0.0
    return float(brentq(lambda s: s + math.expm1(-mean_degree * s), 1e-12, 1.0))


def watts_vulnerable_degree(phi: float) -> int:
    """Return the largest degree at which a single failed neighbour is enough, ``floor(1/phi)``."""
    return math.floor(1.0 / phi + 1e-12)


def watts_window(phi: float, *, z_max: float = 25.0) -> tuple[float, float]:
    """Return the mean degrees between which one node can bring down an Erdős-Rényi graph.

    Roots of ``z P(Poisson(z) <= K - 2) = 1``, K the largest vulnerable degree (Watts, PNAS 99,
    2002, the cascade condition for a Poisson law of degrees).
    """
    from scipy.optimize import brentq
    from scipy.stats import poisson

    k = watts_vulnerable_degree(phi)

    def excess(z: float) -> float:
        return float(z * poisson.cdf(k - 2, z)) - 1.0

    grid = np.linspace(0.5, z_max, 2451)
    turns = np.flatnonzero(np.diff(np.sign(grid * poisson.cdf(k - 2, grid) - 1.0)))
    if len(turns) != 2:  # noqa: PLR2004 - a window has two ends
        return math.nan, math.nan
    low, high = (float(brentq(excess, grid[i], grid[i + 1])) for i in turns)
    return low, high


def watts_probability(phi: float, mean_degree: float) -> float:
    """Return the chance that one random node sets off a global cascade.

    The share of the extended vulnerable cluster (Watts 2002): a neighbour of degree j + 1 passes
    the cascade on if it is vulnerable and one of its j other edges does, so
    ``q = sum_(j < K) Poisson(j; z) (1 - (1 - q)^j)``, and the seed needs one such neighbour,
    ``P = 1 - e^(-zq)``. Exact for an infinite graph.
    """
    from scipy.optimize import brentq
    from scipy.stats import poisson

    k = watts_vulnerable_degree(phi)
    if mean_degree * poisson.cdf(k - 2, mean_degree) <= 1.0:
        return 0.0
    j = np.arange(k)
    law = poisson.pmf(j, mean_degree)
    q = brentq(lambda q: float((law * (1.0 - (1.0 - q) ** j)).sum()) - q, 1e-9, 1.0)
    return -math.expm1(-mean_degree * q)


def ring_loads(nodes: int) -> tuple[float, float]:
    """Return the load of a node of an even ring, and the largest one after a node has gone.

    Ends of a path count: ``2(n - 1)`` paths start or end at a node, ``(n - 2)²/4`` pass one of a
    ring; through the middle of the path that is left pass twice ``((n - 2)/2)²``.
    """
    half = (nodes - 2) // 2
    return 2.0 * (nodes - 1) + float(half**2), 2.0 * (nodes - 2) + 2.0 * half**2


def star_loads(leaves: int) -> tuple[float, float]:
    """Return the loads of the hub and of a leaf of a star: all paths touch the hub."""
    return float(leaves * (leaves + 1)), 2.0 * leaves


def bridge_reliability(p: float) -> float:
    """Return the chance that the two ends of a bridge of five edges are connected.

    ``2p² + 2p³ - 5p⁴ + 2p⁵`` (Barlow & Proschan, *Statistical Theory of Reliability*, 1975, ch. 1).
    """
    return 2.0 * p**2 + 2.0 * p**3 - 5.0 * p**4 + 2.0 * p**5


def borel(offspring: float, size: int) -> float:
    """Return the chance that a cascade with Poisson offspring has `size` members in all.

    ``e^(-xn) (xn)^(n-1) / n!`` (Borel 1942; used for blackouts by Dobson, Carreras & Newman,
    Probab. Eng. Inform. Sci. 19, 2005).
    """
    x = offspring * size
    return math.exp(-x + (size - 1) * math.log(x) - math.lgamma(size + 1))


# ---------------------------------------------------------------------------------- incidents
def product_limit(times: Sequence[float], ended: Sequence[bool]) -> dict[float, float]:
    """Return time → share still going on, at every end (Kaplan & Meier, JASA 53, 1958)."""
    share, curve = 1.0, {}
    for t in sorted({t for t, e in zip(times, ended, strict=True) if e}):
        there = sum(u >= t for u in times)
        ends = sum(u == t and e for u, e in zip(times, ended, strict=True))
        share *= 1.0 - ends / there
        curve[t] = share
    return curve


def cut_looks_worse_clt(incidents: int, sigma: float, cut: float) -> float:
    """Return the chance that the mean of half the incidents, cut, exceeds that of the other half.

    Both means taken as normal; lognormal durations with shape `sigma`, ``CV² = e^(σ²) - 1``.
    """
    from scipy.stats import norm

    left = 1.0 - cut
    cv = math.sqrt(math.expm1(sigma**2))
    spread = cv * math.sqrt((1.0 + left**2) / (incidents / 2.0))
    return float(norm.sf(cut / spread))


def lognormal_sigma(median: float, quantile: float, share: float) -> float:
    """Return the shape of the lognormal law with this median and quantile at `share`."""
    from scipy.stats import norm

    return math.log(quantile / median) / float(norm.ppf(share))


def lognormal_length_biased(median: float, sigma: float) -> float:
    """Return ``E[X²]/E[X] = m e^(3σ²/2)``."""
    return median * math.exp(1.5 * sigma**2)


def lognormal_capped_mean(median: float, sigma: float, cap: float) -> float:
    """Return ``E[min(X, cap)] = E[X] Φ(z - σ) + cap (1 - Φ(z))``, ``z = ln(cap/median)/σ``."""
    from scipy.stats import norm

    if cap <= 0.0:
        return 0.0
    z = math.log(cap / median) / sigma
    mean = median * math.exp(sigma**2 / 2.0)
    return float(mean * norm.cdf(z - sigma) + cap * norm.sf(z))


def rollout(
    stages: Sequence[tuple[float, float]], median_h: float, sigma: float, rollback_h: float
) -> tuple[float, float, float]:
    """Return region-hours lost to a bad change, mean share it reached, share never detected.

    Parameters
    ----------
    stages : sequence of (share, hours)
        Share of the region that has the change, and how long before it goes on.
    median_h, sigma : float
        Lognormal time to detection, from first exposure on.
    rollback_h : float
        Time to undo the change where it is.

    Notes
    -----
    With D the time to detection, F its law and stage i from ``t_i`` to ``t_(i+1)``, the change
    costs ``f_i · E[(min(D, t_(i+1)) - t_i)+]`` in stage i, and ``f_i · rollback`` more if it is
    detected there.
    """
    from scipy.stats import norm

    capped = partial(lognormal_capped_mean, median_h, sigma)

    def law(t: float) -> float:
        return float(norm.cdf(math.log(t / median_h) / sigma)) if t > 0.0 else 0.0

    lost = reach = start = 0.0
    for share, hours in stages:
        stop = start + hours
        found = law(stop) - law(start)
        ran = capped(stop) - capped(start)
        lost += share * (ran + rollback_h * found)
        reach += share * found
        start = stop
    missed = 1.0 - law(start)
    return lost, reach + stages[-1][0] * missed, missed
