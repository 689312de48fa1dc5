"""Samples of incidents: durations, who meets them, and bad changes that go out in waves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator

__all__ = ["customers_meet", "cut_looks_worse", "cut_looks_worse_exactly", "roll_out"]


def customers_meet(
    durations: np.ndarray, customers: int, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return (customers,) length of the incident each one is in, and how long it still lasts.

    Incidents are laid end to end; customers come at equal distances from a random start.
    """
    ends = np.cumsum(durations)
    at = (np.arange(customers) + rng.random()) / customers * ends[-1]
    k = np.minimum(np.searchsorted(ends, at, side="right"), len(ends) - 1)
    return durations[k], ends[k] - at


def cut_looks_worse(
    incidents: int, sigma: float, cut: float, *, trials: int, rng: Generator
) -> float:
    """Return the share of trials in which the half with shorter incidents has the longer mean.

    Durations are lognormal; one half of the incidents is shortened by `cut`.
    """
    half = incidents // 2
    control = rng.lognormal(0.0, sigma, (trials, half)).mean(axis=1)
    treated = (1.0 - cut) * rng.lognormal(0.0, sigma, (trials, incidents - half)).mean(axis=1)
    return float((treated > control).mean())


def cut_looks_worse_exactly(
    incidents: int, sigma: float, cut: float, *, span: float = 64.0, cells: int = 2**18
) -> float:
    """Return the same chance without chance: both means by convolution on a grid.

    Parameters
    ----------
    incidents, sigma, cut : int, float, float
        As in :func:`cut_looks_worse`; the median duration is 1.
    span : float
        Largest mean on the grid; the chance of a larger one is below 1e-6 at ``sigma <= 1.4``.
    cells : int
        Cells of the grid; twice as many change the sixth digit.
    """
    half = incidents // 2
    width = span / cells
    control = _law_of_mean(half, sigma, 1.0, width, cells)
    treated = _law_of_mean(incidents - half, sigma, 1.0 - cut, width, cells)
    # A tie, both in one cell, is decided by a coin.
    return float(treated @ (np.cumsum(control) - 0.5 * control))


def _law_of_mean(n: int, sigma: float, scale: float, width: float, cells: int) -> np.ndarray:
    """Return (cells,) the law of the mean of `n` durations times `scale`."""
    from scipy.fft import irfft, rfft
    from scipy.stats import norm

    edge = np.maximum(np.arange(cells + 1) - 0.5, 0.0) * width * n / scale
    with np.errstate(divide="ignore"):
        law = np.diff(norm.cdf(np.log(edge) / sigma))
    found: np.ndarray = irfft(rfft(law) ** n, cells)
    return found


def roll_out(
    stages: Sequence[tuple[float, float]], detected_h: np.ndarray, rollback_h: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, per bad change, region-hours lost, share reached, and whether it was never detected.

    Parameters
    ----------
    stages : sequence of (share, hours)
        Share of the region that has the change, and how long before it goes on.
    detected_h : numpy.ndarray
        (N,) time to detection of each change, from first exposure on.
    rollback_h : float
        Time to undo it where it is.
    """
    lost, reach = np.zeros(len(detected_h)), np.zeros(len(detected_h))
    live = np.ones(len(detected_h), dtype=bool)
    start = 0.0
    for share, hours in stages:
        reach[live] = share
        found = live & (detected_h <= start + hours)
        lost[found] += share * (detected_h[found] - start + rollback_h)
        live &= ~found
        lost[live] += share * hours
        start += hours
    return lost, reach, live
