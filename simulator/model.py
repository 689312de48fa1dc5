"""The compiled world: ``Topology`` (frozen arrays) built from a NetworkX graph of the region.

Everything that is iterated in a run is in sorted id order here, so that the order in which a file
lists things never matters. Edges are numbered in this order: dependencies by (callee, caller),
then service edges by service id, then one control edge per control plane by id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

if TYPE_CHECKING:
    from simulator.scenario.region import Region, Retry

REQUIRED, OPTIONAL, ASYNCHRONOUS, CLIENT, CONTROL = range(5)
FIFO, LIFO = range(2)
ZOMBIE, CANCEL, DEADLINE_AWARE = range(3)
NO_BUDGET, PER_FIRST_TRY, PER_SUCCESS = range(3)

_DISCIPLINES = {"fifo": FIFO, "lifo": LIFO}
_LATE = {"zombie": ZOMBIE, "cancel": CANCEL, "deadline_aware": DEADLINE_AWARE}
_KINDS = {"required": REQUIRED, "optional": OPTIONAL, "asynchronous": ASYNCHRONOUS}
_BUDGETS = {"per_first_try": PER_FIRST_TRY, "per_success": PER_SUCCESS}


@dataclass(frozen=True)
class Topology:
    """Region as arrays. P pools, E edges, Z zones; dtype float64 unless said otherwise."""

    pool_ids: tuple[str, ...]
    zone_ids: tuple[str, ...]
    service_ids: tuple[str, ...]
    control_plane_ids: tuple[str, ...]
    units: np.ndarray
    """(P, Z) int64: declared units per zone."""
    unit_rate_rps: np.ndarray
    """(P,) full rate of one unit."""
    concurrency: np.ndarray
    """(P,) workers per unit."""
    service_s: np.ndarray
    """(P,) mean service time."""
    deterministic: np.ndarray
    """(P,) bool: deterministic service time instead of exponential."""
    queue_per_unit: np.ndarray
    """(P,) waiting room per unit; inf where unbounded."""
    discipline: np.ndarray
    """(P,) int64: FIFO or LIFO."""
    late_work: np.ndarray
    """(P,) int64: ZOMBIE, CANCEL or DEADLINE_AWARE."""
    edge_caller: np.ndarray
    """(E,) int64: calling pool, -1 for service and control edges."""
    edge_callee: np.ndarray
    """(E,) int64: called pool."""
    edge_kind: np.ndarray
    """(E,) int64: REQUIRED, OPTIONAL, ASYNCHRONOUS, CLIENT or CONTROL."""
    edge_calls: np.ndarray
    """(E,) calls per request of the caller (1 for service and control edges)."""
    edge_timeout_s: np.ndarray
    """(E,) timeout of one attempt."""
    edge_retries: np.ndarray
    """(E,) int64: retries after the first attempt."""
    edge_backoff_base_s: np.ndarray
    """(E,)"""
    edge_backoff_cap_s: np.ndarray
    """(E,)"""
    edge_exponential: np.ndarray
    """(E,) bool: exponential instead of fixed backoff."""
    edge_jitter: np.ndarray
    """(E,) bool: full jitter."""
    edge_budget: np.ndarray
    """(E,) int64: NO_BUDGET, PER_FIRST_TRY or PER_SUCCESS."""
    edge_budget_ratio: np.ndarray
    """(E,)"""
    edge_budget_bucket: np.ndarray
    """(E,)"""

    @property
    def n_pools(self) -> int:
        """Number of pools."""
        return len(self.pool_ids)

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return len(self.edge_callee)

    def pool(self, name: str) -> int:
        """Index of a pool."""
        return self.pool_ids.index(name)

    def service_edge(self, name: str) -> int:
        """Index of the edge by which a service's first tries enter."""
        return self._n_dependencies + self.service_ids.index(name)

    def control_edge(self, name: str) -> int:
        """Index of the edge by which a control plane's operations reach their pool."""
        return self._n_dependencies + len(self.service_ids) + self.control_plane_ids.index(name)

    @property
    def _n_dependencies(self) -> int:
        return self.n_edges - len(self.service_ids) - len(self.control_plane_ids)


