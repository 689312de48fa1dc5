"""The models behind the rows on systems, against NetworkX, SciPy, enumeration and plain loops."""

import math
from fractions import Fraction
from math import comb

import networkx as nx
import numpy as np
import pytest

from simulator.verification import closed_forms_systems as cf
from simulator.verification import graph_cascades, graphs, incident_samples, readings
from simulator.verification.repair_shop import Shop, pattern_serves, run_shop
from simulator.verification.rows_systems_sharding import assign


def rng(seed=1):
    return np.random.default_rng(seed)


def as_networkx(graph):
    return nx.from_scipy_sparse_array(graph)


# ---------------------------------------------------------------------- graphs
def test_an_adjacency_has_no_loops_and_no_repeats():
    graph = graphs.adjacency(4, np.array([[0, 1], [1, 0], [2, 2], [1, 3], [0, 1]]))
    assert graphs.degrees(graph).tolist() == [1, 2, 0, 1]
    assert set(graph.data) == {1.0}


@pytest.mark.parametrize("seed", range(5))
def test_loads_are_networkx_betweenness_with_ends(seed):
    # Sparse enough to fall into pieces, isolated nodes included.
    graph = graphs.erdos_renyi(70, 1.8, rng(seed))
    judge = nx.betweenness_centrality(as_networkx(graph), normalized=False, endpoints=True)
    expected = 2.0 * np.array([judge[k] for k in range(70)])
    assert graphs.complete_loads(graph) == pytest.approx(expected)


def test_loads_do_not_depend_on_the_block(monkeypatch):
    graph = graphs.scale_free(150, 2.5, 2, rng())
    expected = graphs.complete_loads(graph)
    monkeypatch.setattr(graphs, "BLOCK", 7)
    assert graphs.complete_loads(graph) == pytest.approx(expected)


def test_every_pair_of_nodes_can_be_an_edge_and_is_as_likely():
    counts = np.zeros((5, 5))
    for seed in range(400):
        counts += graphs.erdos_renyi(5, 2.0, rng(seed)).toarray()
    share = counts[np.triu_indices(5, 1)] / 400
    assert share == pytest.approx(np.full(10, 0.5), abs=0.13)
    assert np.trace(counts) == 0.0


def test_an_erdos_renyi_graph_has_its_mean_degree():
    assert graphs.degrees(graphs.erdos_renyi(20_000, 3.0, rng())).mean() == pytest.approx(
        3.0, abs=0.07
    )


@pytest.mark.parametrize(("nodes", "degree"), [(8, 3), (50, 4), (500, 3)])
def test_regular_graphs_are_regular(nodes, degree):
    graph = graphs.random_regular(nodes, degree, rng())
    assert set(graphs.degrees(graph).tolist()) == {degree}
    assert nx.number_of_selfloops(as_networkx(graph)) == 0


def test_scale_free_graphs_are_connected_and_long_tailed():
    graph = graphs.scale_free(3000, 3.0, 2, rng())
    assert nx.is_connected(as_networkx(graph))
    degree = graphs.degrees(graph)
    # P(k >= 10) = (2/10)^2 of the drawn law.
    assert (degree >= 10).mean() == pytest.approx(0.04, abs=0.015)


def test_largest_component_is_that_of_networkx():
    graph = graphs.erdos_renyi(300, 1.2, rng())
    judge = max(nx.connected_components(as_networkx(graph)), key=len)
    assert set(graphs.largest_component(graph).tolist()) == judge


# ---------------------------------------------------------------------- cascades on graphs
def plain_threshold_cascade(graph, phi, seed):
    g, failed = as_networkx(graph), {seed}
    while True:
        new = {
            v for v in g if v not in failed and g.degree(v)
            and sum(u in failed for u in g[v]) >= phi * g.degree(v) - 1e-9
        }  # fmt: skip
        if not new:
            return len(failed)
        failed |= new


@pytest.mark.parametrize("phi", [0.18, 0.25, 1 / 3, 0.5])
def test_threshold_cascades_agree_with_a_plain_loop(phi):
    graph = graphs.erdos_renyi(120, 3.0, rng(3))
    seeds = np.arange(0, 120, 5)
    found = graph_cascades.threshold_cascades(graph, phi, seeds)
    assert found.tolist() == [plain_threshold_cascade(graph, phi, int(s)) for s in seeds]


