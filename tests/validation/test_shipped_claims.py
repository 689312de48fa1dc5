"""The claims of the shipped scenarios hold, over fixed seeds (`simulator check` uses its own)."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from simulator.engine import control_run, simulate
from simulator.metrics import compute_metrics
from simulator.metrics.expectations import evaluate_over, metric_value, quantile
from simulator.scenario import load_scenario

FOLDER = Path(__file__).parents[2] / "scenarios"
STORY = "runaway-capacity-removal"
# Medians of hours with a spread of a fifth: 32 seeds give them to about half an hour.
SEEDS = {path.stem: 32 for path in FOLDER.glob("*.yaml")} | {"steady-day": 2}
PROCESSES = 2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def one_run(task):
    name, seed = task
    scenario = load_scenario(FOLDER / f"{name}.yaml")
    control = control_run(scenario, seed=seed) if scenario.trigger else None
    metrics = compute_metrics(simulate(scenario, seed=seed), control)
    values = {e.metric: metric_value(metrics, e.metric) for e in scenario.expectations}
    return values | {"ttr_s": metric_value(metrics, "ttr_s")}


@pytest.fixture(scope="module")
def results():
    tasks = [(name, seed) for name, count in sorted(SEEDS.items()) for seed in range(1, count + 1)]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(one_run, tasks))
    found: dict[str, list[dict[str, float]]] = {}
    for (name, _), row in zip(tasks, rows, strict=True):
        found.setdefault(name, []).append(row)
    return found


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_expectations_hold(name, results):
    for expectation in load_scenario(FOLDER / f"{name}.yaml").expectations:
        values = [row[expectation.metric] for row in results[name]]
        verdict = evaluate_over(expectation, values)
        assert verdict.passed, f"{verdict.statement}; it is {verdict.shown_value}"


def test_out_of_band_control_halves_the_median(results):
    inside, outside = (
        quantile([row["ttr_s"] for row in results[name]], 0.5)
        for name in (STORY, f"{STORY}-out-of-band-control")
    )
    assert outside <= inside / 2
