"""Memory layout of the request plane: records of pools, edges and attempts, event heap and lanes.

The compiled kernel sees these arrays and nothing else. Events are ordered by time and *key*. A key
holds, from high bits to low, the sequence number in which the event was scheduled, what it is
about (an attempt, an edge, a pool or a lane) and its kind: the order of keys is that of scheduling.

Events with a constant delay (timeouts, fixed backoffs, deterministic service) go into *lanes*,
rings that are in order of time by construction; only the head of a lane is in the heap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simulator.flow.layout import SMOOTHING_S, step_lengths
from simulator.policies import retry
from simulator.request.kernel.codes import (
    BINS,
    GROW_ATTEMPTS,
    GROW_HEAP,
    GROW_LANE,
    GROW_TASKS,
    ID_BITS,
    OUT_OF_KEYS,
)

if TYPE_CHECKING:
    from simulator.model import Topology
    from simulator.request.streams import StreamKeys

ATTEMPTS_MAX = 1 << ID_BITS
"""Attempts that can exist at one time."""
HISTOGRAM_MB = 16.0
"""Latency counts that are kept dense before they are packed."""

_F, _I, _I4, _I1 = np.float64, np.int64, np.int32, np.int8

CONTROL = np.dtype(
    [
        ("now", _F), ("tick", _I), ("tick_s", _F), ("smooth", _F),
        ("sample_ticks", _I), ("next_sample", _I), ("n_samples", _I), ("sample_max", _I),
        ("n_cross", _I), ("read_cross", _I),
        # --- events
        ("heap_n", _I), ("hole", _I), ("seq", _I), ("n_free", _I), ("task_head", _I),
        ("task_tail", _I), ("events", _I),
        # --- what is nearly full: bits GROW_* of kernel/codes.py
        ("need", _I), ("need_lane", _I),
        ("hist_row", _I),
    ]
)  # fmt: skip
"""Scalars of the plane (one record)."""

POOL = np.dtype(
    [
        # --- fixed
        ("in0", _I), ("in1", _I), ("out0", _I), ("out1", _I),
        ("service_kind", _I), ("service_a", _F), ("service_b", _F),
        ("lifo", _I), ("late", _I), ("lane", _I), ("remote", _I),
        # --- set by the engine: processors, workers and room in whole numbers, mean service time
        ("procs", _I), ("workers", _I), ("room", _I), ("mean", _F), ("s", _F), ("rate", _F),
        # --- present state
        ("head", _I), ("tail", _I), ("waiting", _I), ("dead", _I), ("busy", _I), ("held", _I),
        ("hold", _F), ("p_down", _F),
        # --- cumulative attempts
        ("offered", _I), ("served", _I), ("ok", _I), ("bad", _I),
        # --- the same at the last tick
        ("k_ok", _I), ("k_bad", _I),
        # --- watched share
        ("share", _F), ("watch", _F), ("is_below", _I),
        # --- the same at the last sample
        ("m_offered", _I), ("m_served", _I), ("m_ok", _I), ("m_bad", _I),
    ]
)  # fmt: skip
"""Record of a pool."""

EDGE = np.dtype(
    [
        # --- fixed
        ("caller", _I), ("callee", _I), ("kind", _I), ("calls", _I), ("calls_frac", _F),
        ("timeout", _F), ("retries", _I), ("lane", _I), ("backoff", _I), ("jitter", _I),
        ("budget", _I), ("ratio", _F), ("bucket", _F), ("tokens", _F),
        # --- arrivals (R2): what is left of the exponential number at time ``mark``
        ("rate", _F), ("mass", _F), ("mark", _F), ("next_key", _I), ("admit", _F),
        ("work", _F), ("todo", _I),
        # --- how calls to a remote pool end (R14)
        ("remote_ok", _F), ("remote_latency", _F),
        # --- cumulative first tries and attempts
        ("first", _I), ("ok", _I), ("failed", _I), ("attempts", _I), ("in_flight", _I),
        ("latency_sum", _F),
        # --- at the last tick, watched share, at the last sample
        ("k_ok", _I), ("k_failed", _I),
        ("share", _F), ("watch", _F), ("is_below", _I),
        ("m_first", _I), ("m_ok", _I), ("m_failed", _I), ("m_attempts", _I),
    ]
)  # fmt: skip
"""Record of an edge."""

ATTEMPT = np.dtype(
    [
        ("key", _I),      # of the timeout event; 0 while none is due
        ("t0", _F),       # when this attempt arrived
        ("t_first", _F),  # when its first try arrived
        ("t_done", _F),   # when its service ended
        ("parent", _I4),  # attempt that waits for this one's first try; -1 if none
        ("edge", _I4),
        ("next", _I4), ("prev", _I4),  # in the queue (also: list of free records)
        ("out", _I4),     # place in the list of callees that it is at
        ("left", _I4),    # calls still to make there; -1: not drawn yet
        ("k", _I1),       # number of the attempt
        ("live", _I1),    # the caller waits for it (or it waits to be sent)
        ("at", _I1),      # 0 not at the pool, 1 in the queue, 2 in service or calling
        ("error", _I1),   # a required call failed
        ("pad", _I4),
    ]
)  # fmt: skip
"""Record of an attempt: one line of the cache."""

LANE = np.dtype(
    [
        ("base", _I), ("mask", _I), ("head", _I), ("tail", _I), ("last", _F),
        ("armed", _I),  # key of its event in the heap, 0 if there is none
    ]
)  # fmt: skip
"""Record of a lane: a ring of events in order of time."""


class Arrays(NamedTuple):
    """All state of a plane, in the order in which the kernel takes it."""

    ctl: np.ndarray
    """(1,) CONTROL."""
    pools: np.ndarray
    """(P,) POOL."""
    edges: np.ndarray
    """(E,) EDGE."""
    atts: np.ndarray
    """(A,) ATTEMPT."""
    free: np.ndarray
    """(A,) int32: stack of free records of attempts."""
    heap_t: np.ndarray
    """(H,) times of the events in the heap."""
    heap_key: np.ndarray
    """(H,) int64: their keys."""
    tasks: np.ndarray
    """(T,) int64: ring of what is still to be done at this instant."""
    lanes: np.ndarray
    """(L,) LANE."""
    lane_t: np.ndarray
    """Times of the events in lanes, flat."""
    lane_key: np.ndarray
    """int64: their keys."""
    backoff: np.ndarray
    """(sum of retries + 1,) delay after each attempt of each edge."""
    in_edge: np.ndarray
    """(E,) int64: edges sorted by callee."""
    out_edge: np.ndarray
    """(dependencies,) int64: edges sorted by caller, then callee."""
    streams: np.ndarray
    """(2 E + P,) uint64: state of the streams: first tries, choices, service."""
    cross: np.ndarray
    """(2 * (P + E), 3) int64: tick, code (edge e: e, pool p: E + p), below."""
    hist: np.ndarray
    """(rows, E, BINS) int32: latencies per sample."""


def processors(rate_rps: float, service_s: float) -> int:
    """Return how many attempts a pool serves at a time (R4)."""
    return max(1, int(np.ceil(rate_rps * service_s - 1e-9))) if rate_rps > 0.0 else 0


def whole(amount: float) -> int:
    """Round down, forgiving the last digits; unbounded amounts become the largest number."""
    return int(min(np.floor(amount + 1e-9), float(1 << 62)))


def backoffs(topology: Topology, edge: int) -> list[float]:
    """Return the delay after each attempt of an edge (E7), the longest where it is jittered."""
    row = topology.edge_policy[edge]
    base, cap, growth = float(row["backoff_base"]), float(row["backoff_cap"]), int(row["growth"])
    return [retry.backoff_full(k, base, cap, growth) for k in range(int(row["retries"]) + 1)]


def allocate(
    topology: Topology,
    keys: StreamKeys,
    *,
    sample_period_s: float,
    remote: np.ndarray | None = None,
) -> Arrays:
    """Lay out the state of a plane at time 0: empty queues, nothing in flight.

    ``remote`` (P,) bool: pools that another plane simulates (R14).
    """
    tick, _ = step_lengths(topology)
    n_pools, n_edges = topology.n_pools, topology.n_edges
    pools, edges = np.zeros(n_pools, POOL), np.zeros(n_edges, EDGE)
    ctl = np.zeros(1, CONTROL)
    ctl["tick_s"], ctl["smooth"] = tick, -np.expm1(-tick / SMOOTHING_S)
    ctl["sample_ticks"] = ctl["next_sample"] = max(1, round(sample_period_s / tick))
    ctl["seq"] = 1
    backoff = _fill_edges(topology, edges)
    _fill_pools(topology, pools)
    in_edge = np.lexsort((np.arange(n_edges), topology.edge_callee))
    bounds = np.searchsorted(topology.edge_callee[in_edge], np.arange(n_pools + 1))
    pools["in0"], pools["in1"] = bounds[:-1], bounds[1:]
    out_edge = np.lexsort((topology.edge_callee, topology.edge_caller))
    out_edge = out_edge[topology.edge_caller[out_edge] >= 0]
    bounds = np.searchsorted(topology.edge_caller[out_edge], np.arange(n_pools + 1))
    pools["out0"], pools["out1"] = bounds[:-1], bounds[1:]
    lanes = _lay_lanes(pools, edges)
    if remote is not None:
        pools["remote"] = remote
        edges["retries"][remote[topology.edge_callee]] = 0  # the other plane retries
        edges["remote_ok"] = 1.0
    arena = int(lanes["base"][-1] + lanes["mask"][-1] + 1)
    attempts = 1024
    ctl["n_free"] = attempts
    row_mb = max(1, n_edges) * BINS * 4 / 1e6
    return Arrays(
        ctl, pools, edges, np.zeros(attempts, ATTEMPT),
        np.arange(attempts, dtype=np.int32)[::-1].copy(),
        np.zeros(1024), np.zeros(1024, np.int64), np.zeros(1024, np.int64),
        lanes, np.zeros(arena), np.zeros(arena, np.int64), backoff,
        in_edge.astype(np.int64), out_edge.astype(np.int64),
        np.concatenate((keys.first, keys.choices, keys.service)),
        np.zeros((2 * (n_pools + n_edges), 3), np.int64),
        np.zeros((int(min(64, max(1, HISTOGRAM_MB / row_mb))), n_edges, BINS), np.int32),
    )  # fmt: skip


def _fill_pools(topology: Topology, pools: np.ndarray) -> None:
    """Fill the fixed fields of ``pools``."""
    pools["s"] = topology.service_s
    pools["lifo"], pools["late"] = topology.discipline, topology.late_work
    for name in ("service_kind", "service_a", "service_b"):
        pools[name] = topology.pool_policy[name]
    for name in ("p_down", "share"):
        pools[name] = 1.0
    pools["watch"] = pools["head"] = pools["tail"] = -1


def _fill_edges(topology: Topology, edges: np.ndarray) -> np.ndarray:
    """Fill the fixed fields of ``edges``; return the delays after all attempts."""
    names = {
        "caller": "edge_caller", "callee": "edge_callee", "kind": "edge_kind",
        "timeout": "edge_timeout_s",
    }  # fmt: skip
    for field, source in names.items():
        edges[field] = getattr(topology, source)
    policies = {
        "retries": "retries", "jitter": "jitter", "budget": "budget", "ratio": "budget_ratio",
        "bucket": "budget_bucket", "tokens": "budget_bucket",
    }  # fmt: skip
    for field, source in policies.items():
        edges[field] = topology.edge_policy[source]
    edges["calls"] = np.floor(topology.edge_calls)
    edges["calls_frac"] = topology.edge_calls - edges["calls"]
    edges["admit"] = edges["share"] = 1.0
    edges["watch"] = -1.0
    edges["mass"] = -1.0  # not drawn yet
    delays = [backoffs(topology, e) for e in range(len(edges))]
    edges["backoff"] = _starts(np.array([len(d) for d in delays], np.int64))
    return np.array([x for d in delays for x in d], dtype=float)


def _starts(sizes: np.ndarray) -> np.ndarray:
    """Return where things of these sizes start when they lie one behind the other."""
    return np.cumsum(sizes) - sizes


def _lay_lanes(pools: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Give edges lanes for timeouts and for each backoff, pools one for service."""
    counts = edges["retries"] + 2
    edges["lane"] = _starts(counts)
    n = int(counts.sum())
    pools["lane"] = n + np.arange(len(pools))
    lanes = np.zeros(n + len(pools), LANE)
    lanes["mask"] = 63
    lanes["base"] = 64 * np.arange(len(lanes))
    return lanes


