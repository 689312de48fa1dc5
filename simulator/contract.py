"""Contract of the data plane: what the engine may ask of it, whatever the fidelity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np


@dataclass(frozen=True, slots=True)
class Crossing:
    """A watched success share crossed its threshold at ``t_s``."""

    t_s: float
    watch: int
    """Number that :meth:`DataPlane.watch_edge` or :meth:`DataPlane.watch_pool` returned."""
    below: bool
    """True when it fell below, False when it rose above."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one attempt that arrives now on an edge should expect."""

    accept_frac: float
    """Chance of not being rejected at the queue."""
    wait_s: float
    """Time until service starts (inf if nothing is served)."""
    latency_s: float
    """Wait + service + callees."""
    success_frac: float
    """Chance to be answered in time by a pool that works, given acceptance and wait."""


class DataPlane(Protocol):
    """Requests of a region between two decisions. All rates per second, times in seconds.

    Indices are those of :class:`simulator.model.Topology`. The plane works on a grid of ticks
    (``tick_s``): changes take effect at the next tick, :meth:`advance` goes to the last tick that
    is not after its argument, so splitting an advance in two changes nothing.
    """

    tick_s: float

    @property
    def now_s(self) -> float:
        """Time of the last completed tick."""

    def set_capacity(self, pool: int, *, rate_rps: float, workers: float, units: float) -> None:
        """Set full rate (warmth included), workers and unit count (it scales the queue bound)."""

    def set_service_time(self, pool: int, service_s: float) -> None:
        """Set the mean service time (slow-down)."""

    def set_demand(self, edge: int, rate_rps: float) -> None:
        """Set first tries per second of a service edge."""

    def set_admission(self, edge: int, frac: float) -> None:
        """Admit only this share of a service edge's attempts; the rest fails at once (shed)."""

    def inject(self, edge: int, requests: float) -> None:
        """Add requests to a control edge (an operation's work)."""

    def set_hit_frac(self, edge: int, frac: float) -> None:
        """Set the share of an edge's calls that its cache answers (an emptied cache: 0)."""

    def watch_edge(self, edge: int, *, below: float) -> int:
        """Watch the success share of first tries of an edge; return the number of the watch."""

    def watch_pool(self, pool: int, *, below: float) -> int:
        """Watch the success share of a pool's attempts; return the number of the watch."""

    def advance(self, until_s: float) -> Crossing | None:
        """Go to ``until_s``, or stop earlier at the first crossing and return it."""

    def outlook(self, edge: int) -> Outlook:
        """Estimate what an attempt on ``edge`` would see now."""

    def pool_success(self, pool: int) -> float:
        """Present success share of a pool's attempts (smoothed over about 5 s)."""

    def edge_success(self, edge: int) -> float:
        """Present success share of an edge's first tries (smoothed over about 5 s)."""

    def totals(self) -> dict[str, np.ndarray]:
        """Cumulative (E,) arrays: ``first``, ``ok``, ``failed``, ``attempts``, ``in_flight``."""

    def latencies(self, edge: int, quantiles: Sequence[float]) -> np.ndarray | None:
        """Return quantiles (s) of the latency of an edge's answered first tries, by sample.

        (samples, quantiles), NaN where nothing was answered; None where the edge is simulated as a
        flow, which knows means only.
        """

    @property
    def n_samples(self) -> int:
        """Samples taken so far (one per sample period)."""

    def samples(self, start: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``(t_s (n,), pools (n, P, 7), edges (n, E, 5))`` from sample ``start`` on.

        Pool columns: offered_rps, served_rps, success_frac, queue, dead, capacity_rps, blocked.
        Edge columns: first_rps, ok_rps, failed_rps, attempts_rps, in_flight. Views, not copies.
        """
