from typing import Any

import numpy as np
import pytest

from simulator.model import (
    ASYNCHRONOUS,
    CLIENT,
    CONTROL,
    DEADLINE_AWARE,
    LIFO,
    NO_BUDGET,
    OPTIONAL,
    PER_SUCCESS,
    REQUIRED,
    build_topology,
    region_graph,
    zone_units,
)
from simulator.policies.retry import EXPONENTIAL, FULL
from simulator.scenario.region import Region


def pool(name, **fields):
    return {"id": name, "units": 10, "concurrency": 4, "service_time": "20ms"} | fields


RETRY = {
    "retries_max": 2,
    "backoff": "exponential",
    "backoff_base": "50ms",
    "backoff_cap": "1s",
    "jitter": "full",
    "budget": {"deposit": "per_success", "ratio": 0.1, "bucket": 30},
}
FIELDS: dict[str, Any] = {
    "id": "r",
    "zones": ("b", "a"),
    "pools": (
        pool("web", queue_per_unit=7),
        pool("db", unit_rate="50/s", discipline="lifo", late_work="deadline_aware"),
        pool("log", service_distribution="deterministic"),
    ),
    "dependencies": (
        {"caller": "web", "callee": "log", "kind": "asynchronous", "timeout": "2s"},
        {"caller": "web", "callee": "db", "calls": 2.5, "timeout": "300ms", "retry": RETRY},
        {"caller": "db", "callee": "web", "kind": "optional", "timeout": "1s"},
    ),
    "services": (
        {"id": "z", "entry": "web", "first_tries": "10/s", "customers": "1%", "timeout": "1s"},
        {"id": "y", "entry": "db", "first_tries": "10/s", "customers": "1%", "timeout": "2s"},
    ),
    "control_planes": ({"id": "api", "pool": "db", "timeout": "9s", "operations": {}},),
}


def region(**changes: Any) -> Region:
    return Region.model_validate(FIELDS | changes)


def test_pools_and_edges_are_in_sorted_order_whatever_the_file_says():
    topology = build_topology(region())
    assert topology.pool_ids == ("db", "log", "web")
    assert topology.zone_ids == ("a", "b")
    assert topology.service_ids == ("y", "z")
    assert topology.edge_caller.tolist() == [2, 2, 0, -1, -1, -1]
    assert topology.edge_callee.tolist() == [0, 1, 2, 0, 2, 0]
    assert topology.edge_kind.tolist() == [
        REQUIRED,
        ASYNCHRONOUS,
        OPTIONAL,
        CLIENT,
        CLIENT,
        CONTROL,
    ]
    assert (topology.n_pools, topology.n_edges) == (3, 6)
    listed_backwards = region(
        pools=FIELDS["pools"][::-1],
        dependencies=FIELDS["dependencies"][::-1],
        services=FIELDS["services"][::-1],
    )
    other = build_topology(listed_backwards)
    for name, value in vars(topology).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)
        elif isinstance(value, tuple):
            assert value == getattr(other, name)


def test_indices_by_name():
    topology = build_topology(region())
    assert topology.pool("log") == 1
    assert topology.service_edge("y") == 3
    assert topology.service_edge("z") == 4
    assert topology.control_edge("api") == 5


def test_numbers_of_pools():
    topology = build_topology(region())
    assert topology.unit_rate_rps.tolist() == [50.0, 200.0, 200.0]
    assert topology.queue_per_unit.tolist() == [np.inf, np.inf, 7.0]
    assert topology.discipline.tolist() == [LIFO, 0, 0]
    assert topology.late_work[0] == DEADLINE_AWARE
    assert topology.pool_policy["service_kind"].tolist() == [0, 1, 0]
    assert topology.units.sum(axis=1).tolist() == [10, 10, 10]


def test_numbers_of_edges():
    topology = build_topology(region())
    e = 0  # web -> db
    policy = topology.edge_policy[e]
    assert topology.edge_calls[e] == 2.5
    assert topology.edge_timeout_s[e] == 0.3
    assert policy["retries"] == 2
    assert policy["backoff_base"] == 0.05
    assert policy["backoff_cap"] == 1.0
    assert policy["growth"] == EXPONENTIAL
    assert policy["jitter"] == FULL
    assert policy["budget"] == PER_SUCCESS
    assert policy["budget_ratio"] == 0.1
    assert policy["budget_bucket"] == 30.0
    assert topology.edge_policy["retries"][2] == 0
    assert topology.edge_policy["budget"][2] == NO_BUDGET
    assert topology.edge_timeout_s[5] == 9.0


@pytest.mark.parametrize(
    ("units", "shares", "expected"),
    [
        (10, None, [4, 3, 3]),
        (9, None, [3, 3, 3]),
        (2, None, [1, 1, 0]),
        (10, {"a": 0.5, "b": 0.5}, [5, 5, 0]),
        (7, {"a": 0.5, "b": 0.25, "c": 0.25}, [3, 2, 2]),
        (1, {"c": 1.0}, [0, 0, 1]),
    ],
)
def test_units_are_split_by_largest_remainder(units, shares, expected):
    assert zone_units(units, ("a", "b", "c"), shares) == expected
    assert sum(expected) == units


def test_graph_of_the_region():
    graph = region_graph(region())
    assert list(graph.nodes) == ["db", "log", "web"]
    assert sorted(graph.edges) == [("db", "web"), ("web", "db"), ("web", "log")]
    assert graph.nodes["db"]["spec"].discipline.kind == "lifo"
