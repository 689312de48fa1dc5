"""Pools and edges of the readable twin, read from the arrays of a region."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from simulator.flow.policy_layout import (
    call_deadlines,
    call_timeouts,
    delays,
    hedge_steps,
    special_pools,
)
from simulator.flow.reference_pool import Edge, Pool
from simulator.flow.reference_special import SpecialEdge, SpecialPool
from simulator.model import LIFO
from simulator.policies.retry import NONE
from simulator.policies.service_time import DETERMINISTIC

if TYPE_CHECKING:
    import numpy as np

    from simulator.model import Topology


def make_edges(topology: Topology, steps_s: np.ndarray) -> list[Edge]:
    """Read the edges, given the steps (P,) of the pools in seconds."""
    timeouts, special = call_timeouts(topology), special_pools(topology)
    deadlines = call_deadlines(topology)
    hedges = hedge_steps(topology, steps_s[topology.edge_callee])
    edges: list[Edge] = []
    for e in range(topology.n_edges):
        policy = topology.edge_policy[e]
        h, timeout_s = float(steps_s[topology.edge_callee[e]]), float(timeouts[e])
        backoff_s = [high for _, high in delays(policy)]
        bucket = float(policy["budget_bucket"]) * float(policy["clients"])
        fields: dict[str, Any] = {
            "index": e,
            "kind": int(topology.edge_kind[e]),
            "calls": float(topology.edge_calls[e]),
            "timeout_s": timeout_s,
            "retries": int(policy["retries"]),
            "jitter": bool(policy["jitter"] != NONE),
            "backoff_s": backoff_s,
            "budget": int(policy["budget"]),
            "ratio": float(policy["budget_ratio"]),
            "bucket": bucket,
            "tokens": bucket,
            "h": h,
            "line_steps": math.ceil((max(backoff_s) + timeout_s) / h) + 4,
            "elapsed_s": [0.0] * (int(policy["retries"]) + 1),
        }
        if special[topology.edge_callee[e]]:
            own: dict[str, Any] = {"hedge_steps": int(hedges[e]), "deadline_s": float(deadlines[e])}
            edges.append(SpecialEdge(**fields, policy=policy, **own))
        else:
            edges.append(Edge(**fields))
    return edges


def make_pool(topology: Topology, p: int, h_ticks: int, tick_s: float, edges: list[Edge]) -> Pool:
    """Read a pool, given its step and all edges."""
    inputs = [edge for edge in edges if topology.edge_callee[edge.index] == p]
    policy = topology.pool_policy[p]
    fields: dict[str, Any] = {
        "index": p,
        "h": h_ticks * tick_s,
        "h_ticks": h_ticks,
        "s": float(topology.service_s[p]),
        "deterministic": bool(policy["service_kind"] == DETERMINISTIC),
        "lifo": int(topology.discipline[p]) == LIFO,
        "late_work": int(topology.late_work[p]),
        "inputs": inputs,
        "outputs": [edge for edge in edges if topology.edge_caller[edge.index] == p],
        "n_cohorts": max((edge.n_age for edge in inputs), default=1) + 1,
    }
    if not special_pools(topology)[p]:
        return Pool(**fields)
    discipline = int(topology.discipline[p])
    return SpecialPool(**fields, policy=policy, rows=topology.edge_policy, discipline=discipline)
