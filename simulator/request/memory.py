"""Room for the request plane: laid out at the start, and more of it when the kernel asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.flow.layout import SMOOTHING_S, step_lengths
from simulator.policies import retry
from simulator.policies.base import SLICES
from simulator.policies.discipline import PRIORITY
from simulator.request.kernel.codes import (
    BINS,
    GROW_ATTEMPTS,
    GROW_HEAP,
    GROW_LANE,
    GROW_TASKS,
    ID_BITS,
    OUT_OF_KEYS,
)
from simulator.request.layout import ATTEMPT, CLIENT, CONTROL, EDGE, LANE, MORE, POOL, Arrays

if TYPE_CHECKING:
    from simulator.model import Topology
    from simulator.request.streams import StreamKeys

ATTEMPTS_MAX = 1 << ID_BITS
"""Attempts that can exist at one time."""
HISTOGRAM_MB = 16.0
"""Latency counts that are kept dense before they are packed."""
LANE_SIZE = 64
"""Places of a lane at the start."""


def processors(rate_rps: float, service_s: float) -> int:
    """Return how many attempts a pool serves at a time (R4)."""
    return max(1, int(np.ceil(rate_rps * service_s - 1e-9))) if rate_rps > 0.0 else 0


def whole(amount: float) -> int:
    """Round down, forgiving the last digits; unbounded amounts become the largest number."""
    return int(min(np.floor(amount + 1e-9), float(1 << 62)))


def backoffs(row: np.void) -> np.ndarray:
    """Return shortest and longest delay after each attempt (E7): (retries + 1, 2).

    Decorrelated delays grow from the one before: what stands here is the first.
    """
    base, cap = float(row["backoff_base"]), float(row["backoff_cap"])
    growth, jitter = int(row["growth"]), int(row["jitter"])
    return np.array(
        [
            (
                retry.backoff_low(k, base, cap, growth, jitter),
                retry.backoff_high(k, base, cap, growth, jitter, base),
            )
            for k in range(int(row["retries"]) + 1)
        ]
    )


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
    ctl = np.zeros(1, CONTROL)
    ctl["tick_s"], ctl["smooth"] = tick, -np.expm1(-tick / SMOOTHING_S)
    ctl["sample_ticks"] = ctl["next_sample"] = max(1, round(sample_period_s / tick))
    ctl["seq"] = 1
    edges, backoff = _edges(topology)
    pools = _pools(topology)
    in_edge, out_edge = _incidence(topology, pools)
    if remote is not None:
        pools["remote"] = remote
        far = remote[topology.edge_callee]
        for name in ("retries", "rich", "budget"):
            edges[name][far] = 0  # the other plane has the policies
        edges["remote_ok"] = 1.0
    clients, windows = _clients(topology, edges)
    lanes = _lanes(pools, edges)
    queues = _queues(topology, pools, edges)
    attempts = 1024
    ctl["n_free"] = attempts
    rows = HISTOGRAM_MB / (max(1, n_edges) * BINS * 4 / 1e6)
    return Arrays(
        ctl, pools, edges, np.zeros(attempts, ATTEMPT),
        np.zeros(attempts if edges["rich"].any() else 1, MORE),
        np.arange(attempts, dtype=np.int32)[::-1].copy(),
        np.zeros(1024), np.zeros(1024, np.int64), np.zeros(1024, np.int64),
        lanes, np.zeros(LANE_SIZE * len(lanes)), np.zeros(LANE_SIZE * len(lanes), np.int64),
        queues, clients, windows, topology.edge_policy.copy(), topology.pool_policy.copy(),
        backoff, in_edge, out_edge,
        np.concatenate((keys.first, keys.choices, keys.service)),
        np.zeros((2 * (n_pools + n_edges), 3), np.int64),
        np.zeros((int(min(64, max(1, rows))), n_edges, BINS), np.int32),
    )  # fmt: skip


def _pools(topology: Topology) -> np.ndarray:
    """Return the records of pools at the start."""
    pools = np.zeros(topology.n_pools, POOL)
    policy = topology.pool_policy
    pools["s"], pools["late"] = topology.service_s, topology.late_work
    pools["discipline"] = topology.discipline
    for name in ("service_kind", "service_a", "service_b", "special"):
        pools[name] = policy[name]
    for name in ("p_down", "share", "size"):
        pools[name] = 1.0
    pools["tokens"] = policy["limit_burst"]
    pools["limit"] = np.where(policy["concurrency_limit"] == 1, policy["limit_max"], np.inf)
    pools["lowered"] = -np.inf
    pools["watch"] = pools["job_head"] = pools["job_tail"] = -1
    return pools


def _edges(topology: Topology) -> tuple[np.ndarray, np.ndarray]:
    """Return the records of edges at the start, and the bounds of all backoffs."""
    edges = np.zeros(topology.n_edges, EDGE)
    policy = topology.edge_policy
    for name in ("caller", "callee", "kind"):
        edges[name] = getattr(topology, f"edge_{name}")
    edges["timeout"] = topology.edge_timeout_s
    for name in ("retries", "jitter", "budget"):
        edges[name] = policy[name]
    edges["ratio"], edges["bucket"] = policy["budget_ratio"], policy["budget_bucket"]
    edges["calls"] = np.floor(topology.edge_calls)
    edges["calls_frac"] = topology.edge_calls - edges["calls"]
    edges["admit"] = edges["share"] = 1.0
    edges["watch"] = -1.0
    edges["mass"] = -1.0  # not drawn yet
    edges["hit"] = policy["cache_start"]
    edges["rich"] = (
        (policy["special"] == 1)
        | ((policy["budget"] != retry.NO_BUDGET) & (policy["clients"] > 1))
        | (policy["budget"] >= retry.WINDOWED)
        | (policy["jitter"] == retry.DECORRELATED)
    )
    delays = [backoffs(row) for row in policy]
    edges["backoff"] = _starts(np.array([len(d) for d in delays], np.int64))
    return edges, np.concatenate([np.zeros((0, 2)), *delays])


def _incidence(topology: Topology, pools: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return edges by callee, and by caller and callee; tell the pools where theirs are."""
    in_edge = np.lexsort((np.arange(topology.n_edges), topology.edge_callee))
    out_edge = np.lexsort((topology.edge_callee, topology.edge_caller))
    out_edge = out_edge[topology.edge_caller[out_edge] >= 0]
    every = np.arange(topology.n_pools + 1)
    for name, ends in (
        ("in", topology.edge_callee[in_edge]),
        ("out", topology.edge_caller[out_edge]),
    ):
        bounds = np.searchsorted(ends, every)
        pools[f"{name}0"], pools[f"{name}1"] = bounds[:-1], bounds[1:]
    return in_edge.astype(np.int64), out_edge.astype(np.int64)


