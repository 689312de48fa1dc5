"""Chance that an attempt times out, from what it finds in the queue (MODEL.md, A1)."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

__all__ = ["timeout_chances"]

SPREAD = 12.0
"""Standard deviations beyond the mean at which a Poisson tail is taken as zero (about 1e-30)."""


def timeout_chances(
    *, servers: int, service_s: float, timeout_s: float, found_max: int
) -> np.ndarray:
    """Return the chance of a timeout for an attempt that finds ``n`` others (FIFO, exponential).

    Exact: an attempt that finds ``n >= c`` waits for ``k = n - c + 1`` ends of service, which
    follow each other at rate ``c/s``, and is then served. Later arrivals cannot change that.

    Parameters
    ----------
    servers : int
        Servers ``c``.
    service_s : float
        Mean service time ``s`` (s).
    timeout_s : float
        Patience ``T`` of the client (s); may be infinite.
    found_max : int
        Largest ``n``.

    Returns
    -------
    numpy.ndarray
        ``(found_max + 1,)`` float64, from ``n = 0`` on; it never decreases.

    Notes
    -----
    With ``x = cT/s``, ``P(W > T) = P(Poisson(x) < k)`` and ``h_k = P(W <= T < W + S)`` follows
    from the Laplace transform ``(c/(c + us))^k s/(1 + us)`` by the downward recursion
    ``h_(k-1) = (1 - 1/c) h_k + P(Poisson(x) = k - 1)``, all of whose terms are positive: no
    cancellation, whatever the size. Waits as sums of ends of service: Kleinrock, *Queueing Systems*
    I, 1975, section 3.5.
    """
    if math.isinf(timeout_s):
        return np.zeros(found_max + 1)
    mean = servers * timeout_s / service_s
    ends_max = max(found_max - servers + 1, 0)
    top = max(ends_max, int(mean + SPREAD * math.sqrt(mean) + 50.0))
    ends = np.arange(top + 1)
    exactly = np.exp(special.xlogy(ends, mean) - mean - special.gammaln(ends + 1.0))
    caught = np.zeros(top + 1)
    keep = 1.0 - 1.0 / servers
    for k in range(top, 0, -1):
        caught[k - 1] = keep * caught[k] + exactly[k - 1]
    waits = np.arange(1, ends_max + 1)
    chances = np.full(found_max + 1, math.exp(-timeout_s / service_s))
    if ends_max:
        chances[servers:] = special.gammaincc(waits, mean) + caught[1 : ends_max + 1]
    bounded: np.ndarray = np.minimum(chances, 1.0)
    return bounded