def test_vulnerable_nodes_are_those_that_one_neighbour_fails():
    star = graphs.adjacency(7, np.array([[0, k] for k in range(1, 6)]))
    assert graph_cascades.vulnerable_clusters(star, 0.2).tolist() == [6]
    assert graph_cascades.vulnerable_clusters(star, 0.21).tolist() == [1] * 5
    empty = graphs.adjacency(3, np.zeros((0, 2), dtype=int))
    assert graph_cascades.vulnerable_clusters(empty, 0.2).tolist() == []


def plain_overload_cascade(graph, alpha, victim):
    g = as_networkx(graph)

    def loads():
        b = nx.betweenness_centrality(g, normalized=False, endpoints=True)
        return {v: 2.0 * x for v, x in b.items()}

    capacity = {v: (1 + alpha) * x * (1 + 1e-9) for v, x in loads().items()}
    g.remove_node(victim)
    while over := [v for v, x in loads().items() if x > capacity[v]]:
        g.remove_nodes_from(over)
    return sorted(g)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.3, 1.0])
def test_overload_cascades_agree_with_networkx(alpha):
    graph = graphs.scale_free(80, 2.5, 2, rng(4))
    load = graphs.complete_loads(graph)
    victim = int(load.argmax())
    alive = graph_cascades.overload_cascade(graph, load, alpha, victim)
    assert alive.tolist() == plain_overload_cascade(graph, alpha, victim)


def test_nobody_left_is_a_giant_share_of_zero():
    graph = graphs.adjacency(2, np.array([[0, 1]]))
    assert graph_cascades.giant_after(graph, np.array([], dtype=int)) == 0.0


# ---------------------------------------------------------------------- closed forms
def fraction_repairman(units, crews, f, m):
    weight = [Fraction(1)]
    for n in range(1, units + 1):
        weight.append(weight[-1] * (units - n + 1) * f / (min(n, crews) * m))
    return float(sum(n * w for n, w in enumerate(weight)) / sum(weight))


@pytest.mark.parametrize("crews", [1, 2, 10])
def test_repairman_in_fractions(crews):
    expected = fraction_repairman(10, crews, Fraction(1, 10), Fraction(1))
    law = cf.repairman(10, crews, 0.1, 1.0)
    assert float(law @ np.arange(11)) == pytest.approx(expected, rel=1e-12)
    assert law.sum() == pytest.approx(1.0)


def test_the_repairman_of_many_units_neither_over_nor_underflows():
    law = cf.repairman(20_000, 3, 0.5, 1.0)
    assert float(law @ np.arange(20_001)) == pytest.approx(20_000 - 3 / 0.5)


def test_mean_times_to_failure_are_the_published_formulas():
    f, m = 0.002, 0.3
    assert cf.mean_time_to_k_failed_single_crew(3, 2, f, m) == pytest.approx(
        (5 * f + m) / (6 * f**2)
    )
    assert cf.mean_time_to_k_failed_single_crew(2, 2, f, m) == pytest.approx(
        (3 * f + m) / (2 * f**2)
    )


def test_k_of_n_edges():
    assert cf.k_of_n(0, 3, 0.3) == pytest.approx(1.0)
    assert cf.k_of_n(3, 3, 0.3) == pytest.approx(0.027)


def test_no_giant_component_below_one():
    assert cf.giant_share(1.0) == 0.0
    assert cf.giant_share(0.5) == 0.0


def test_no_cascade_window_above_a_threshold_of_a_quarter():
    assert all(math.isnan(z) for z in cf.watts_window(0.26))
    assert cf.watts_probability(0.26, 3.0) == 0.0


@pytest.mark.parametrize("nodes", [4, 6, 12, 20])
def test_ring_and_path_loads_by_counting(nodes):
    k = np.arange(nodes)
    ring = graphs.adjacency(nodes, np.column_stack([k, (k + 1) % nodes]))
    before, after = cf.ring_loads(nodes)
    assert graphs.complete_loads(ring) == pytest.approx(np.full(nodes, before))
    assert graphs.complete_loads(ring[1:][:, 1:]).max() == pytest.approx(after)