def region_graph(region: Region) -> nx.DiGraph:
    """Return the dependency graph: pools as nodes, caller -> callee edges, cycles allowed."""
    graph: nx.DiGraph = nx.DiGraph(id=region.id)
    for pool in sorted(region.pools, key=lambda p: p.id):
        graph.add_node(pool.id, spec=pool)
    for dep in sorted(region.dependencies, key=lambda d: (d.caller, d.callee)):
        graph.add_edge(dep.caller, dep.callee, spec=dep)
    return graph


def zone_units(units: int, zones: tuple[str, ...], shares: dict[str, float] | None) -> list[int]:
    """Split ``units`` over zones by largest remainder; ties go to the zone that sorts first."""
    weight = [1.0 / len(zones) if shares is None else shares.get(z, 0.0) for z in zones]
    exact = [units * w for w in weight]
    whole = [int(x + 1e-9) for x in exact]
    order = sorted(range(len(zones)), key=lambda i: (whole[i] - exact[i], zones[i]))
    for i in order[: units - sum(whole)]:
        whole[i] += 1
    return whole


def build_topology(region: Region) -> Topology:
    """Compile a region into arrays, in sorted order."""
    graph = region_graph(region)
    pool_ids = tuple(graph.nodes)
    index = {p: i for i, p in enumerate(pool_ids)}
    zones = tuple(sorted(region.zones))
    pools = [graph.nodes[p]["spec"] for p in pool_ids]
    services = sorted(region.services, key=lambda s: s.id)
    planes = sorted(region.control_planes, key=lambda c: c.id)
    rows: list[tuple[int, int, int, float, float, Retry | None]] = [
        (index[a], index[b], _KINDS[d.kind], d.calls, d.timeout, d.retry)
        for a, b, d in sorted(graph.edges(data="spec"), key=lambda e: (e[1], e[0]))
    ]
    rows += [(-1, index[s.entry], CLIENT, 1.0, s.timeout, s.retry) for s in services]
    rows += [(-1, index[c.pool], CONTROL, 1.0, c.timeout, None) for c in planes]
    retries = [r[5] for r in rows]
    budgets = [None if r is None else r.budget for r in retries]

    def floats(values: list[float]) -> np.ndarray:
        return np.array(values, dtype=np.float64)

    def ints(values: list[int]) -> np.ndarray:
        return np.array(values, dtype=np.int64)

    return Topology(
        pool_ids=pool_ids,
        zone_ids=zones,
        service_ids=tuple(s.id for s in services),
        control_plane_ids=tuple(c.id for c in planes),
        units=np.array([zone_units(p.units, zones, p.zones) for p in pools], dtype=np.int64),
        unit_rate_rps=floats([p.unit_rate or p.concurrency / p.service_time for p in pools]),
        concurrency=floats([float(p.concurrency) for p in pools]),
        service_s=floats([p.service_time for p in pools]),
        deterministic=np.array([p.service_distribution == "deterministic" for p in pools]),
        queue_per_unit=floats(
            [np.inf if p.queue_per_unit is None else float(p.queue_per_unit) for p in pools]
        ),
        discipline=ints([_DISCIPLINES[p.discipline] for p in pools]),
        late_work=ints([_LATE[p.late_work] for p in pools]),
        edge_caller=ints([r[0] for r in rows]),
        edge_callee=ints([r[1] for r in rows]),
        edge_kind=ints([r[2] for r in rows]),
        edge_calls=floats([r[3] for r in rows]),
        edge_timeout_s=floats([r[4] for r in rows]),
        edge_retries=ints([0 if r is None else r.retries_max for r in retries]),
        edge_backoff_base_s=floats([0.0 if r is None else r.backoff_base for r in retries]),
        edge_backoff_cap_s=floats([0.0 if r is None else r.backoff_cap for r in retries]),
        edge_exponential=np.array([r is not None and r.backoff == "exponential" for r in retries]),
        edge_jitter=np.array([r is not None and r.jitter == "full" for r in retries]),
        edge_budget=ints([NO_BUDGET if b is None else _BUDGETS[b.deposit] for b in budgets]),
        edge_budget_ratio=floats([0.0 if b is None else b.ratio for b in budgets]),
        edge_budget_bucket=floats([0.0 if b is None else float(b.bucket) for b in budgets]),
    )
