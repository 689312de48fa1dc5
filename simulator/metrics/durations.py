"""Means of durations, and whom they are the means for.

The mean over incidents answers "how long does an incident last?". Whoever calls in the middle of
one meets long incidents more often than short ones, in proportion to their length (inspection
paradox; Feller, *An Introduction to Probability Theory* vol. II, 2nd ed. 1971, sec. I.4 and XI.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["length_biased_mean", "mean_residual"]


def length_biased_mean(durations_s: Sequence[float] | np.ndarray) -> float:
    """Return the mean length (s) of the incident that a customer is in: ``sum x² / sum x``.

    Raises
    ------
    UsageError
        If there is no duration above 0, or one is negative or not finite.
    """
    x = np.asarray(durations_s, dtype=np.float64)
    if not np.isfinite(x).all() or (x < 0.0).any() or not (x > 0.0).any():
        msg = "a length-biased mean needs finite durations of 0 or more, and one above 0"
        raise UsageError(msg)
    # Scaled, so that squares neither overflow nor vanish.
    y = x / x.max()
    return float(x.max() * (y * y).sum() / y.sum())


def mean_residual(durations_s: Sequence[float] | np.ndarray) -> float:
    """Return how much longer (s) the incident that a customer is in lasts on average.

    Half of :func:`length_biased_mean`, as customers arrive at a uniform time within the incident.

    Raises
    ------
    UsageError
        As :func:`length_biased_mean`.
    """
    return length_biased_mean(durations_s) / 2.0