def grown(arrays: Arrays) -> Arrays:
    """Return the arrays with twice the room wherever the kernel asked for it.

    Raises
    ------
    MemoryError
        If more attempts exist at one time than keys can tell apart, or a run is too long for the
        sequence numbers in them.
    """
    ctl = arrays.ctl[0]
    need = int(ctl["need"])
    ctl["need"] = 0
    if need & OUT_OF_KEYS:
        msg = "too many events for one run: sequence numbers of 35 bits are used up"
        raise MemoryError(msg)
    if need & GROW_ATTEMPTS:
        arrays = _more_attempts(arrays)
    if need & GROW_HEAP:
        arrays = arrays._replace(heap_t=_doubled(arrays.heap_t), heap_key=_doubled(arrays.heap_key))
    if need & GROW_TASKS:
        n = len(arrays.tasks)
        order = np.arange(int(ctl["task_head"]), int(ctl["task_tail"]))
        tasks = np.zeros(2 * n, np.int64)
        tasks[order & (2 * n - 1)] = arrays.tasks[order & (n - 1)]
        arrays = arrays._replace(tasks=tasks)
    if need & GROW_LANE:
        arrays = _longer_lane(arrays, int(ctl["need_lane"]))
    return arrays


def _doubled(old: np.ndarray) -> np.ndarray:
    """Return the array with zeros behind it."""
    return np.concatenate((old, np.zeros_like(old)))


