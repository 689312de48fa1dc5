"""Readings of the usual kinds: exact numbers, printed ones, means of batches, shares."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np

from simulator.sampling import Streams
from simulator.verification.row import Reading, within

__all__ = ["EXACT", "batch_mean", "batch_share", "exact", "generator", "printed"]

EXACT = 1e-6
"""Relative tolerance where nothing but rounding may differ."""

ROUNDING = 1e-14
"""Relative spread that is rounding, not chance."""

SEED = 20_170_228
"""Of all rows; the stream of a row is named by its id."""


def generator(row_id: str) -> np.random.Generator:
    """Return a row's own generator, fresh, so that a row measured twice reads the same."""
    return Streams(SEED).stream("verification", row_id)


def exact(quantity: str, theory: float, observed: float, unit: str = "") -> Reading:
    """Return a reading that may differ by rounding only."""
    return Reading(quantity, theory, observed, within(EXACT, theory), unit=unit)


def printed(quantity: str, text: str, observed: float, unit: str = "") -> Reading:
    """Return a reading against a number as it is printed: to half a unit of its last digit."""
    number = Decimal(text)
    digit = number.as_tuple().exponent
    assert isinstance(digit, int), "a printed number is finite"
    half = 0.5 * 10.0**digit * (1.0 + EXACT)
    return Reading(quantity, float(number), observed, half, unit=unit)


def batch_mean(
    quantity: str, theory: float, batches: np.ndarray, tolerance: float, *, unit: str = ""
) -> Reading:
    """Return the mean over independent batches, with the standard error from their spread.

    Batches that agree to rounding have none: nothing is left to chance.
    """
    n, mean = len(batches), float(np.mean(batches))
    se = float(np.std(batches, ddof=1)) / math.sqrt(n)
    if se <= ROUNDING * abs(mean):
        se = 0.0
    return Reading(quantity, theory, mean, tolerance, se, n, unit=unit)


def batch_share(
    quantity: str, theory: float, batches: np.ndarray, tries: int, tolerance: float
) -> Reading:
    """Return a share over batches of `tries` each; its error is never below the binomial one.

    Equal batches, such as none in any of them, have no spread, but are not certain: the binomial
    error is taken with one more success and one more failure than there were (Agresti & Coull,
    Am. Stat. 52, 1998, in its short form).
    """
    total = tries * len(batches)
    p = (float(np.mean(batches)) * total + 1.0) / (total + 2.0)
    se = max(
        float(np.std(batches, ddof=1)) / math.sqrt(len(batches)), math.sqrt(p * (1.0 - p) / total)
    )
    return Reading(quantity, theory, float(np.mean(batches)), tolerance, se, total)
