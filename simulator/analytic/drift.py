"""Mean motion of the chain: drift, equilibria, and the loads at which they end (A12-A15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import optimize, special

if TYPE_CHECKING:
    from simulator.analytic.chain import PoolChain

__all__ = [
    "Equilibrium",
    "Folds",
    "balanced_load",
    "drift",
    "drift_at",
    "equilibria",
    "folds",
    "noisy_upper",
    "rest_lines",
]

GRID: Final = 400
"""Attempt rates at which the curve of the noisy queue is scanned for its turning point."""


@dataclass(frozen=True, slots=True)
class Equilibrium:
    """A state at which the drift vanishes."""

    queue: float
    """Attempts in the pool, between two states of the chain."""
    orbit: float
    """First tries in orbit."""
    stable: bool
    """Whether the drift leads back to it from nearby."""


@dataclass(frozen=True, slots=True)
class Folds:
    """Loads between which a good and a bad state exist side by side."""

    lower_rps: float
    """Below it the bad state ends (``lam*``)."""
    upper_rps: float
    """Above it the good state ends (``lam_up``)."""


def drift(chain: PoolChain) -> tuple[np.ndarray, np.ndarray]:
    """Return the expected change of queue and orbit per second in every state (A12).

    Returns
    -------
    tuple of numpy.ndarray
        Two arrays ``(c + K + 1, orbit bound + 1)`` float64, requests per second. The cut of the
        orbit does not show in them.
    """
    queue, orbit = np.indices(chain.shape, dtype=np.float64)
    return drift_at(chain, queue, orbit)


def drift_at(
    chain: PoolChain, queue: np.ndarray, orbit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the drift anywhere, linear between the states of the chain (A12).

    Parameters
    ----------
    chain : PoolChain
        The chain.
    queue, orbit : numpy.ndarray
        Attempts in the pool and first tries in orbit; arrays of one shape, float64.
    """
    completions, fails, room = _between(chain, queue)
    lam = chain.first_tries_rps
    if not chain.retries:
        return lam * room - completions, np.zeros_like(queue)
    leave = orbit / chain.orbit_s
    retry = chain.retry_frac * leave
    return room * (lam + retry) - completions, fails * (lam + retry) - leave


def rest_lines(chain: PoolChain, queue: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the orbits at which the queue, and at which the orbit, stands still (nullclines).

    Parameters
    ----------
    chain : PoolChain
        A chain with retries.
    queue : numpy.ndarray
        Attempts in the pool, at least 0 and below ``c + K``.
    """
    completions, fails, room = _between(chain, queue)
    lam, retry = chain.first_tries_rps, chain.retry_frac
    of_queue = (completions / room - lam) * chain.orbit_s / retry
    return of_queue, lam * fails * chain.orbit_s / (1.0 - retry * fails)


def _between(chain: PoolChain, queue: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return completions, chance to fail and chance of room between two states of the chain."""
    states = np.arange(chain.queue_max + 1)
    completions = np.interp(queue, states, chain.completions_rps)
    return (
        completions,
        np.interp(queue, states, chain.failing),
        np.clip(chain.queue_max - queue, 0.0, 1.0),
    )


def balanced_load(chain: PoolChain, queue: np.ndarray) -> np.ndarray:
    """Return the load at which the drift vanishes with ``queue`` in the pool (A13).

    Parameters
    ----------
    chain : PoolChain
        The chain; its own load does not matter.
    queue : numpy.ndarray
        Attempts in the pool, at least 0 and below ``c + K``.
    """
    completions, fails, room = _between(chain, queue)
    load: np.ndarray = completions * (1.0 - chain.retry_frac * fails) / room
    return load


def equilibria(chain: PoolChain) -> tuple[Equilibrium, ...]:
    """Return the equilibria of the drift, the shortest queue first (one or three)."""
    lam, retry = chain.first_tries_rps, chain.retry_frac

    def gap(queue: float) -> float:
        completions, fails, room = _between(chain, np.array([queue]))
        return float((completions * (1.0 - retry * fails) - lam * room)[0])

    gaps = [gap(float(n)) for n in range(chain.queue_max + 1)]
    found = []
    for n in range(chain.queue_max):
        if (gaps[n] < 0.0) == (gaps[n + 1] < 0.0):
            continue
        queue = float(optimize.brentq(gap, n, n + 1))
        fails = float(_between(chain, np.array([queue]))[1][0])
        orbit = lam * fails * chain.orbit_s / (1.0 - retry * fails) if chain.retries else 0.0
        # The determinant of the Jacobian has the sign of the slope of the balanced load, and its
        # trace is negative (A13).
        found.append(Equilibrium(queue, orbit, stable=gaps[n] < 0.0))
    return tuple(found)


def folds(chain: PoolChain) -> Folds | None:
    """Return the loads at which two equilibria meet and end; None if there are never two (A14).

    Up to ``c`` in the pool the balanced load rises (nobody waits), from there to the last place
    of the waiting room it falls (ever more time out), and then it rises for good.
    """
    if not chain.retries or not chain.room:
        return None
    c, retry = chain.servers, chain.retry_frac
    # Between c - 1 and c the balanced load is a parabola.
    before, at = chain.failing[c - 1], chain.failing[c]
    bend = retry * (at - before)
    flat = 1.0 - retry * before + bend * (c - 1)
    top = float(np.clip(flat / (2.0 * bend), c - 1, c)) if bend > 0.0 else float(c)
    ends = balanced_load(chain, np.array([top, chain.queue_max - 1.0]))
    upper, lower = (float(load) for load in ends)
    return Folds(lower, upper) if lower < upper else None


def noisy_upper(chain: PoolChain) -> float | None:
    """Return the load at which the good state ends if the queue's own noise is counted (A15).

    The queue is taken in its stationary state at the present attempt rate (it moves faster than
    the orbit does); the load is ``max_a a (1 - r/(r+1) F(a))`` over the rising part of that curve.
    None if the curve does not turn below twice the capacity.
    """
    if not chain.retries:
        return None

    def load(attempts: float) -> float:
        return attempts * (1.0 - chain.retry_frac * _failing_at(chain, attempts))

    rates = np.linspace(0.0, 2.0 * chain.capacity_rps, GRID + 1)[1:]
    loads = [load(float(a)) for a in rates]
    turn = next((k for k in range(1, GRID - 1) if loads[k] > loads[k + 1]), None)
    if turn is None:
        return None
    best = optimize.minimize_scalar(
        lambda a: -load(a), bounds=(rates[turn - 1], rates[turn + 1]), method="bounded"
    )
    return float(-best.fun)


def _failing_at(chain: PoolChain, attempts_rps: float) -> float:
    """Return the chance of an attempt to fail in an M/M/c/K queue with Poisson attempts."""
    up = np.log(attempts_rps) - np.log(chain.completions_rps[1:])
    weights = np.concatenate(([0.0], np.cumsum(up)))
    return float(np.exp(weights - special.logsumexp(weights)) @ chain.failing)
