"""Where the flow is to be trusted: the region of validity, by pool, with reasons.

The bounds are those of the measured comparison with the request fidelity (VALIDATION.md, accuracy
envelope). A pool outside is simulated all the same, with a warning, or request by request where
the run says ``auto``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.model import CANCEL, FIFO
from simulator.policies.service_time import BIMODAL, HYPEREXPONENTIAL, LOGNORMAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.model import Topology

DENSE_MAX: Final = 300
"""Pools up to which the steady load is solved with a dense matrix."""
SMALL_POOL: Final = 30
"""Attempts in service at once below which chance decides how long the good state lasts."""
SHORT_LINE: Final = 100.0
"""Zombie line ``C (T - s)`` below which a chance backlog tips the pool."""
NEAR_SATURATION: Final = 0.8
"""Load from which that matters."""
TIMEOUT_RATIO: Final = 5.0
"""``T/s`` below which ages within a step matter."""
KNIFE_EDGE: Final = 1.2
"""Waiting room in zombie lines up to which acceptance decides between two states."""


@dataclass(frozen=True, slots=True)
class Concern:
    """A pool that the flow may get wrong, and why."""

    pool: int
    reason: str


def steady_load(topology: Topology, first_tries_rps: np.ndarray) -> np.ndarray:
    """Return the attempts per second that pools are offered when all is well.

    Parameters
    ----------
    topology
        The region as arrays.
    first_tries_rps
        (services,) first tries per second, in the order of ``topology.service_ids``.

    Returns
    -------
    (P,) attempts per second, without retries; infinite where calls feed on themselves.
    """
    n = topology.n_pools
    inner = topology.edge_caller >= 0
    hit = topology.edge_policy["cache_start"] * topology.edge_policy["cache"]
    each = topology.edge_calls * (1.0 - hit)
    places = (topology.edge_callee[inner], topology.edge_caller[inner])
    source = np.zeros(n)
    for service, rate in zip(topology.service_ids, first_tries_rps, strict=True):
        source[topology.edge_callee[topology.service_edge(service)]] += rate
    load = _solved(n, places, each[inner], source)
    return np.where(load >= 0.0, load, np.inf)


def _solved(
    n: int, places: tuple[np.ndarray, np.ndarray], calls: np.ndarray, source: np.ndarray
) -> np.ndarray:
    """Solve load = source + calls · load; all NaN if there is no solution."""
    if n <= DENSE_MAX:  # without SciPy, whose import takes longer than all that follows
        matrix = np.eye(n)
        np.subtract.at(matrix, places, calls)
        try:
            return np.linalg.solve(matrix, source)
        except np.linalg.LinAlgError:
            return np.full(n, np.nan)
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import MatrixRankWarning, spsolve

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MatrixRankWarning)  # then all is NaN
        return np.asarray(
            spsolve(eye_array(n, format="csc") - csc_array((calls, places), shape=(n, n)), source)
        )


def concerns(topology: Topology, first_tries_rps: np.ndarray) -> tuple[Concern, ...]:
    """Return which pools the flow may get wrong, in order of the pools, with reasons.

    Parameters
    ----------
    topology
        The region as arrays, with its declared units.
    first_tries_rps
        (services,) largest first tries per second of the run, by service.
    """
    load = steady_load(topology, first_tries_rps)
    shortest = np.full(topology.n_pools, np.inf)
    np.minimum.at(shortest, topology.edge_callee, topology.edge_timeout_s)
    return tuple(
        Concern(p, reason)
        for p in range(topology.n_pools)
        for reason in _reasons(topology, p, float(load[p]), float(shortest[p]))
    )


def _reasons(topology: Topology, p: int, load_rps: float, timeout_s: float) -> Iterator[str]:
    """Yield why the flow may get pool ``p`` wrong."""
    units = float(topology.units[p].sum())
    rate, s = units * float(topology.unit_rate_rps[p]), float(topology.service_s[p])
    if rate > 0.0 and np.isfinite(timeout_s):
        at_once = min(rate * s, units * float(topology.concurrency[p]))
        line = rate * max(0.0, timeout_s - s)
        yield from _chance(load_rps / rate, at_once, line)
        yield from _edges(topology, p, line, timeout_s / s)
    if _is_spread(topology.pool_policy[p]):
        yield "service times with a heavy tail: a mean hides blocked workers"
    if (topology.edge_policy["fallback_work"][topology.edge_caller == p] > 0.0).any():
        yield "fallbacks that cost work: the flow spreads what comes in bursts"
    if _has_client_state(topology, p):
        yield "policies of single clients, of which the flow keeps the mean"


def _chance(rho: float, at_once: float, line: float) -> Iterator[str]:
    """Yield where chance decides."""
    if rho > NEAR_SATURATION and at_once < SMALL_POOL:
        yield f"small pool near saturation: {at_once:.3g} attempts at once, {rho:.0%} load"
    elif rho > NEAR_SATURATION and line < SHORT_LINE:
        yield f"short zombie line near saturation: {line:.3g} attempts, {rho:.0%} load"


def _edges(topology: Topology, p: int, line: float, ratio: float) -> Iterator[str]:
    """Yield where the resolution of ages decides."""
    if ratio < TIMEOUT_RATIO:
        yield f"timeout of only {ratio:.2g} service times"
    if topology.late_work[p] == CANCEL and topology.discipline[p] == FIFO:
        yield "first in first out that drops at the timeout stands on a knife's edge"
    room = float(topology.units[p].sum()) * float(topology.queue_per_unit[p])
    if line < room <= KNIFE_EDGE * line:
        yield f"waiting room just above the zombie line: {room:.4g} against {line:.4g}"


def _is_spread(row: np.void) -> bool:
    """Tell whether service times vary more than exponential ones."""
    kind, a, b = int(row["service_kind"]), float(row["service_a"]), float(row["service_b"])
    if kind == LOGNORMAL:
        return bool(np.expm1(a * a) > 1.0)
    if kind == BIMODAL:
        mean = 1.0 + a * (b - 1.0)
        return bool(a * (1.0 - a) * (b - 1.0) ** 2 > mean**2)
    return kind == HYPEREXPONENTIAL


def _has_client_state(topology: Topology, p: int) -> bool:
    """Tell whether several callers keep budgets, windows or breakers of their own."""
    rows = topology.edge_policy[topology.edge_callee == p]
    stateful = (rows["budget"] > 0) | (rows["throttling"] > 0) | (rows["breaker"] > 0)
    return bool(((rows["clients"] > 1) & (stateful | (rows["bulkhead"] > 0))).any())
