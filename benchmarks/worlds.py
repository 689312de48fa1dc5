"""Regions for benchmarks, written as arrays: one pool, and a layered random graph of many."""

from __future__ import annotations

import numpy as np

from simulator.model import CLIENT, REQUIRED, Topology
from simulator.policies.retry import EXPONENTIAL
from simulator.policies.tables import edge_table, pool_table
from simulator.sampling import Streams


def arrays(n_pools: int, n_edges: int, **fields: object) -> Topology:
    """Make a topology of zone ``z`` with neutral values, but for ``fields``."""
    pools = {
        "units": np.full((n_pools, 1), 100),
        "unit_rate_rps": np.full(n_pools, 10.0),
        "concurrency": np.full(n_pools, 1.0),
        "service_s": np.full(n_pools, 0.1),
        "queue_per_unit": np.full(n_pools, np.inf),
        "discipline": np.zeros(n_pools, np.int64),
        "late_work": np.zeros(n_pools, np.int64),
        "pool_policy": pool_table([{}] * n_pools),
        "fidelity": np.zeros(n_pools, np.int64),
    }
    edges = {
        "edge_caller": np.full(n_edges, -1),
        "edge_callee": np.zeros(n_edges, np.int64),
        "edge_kind": np.full(n_edges, CLIENT),
        "edge_calls": np.ones(n_edges),
        "edge_timeout_s": np.ones(n_edges),
        "edge_policy": edge_table([{"backoff_cap": 20.0}] * n_edges),
    }
    names = {
        "pool_ids": tuple(f"p{i:04}" for i in range(n_pools)),
        "zone_ids": ("z",),
        "service_ids": ("s",),
        "control_plane_ids": (),
    }
    return Topology(**(names | pools | edges | fields))  # type: ignore[arg-type]


def one_pool(*, service_s: float = 0.1, retries: int = 3, queue: float = np.inf) -> Topology:
    """One pool of 1,000 requests/s with a timeout of 1 s."""
    return arrays(
        1,
        1,
        concurrency=np.array([10.0 * service_s]),
        service_s=np.array([service_s]),
        edge_policy=edge_table([{"retries": retries, "backoff_cap": 20.0}]),
        queue_per_unit=np.array([queue / 100]),
    )


def layered(n_pools: int, *, seed: int = 1, depth: int = 5, tight_frac: float = 0.05) -> Topology:
    """Build layers of pools with three incoming edges each, unequal head-room and two retries.

    With one common head-room a saturated caller would put its callees exactly at capacity, where
    rounding decides what happens next.
    """
    rng = Streams(seed).stream("benchmark", "layered")
    level = np.sort(np.concatenate([np.arange(depth), rng.integers(0, depth, n_pools - depth)]))
    first = np.searchsorted(level, np.arange(depth + 1))
    pairs = []
    for p in range(first[1], n_pools):
        above = rng.choice(first[level[p]], size=min(3, first[level[p]]), replace=False)
        pairs += [(int(a), p) for a in above]
    pairs.sort(key=lambda pair: (pair[1], pair[0]))  # as a region's edges are numbered
    roots = list(range(first[1]))
    caller = np.array([a for a, _ in pairs] + [-1] * len(roots))
    callee = np.array([b for _, b in pairs] + roots)
    calls = np.concatenate([rng.uniform(0.2, 0.5, len(pairs)), np.ones(len(roots))])
    demand = np.zeros(n_pools)
    demand[roots] = 1000.0
    for a, b, c in zip(caller, callee, calls, strict=True):  # callers come before callees
        if a >= 0:
            demand[b] += c * demand[a]
    tight = rng.random(n_pools) < tight_frac
    room = np.where(tight, rng.uniform(0.6, 0.9, n_pools), rng.uniform(1.2, 1.8, n_pools))
    n = len(caller)
    return arrays(
        n_pools,
        n,
        unit_rate_rps=demand * room / 100,
        concurrency=demand * room * 3.0 / 100,
        service_s=rng.uniform(0.01, 0.1, n_pools),
        queue_per_unit=demand * 10.0 / 100,
        edge_caller=caller,
        edge_callee=callee,
        edge_kind=np.where(caller < 0, CLIENT, REQUIRED),
        edge_calls=calls,
        edge_policy=edge_table(
            [{"retries": 2, "backoff_base": 0.1, "backoff_cap": 20.0, "growth": EXPONENTIAL}] * n
        ),
        edge_timeout_s=rng.choice([1.0, 2.0], n),
    )
