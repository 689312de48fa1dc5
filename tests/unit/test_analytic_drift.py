"""Drift, equilibria and folds; the chain of a declared pool; what is said to be doubtful."""

import math
from dataclasses import replace

import numpy as np
import pytest

from simulator.analytic.chain import PoolChain
from simulator.analytic.drift import (
    balanced_load,
    drift,
    drift_at,
    equilibria,
    folds,
    noisy_upper,
    rest_lines,
)
from simulator.analytic.summary import analyse, doubts, passages
from simulator.analytic.world import mean_backoff_s, scenario_chain
from simulator.errors import UsageError
from simulator.policies.retry import Retry
from simulator.scenario.region import Region
from simulator.scenario.schema import Demand
from simulator.verification import closed_forms
from tests.handmade import scenario

POOL = {
    "first_tries_rps": 60.0,
    "servers": 10,
    "service_s": 0.1,
    "room": 150,
    "timeout_s": 1.0,
    "retries": 3,
    "backoff_s": 0.2,
}


def chain_of(**changes) -> PoolChain:
    return PoolChain(**(POOL | changes))


def test_drift_is_what_the_generator_does_to_the_means():
    chain = chain_of(servers=2, room=6, first_tries_rps=12.0, timeout_s=0.4)
    queue, orbit = np.indices(chain.shape)
    of_queue, of_orbit = drift(chain)
    inside = orbit < chain.orbit_bound
    for moved, axis in ((of_queue, queue), (of_orbit, orbit)):
        exact = (chain.generator @ axis.ravel()).reshape(chain.shape)
        assert exact[inside] == pytest.approx(moved[inside], abs=1e-9)


def test_drift_vanishes_at_equilibria_and_rest_lines_cross_there():
    chain = chain_of()
    for state in equilibria(chain):
        at = np.array([state.queue]), np.array([state.orbit])
        assert [float(d[0]) for d in drift_at(chain, *at)] == pytest.approx([0.0, 0.0], abs=1e-6)
        # Near the wall the queue's line is steep: compare what moves, not where.
        of_queue, of_orbit = rest_lines(chain, at[0])
        assert of_orbit[0] == pytest.approx(state.orbit, rel=1e-9)
        assert of_queue[0] == pytest.approx(state.orbit, rel=1e-6)


def test_stability_is_that_of_the_jacobian():
    chain = chain_of()
    step = 1e-4
    for state in equilibria(chain):
        columns = []
        for dx, dy in ((step, 0.0), (0.0, step)):
            ahead = drift_at(chain, np.array([state.queue + dx]), np.array([state.orbit + dy]))
            back = drift_at(chain, np.array([state.queue - dx]), np.array([state.orbit - dy]))
            columns.append(
                [float((a - b)[0]) / (2 * step) for a, b in zip(ahead, back, strict=True)]
            )
        values = np.linalg.eigvals(np.array(columns).T)
        assert bool(values.real.max() < 0.0) is state.stable


def test_folds_are_where_two_states_appear_and_disappear():
    found = folds(chain_of())
    assert found is not None
    for load, states in (
        (0.999 * found.lower_rps, 1),
        (1.001 * found.lower_rps, 3),
        (0.9999 * found.upper_rps, 3),
        (1.0001 * found.upper_rps, 1),
    ):
        assert len(equilibria(chain_of(first_tries_rps=load))) == states


def test_upper_fold_of_a_short_patience_lies_between_two_states():
    # Among a few servers and with T near s the curve turns before all servers are busy.
    chain = chain_of(servers=1, service_s=0.5, timeout_s=0.6, room=6, first_tries_rps=1.0)
    found = folds(chain)
    assert found is not None
    grid = np.linspace(0.0, 1.0, 100_001)
    assert found.upper_rps == pytest.approx(float(balanced_load(chain, grid).max()), rel=1e-8)


def test_lower_fold_is_the_hidden_capacity():
    # OSDI 2022, theorem 2: C/(r+1), where every attempt in a full room times out.
    for retries in (1, 2, 3):
        found = folds(chain_of(retries=retries, room=250))
        assert found is not None
        assert found.lower_rps == pytest.approx(100.0 / (retries + 1), rel=1e-6)


def test_neither_retries_nor_room_no_folds():
    assert folds(chain_of(retries=0)) is None
    assert folds(chain_of(room=0)) is None
    assert noisy_upper(chain_of(retries=0)) is None


@pytest.mark.parametrize(
    ("servers", "timeout_s", "retries"), [(1, 5.0, 5), (1, 1.0, 3), (10, 1.0, 3)]
)
def test_noisy_end_of_the_good_state(servers, timeout_s, retries):
    # The same maximum with the sojourn tail of an endless M/M/c queue.
    chain = PoolChain(
        first_tries_rps=1.0, servers=servers, service_s=0.1, room=1_000,
        timeout_s=timeout_s, retries=retries,
    )  # fmt: skip
    capacity = 10.0 * servers
    rates = np.linspace(0.5 * capacity, 0.9999 * capacity, 5_001)
    q = retries / (retries + 1.0)
    loads = [
        a * (1.0 - q * closed_forms.mmc_tail(float(a), 10.0, servers, timeout_s)) for a in rates
    ]
    found = noisy_upper(chain)
    assert found == pytest.approx(max(loads), rel=1e-6)
    upper = folds(chain)
    assert upper is not None
    assert found is not None
    assert found < upper.upper_rps


def test_no_passages_where_the_room_ends_below_the_zombie_line():
    assert passages(chain_of(room=80)) is None
    assert passages(chain_of(timeout_s=math.inf)) is None