def test_a_rollout_that_detects_at_once_costs_the_rollback_only():
    lost, reach, missed = cf.rollout([(0.1, 10.0), (1.0, 10.0)], 1e-6, 0.1, 0.5)
    assert (lost, reach, missed) == pytest.approx((0.05, 0.1, 0.0), abs=1e-6)


# ---------------------------------------------------------------------- samples
def test_one_bad_change_by_hand():
    stages = [(0.1, 2.0), (0.5, 2.0), (1.0, 2.0)]
    lost, reach, missed = incident_samples.roll_out(stages, np.array([1.0, 3.0, 9.0]), 0.5)
    assert lost.tolist() == pytest.approx([0.1 * 1.5, 0.2 + 0.5 * 1.5, 0.2 + 1.0 + 2.0])
    assert reach.tolist() == [0.1, 0.5, 1.0]
    assert missed.tolist() == [False, False, True]


def test_customers_meet_incidents_in_proportion_to_their_length():
    length, rest = incident_samples.customers_meet(np.array([1.0, 3.0]), 4000, rng())
    assert (length == 3.0).mean() == pytest.approx(0.75, abs=0.001)
    assert rest[length == 3.0].mean() == pytest.approx(1.5, abs=0.01)
    assert (rest > 0.0).all()


def test_the_convolution_is_fine_enough_and_symmetric_without_a_cut():
    coarse = incident_samples.cut_looks_worse_exactly(103, 1.3, 0.1, cells=2**17)
    fine = incident_samples.cut_looks_worse_exactly(103, 1.3, 0.1)
    assert coarse == pytest.approx(fine, abs=1e-5)
    assert incident_samples.cut_looks_worse_exactly(100, 1.3, 0.0) == pytest.approx(0.5, abs=1e-6)


def test_shards_have_five_different_workers():
    shards = assign(2000, rng())
    assert (np.diff(np.sort(shards, axis=1), axis=1) > 0).all()
    counts = np.bincount(shards.ravel(), minlength=100)
    assert counts.sum() == 10_000
    assert counts.min() > 50


# ---------------------------------------------------------------------- repair shop
def test_a_shop_without_failures_to_speak_of_is_up():
    assert run_shop(Shop(3, 1, 1e-9, 1.0), 100.0, rng(), warm=10.0) == pytest.approx(np.zeros(20))


def test_a_shop_that_never_repairs_ends_all_down():
    down = run_shop(Shop(4, 4, 1.0, 1e-9), 400.0, rng(), warm=200.0)
    assert down == pytest.approx(np.full(20, 4.0))


@pytest.mark.parametrize("needed", [1, 2, 3])
def test_a_pool_serves_from_its_minimum_of_units_on(needed):
    serves = [pattern_serves(3, needed, range(count)) for count in range(4)]
    assert serves == [3 - count >= needed for count in range(4)]


# ---------------------------------------------------------------------- readings
def test_a_printed_number_may_differ_by_half_its_last_digit():
    assert readings.printed("x", "0.58", 0.5849).passed
    assert not readings.printed("x", "0.58", 0.5851).passed
    assert readings.printed("x", "3.35e-6", 3.347e-6).passed
    assert not readings.printed("x", "3.35e-6", 3.34e-6).passed


def test_a_share_of_none_is_not_certain():
    reading = readings.batch_share("x", 0.0, np.zeros(10), 100, 0.05)
    assert 0.0 < reading.se < 0.002
    assert reading.n == 1000
    assert not readings.batch_share("x", 0.0, np.zeros(4), 5, 0.05).passed


def test_batches_that_agree_have_no_chance_in_them():
    reading = readings.batch_mean("x", 0.9995, np.full(3, 0.9995), 0.01)
    assert (reading.se, reading.z, reading.passed) == (0.0, None, True)


def test_a_row_draws_the_same_numbers_each_time_it_is_measured():
    a, b = readings.generator("V99").random(3), readings.generator("V99").random(3)
    assert a.tolist() == b.tolist()
    assert a.tolist() != readings.generator("V98").random(3).tolist()


def test_hypergeometric_law_of_small_numbers():
    assert cf.hypergeometric(6, 2, 3) == pytest.approx(np.array([4, 12, 4, 0]) / comb(6, 3))
