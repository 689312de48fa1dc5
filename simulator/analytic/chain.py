"""A pool with timeouts and retries as a Markov chain over (queue, orbit) (MODEL.md, A1-A8)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse, stats

from simulator.analytic.sojourn import timeout_chances
from simulator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["STATES_MAX", "PoolChain"]

STATES_MAX: Final = 250_000
"""Largest chain: above it a factorisation takes minutes and gigabytes."""
ORBIT_TAIL: Final = 1e-10
"""Mass above the orbit's bound, at most, when the bound is chosen here."""


@dataclass(frozen=True, kw_only=True)
class PoolChain:
    """Parameters of the chain, and its generator.

    A state is ``(n, m)``: ``n`` attempts wait or are served, ``m`` first tries are *in orbit*:
    their last attempt was rejected or will time out, and they will retry or give up.

    Parameters
    ----------
    first_tries_rps : float
        First tries per second ``lam``, Poisson.
    servers : int
        Servers ``c``.
    service_s : float
        Mean service time ``s`` (s), exponential.
    room : int
        Waiting room ``K`` (requests). Attempts that find it full are rejected.
    timeout_s : float
        Patience ``T`` of the client (s).
    retries : int
        Retries ``r`` after the first attempt, as the mean of a geometric number.
    backoff_s : float
        Mean delay ``b`` before a retry (s).
    unbounded : bool
        The queue has no bound, and ``room`` only cuts the chain off: what the cut does is then an
        error, and solvers refuse a chain with too much mass at it.
    orbit_max : int, optional
        Largest ``m`` (cut). Absent: the orbit is dominated by a Poisson number with mean
        ``lam (r+1) (T+b)``, and the bound is its quantile at ``1 - 1e-10``.

    Raises
    ------
    UsageError
        With everything that is wrong, if the numbers make no chain or too large a one.

    Notes
    -----
    The published model is that of Isaacs et al., *Analyzing Metastable Failures*, HotOS 2025, and
    its tool (github.com/mpi-sws-rse/metafor). Differences are listed in MODEL.md.
    """

    first_tries_rps: float
    servers: int
    service_s: float
    room: int
    timeout_s: float = math.inf
    retries: int = 0
    backoff_s: float = 0.0
    unbounded: bool = False
    orbit_max: int | None = None

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise UsageError("\n".join(problems))
        if self.n_states > STATES_MAX:
            msg = (
                f"the chain has {self.n_states:,} states ({self.queue_max + 1:,} of the queue by "
                f"{self.orbit_bound + 1:,} of the orbit), more than {STATES_MAX:,}: "
                "simulate a pool of this size, or take a smaller one of the same load"
            )
            raise UsageError(msg)

    def _problems(self) -> Iterator[str]:
        """Yield what is wrong with single numbers."""
        for name in ("first_tries_rps", "service_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                yield f"{name} must be a number above 0, got {value!r}"
        if not (math.isfinite(self.backoff_s) and self.backoff_s >= 0.0):
            yield f"backoff_s must be a number, 0 or more, got {self.backoff_s!r}"
        if not self.timeout_s > 0.0:
            yield f"timeout_s must be above 0, got {self.timeout_s!r}"
        yield from self._wrong_counts()
        if self.retries and math.isinf(self.timeout_s) and not self.backoff_s > 0.0:
            yield "clients that never time out need a backoff_s above 0 to retry a rejection"

    def _wrong_counts(self) -> Iterator[str]:
        """Yield what is wrong with whole numbers."""
        whole = {"servers": (self.servers, 1), "room": (self.room, 0), "retries": (self.retries, 0)}
        if self.orbit_max is not None:
            whole["orbit_max"] = (self.orbit_max, 1)
        for name, (count, least) in whole.items():
            if type(count) is not int or count < least:
                yield f"{name} must be a whole number, {least} or more, got {count!r}"

    # ------------------------------------------------------------------ derived numbers

    @property
    def capacity_rps(self) -> float:
        """Capacity ``C = c/s`` (1/s)."""
        return self.servers / self.service_s

    @property
    def queue_max(self) -> int:
        """Largest ``n``: ``c + K``."""
        return self.servers + self.room

    @cached_property
    def orbit_bound(self) -> int:
        """Largest ``m``; 0 where nobody retries."""
        if not self.retries:
            return 0
        if self.orbit_max is not None:
            return self.orbit_max
        return int(stats.poisson.isf(ORBIT_TAIL, self.orbit_when_all_fail)) + 1

    @property
    def shape(self) -> tuple[int, int]:
        """States of the queue, and of the orbit."""
        return self.queue_max + 1, self.orbit_bound + 1

    @property
    def n_states(self) -> int:
        """Number of states."""
        return self.shape[0] * self.shape[1]

    @property
    def orbit_s(self) -> float:
        """Mean time in orbit before a retry or the end: ``T + b``, or ``b`` without a timeout."""
        patience = self.timeout_s if math.isfinite(self.timeout_s) else 0.0
        return patience + self.backoff_s

    @property
    def retry_frac(self) -> float:
        """Chance ``r/(r+1)`` that a first try in orbit retries once more."""
        return self.retries / (self.retries + 1.0)

    @property
    def orbit_when_all_fail(self) -> float:
        """Mean orbit ``lam (r+1) (T+b)`` when every attempt fails."""
        return self.first_tries_rps * (self.retries + 1.0) * self.orbit_s

    @property
    def zombie_line(self) -> float:
        """Backlog ``q* = C (T - s)`` above which an arrival times out on average."""
        return self.capacity_rps * (self.timeout_s - self.service_s)

    # ------------------------------------------------------------------ rates

    @cached_property
    def failing(self) -> np.ndarray:
        """Chance ``p_n`` that an attempt that finds ``n`` fails; ``(c + K + 1,)`` float64 (A1).

        The last one is a rejection: 1.
        """
        chances = timeout_chances(
            servers=self.servers,
            service_s=self.service_s,
            timeout_s=self.timeout_s,
            found_max=self.queue_max,
        )
        chances[-1] = 1.0
        return chances

    @cached_property
    def completions_rps(self) -> np.ndarray:
        """Ends of service per second with ``n`` in the system; ``(c + K + 1,)`` float64 (A8)."""
        return np.minimum(np.arange(self.queue_max + 1), self.servers) / self.service_s

    @cached_property
    def retries_rps(self) -> np.ndarray:
        """Retries per second with ``m`` in orbit; ``(orbit bound + 1,)`` float64 (A5)."""
        if not self.retries:
            return np.zeros(1)
        return np.arange(self.orbit_bound + 1) * (self.retry_frac / self.orbit_s)

    @cached_property
    def dropped_rps(self) -> np.ndarray:
        """First tries given up per second with ``m`` in orbit; ``(orbit bound + 1,)`` (A7)."""
        if not self.retries:
            return np.zeros(1)
        return np.arange(self.orbit_bound + 1) * ((1.0 - self.retry_frac) / self.orbit_s)

    def state(self, queue: int, orbit: int) -> int:
        """Return the number of state ``(n, m)``."""
        return queue * self.shape[1] + orbit

    @cached_property
    def generator(self) -> sparse.csr_array:
        """Generator ``Q``: ``(states, states)`` CSR, 1/s; rows sum to zero.

        State ``(n, m)`` has the number ``n * (orbit bound + 1) + m``.
        """
        n, m = (axis.ravel() for axis in np.indices(self.shape))
        lam, fails = self.first_tries_rps, self.failing[n]
        retry = self.retries_rps[m]
        full = n == self.queue_max
        more = np.minimum(m + 1, self.orbit_bound)
        moves = (
            (np.minimum(n + 1, self.queue_max), m, lam * (1.0 - fails)),  # A2
            (np.minimum(n + 1, self.queue_max), more, lam * fails),  # A3, and A4 where full
            (np.minimum(n + 1, self.queue_max), m - 1, retry * (1.0 - fails)),  # A5
            (n + 1, m, np.where(full, 0.0, retry * fails)),  # A6; rejected, it stays in orbit
            (n, m - 1, self.dropped_rps[m]),  # A7
            (n - 1, m, self.completions_rps[n]),  # A8
        )
        here = np.arange(self.n_states)
        rows, columns, rates = [], [], []
        for to_n, to_m, rate in moves:
            there = to_n * self.shape[1] + to_m
            used = (rate > 0.0) & (there != here)
            rows.append(here[used])
            columns.append(there[used])
            rates.append(rate[used])
        shape = (self.n_states, self.n_states)
        joined = (np.concatenate(rates), (np.concatenate(rows), np.concatenate(columns)))
        off = sparse.coo_array(joined, shape=shape).tocsr()
        return (off - sparse.diags_array(off.sum(axis=1))).tocsr()
