import numpy as np
import pytest

from simulator.flow.layout import allocate, step_lengths
from simulator.flow.plane import FlowPlane, guards_on
from simulator.flow.reference import ReferencePlane, poisson_count
from tests.parity.worlds import E, P, build, capacity, demand, tell


def test_a_step_is_a_twentieth_of_the_shortest_timeout():
    tick, multiples = step_lengths(build({"a": P()}, [E("a", timeout=2.0), E("a", timeout=0.6)]))
    assert tick == pytest.approx(0.03)
    assert multiples.tolist() == [1]


def test_steps_are_powers_of_two_of_the_tick_and_never_too_long():
    edges = [E("a", timeout=0.4), E("b", timeout=1.5), E("c", timeout=7.0)]
    tick, multiples = step_lengths(build({x: P() for x in "abcd"}, edges))
    assert tick == pytest.approx(0.02)
    assert multiples.tolist() == [1, 2, 16, 64]  # nobody calls d: 30 s / 20
    assert (tick * multiples <= np.array([0.4, 1.5, 7.0, 30.0]) / 20 + 1e-12).all()


@pytest.mark.parametrize("service_s", [0.001, 0.2, 0.9])
def test_the_service_time_does_not_shorten_the_step(service_s):
    assert step_lengths(build({"a": P(s=service_s)}, [E("a")]))[0] == pytest.approx(0.05)


def test_records_of_edges_and_attempts():
    edge = E("a", retries=3, backoff=0.5, exponential=True, cap=1.5)
    arrays = allocate(
        build({"a": P()}, [edge, E("a", timeout=2.0)]),
        sample_period_s=60.0,
        stochastic=False,
        adaptive=True,
    )
    assert arrays.atts["backoff"].tolist() == [0.5, 1.0, 1.5, 1.5, 0.0]
    assert arrays.edges["n_age"].tolist() == [20, 40]
    assert arrays.edges["col"].tolist() == [0, 4]
    assert arrays.pools["n_slot"][0] == 41
    assert arrays.waiting.size == arrays.late.size == 41 * 5
    assert arrays.edges["n_line"][0] * arrays.edges["retries"][0] == arrays.line.size


def test_memory_grows_with_the_region_not_with_time():
    topology = build({"a": P()}, [E("a", retries=3)])
    plane = FlowPlane(topology)
    before = sum(array.nbytes for array in plane.arrays)
    tell(plane, [demand(0.0, 0, 1500.0)], 3600.0)
    assert sum(array.nbytes for array in plane.arrays) == before


@pytest.mark.parametrize("kind", [FlowPlane, ReferencePlane])
def test_a_pool_without_callers_and_a_region_without_edges(kind):
    plane = kind(build({"a": P()}, []), sample_period_s=1.5)
    assert plane.advance(30.0) is None
    _, pools, edges = plane.samples()
    assert pools.shape == (20, 1, 7)
    assert edges.shape == (20, 0, 5)
    assert (pools[:, 0, 2] == 1.0).all()


@pytest.mark.parametrize("kind", [FlowPlane, ReferencePlane])
def test_samples_are_means_and_can_be_read_from_a_row_on(kind):
    plane = kind(build({"a": P()}, [E("a")]), sample_period_s=2.0)
    tell(plane, [demand(0.0, 0, 100.0), demand(5.0, 0, 300.0)], 11.0)
    assert plane.n_samples == 5
    t_s, pools, edges = plane.samples(2)
    assert t_s.tolist() == [6.0, 8.0, 10.0]
    assert pools[:, 0, 0] == pytest.approx([200.0, 300.0, 300.0])
    assert edges[:, 0, 0] == pytest.approx([200.0, 300.0, 300.0])
    assert plane.now_s == pytest.approx(11.0)


@pytest.mark.parametrize("kind", [FlowPlane, ReferencePlane])
def test_a_watch_reports_both_ways_at_the_tick(kind):
    plane = kind(build({"a": P(s=0.01)}, [E("a")]))
    numbers = [plane.watch_edge(0, below=0.9), plane.watch_pool(0, below=0.5)]
    script = [demand(0.0, 0, 300.0), capacity(10.0, 0, 0.0), capacity(20.0, 0, 1000.0)]
    told = tell(plane, script, 60.0)
    seen = [(c.watch, c.below) for c in told.crossings]
    assert seen == [
        (numbers[0], True),
        (numbers[1], True),
        (numbers[1], False),
        (numbers[0], False),
    ]
    down, deeper, up, well = (c.t_s for c in told.crossings)
    # Failures end from 11 s on; 5 s of smoothing: 11 + 5 ln(1/0.9), 11 + 5 ln(1/0.5).
    assert down == pytest.approx(11.0 + 5.0 * np.log(1 / 0.9), abs=0.15)
    assert deeper == pytest.approx(11.0 + 5.0 * np.log(1 / 0.5), abs=0.15)
    assert 20.0 < up < well < 60.0
    assert told.plane.now_s == pytest.approx(60.0)


@pytest.mark.parametrize("kind", [FlowPlane, ReferencePlane])
def test_outlook(kind):
    plane = kind(build({"a": P()}, [E("a", timeout=20.0)]))
    assert plane.outlook(0).latency_s in {0.1, np.inf}  # before the first step
    tell(plane, [demand(0.0, 0, 1500.0)], 10.0)
    outlook = plane.outlook(0)
    assert outlook.accept_frac == 1.0
    assert outlook.wait_s == pytest.approx(5.0, abs=0.1)  # 5,000 waiting, 1,000/s
    assert outlook.latency_s == pytest.approx(outlook.wait_s + 0.1)
    assert outlook.success_frac == 1.0


def test_poisson_counts_have_the_right_distribution():
    # Chi-square against the exact probabilities, fixed seed; 99.99 % quantile at 30 bins is 69.
    from scipy import stats

    rng = np.random.default_rng(3)
    for mean in (0.3, 4.0, 57.3):
        counts = np.array([poisson_count(mean, u) for u in rng.random(20_000)])
        assert counts.mean() == pytest.approx(mean, abs=4.0 * np.sqrt(mean / 20_000))
        assert counts.var() == pytest.approx(mean, rel=0.05)
        edges = np.unique(stats.poisson.ppf(np.linspace(0.02, 0.98, 25), mean))
        expected = np.diff(stats.poisson.cdf(edges, mean)) * 20_000
        seen = np.diff([(counts <= edge).sum() for edge in edges])
        assert float(((seen - expected) ** 2 / expected).sum()) < 69.0


def test_guards_ask_the_environment_unless_told(monkeypatch):
    monkeypatch.setenv("SIMULATOR_GUARDS", "1")
    assert guards_on(None)
    assert not guards_on(False)
    monkeypatch.delenv("SIMULATOR_GUARDS")
    assert not guards_on(None)
    assert guards_on(True)