def _more_attempts(arrays: Arrays) -> Arrays:
    """Double the number of records of attempts."""
    n, n_free = len(arrays.atts), int(arrays.ctl[0]["n_free"])
    if 2 * n > ATTEMPTS_MAX:
        msg = f"more than {n} attempts at one time: a queue needs a bound"
        raise MemoryError(msg)
    free = np.zeros(2 * n, np.int32)
    free[:n] = np.arange(2 * n - 1, n - 1, -1)  # new ones below those that are known
    free[n : n + n_free] = arrays.free[:n_free]
    arrays.ctl[0]["n_free"] = n + n_free
    return arrays._replace(atts=_doubled(arrays.atts), free=free)


def _longer_lane(arrays: Arrays, lane: int) -> Arrays:
    """Double a lane: it moves to the end of the arena, its old place stays unused."""
    row = arrays.lanes[lane]
    size = int(row["mask"]) + 1
    order = np.arange(int(row["head"]), int(row["tail"]))
    start = len(arrays.lane_t)
    moved = []
    for old in (arrays.lane_t, arrays.lane_key):
        new = np.concatenate((old, np.zeros(2 * size, old.dtype)))
        new[start + (order & (2 * size - 1))] = old[int(row["base"]) + (order & (size - 1))]
        moved.append(new)
    row["base"], row["mask"] = start, 2 * size - 1
    return arrays._replace(lane_t=moved[0], lane_key=moved[1])
