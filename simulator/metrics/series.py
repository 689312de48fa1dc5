"""Arithmetic on the sampled series of a trace and of its control run.

Shapes: T samples, P pools, S services. Rates are means over the sampling interval that ends at the
sample; levels (queue, units, first tries in flight) are values at the sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.trace import EDGE_COLUMNS, POOL_COLUMNS

if TYPE_CHECKING:
    from simulator.trace import Trace

__all__ = ["Series", "failure_frac", "make_series", "over_window", "window_failure_frac"]

_EDGE: Final = {name: k for k, name in enumerate(EDGE_COLUMNS)}
_POOL: Final = {name: k for k, name in enumerate(POOL_COLUMNS)}


@dataclass(frozen=True)
class Series:
    """Series of one run next to those of what it is compared with, on the same samples."""

    t_s: np.ndarray
    """(T,) float64: ends of the sampling intervals."""
    dt_s: np.ndarray
    """(T,) float64: their lengths."""
    pools: np.ndarray
    """(T, P, columns) float64."""
    services: np.ndarray
    """(T, S, columns) float64."""
    base_pools: np.ndarray
    """(T, P, columns) float64: the control run, or the last state before the trigger."""
    base_services: np.ndarray
    """(T, S, columns) float64."""

    def pool(self, column: str) -> np.ndarray:
        """Return a pool column, (T, P)."""
        return self.pools[:, :, _POOL[column]]

    def base_pool(self, column: str) -> np.ndarray:
        """Return a pool column of the comparison, (T, P)."""
        return self.base_pools[:, :, _POOL[column]]

    def service(self, column: str) -> np.ndarray:
        """Return a service column, (T, S)."""
        return self.services[:, :, _EDGE[column]]

    def base_service(self, column: str) -> np.ndarray:
        """Return a service column of the comparison, (T, S)."""
        return self.base_services[:, :, _EDGE[column]]


def make_series(trace: Trace, control: Trace | None, trigger_s: float | None) -> Series:
    """Put a trace and what it is compared with on the same samples.

    Without a control run the comparison is the last sample that ends at or before the trigger,
    held for the whole run (the first sample where there is none).
    """
    t_s = trace.sample_t_s
    dt_s = np.diff(t_s, prepend=0.0)
    if control is not None:
        rows = np.minimum(np.searchsorted(control.sample_t_s, t_s), len(control.sample_t_s) - 1)
        base_pools, base_services = control.pool_series[rows], control.service_series[rows]
    else:
        until_s = np.inf if trigger_s is None else trigger_s
        last = max(int(np.searchsorted(t_s, until_s, side="right")) - 1, 0)
        row = np.full(len(t_s), 0 if trigger_s is None else last)
        base_pools, base_services = trace.pool_series[row], trace.service_series[row]
    return Series(t_s, dt_s, trace.pool_series, trace.service_series, base_pools, base_services)


def failure_frac(failed: np.ndarray, ok: np.ndarray) -> np.ndarray:
    """Return failed / (failed + ok), 0 where nothing ended."""
    ended = failed + ok
    frac: np.ndarray = np.divide(failed, ended, out=np.zeros_like(ended), where=ended > 0.0)
    return frac


def over_window(rate: np.ndarray, series: Series, window_s: float) -> np.ndarray:
    """Return the integral of `rate` (T, N) over the last `window_s` before each sample.

    The window starts at a sample, so it may be longer by less than one sampling interval.
    """
    total = np.cumsum(rate * series.dt_s[:, None], axis=0)
    starts = np.searchsorted(series.t_s, series.t_s - window_s + 1e-9, side="right") - 1
    before = np.where(starts[:, None] >= 0, total[np.maximum(starts, 0)], 0.0)
    return np.asarray(total - before)


def window_failure_frac(
    failed: np.ndarray, ok: np.ndarray, series: Series, window_s: float
) -> np.ndarray:
    """Return the failure share (T, N) over the window that ends at each sample."""
    return failure_frac(over_window(failed, series, window_s), over_window(ok, series, window_s))
