"""Memory of the policies in the flow: what an edge or a pool with policies remembers.

These records are apart from those of :mod:`simulator.flow.layout`: a step of a pool without
policies never touches them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.policies.base import SLICES
from simulator.policies.discipline import CODEL, FIFO, LIFO
from simulator.policies.load_shedding import CLASSES
from simulator.policies.retry import (
    DECORRELATED,
    EQUAL,
    THROTTLE,
    WINDOWED,
    backoff_high,
    backoff_low,
)
from simulator.policies.service_time import DETERMINISTIC, EXPONENTIAL

if TYPE_CHECKING:
    from simulator.model import Topology

_F, _I = np.float64, np.int64

EDGE_STATE = np.dtype(
    [
        ("budget_slice", _I), ("throttling_slice", _I), ("breaker_slice", _I),
        ("breaker", _I), ("since", _F), ("sent", _F), ("ended", _F), ("failed", _F),
        ("hit", _F), ("hits", _F), ("b_hit", _F),
        ("serving", _F), ("started", _F),
        ("hedge_steps", _I), ("deadline", _F),
    ]
)  # fmt: skip
"""What the policies of an edge remember: slices of rolling windows, breaker, hit ratio, and what is
in service and was started in this step of attempts that will be answered in time. ``hedge_steps``:
age at which a copy is sent (0: none)."""
WAITING, UNANSWERED, HEDGED, LET_IN = range(4)
"""Columns of copies: waiting; served, but not answered when the copies are sent; originals that had
no answer then; share of the copies that was let in."""

POOL_STATE = np.dtype(
    [
        ("hedged", _I),    # a caller hedges
        ("size", _F),      # units in service, as a share of those declared
        ("memory", _I),    # steps of the longest window of the pool and its callers
        ("s", _F),         # service time now, contention and memory pressure included
        ("serving", _F), ("held", _F),  # attempts on processors, and holding a worker
        ("tokens", _F), ("limit", _F), ("lowered", _F), ("slow", _F), ("debt", _F), ("empty", _F),
        ("fast_x", _F), ("slow_x", _F),  # answers of this step, by the target of the limit
        ("let_0", _F), ("let_1", _F), ("let_2", _F), ("let_3", _F),  # accepted share by class
        ("alive", _F),     # served for clients that still waited, cumulative
        ("b_tokens", _F), ("b_limit", _F), ("b_debt", _F), ("b_alive", _F), ("b_held", _F),
    ]
)  # fmt: skip
"""What the policies of a pool remember."""


def call_timeouts(topology: Topology) -> np.ndarray:
    """Return the timeouts (E,) in s; with ``deadline`` at most what the caller's callers wait.

    E40: in a cycle of pools a deadline shrinks with every round; as many rounds are taken as there
    are pools, and one thousandth of the edge's own timeout is the least.
    """
    timeout = topology.edge_timeout_s.astype(float)
    inherits = (topology.edge_policy["deadline"] == 1) & (topology.edge_caller >= 0)
    if not inherits.any():
        return timeout
    own, reserve = timeout.copy(), topology.edge_policy["deadline_reserve"]
    for _ in range(topology.n_pools):
        shortest = np.full(topology.n_pools, np.inf)
        np.minimum.at(shortest, topology.edge_callee, timeout)
        left = shortest[topology.edge_caller] - reserve
        timeout = np.where(inherits, np.maximum(np.minimum(own, left), 1e-3 * own), own)
    return timeout


def call_deadlines(topology: Topology) -> np.ndarray:
    """Return the time (E,) in s that all attempts of a first try have together; inf: no deadline.

    E40: what the caller's callers wait, less the reserve. No retry begins after it.
    """
    inherits = (topology.edge_policy["deadline"] == 1) & (topology.edge_caller >= 0)
    shortest = np.full(topology.n_pools, np.inf)
    np.minimum.at(shortest, topology.edge_callee, call_timeouts(topology))
    left = shortest[topology.edge_caller] - topology.edge_policy["deadline_reserve"]
    return np.where(inherits, left, np.inf)


def special_pools(topology: Topology) -> np.ndarray:
    """Return (P,) bool: pools whose step knows policies; all others take the plain step."""
    edge, pool = topology.edge_policy, topology.pool_policy
    special: np.ndarray = (pool["special"] == 1) | ~np.isin(topology.discipline, (FIFO, LIFO))
    special |= ~np.isin(pool["service_kind"], (EXPONENTIAL, DETERMINISTIC))
    odd = (edge["special"] == 1) | np.isin(edge["jitter"], (EQUAL, DECORRELATED))
    odd |= np.isin(edge["budget"], (WINDOWED, THROTTLE))
    special[topology.edge_callee[odd]] = True
    above = (topology.edge_caller >= 0) & ((edge["fallback"] == 1) | (edge["deadline"] == 1))
    special[topology.edge_caller[above]] = True
    return special


def delays(row: np.void) -> list[tuple[float, float]]:
    """Return (shortest, longest) delay (s) after attempt 0, 1, ... of an edge's policy (E7).

    The delay before a decorrelated retry is taken at its mean (E28).
    """
    base, cap = float(row["backoff_base"]), float(row["backoff_cap"])
    growth, jitter = int(row["growth"]), int(row["jitter"])
    bounds, before = [], base
    for k in range(int(row["retries"]) + 1):
        low = backoff_low(k, base, cap, growth, jitter)
        high = max(low, backoff_high(k, base, cap, growth, jitter, before))
        before = 0.5 * (low + high)
        bounds.append((low, high))
    return bounds


def windows(row: np.void) -> list[float]:
    """Return the windows (s) that an edge's policies look back over."""
    used = [row["budget_window"]] if row["budget"] == WINDOWED else []
    used += [row["throttling_window"]] if row["throttling"] else []
    used += [row["breaker_window"], row["breaker_open_for"]] if row["breaker"] else []
    return [float(w) for w in used]


