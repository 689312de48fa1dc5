"""Latencies in bins (R10): 32 equal bins per octave, from about 1 microsecond to 4,096 s.

A bin is between 1.6 and 3.1 % wide. Counts are kept per edge and sample, sparsely, so that
percentiles of any stretch of a run can be read from them.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.request.kernel.codes import BINS, LOWEST_EXPONENT, OCTAVES, PER_OCTAVE


def latency_bin(latency_s: float) -> int:
    """Return the bin of a latency; what lies outside all bins goes to the first or the last."""
    if latency_s <= 0.0:
        return 0
    fraction, exponent = math.frexp(latency_s)
    index = (exponent - LOWEST_EXPONENT) * PER_OCTAVE + int((fraction - 0.5) * 2 * PER_OCTAVE)
    return max(0, min(index, BINS - 1))


def bin_edges() -> np.ndarray:
    """Return the (BINS + 1,) bounds of the bins in seconds."""
    octave = 0.5 + np.arange(PER_OCTAVE) / (2 * PER_OCTAVE)
    lower = np.ldexp(octave, np.arange(OCTAVES)[:, None] + LOWEST_EXPONENT).ravel()
    return np.append(lower, 2.0 ** (OCTAVES + LOWEST_EXPONENT - 1))


def quantiles(counts: np.ndarray, q: np.ndarray | float) -> np.ndarray:
    """Return quantiles in seconds of what is counted in bins, linear within a bin.

    Parameters
    ----------
    counts : (BINS,) int64
    q
        Shares between 0 and 1.

    Returns
    -------
    ndarray of the shape of ``q``; NaN where nothing was counted.

    Raises
    ------
    ValueError
        If a share is not between 0 and 1.
    """
    shares = np.asarray(q, dtype=float)
    if not ((shares >= 0.0) & (shares <= 1.0)).all():
        msg = f"a quantile is a share between 0 and 1, got {q!r}"
        raise ValueError(msg)
    total = int(counts.sum())
    if total == 0:
        return np.full(shares.shape, math.nan)
    used = np.flatnonzero(counts)
    above = np.cumsum(counts[used])
    rank = shares * total
    i = np.minimum(np.searchsorted(above, rank), len(used) - 1)
    bounds = bin_edges()
    low, high = bounds[used[i]], bounds[used[i] + 1]
    within = (rank - (above[i] - counts[used[i]])) / counts[used[i]]
    return np.asarray(low + (high - low) * np.clip(within, 0.0, 1.0))


class LatencyBook:
    """Counts of latencies per edge and sample, sparse.

    Parameters
    ----------
    n_edges
        Number of edges.
    """

    def __init__(self, n_edges: int) -> None:
        self.rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        """Per sample: edges, bins and counts of what is not zero."""
        self.total = np.zeros((n_edges, BINS), np.int64)
        """(E, BINS) all samples."""

    def add(self, dense: np.ndarray) -> None:
        """Append samples of shape (n, E, BINS)."""
        for row in dense:
            edges, bins = np.nonzero(row)
            counts = row[edges, bins]
            self.rows.append((edges.astype(np.int32), bins.astype(np.int16), counts.copy()))
        self.total += dense.sum(axis=0)

    def between(self, edge: int, first: int, last: int) -> np.ndarray:
        """Return the (BINS,) counts of an edge in samples ``first`` to ``last - 1``."""
        counts = np.zeros(BINS, np.int64)
        if first <= 0 and last >= len(self.rows):
            counts += self.total[edge]
            return counts
        for edges, bins, n in self.rows[first:last]:
            low, high = np.searchsorted(edges, (edge, edge + 1))
            np.add.at(counts, bins[low:high], n[low:high])
        return counts

    def state(self) -> dict[str, np.ndarray]:
        """Return all that is kept, as plain arrays."""
        parts = [np.concatenate(column) for column in zip(*self.rows, strict=True)]
        edges, bins, counts = parts or [np.zeros(0, np.int32)] * 3
        return {
            "book_sizes": np.array([len(row[0]) for row in self.rows], np.int64),
            "book_edges": edges,
            "book_bins": bins,
            "book_counts": counts,
            "book_total": self.total,
        }

    @classmethod
    def of(cls, state: dict[str, np.ndarray]) -> LatencyBook:
        """Return the book that :meth:`state` described."""
        book = cls(len(state["book_total"]))
        book.total = state["book_total"].copy()
        ends = np.cumsum(state["book_sizes"])[:-1]
        columns = [
            np.split(state[name], ends) for name in ("book_edges", "book_bins", "book_counts")
        ]
        if len(state["book_sizes"]):
            book.rows = list(zip(*columns, strict=True))
        return book
