"""The rule by which a reading passes, and the standard errors that it needs."""

import math
from typing import Any

import numpy as np
import pytest

from simulator.verification import bench
from simulator.verification.row import Reading, replaced


def reading(**fields):
    given: dict[str, Any] = {"quantity": "q", "theory": 10.0, "observed": 10.5, "tolerance": 1.0}
    return Reading(**given | fields)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, None),
        ({"observed": 11.0}, None),
        ({"observed": 11.01}, "error above tolerance"),
        ({"observed": math.nan}, "error above tolerance"),
        ({"observed": math.inf}, "error above tolerance"),
        ({"se": 0.2, "n": 10}, None),
        ({"se": 0.25}, None),
        ({"se": 0.26}, "SE above tolerance/4"),
        ({"se": math.nan}, "SE above tolerance/4"),
        ({"se": 0.125}, "|z| not below 4"),
        ({"se": 0.124}, "|z| not below 4"),
        ({"se": 0.1, "bias": 0.2}, None),
        ({"observed": 9.2, "se": 0.1}, "|z| not below 4"),
        ({"bias": 1.1}, "bias above tolerance"),
    ],
)
def test_the_rule(fields, fault):
    made = reading(**fields)
    assert (made.faults == ()) == (fault is None)
    assert fault is None or fault in made.faults
    assert made.passed == (fault is None)


def test_z_is_the_distance_beyond_the_bias():
    assert reading(se=0.1).z == pytest.approx(5.0)
    assert reading(se=0.1, bias=0.3).z == pytest.approx(2.0)
    assert reading(se=0.1, bias=0.7).z == 0.0
    assert reading().z is None


def test_the_standard_error_is_that_of_a_mean():
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    made = bench.averaged("x", 5.0, list(values), 1.0)
    assert made.n == 400
    assert made.observed == pytest.approx(values.mean())
    assert made.se == pytest.approx(2.0 / 20.0, rel=0.1)


def test_a_boundary_is_found_or_nothing_is():
    assert bench.boundary(lambda x: x < 2.345, 0.0, 8.0, steps=20) == pytest.approx(2.345, abs=1e-4)
    assert math.isnan(bench.boundary(lambda _: True, 0.0, 8.0))
    assert math.isnan(bench.boundary(lambda _: False, 0.0, 8.0))


def test_an_error_is_taken_back_even_if_the_measurement_fails():
    class Owner:
        value = 1

    def measure():
        assert Owner.value == 2
        raise RuntimeError

    with pytest.raises(RuntimeError), replaced(Owner, "value", 2):
        measure()
    assert Owner.value == 1


def test_mutants_of_regions_change_what_they_name_and_no_more():
    plain = bench.one_pool(2, "50ms")
    with bench.retry_mutant("one less", "flow", retries_max=bench.one_less).patch():
        fewer = bench.one_pool(2, "50ms")
        assert bench.one_pool(0).edge_policy["retries"].tolist() == [0]
    assert fewer.edge_policy["retries"].tolist() == [1]
    assert fewer.edge_policy["backoff_base"].tolist() == [0.05]
    assert plain.edge_policy["retries"].tolist() == [2]
    with bench.pool_mutant("lifo", "flow", discipline="lifo").patch():
        assert bench.one_pool().discipline.tolist() == [1]
    assert bench.one_pool().discipline.tolist() == [0]
    with bench.caller_mutant("slow", "flow", timeout="2s").patch():
        assert bench.one_pool().edge_timeout_s.tolist() == [2.0]