def pool_memory(topology: Topology, p: int, h: float) -> int:
    """Return the steps over which the policies of a pool and its callers remember (E18)."""
    row = topology.pool_policy[p]
    spans = [0.0]
    for e in np.flatnonzero(topology.edge_callee == p):
        spans += windows(topology.edge_policy[e])
    spans += [float(row["limit_target"])] if row["limit_adaptive"] else []
    spans += [float(row["codel_interval"])] if topology.discipline[p] == CODEL else []
    return int(np.ceil(max(spans) / h))


def hedge_steps(topology: Topology, steps_s: np.ndarray) -> np.ndarray:
    """Return the age (E,) in steps at which copies are sent; 0 where none is sent in time (E43).

    ``steps_s``: step (E,) of the called pool in seconds.
    """
    ages = np.maximum(1, np.rint(topology.edge_policy["hedge_delay"] / steps_s)).astype(np.int64)
    lives = np.maximum(1, np.rint(call_timeouts(topology) / steps_s))
    return np.where((topology.edge_policy["hedge"] == 1) & (ages < lives), ages, 0)


def edge_states(topology: Topology, h: np.ndarray) -> np.ndarray:
    """Return the records (E,) at time 0: closed breakers, caches as they start."""
    states = np.zeros(topology.n_edges, EDGE_STATE)
    states["hit"] = topology.edge_policy["cache_start"]
    states["deadline"] = call_deadlines(topology)
    states["hedge_steps"] = hedge_steps(topology, h[topology.edge_callee])
    return states


def pool_states(topology: Topology, h: np.ndarray) -> np.ndarray:
    """Return the records (P,) at time 0: full buckets, widest limits."""
    states, policy = np.zeros(topology.n_pools, POOL_STATE), topology.pool_policy
    states["size"], states["s"] = 1.0, topology.service_s
    states["tokens"], states["limit"] = policy["limit_burst"], policy["limit_max"]
    states["lowered"] = -np.inf
    states["hedged"][topology.edge_callee[topology.edge_policy["hedge"] == 1]] = 1
    states["memory"] = [pool_memory(topology, p, h[p]) for p in range(topology.n_pools)]
    return states


def copies(topology: Topology, n_waiting: int) -> np.ndarray:
    """Return the copies of hedged attempts, beside W: (cells, 4); one row where nobody hedges."""
    return np.zeros((n_waiting if topology.edge_policy["hedge"].any() else 1, 4))


def slices(n_edges: int) -> np.ndarray:
    """Return empty rolling windows: (E, series, slices)."""
    return np.zeros((n_edges, 6, SLICES))


def dead_by_class(n_slots: int, n_pools: int) -> np.ndarray:
    """Return dead work by class of priority: a row for each cohort, then one for each pool."""
    return np.zeros((n_slots + n_pools, CLASSES))
