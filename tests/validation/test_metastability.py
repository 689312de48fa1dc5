"""The four cells of Huang et al. (OSDI 2022): with the loop they last, without it they pass.

Theory: theorem 2 of the paper, C_stable = C / (w_L · w_C); MODEL.md, F3.
"""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from simulator.engine import control_run, simulate
from simulator.metrics import compute_metrics, evaluate
from simulator.report.hysteresis import Cell, Sweep, hysteresis_png, make_hysteresis_figure
from simulator.scenario import load_scenario
from simulator.trace import EDGE_COLUMNS, POOL_COLUMNS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "scenarios" / "metastability"
CELLS = (
    "load-spike-retries",
    "load-spike-memory-pressure",
    "capacity-loss-retries",
    "capacity-loss-memory-pressure",
)
FIDELITIES = ["flow", pytest.param("request", marks=pytest.mark.slow)]
CAPACITY_RPS, ATTEMPTS, WORK = 1000.0, 3.0, 1.7

pytestmark = pytest.mark.timeout(300)


def load(name, *overrides):
    return load_scenario(FOLDER / f"{name}.yaml", overrides=overrides)


def run(scenario, fidelity, seed=1):
    trace = simulate(scenario, seed=seed, fidelity=fidelity)
    control = control_run(scenario, seed, fidelity=fidelity) if scenario.trigger else None
    return trace, compute_metrics(trace, control)


def last(trace, column, minutes=10):
    """Return the mean of a pool's or service's column over the last minutes."""
    rows = trace.sample_t_s > trace.end_s - 60.0 * minutes
    if column in EDGE_COLUMNS:
        return float(trace.service_series[rows, 0, EDGE_COLUMNS.index(column)].mean())
    return float(trace.pool_series[rows, 0, POOL_COLUMNS.index(column)].mean())


def test_every_cell_is_there_with_its_control():
    there = {path.stem for path in FOLDER.glob("*.yaml")}
    assert there == {*CELLS, *(f"{name}-without-loop" for name in CELLS)}


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("suffix", ["", "-without-loop"])
@pytest.mark.parametrize("name", CELLS)
def test_the_claim_holds(name, suffix, fidelity):
    scenario = load(name + suffix)
    _, metrics = run(scenario, fidelity)
    for expectation in scenario.expectations:
        verdict = evaluate(expectation, metrics)
        assert verdict.passed, f"{verdict.statement}; it is {verdict.shown_value}"


@pytest.mark.parametrize("name", CELLS)
def test_the_control_lacks_the_loop_and_nothing_else(name):
    loop, free = load(name).model_dump(), load(f"{name}-without-loop").model_dump()
    if name.endswith("retries"):
        loop["region"]["services"][0]["retry"]["retries_max"] = 0
    else:
        loop["region"]["pools"][0]["memory_pressure"] = None
    for what in ("region", "demand", "faults", "trigger", "horizon", "telemetry", "people"):
        assert loop[what] == free[what]


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("name", CELLS)
def test_what_sustains_the_bad_state_is_what_theory_says(name, fidelity):
    trace, _ = run(load(name), fidelity)
    if name.endswith("retries"):
        ratio = last(trace, "attempts_rps") / last(trace, "first_rps")
        assert ratio == pytest.approx(ATTEMPTS, rel=0.02)
    else:
        assert last(trace, "served_rps") == pytest.approx(CAPACITY_RPS / WORK, rel=0.02)
    assert last(trace, "ok_rps") < 1.0


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize(
    ("name", "fold_rps"),
    [
        ("capacity-loss-retries", CAPACITY_RPS / ATTEMPTS),
        ("capacity-loss-memory-pressure", CAPACITY_RPS / WORK),
    ],
)
@pytest.mark.parametrize(("share", "recovers"), [(0.95, True), (1.05, False)])
def test_the_fold_lies_where_theorem_2_says(name, fold_rps, share, recovers, fidelity):
    scenario = load(
        name,
        f"region.services.web.first_tries={share * fold_rps:.3f}/s",
        "faults.brown-out.factor=0%",
    )
    _, metrics = run(scenario, fidelity)
    assert metrics.impacted
    assert metrics.recovered is recovers


@pytest.fixture(scope="module")
def driver():
    """Import benchmarks/hysteresis.py as the script that it is."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("hysteresis")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        sys.modules.pop("hysteresis", None)


@pytest.mark.parametrize("name", CELLS)
def test_the_sweep_turns_within_a_step_of_the_folds(driver, name):
    step, swept = 0.05, driver.NAMES[name][1]
    low, high = driver.folds(name)
    down, up = driver.measured(driver.by_flow(name, swept, step=step, rest_s=600.0))
    assert low - step <= down <= low
    assert high - step <= up <= high
    free = driver.by_flow(f"{name}-without-loop", swept, step=step, rest_s=600.0)
    np.testing.assert_allclose(free.up[:-5], free.down[:-5], atol=1e-3)


def test_the_figure_is_one_panel_a_cell_and_the_same_twice():
    loads = np.linspace(0.1, 1.2, 12)
    up = np.where(loads <= 1.0, loads, 0.0)
    down = np.where(loads <= 0.3, loads, 0.0)
    sweep = Sweep(loads, up, down)
    cells = [
        Cell(name, "load", sweep, Sweep(loads, up, up), 1 / 3, 1.0, "$1/w_L$", sweep, 0.7)
        for name in CELLS
    ]
    figure = make_hysteresis_figure(cells)
    assert [axes.get_title() for axes in figure.axes] == list(CELLS)
    assert hysteresis_png(cells) == hysteresis_png(cells)
