"""Alerts on the rate at which an error budget burns.

Burn rate 1 spends the budget exactly over its period. An alert fires while the burn rate reaches a
threshold over a long window *and* over a short one; the short one lets it end soon after the
trouble does (Beyer et al., *The Site Reliability Workbook*, 2018, ch. 5, "Multiwindow, Multi-Burn-
Rate Alerts", table 5-8: 14.4 over 1 h and 6 over 6 h page, 1 over 3 d opens a ticket; the short
window is a twelfth of the long one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.errors import UsageError

__all__ = ["FAST_PAGE", "SLOW_PAGE", "TICKET", "BurnAlert", "budget_used"]

SHORT_PER_LONG: Final = 1.0 / 12.0
"""Short window over long window, as the workbook advises."""

_ROUNDING: Final = 1e-9


def budget_used(burn: float, window_s: float, period_s: float) -> float:
    """Return the share of the budget of a period that a burn rate spends in a window."""
    return burn * window_s / period_s


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """An alert with a long and a short window.

    Raises
    ------
    UsageError
        If a window or the burn rate is not positive, or the short window is not the shorter one.
    """

    burn: float
    """Threshold, as a multiple of the rate that spends the budget exactly over its period."""
    window_s: float
    """Long window."""
    short_s: float = 0.0
    """Short window; 0 stands for a twelfth of the long one."""

    def __post_init__(self) -> None:
        """Check, and fill in the short window."""
        if not (self.burn > 0.0 and self.window_s > 0.0 and np.isfinite(self.burn)):
            msg = f"an alert needs a burn rate and a window above 0, got {self}"
            raise UsageError(msg)
        if not 0.0 <= self.short_s <= self.window_s:
            msg = f"the short window must not exceed the long one, got {self}"
            raise UsageError(msg)
        if self.short_s == 0.0:
            object.__setattr__(self, "short_s", SHORT_PER_LONG * self.window_s)

    def firing(
        self, t_s: np.ndarray, failed: np.ndarray, ended: np.ndarray, *, slo: float
    ) -> np.ndarray:
        """Return at which samples the alert fires.

        Parameters
        ----------
        t_s : numpy.ndarray
            (T,) ends of the sampling intervals, ascending, the first one after 0.
        failed, ended : numpy.ndarray
            (T,) requests that failed, and that ended at all, in each interval.
        slo : float
            Share of requests that should succeed, between 0 and 1.

        Returns
        -------
        numpy.ndarray
            (T,) bool. A window that reaches back before 0 finds nothing there: an alert needs a
            full window of history before its shares are those of steady traffic.

        Raises
        ------
        UsageError
            If the arrays do not fit together, or the SLO leaves no budget.
        """
        _check(t_s, failed, ended, slo)
        limit = self.burn * (1.0 - slo) * (1.0 - _ROUNDING)
        both = np.ones(len(t_s), dtype=bool)
        for window_s in (self.window_s, self.short_s):
            bad, all_of_them = (_over(window_s, t_s, x) for x in (failed, ended))
            share = np.divide(bad, all_of_them, out=np.zeros(len(t_s)), where=all_of_them > 0.0)
            both &= share >= limit
        return both

    def first_s(
        self, t_s: np.ndarray, failed: np.ndarray, ended: np.ndarray, *, slo: float
    ) -> float | None:
        """Return the first sample at which the alert fires, None if it never does.

        Parameters and errors are those of :meth:`firing`.
        """
        at = np.flatnonzero(self.firing(t_s, failed, ended, slo=slo))
        return float(t_s[at[0]]) if len(at) else None

    def detection_s(self, error_frac: float, *, slo: float) -> float:
        """Return how long after its start a steady outage is detected; inf if it is too small.

        ``(1 - SLO) · burn · window / error share``, with steady traffic and no error before.
        """
        limit = self.burn * (1.0 - slo)
        if error_frac < limit * (1.0 - _ROUNDING):
            return float("inf")
        return min(self.window_s * limit / error_frac, self.window_s)


FAST_PAGE: Final = BurnAlert(14.4, 3_600.0)
"""2 % of a 30-day budget within an hour."""
SLOW_PAGE: Final = BurnAlert(6.0, 6 * 3_600.0)
"""5 % of a 30-day budget within six hours."""
TICKET: Final = BurnAlert(1.0, 3 * 86_400.0)
"""10 % of a 30-day budget within three days."""


def _over(window_s: float, t_s: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return what fell into the window that ends at each sample; an interval is cut in proportion.

    Where a window begins within an interval, requests are taken as spread evenly over it.
    """
    total = np.concatenate([[0.0], np.cumsum(counts)])
    ends = np.concatenate([[0.0], t_s])
    return np.asarray(total[1:] - np.interp(t_s - window_s, ends, total))


def _check(t_s: np.ndarray, failed: np.ndarray, ended: np.ndarray, slo: float) -> None:
    """Raise unless the arguments of an alert make sense."""
    if not 0.0 < slo < 1.0:
        msg = f"an alert needs an SLO between 0 and 1, got {slo}"
        raise UsageError(msg)
    if not t_s.shape == failed.shape == ended.shape or t_s.ndim != 1:
        msg = "an alert needs one number of failures and of requests per sample"
        raise UsageError(msg)
    if not (np.diff(t_s, prepend=0.0) > 0.0).all():
        msg = "an alert needs ascending times of samples, the first one above 0"
        raise UsageError(msg)
    if not ((failed >= 0.0) & (failed <= ended) & np.isfinite(ended)).all():
        msg = "an alert needs 0 <= failed <= ended, all finite"
        raise UsageError(msg)
