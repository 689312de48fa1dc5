"""Times to recovery when some runs end before they recover.

A run that reaches its horizon says that recovery takes *longer than that*: a right-censored time.
To drop it, or to count the horizon as its time to recovery, makes every statistic too good. The
product-limit estimate of Kaplan and Meier (JASA 53, 1958) uses it for what it says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.metrics.result import Metrics

__all__ = ["Survival", "kaplan_meier", "recovery_survival"]

_HALF = 0.5
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Survival:
    """A step curve: the share of incidents that last longer than a time."""

    t_s: np.ndarray
    """(K,) float64: distinct times of an end or of a censoring, ascending."""
    share: np.ndarray
    """(K,) float64: share that lasts longer than that."""
    n: int
    """Incidents."""
    censored: int
    """Incidents of which only a lower bound is known."""

    def at(self, t_s: float) -> float:
        """Return the share that lasts longer than a time."""
        k = int(np.searchsorted(self.t_s, t_s, side="right"))
        return 1.0 if k == 0 else float(self.share[k - 1])

    @property
    def known_to_s(self) -> float:
        """Time up to which the curve is known: inf where it ends at 0."""
        return math.inf if self.share[-1] <= _ROUNDING else float(self.t_s[-1])

    @property
    def median_s(self) -> float:
        """Smallest time that at most half of the incidents exceed; inf where more than half do."""
        reached = np.flatnonzero(self.share <= _HALF + _ROUNDING)
        return float(self.t_s[reached[0]]) if len(reached) else math.inf

    def restricted_mean_s(self, horizon_s: float) -> float:
        """Return the mean of the durations cut at a horizon: the area under the curve up to it.

        Raises
        ------
        UsageError
            If the horizon is not positive and finite, or lies where the curve is not known.
        """
        if not (math.isfinite(horizon_s) and 0.0 < horizon_s <= self.known_to_s):
            msg = f"a restricted mean needs a horizon up to {self.known_to_s:g} s, got {horizon_s}"
            raise UsageError(msg)
        edges = np.concatenate([[0.0], np.minimum(self.t_s, horizon_s), [horizon_s]])
        levels = np.concatenate([[1.0], self.share])
        return float((levels * np.diff(edges)).sum())


def kaplan_meier(times_s: Sequence[float], ended: Sequence[bool]) -> Survival:
    """Estimate how long incidents last from times some of which are lower bounds.

    Parameters
    ----------
    times_s : sequence of float
        Duration of each incident, or how long it was watched if it did not end; 0 or more.
    ended : sequence of bool
        Whether it ended. Of an end and a censoring at one time, the end is taken as the first.

    Raises
    ------
    UsageError
        If there is no incident, the lengths differ, or a time is negative or not finite.
    """
    from scipy.stats import CensoredData, ecdf

    t = np.asarray(times_s, dtype=np.float64)
    done = np.asarray(ended)
    if t.ndim != 1 or len(t) == 0 or t.shape != done.shape or done.dtype != np.bool_:
        msg = "survival needs at least one time, and for each whether it ended (true or false)"
        raise UsageError(msg)
    if not np.isfinite(t).all() or (t < 0.0).any():
        msg = "survival needs finite times of 0 or more; one that did not end is censored, not inf"
        raise UsageError(msg)
    curve = ecdf(CensoredData(uncensored=t[done], right=t[~done])).sf
    return Survival(
        np.asarray(curve.quantiles, dtype=np.float64),
        np.asarray(curve.probabilities, dtype=np.float64),
        n=len(t),
        censored=int((~done).sum()),
    )


def recovery_survival(runs: Sequence[Metrics]) -> Survival:
    """Estimate the time to recovery over runs; one that did not recover is censored at its end.

    Raises
    ------
    UsageError
        If there is no run, or a run neither recovered nor says how long it was watched.
    """
    times = [m.censored_at_s if m.ttr_s is None else m.ttr_s for m in runs]
    known = [t for t in times if t is not None]
    if len(known) < len(times):
        msg = "a run neither recovered nor says how long it was watched"
        raise UsageError(msg)
    return kaplan_meier(known, [m.ttr_s is not None for m in runs])