def _queues(topology: Topology, pools: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Give every pool a queue, or one per class of priority; return them, all empty."""
    n = 0
    for p in range(len(pools)):
        mine = np.flatnonzero(topology.edge_callee == p)
        classes = np.zeros(1, np.int64)
        if topology.discipline[p] == PRIORITY and len(mine):
            classes, ranks = np.unique(topology.edge_policy["priority"][mine], return_inverse=True)
            edges["rank"][mine] = ranks
        pools["queue"][p], pools["n_queue"][p] = n, len(classes)
        n += len(classes)
    return np.full((n, 2), -1, np.int64)


def _clients(topology: Topology, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give every edge its clients, and these the windows that their policies need."""
    policy = topology.edge_policy
    edges["n_clients"] = np.where(edges["rich"] == 1, policy["clients"], 1)
    edges["client"] = _starts(edges["n_clients"])
    clients = np.zeros(int(edges["n_clients"].sum()), CLIENT)
    edge = np.repeat(np.arange(len(edges)), edges["n_clients"])
    clients["tokens"] = edges["bucket"][edge]
    n = 0
    for name, needed in (
        ("w_budget", policy["budget"] == retry.WINDOWED),
        ("w_throttle", policy["throttling"] == 1),
        ("w_breaker", policy["breaker"] == 1),
    ):
        has = needed[edge]
        clients[name] = np.where(has, n + np.cumsum(has) - 1, -1)
        n += int(has.sum())
    return clients, np.zeros((max(1, n), 4 + 2 * SLICES), np.int64)


def _lanes(pools: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Give edges lanes for timeouts, each backoff and hedges, and pools one for service."""
    counts = edges["retries"] + 2
    edges["lane"] = _starts(counts)
    n = int(counts.sum())
    pools["lane"] = n + np.arange(len(pools))
    lanes = np.zeros(n + len(pools), LANE)
    lanes["mask"] = LANE_SIZE - 1
    lanes["base"] = LANE_SIZE * np.arange(len(lanes))
    return lanes


def _starts(sizes: np.ndarray) -> np.ndarray:
    """Return where things of these sizes start when they lie one behind the other."""
    return np.asarray(np.cumsum(sizes) - sizes)


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
    """Return the array with as many zeros behind it."""
    new = np.zeros(2 * len(old), old.dtype)
    new.view(np.uint8)[: old.nbytes] = old.view(np.uint8)  # records field by field would be slow
    return new


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
    more = _doubled(arrays.more) if len(arrays.more) == n else arrays.more
    return arrays._replace(atts=_doubled(arrays.atts), more=more, free=free)


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
