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

from simulator.policies import discipline as disciplines
from simulator.policies.discipline import FIFO, LIFO
from simulator.policies.retry import NO_BUDGET, PER_FIRST_TRY, PER_SUCCESS
from simulator.policies.tables import edge_table, pool_table, row_of

if TYPE_CHECKING:
    from simulator.policies.base import Number
    from simulator.scenario.region import Dependency, Pool, Region, Service

__all__ = [
    "ASYNCHRONOUS",
    "AS_THE_RUN",
    "CANCEL",
    "CLIENT",
    "CONTROL",
    "DEADLINE_AWARE",
    "FIFO",
    "FLOW",
    "LIFO",
    "NO_BUDGET",
    "OPTIONAL",
    "PER_FIRST_TRY",
    "PER_SUCCESS",
    "REQUEST",
    "REQUIRED",
    "ZOMBIE",
    "Topology",
    "build_topology",
    "region_graph",
    "zone_units",
]  # fmt: skip

REQUIRED, OPTIONAL, ASYNCHRONOUS, CLIENT, CONTROL = range(5)
ZOMBIE, CANCEL, DEADLINE_AWARE = range(3)
AS_THE_RUN, FLOW, REQUEST = range(3)

_LATE = {"zombie": ZOMBIE, "cancel": CANCEL, "deadline_aware": DEADLINE_AWARE}
_FIDELITIES = {None: AS_THE_RUN, "flow": FLOW, "request": REQUEST}
_KINDS = {"required": REQUIRED, "optional": OPTIONAL, "asynchronous": ASYNCHRONOUS}


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
    queue_per_unit: np.ndarray
    """(P,) waiting room per unit; inf where unbounded."""
    discipline: np.ndarray
    """(P,) int64: kinds of :mod:`simulator.policies.discipline`."""
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
    pool_policy: np.ndarray
    """(P,) records of :mod:`simulator.policies.tables`: service times, queue, limits."""
    edge_policy: np.ndarray
    """(E,) records of :mod:`simulator.policies.tables`: retries, breakers, caches, ..."""
    fidelity: np.ndarray
    """(P,) int64: AS_THE_RUN, FLOW or REQUEST."""

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
    rows: list[tuple[int, int, int, float, float, dict[str, Number]]] = [
        (index[a], index[b], _KINDS[d.kind], d.calls, d.timeout, _edge_row(d))
        for a, b, d in sorted(graph.edges(data="spec"), key=lambda e: (e[1], e[0]))
    ]
    rows += [(-1, index[s.entry], CLIENT, 1.0, s.timeout, _edge_row(s)) for s in services]
    rows += [(-1, index[c.pool], CONTROL, 1.0, c.timeout, {}) for c in planes]

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
        queue_per_unit=floats(
            [np.inf if p.queue_per_unit is None else float(p.queue_per_unit) for p in pools]
        ),
        discipline=ints([disciplines.KINDS[p.discipline.kind] for p in pools]),
        late_work=ints([_LATE[p.late_work] for p in pools]),
        edge_caller=ints([r[0] for r in rows]),
        edge_callee=ints([r[1] for r in rows]),
        edge_kind=ints([r[2] for r in rows]),
        edge_calls=floats([r[3] for r in rows]),
        edge_timeout_s=floats([r[4] for r in rows]),
        pool_policy=pool_table([_pool_row(p) for p in pools]),
        edge_policy=edge_table([r[5] for r in rows]),
        fidelity=ints([_FIDELITIES[p.fidelity] for p in pools]),
    )


def _pool_row(pool: Pool) -> dict[str, Number]:
    """Return all policies of a pool as one row."""
    return row_of(
        (
            pool.service_distribution, pool.discipline, pool.rate_limit, pool.concurrency_limit,
            pool.load_shedding, pool.rejection, pool.contention, pool.memory_pressure,
        )
    )  # fmt: skip


def _edge_row(edge: Dependency | Service) -> dict[str, Number]:
    """Return all policies of a caller as one row."""
    names = (
        "retry", "deadline", "adaptive_throttling", "circuit_breaker", "bulkhead", "hedging",
        "fallback", "cache",
    )  # fmt: skip
    row = row_of(getattr(edge, name, None) for name in names)
    return row | {"clients": edge.clients, "priority": edge.priority}
