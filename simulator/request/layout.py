"""Memory layout of the request plane: records of pools, edges and attempts, event heap and lanes.

The compiled kernel sees these arrays and nothing else. Events are ordered by time and *key*. A key
holds, from high bits to low, the sequence number in which the event was scheduled, what it is
about (an attempt, an edge, a pool or a lane) and its kind: the order of keys is that of scheduling.

Events with a constant delay (timeouts, fixed backoffs, deterministic service) go into *lanes*,
rings that are in order of time by construction; only the head of a lane is in the heap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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
        ("discipline", _I), ("late", _I), ("lane", _I), ("remote", _I), ("special", _I),
        ("queue", _I), ("n_queue", _I),
        # --- set by the engine: processors, workers and room in whole numbers, mean service time;
        #     room as it was given; share of the declared units
        ("procs", _I), ("workers", _I), ("room", _I), ("mean", _F), ("s", _F), ("rate", _F),
        ("room_set", _F), ("size", _F),
        # --- present state
        ("waiting", _I), ("dead", _I), ("busy", _I), ("held", _I), ("hold", _F), ("p_down", _F),
        ("job_head", _I), ("job_tail", _I),
        # --- policies: rate limit, concurrency limit, when the queue was last empty
        ("tokens", _F), ("filled", _F), ("limit", _F), ("lowered", _F), ("empty", _F),
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
        # --- fixed; ``rich``: its attempts have a record of MORE
        ("caller", _I), ("callee", _I), ("kind", _I), ("calls", _I), ("calls_frac", _F),
        ("timeout", _F), ("retries", _I), ("lane", _I), ("backoff", _I), ("jitter", _I),
        ("budget", _I), ("ratio", _F), ("bucket", _F), ("client", _I), ("n_clients", _I),
        ("rich", _I), ("rank", _I),
        # --- arrivals (R2): what is left of the exponential number at time ``mark``
        ("rate", _F), ("mass", _F), ("mark", _F), ("next_key", _I), ("admit", _F),
        ("work", _F), ("todo", _I),
        # --- share of the calls that the cache answers
        ("hit", _F),
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
        ("t0", _F),       # when this attempt arrived; of a job: its work
        ("t_first", _F),  # when its first try arrived
        ("t_done", _F),   # when its service ended
        ("parent", _I4),  # attempt that waits for this one's first try; -1 if none
        ("edge", _I4),
        ("next", _I4), ("prev", _I4),  # in the queue
        ("out", _I4),     # place in the list of callees that it is at; of a job: its pool
        ("left", _I4),    # calls still to make there; -1: not drawn yet
        ("k", _I1),       # number of the attempt
        ("live", _I1),    # the caller waits for it (or it waits to be sent)
        ("at", _I1),      # 0 not at the pool, 1 in the queue, 2 in service or calling
        ("error", _I1),   # a required call failed
        ("pad", _I4),
    ]
)  # fmt: skip
"""Record of an attempt: one line of the cache."""

MORE = np.dtype(
    [
        ("deadline", _F),  # when its caller gives up
        ("timeout", _F),
        ("until", _F),     # deadline of the request that the call is made for
        ("delay", _F),     # backoff before this attempt
        ("hedge_key", _I),  # of the event that sends the copy
        ("client", _I4),
        ("peer", _I4),     # the other one of a hedged pair, -1: none
        ("era", _I4),      # of the client's breaker when it was sent
        ("sent", _I4),
    ]
)  # fmt: skip
"""What else is known of an attempt of an edge with policies."""

CLIENT = np.dtype(
    [
        ("tokens", _F),
        ("under_way", _I),
        # --- circuit breaker
        ("breaker", _I), ("since", _F), ("era", _I), ("probes", _I), ("good", _I),
        # --- rows of windows, -1 if there is none
        ("w_budget", _I), ("w_throttle", _I), ("w_breaker", _I),
    ]
)  # fmt: skip
"""State of a caller's policies (R11)."""

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
    more: np.ndarray
    """(A,) MORE, one record if no edge needs them."""
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
    queues: np.ndarray
    """(Q, 2) int64: first and last waiting attempt, by pool and class; -1: none."""
    clients: np.ndarray
    """(C,) CLIENT, by edge."""
    windows: np.ndarray
    """(W, 4 + 2 SLICES) int64: present slice, two sums, and two counts by slice."""
    edge_policy: np.ndarray
    """(E,) records of :mod:`simulator.policies.tables`."""
    pool_policy: np.ndarray
    """(P,) records of :mod:`simulator.policies.tables`."""
    backoff: np.ndarray
    """(sum of retries + 1, 2) shortest and longest delay after each attempt of each edge."""
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
