"""Memory layout of the data plane: one record per pool, per edge and per attempt number.

The compiled kernel sees these arrays and nothing else. Names follow MODEL.md: ``h`` step, ``s``
service time, ``q`` waiting attempts, ``W`` waiting per cohort and attempt number, ``L`` served but
late, ``D`` dead (zombie) work, ``R`` delay line of retries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simulator.flow.policy_layout import (
    call_timeouts,
    copies,
    dead_by_class,
    delays,
    edge_states,
    pool_states,
    slices,
    special_pools,
)
from simulator.model import LIFO, OPTIONAL, REQUIRED
from simulator.policies.retry import NONE
from simulator.policies.service_time import DETERMINISTIC

if TYPE_CHECKING:
    from simulator.model import Topology

STEPS_PER_TIMEOUT = 20
"""Steps per shortest timeout of a pool (E17: tipping times are wrong by 1 to 4 %)."""
SMOOTHING_S = 5.0
"""Time constant of the success shares that are watched."""

NOISE_BLOCK = 1 << 14
"""Random numbers drawn at a time."""

_F, _I = np.float64, np.int64

POOL = np.dtype(
    [
        # --- fixed
        ("h", _F), ("h_ticks", _I), ("n_slot", _I), ("n_col", _I), ("ring", _I), ("dead", _I),
        ("in0", _I), ("in1", _I), ("out0", _I), ("out1", _I), ("deterministic", _I),
        ("lifo", _I), ("late", _I), ("smooth", _F), ("sync_calls", _F), ("window", _I),
        ("special", _I),
        ("remote", _I), ("restless", _I),
        # --- set by the engine
        ("rate", _F), ("workers", _F), ("room_max", _F), ("s", _F),
        # --- cohort queue
        ("count", _I), ("head", _I), ("oldest", _I), ("q", _F), ("d_old", _F), ("in_ring", _F),
        # --- present flows, per second
        ("eff", _F), ("accept", _F), ("p_down", _F), ("hold", _F), ("served_r", _F),
        ("offered_r", _F), ("ok_r", _F), ("bad_r", _F),
        ("d_old_r", _F),
        # --- cumulative attempts
        ("offered", _F), ("served", _F), ("ok", _F), ("bad", _F),
        # --- watched share
        ("share", _F), ("watch", _F), ("is_below", _I),
        # --- step control
        ("awake", _I), ("done_tick", _I), ("wake_tick", _I), ("forget", _F),
        ("block", _I), ("block_left", _I), ("ring_sum", _F), ("known", _I),
        ("b_offered", _F), ("b_served", _F), ("b_ok", _F), ("b_bad", _F), ("b_d_old", _F),
        ("p_low", _F), ("p_high", _F), ("hold_low", _F), ("hold_high", _F),
        ("ref_offered", _F), ("ref_served", _F), ("ref_ok", _F), ("ref_bad", _F),
        ("ref_ring", _F), ("ref_d_old", _F),
        # --- last sample
        ("m_offered", _F), ("m_served", _F), ("m_ok", _F), ("m_bad", _F),
    ]
)  # fmt: skip
"""Record of a pool."""

EDGE = np.dtype(
    [
        # --- fixed
        ("caller", _I), ("callee", _I), ("kind", _I), ("calls", _F), ("timeout", _F),
        ("n_age", _I), ("retries", _I), ("col", _I), ("att", _I), ("line", _I), ("n_line", _I),
        ("jitter", _I), ("budget", _I), ("ratio", _F), ("bucket", _F),
        # --- calls issued by the caller
        ("rate", _F), ("issued", _F), ("issued_tick", _I), ("admit", _F), ("rate_new", _F),
        ("work", _F),
        # --- outcome of first tries, as the caller learns it
        ("p_ok", _F), ("latency", _F), ("done_r", _F), ("held", _F), ("held_rest", _F),
        ("p_new", _F), ("latency_new", _F), ("done_new", _F),
        # --- the same, averaged over about a memory of the pool: what wakes a sleeping neighbour
        ("rate_avg", _F), ("p_avg", _F), ("latency_avg", _F),
        # --- cumulative first tries and attempts
        ("first", _F), ("ok", _F), ("failed", _F), ("attempts", _F), ("in_flight", _F),
        ("latency_sum", _F),
        # --- rates while asleep, counters at the start of the block
        ("b_first", _F), ("b_ok", _F), ("b_failed", _F), ("b_attempts", _F), ("b_tokens", _F),
        ("b_latency", _F), ("rate_low", _F), ("rate_high", _F),
        ("first_r", _F), ("ok_r", _F), ("failed_r", _F), ("attempts_r", _F), ("tokens_r", _F),
        ("tokens", _F),
        # --- this step
        ("x_ok", _F), ("x_failed", _F), ("x_latency", _F),
        # --- watched share
        ("share", _F), ("watch", _F), ("is_below", _I),
        # --- last sample
        ("m_first", _F), ("m_ok", _F), ("m_failed", _F), ("m_attempts", _F),
    ]
)  # fmt: skip
"""Record of an edge."""

ATTEMPT = np.dtype(
    [
        ("backoff", _F),  # delay before the attempt that follows this one (mean if jittered: half)
        ("elapsed", _F),  # mean time since the first try when this attempt starts
        ("again", _F), ("again_age", _F),  # comes back as this attempt, in this step; its mean age
        ("flow", _F),     # jittered retries released per step now
        ("pending", _F),  # attempts of this number waiting in the delay line
        ("x_err", _F), ("x_err_age", _F),  # failed by a callee in this step, and their mean age
    ]
)  # fmt: skip
"""Record of (edge, attempt number)."""

CONTROL = np.dtype(
    [
        ("tick", _I), ("tick_s", _F), ("sample_ticks", _I), ("next_sample", _I), ("n_samples", _I),
        ("n_awake", _I), ("stride", _I), ("n_cross", _I), ("read_cross", _I), ("adaptive", _I),
        ("stochastic", _I), ("steps", _I), ("stop", _I), ("sample_max", _I), ("min_wake", _I),
        ("noise_next", _I),
    ]
)  # fmt: skip
"""Scalars of the plane (one record)."""


class Arrays(NamedTuple):
    """All state of a plane, in the order in which the kernel takes it."""

    ctl: np.ndarray
    """(1,) CONTROL."""
    pools: np.ndarray
    """(P,) POOL."""
    edges: np.ndarray
    """(E,) EDGE."""
    atts: np.ndarray
    """(sum of retries + 1,) ATTEMPT."""
    in_edge: np.ndarray
    """(E,) int64: edges sorted by callee."""
    out_edge: np.ndarray
    """(dependencies,) int64: edges sorted by caller."""
    waiting: np.ndarray
    """W, flat: ring of cohorts x columns (edge, attempt) per pool. W and L lie side by side in
    memory (each is every other number of one block): a step needs both, and large regions do not
    fit into the cache."""
    late: np.ndarray
    """L, same shape: served or discarded, fails at its timeout."""
    dead: np.ndarray
    """D, flat: ring of cohorts per pool."""
    line: np.ndarray
    """R, flat: delay line x attempt number per edge."""
    awake: np.ndarray
    """(P,) int64: sorted list of awake pools."""
    cross: np.ndarray
    """(2 * (P + E), 3) int64: tick, code (edge e: e, pool p: E + p), below."""
    noise: np.ndarray
    """Uniform random numbers still to be used, from ``ctl.noise_next`` on."""
    edge_policy: np.ndarray
    """(E,) columns of :mod:`simulator.policies.tables`; this and all that follows is touched by
    pools with policies alone (``special``)."""
    pool_policy: np.ndarray
    """(P,) columns of :mod:`simulator.policies.tables`."""
    discipline: np.ndarray
    """(P,) int64: kinds of :mod:`simulator.policies.discipline`."""
    edge_state: np.ndarray
    """(E,) EDGE_STATE."""
    pool_state: np.ndarray
    """(P,) POOL_STATE."""
    slices: np.ndarray
    """(E, series, SLICES): rolling windows."""
    low: np.ndarray
    """(sum of retries + 1,) shortest delay before the attempt that follows (s)."""
    dead_class: np.ndarray
    """(cohorts + P, CLASSES): dead work by class of priority."""
    copies: np.ndarray
    """(size of W, 4): copies of hedged attempts (one row where nobody hedges)."""


def step_lengths(topology: Topology) -> tuple[float, np.ndarray]:
    """Return ``(tick_s, h_ticks (P,))``: every pool steps at a power of two of the tick (E17)."""
    shortest = np.full(topology.n_pools, 30.0)
    np.minimum.at(shortest, topology.edge_callee, call_timeouts(topology))
    h = shortest / STEPS_PER_TIMEOUT
    tick = float(h.min())
    return tick, 2 ** np.floor(np.log2(h / tick) + 1e-9).astype(np.int64)


def allocate(
    topology: Topology,
    *,
    sample_period_s: float,
    stochastic: bool,
    adaptive: bool,
    remote: np.ndarray | None = None,
) -> Arrays:
    """Lay out the state of a plane at time 0: empty queues, nothing in flight.

    ``remote`` (P,) bool: pools that another plane simulates (R14).
    """
    tick, h_ticks = step_lengths(topology)
    n_pools, n_edges = topology.n_pools, topology.n_edges
    pools, edges = np.zeros(n_pools, POOL), np.zeros(n_edges, EDGE)
    pools["h_ticks"], pools["h"] = h_ticks, h_ticks * tick
    pools["s"] = topology.service_s
    pools["deterministic"] = topology.pool_policy["service_kind"] == DETERMINISTIC
    pools["lifo"] = topology.discipline == LIFO
    pools["late"] = topology.late_work
    pools["smooth"] = -np.expm1(-pools["h"] / SMOOTHING_S)
    for name in ("accept", "p_down", "share"):
        pools[name] = 1.0
    pools["watch"] = edges["watch"] = -1.0
    pools["special"] = special_pools(topology)
    atts, low = _fill_edges(topology, pools, edges)
    in_edge = np.lexsort((np.arange(n_edges), topology.edge_callee))
    bounds = np.searchsorted(topology.edge_callee[in_edge], np.arange(n_pools + 1))
    pools["in0"], pools["in1"] = bounds[:-1], bounds[1:]
    out_edge = np.argsort(topology.edge_caller, kind="stable")
    out_edge = out_edge[topology.edge_caller[out_edge] >= 0]
    bounds = np.searchsorted(topology.edge_caller[out_edge], np.arange(n_pools + 1))
    pools["out0"], pools["out1"] = bounds[:-1], bounds[1:]
    waiting, dead, line = _fill_rings(pools, edges, in_edge)
    ctl = np.zeros(1, CONTROL)
    ctl["tick_s"] = tick
    ctl["sample_ticks"] = ctl["next_sample"] = max(1, round(sample_period_s / tick))
    ctl["adaptive"], ctl["stochastic"] = adaptive and not stochastic, stochastic
    ctl["noise_next"] = NOISE_BLOCK + n_pools + n_edges  # none drawn yet
    if remote is not None:
        pools["remote"] = remote
        from_remote = (topology.edge_caller >= 0) & remote[topology.edge_caller]
        pools["restless"][topology.edge_callee[from_remote]] = 1
    pools["awake"] = 1 - pools["remote"]
    up = np.flatnonzero(pools["awake"])
    awake = np.concatenate([up, np.flatnonzero(pools["awake"] == 0)]).astype(np.int64)
    ctl["n_awake"], ctl["stride"] = len(up), h_ticks[up].min(initial=np.iinfo(np.int64).max)
    pools["block"] = pools["block_left"] = 2
    pools["wake_tick"] = ctl["min_wake"] = np.iinfo(np.int64).max
    cohorts = np.zeros(2 * waiting)
    return Arrays(
        ctl, pools, edges, atts, in_edge.astype(np.int64), out_edge.astype(np.int64),
        cohorts[0::2], cohorts[1::2], np.zeros(dead), np.zeros(line),
        awake, np.zeros((2 * (n_pools + n_edges), 3), np.int64),
        np.zeros(NOISE_BLOCK + n_pools + n_edges if stochastic else 1),
        topology.edge_policy.copy(), topology.pool_policy.copy(),
        topology.discipline.astype(np.int64), edge_states(topology, pools["h"]),
        pool_states(topology, pools["h"]), slices(n_edges), low, dead_by_class(dead, n_pools),
        copies(topology, waiting),
    )  # fmt: skip


def _fill_edges(
    topology: Topology, pools: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fill the fixed fields of ``edges``; return attempt records and shortest delays."""
    names = {
        "caller": "edge_caller", "callee": "edge_callee", "kind": "edge_kind",
        "calls": "edge_calls",
    }  # fmt: skip
    for field, source in names.items():
        edges[field] = getattr(topology, source)
    timeout = call_timeouts(topology)
    policy = topology.edge_policy
    edges["timeout"] = timeout
    edges["retries"], edges["jitter"] = policy["retries"], policy["jitter"] != NONE
    edges["budget"], edges["ratio"] = policy["budget"], policy["budget_ratio"]
    edges["bucket"] = edges["tokens"] = policy["budget_bucket"] * policy["clients"]
    for name in ("admit", "p_ok", "share", "p_new", "p_avg"):
        edges[name] = 1.0
    h = pools["h"][topology.edge_callee]
    edges["n_age"] = np.maximum(1, np.rint(timeout / h))
    counts = policy["retries"] + 1
    edges["att"] = np.concatenate(([0], np.cumsum(counts)[:-1]))
    atts = np.zeros(int(counts.sum()), ATTEMPT)
    bounds = np.array([pair for row in policy for pair in delays(row)]).reshape(-1, 2)
    atts["backoff"] = bounds[:, 1]
    longest = np.maximum.reduceat(bounds[:, 1], edges["att"]) if len(edges) else bounds[:, 1]
    edges["n_line"] = np.ceil((longest + timeout) / h).astype(np.int64) + 4
    synchronous = np.isin(topology.edge_kind, (REQUIRED, OPTIONAL))
    np.add.at(
        pools["sync_calls"],
        topology.edge_caller[synchronous],
        topology.edge_calls[synchronous],
    )
    np.maximum.at(pools["window"], topology.edge_callee, edges["n_line"])
    pools["forget"] = 1.0 / np.maximum(pools["window"], 2)
    return atts, bounds[:, 0].copy()


def _fill_rings(pools: np.ndarray, edges: np.ndarray, in_edge: np.ndarray) -> tuple[int, int, int]:
    """Give every pool and edge its place in the flat arrays; return their sizes."""
    waiting = dead = line = 0
    for p in range(len(pools)):
        members = in_edge[pools["in0"][p] : pools["in1"][p]]
        col = 0
        for e in members:
            edges["col"][e] = col
            col += int(edges["retries"][e]) + 1
            edges["line"][e] = line
            line += int(edges["n_line"][e] * edges["retries"][e])
        slots = int(edges["n_age"][members].max()) + 1 if len(members) else 2
        pools["n_slot"][p], pools["n_col"][p] = slots, col
        pools["ring"][p], pools["dead"][p] = waiting, dead
        waiting += slots * col
        dead += slots
    return waiting, dead, line
