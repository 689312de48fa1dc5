"""The region that the shipped scenarios share is balanced, roomy enough and documented."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import yaml

from simulator.model import ASYNCHRONOUS, CLIENT, build_topology, region_graph
from simulator.scenario.region import Basis, Region

PATH = Path(__file__).parents[2] / "scenarios" / "regions" / "hyperscale.yaml"


@pytest.fixture(scope="module")
def region():
    return Region.model_validate(yaml.safe_load(PATH.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def topology(region):
    return build_topology(region)


def calls_matrix(topology, *, waiting_only):
    """Calls per request, caller x callee."""
    matrix = np.zeros((topology.n_pools, topology.n_pools))
    for edge in range(topology.n_edges):
        caller, kind = topology.edge_caller[edge], topology.edge_kind[edge]
        if caller >= 0 and not (waiting_only and kind == ASYNCHRONOUS):
            matrix[caller, topology.edge_callee[edge]] += topology.edge_calls[edge]
    return matrix


@pytest.fixture(scope="module")
def load_rps(region, topology):
    """Solution of load = first tries + calls of the callers."""
    entering = np.zeros(topology.n_pools)
    for service in region.services:
        entering[topology.pool(service.entry)] += service.first_tries
    calls = calls_matrix(topology, waiting_only=False)
    return np.linalg.solve(np.eye(topology.n_pools) - calls.T, entering)


@pytest.fixture(scope="module")
def latency_s(topology):
    """Mean latency without load: service time + calls x latency of the callees, one by one."""
    calls = calls_matrix(topology, waiting_only=True)
    return np.linalg.solve(np.eye(topology.n_pools) - calls, topology.service_s)


def test_size(region):
    assert len(region.pools) >= 25
    assert len(region.zones) == 3
    assert len(region.services) >= 6
    assert {c.id for c in region.control_planes} == {"capacity", "operations"}


def test_ids_are_unique_and_ends_of_edges_exist(region):
    pools = [p.id for p in region.pools]
    assert len(set(pools)) == len(pools)
    pairs = [(d.caller, d.callee) for d in region.dependencies]
    assert len(set(pairs)) == len(pairs)
    ends = {end for pair in pairs for end in pair}
    ends |= {s.entry for s in region.services} | {c.pool for c in region.control_planes}
    assert ends == set(pools)


def test_demand_multiplied_by_calls_does_not_run_away(topology):
    calls = calls_matrix(topology, waiting_only=False)
    assert max(abs(np.linalg.eigvals(calls))) < 0.5


def test_every_pool_carries_its_load_with_unequal_head_room(topology, load_rps):
    utilisation = load_rps / (topology.units.sum(axis=1) * topology.unit_rate_rps)
    shown = dict(zip(topology.pool_ids, utilisation.round(3), strict=True))
    assert utilisation.min() >= 0.30, shown
    assert utilisation.max() <= 2 / 3, f"two of three zones could not carry the load: {shown}"
    assert np.ptp(utilisation) > 0.2, shown


def test_every_pool_spreads_evenly_over_the_zones(topology):
    assert (np.ptp(topology.units, axis=1) <= 1).all()


def test_timeouts_are_well_above_the_latency_without_load(topology, latency_s):
    room = topology.edge_timeout_s / latency_s[topology.edge_callee]
    tight = [
        (topology.pool_ids[topology.edge_caller[e]], topology.pool_ids[topology.edge_callee[e]])
        for e in np.flatnonzero(room < 10)
    ]
    assert tight == []


def test_a_caller_has_time_for_every_single_call(topology, latency_s):
    """A request that makes a rare call must still fit into the shortest timeout of its callers."""
    shortest = np.full(topology.n_pools, np.inf)
    np.minimum.at(shortest, topology.edge_callee, topology.edge_timeout_s)
    inner = (topology.edge_caller >= 0) & (topology.edge_kind != ASYNCHRONOUS)
    caller, callee = topology.edge_caller[inner], topology.edge_callee[inner]
    assert (latency_s[caller] + latency_s[callee] < shortest[caller] / 3).all()


def test_workers_suffice_for_service_and_for_waiting(topology, load_rps, latency_s):
    busy = load_rps * latency_s / (topology.units.sum(axis=1) * topology.concurrency)
    assert busy.max() < 0.4, dict(zip(topology.pool_ids, busy.round(3), strict=True))
    assert (topology.unit_rate_rps <= topology.concurrency / topology.service_s).all()


def test_callers_per_pool_are_bounded(topology):
    assert np.bincount(topology.edge_callee).max() <= 8


def test_cycles_run_through_the_control_plane_and_through_monitoring(region):
    graph = region_graph(region)
    knot = max(nx.strongly_connected_components(graph), key=len)
    assert {"capacity-manager", "control-api", "monitoring-ingest", "monitoring-store"} <= knot
    for cycle in (
        ("capacity-manager", "deployment"),
        ("config-store", "metadata-store", "block-storage", "kms", "dns"),
        ("control-api", "identity", "config-store"),
        ("control-api", "monitoring-store", "object-frontend", "identity", "config-store"),
        ("identity", "monitoring-ingest", "monitoring-store", "kv-frontend"),
    ):
        assert nx.is_path(graph, [*cycle, cycle[0]]), cycle


def test_late_work_can_sustain_an_overload_in_old_pools_only(region, topology):
    """Queue bound above unit_rate x (timeout - service time) for callers inside the region."""
    inner = topology.edge_kind < CLIENT
    sustained = {
        topology.pool_ids[callee]
        for callee, timeout_s in zip(
            topology.edge_callee[inner], topology.edge_timeout_s[inner], strict=True
        )
        if topology.queue_per_unit[callee]
        > topology.unit_rate_rps[callee] * (timeout_s - topology.service_s[callee])
    }
    zombie = {p.id for p in region.pools if p.late_work == "zombie" and p.discipline.kind == "fifo"}
    assert {"capacity-manager", "control-api", "identity", "metadata-store"} <= sustained & zombie
    assert {"dns", "functions", "kms", "kv-frontend"}.isdisjoint(sustained & zombie)


def numbers(spec):
    """Fields of a spec that hold a quantity or a policy and therefore need a basis."""
    words = {"id", "title", "caller", "callee", "entry", "pool", "basis", "kind"}
    return [
        name for name in spec.model_fields_set - words if not isinstance(getattr(spec, name), bool)
    ]


def has_basis(name, own: Basis, common: Basis):
    return any(name in basis or "*" in basis for basis in (own, common))


def test_everything_has_a_basis(region):
    parts = (*region.pools, *region.dependencies, *region.services, *region.control_planes)
    missing = [
        (part, name)
        for part in parts
        for name in numbers(part)
        if not has_basis(name, part.basis, region.basis)
    ]
    assert missing == []
    assert all(text.strip() for part in (region, *parts) for text in part.basis.values())
    assert all(s.ref.startswith("https://") and s.supports for s in region.sources)


def test_pools_that_operators_need_are_marked(region):
    marked = {p.id for p in region.pools if p.serves_control_plane}
    assert {c.pool for c in region.control_planes} <= marked
    assert {"identity", "metadata-store", "monitoring-ingest", "monitoring-store"} <= marked


def test_quorums_are_majorities(region):
    pools = {p.id: p for p in region.pools}
    for name in ("metadata-store", "lock-service"):
        assert pools[name].units_min_to_serve == pools[name].units // 2 + 1
    assert 0 < pools["capacity-manager"].units_min_to_serve < pools["capacity-manager"].units