def test_analysis_of_a_pool_with_two_states():
    found = analyse(chain_of(first_tries_rps=30.0))
    assert found.good is not None
    assert found.good.success_frac > 0.99
    assert found.passages is not None
    assert found.passages.escape_s < found.passages.collapse_s
    assert found.whole is not None
    assert found.relaxation_s == pytest.approx(found.passages.escape_s, rel=0.5)


def first_words(**changes):
    return {doubt.partition(":")[0] for doubt in doubts(chain_of(**changes))}


def test_doubts():
    assert first_words(retries=0) == set()
    assert first_words(room=0) == {"first tries that fail"}
    assert first_words(first_tries_rps=15.0) == {"first tries that fail"}
    assert first_words(first_tries_rps=27.0) == {"first tries that fail", "escape"}
    assert "the bad state" in first_words(backoff_s=0.0)
    assert "timeouts" in first_words(timeout_s=0.3)


def test_without_a_good_equilibrium_there_is_no_good_state():
    assert analyse(chain_of(servers=1, room=20, first_tries_rps=20.0)).good is None


# ------------------------------------------------------------------------------ declared pools

CLIENT = {"backoff": "fixed", "backoff_base": "200ms", "jitter": "none", "retries_max": 3}


def declared(pool=None, service=None, **region):
    """Return a scenario with one pool of 5 units of 2 workers and one service."""
    front = {
        "id": "front", "units": 5, "concurrency": 2, "service_time": "100ms", "queue_per_unit": 30,
    }  # fmt: skip
    api = {
        "id": "api", "entry": "front", "first_tries": "60/s", "customers": 1, "timeout": "1s",
        "retry": CLIENT,
    }  # fmt: skip
    fields = {
        "id": "one", "zones": ("a",), "pools": [front | (pool or {})],
        "services": [api | (service or {})], **region,
    }  # fmt: skip
    return scenario(region=Region.model_validate(fields))


def test_chain_of_a_declared_pool():
    found = scenario_chain(declared())
    # The mean of three equal numbers has lost its last digit.
    assert found.backoff_s == pytest.approx(0.2, rel=1e-15)
    assert replace(found, backoff_s=0.2) == chain_of()


def test_parameters_given_count_instead():
    assert scenario_chain(declared(), first_tries_rps=40.0).first_tries_rps == 40.0


def test_demand_counts_as_it_is_at_the_start():
    changed = declared().model_copy(
        update={"demand": Demand.model_validate({"shape": {"kind": "constant", "factor": 0.5}})}
    )
    assert scenario_chain(changed).first_tries_rps == 30.0


def test_endless_queue_is_cut_far_above_the_zombie_line():
    chain = scenario_chain(declared({"queue_per_unit": None}))
    assert chain.unbounded
    assert chain.room > 3 * chain.zombie_line


@pytest.mark.parametrize(
    ("pool", "service", "said"),
    [
        ({"discipline": "lifo"}, {}, r"its discipline \(lifo\) is not in the chain"),
        ({"service_distribution": "deterministic"}, {}, r"service_distribution \(deterministic\)"),
        ({"late_work": "cancel"}, {}, "late_work is 'cancel'"),
        ({"unit_rate": "5/s"}, {}, "unit_rate differs"),
        ({"units_min_to_serve": 6}, {}, "serves nothing below 6 units"),
        ({"rate_limit": {"rate": "50/s"}}, {}, "its rate_limit is not in the chain"),
        (
            {},
            {"retry": CLIENT | {"budget": {"deposit": "per_success", "ratio": 0.1}}},
            "the clients of service 'api' have a retry budget",
        ),
    ],
)
def test_pools_that_are_no_chain_say_why(pool, service, said):
    with pytest.raises(UsageError, match=said):
        scenario_chain(declared(pool, service))


def test_every_reason_is_told():
    other = {"id": "back", "units": 1, "concurrency": 1, "service_time": "1s"}
    front = {"id": "front", "units": 5, "concurrency": 2, "service_time": "100ms"}
    both = declared(
        pools=[front, other],
        dependencies=[
            {"from": "front", "to": "back", "timeout": "1s"},
            {"from": "back", "to": "front", "timeout": "1s"},
        ],
        control_planes=[{"id": "api", "pool": "front", "operations": {"add": {}}}],
    )
    with pytest.raises(UsageError, match="region 'one' has 2 pools: say which one"):
        scenario_chain(both)
    with pytest.raises(UsageError, match=r"no pool 'bck' \(known: back, front\)"):
        scenario_chain(both, "bck")
    with pytest.raises(UsageError) as caught:
        scenario_chain(both, "front")
    text = str(caught.value)
    assert "it calls pool 'back'" in text
    assert "pool 'back' calls it" in text
    assert "serves control plane 'api'" in text
    with pytest.raises(UsageError, match="0 services enter by it; the chain has one kind"):
        scenario_chain(both, "back")


@pytest.mark.parametrize(
    ("changes", "mean_s"),
    [
        ({}, 0.2),
        ({"jitter": "full"}, 0.1),
        ({"jitter": "equal"}, 0.15),
        ({"backoff": "exponential"}, (0.2 + 0.4 + 0.8) / 3),
        ({"backoff": "exponential", "backoff_cap": "400ms"}, (0.2 + 0.4 + 0.4) / 3),
        ({"retries_max": 0}, 0.0),
    ],
)
def test_mean_backoff(changes, mean_s):
    assert mean_backoff_s(Retry.model_validate(CLIENT | changes)) == pytest.approx(mean_s)
