"""The models behind the rows on loops, units, graphs and folds, against independent judges."""

import math

import networkx as nx
import numpy as np
import pytest

from simulator.verification import closed_forms_capacity as forms
from simulator.verification import rows_flows_on_graphs as graphs
from simulator.verification.closed_forms import erlang_c
from simulator.verification.rows_units import _most_in_window, _shares


@pytest.mark.parametrize("seed", range(5))
def test_the_flow_to_a_leaf_is_that_of_networkx(seed):
    case = graphs.branching(np.random.default_rng(seed))
    for leaf in case.leaves:
        judge = nx.DiGraph()
        for i, capacity in enumerate(case.capacities):
            judge.add_edge(("in", i), ("out", i), capacity=capacity)
        for a, b in case.calls:
            judge.add_edge(("out", a), ("in", b))
        for i, rate in case.entries.items():
            judge.add_edge("source", ("in", i), capacity=rate)
        expected = nx.maximum_flow_value(judge, "source", ("out", leaf))
        assert case.flow_to(leaf) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_window_is_found_among_all(seed):
    rng = np.random.default_rng(seed)
    events = sorted((float(rng.integers(0, 99)), int(rng.integers(1, 9))) for _ in range(40))
    expected = max(sum(n for t, n in events if 0 <= end - t <= 10.0) for end, _ in events)
    assert _most_in_window(events, 10.0) == expected


def test_shares_of_a_step_function_by_hand():
    found = _shares([0.0, 2.0, 5.0], [1, 0, 1], np.array([0.0, 4.0, 8.0]))
    assert found.tolist() == [0.5, 0.75]


@pytest.mark.parametrize("delay", range(6))
def test_a_loop_grows_above_the_largest_gain_and_not_below(delay):
    bound = forms.largest_gain(delay)
    assert forms.growth_per_step(0.99 * bound, delay) < 1.0
    assert forms.growth_per_step(1.01 * bound, delay) > 1.0


def test_the_variance_of_constant_repairs_by_drawing():
    rng = np.random.default_rng(1)
    fail, down, window, n = 0.1, 1.0, 30.0, 20_000
    up_s, at = np.zeros(n), -200.0 * np.ones(n)  # long before, so that all phases are mixed
    while at.min() < window:
        fails = at + rng.exponential(1.0 / fail, n)
        up_s += np.clip(fails, 0.0, window) - np.clip(at, 0.0, window)
        at = fails + down
    expected = forms.variance_of_average_constant(fail, down, window)
    assert (up_s / window).var() == pytest.approx(expected, rel=0.06)


def test_busy_periods_have_their_mean():
    rate, capacity = 8.0, 10.0
    wait = erlang_c(1, rate / capacity)
    t = np.linspace(1e-6, 60.0, 6001)
    tail = [forms.lifo_late(rate, capacity, 1, float(x)) / wait for x in t]
    assert np.trapezoid(tail, t) == pytest.approx(1.0 / (capacity - rate), rel=0.01)


def test_the_map_of_one_server_with_much_room_is_that_without_end():
    late = forms.late_in_mm1k(6.0, 10.0, 200, 1.0)
    assert late == pytest.approx(math.exp(-4.0))
    assert late == pytest.approx(forms.late_in_mmc(6.0, 10.0, 1, 1.0))
