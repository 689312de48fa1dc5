"""Same scenario, same seed: same digest; a guardrail that never fires changes nothing."""

from pathlib import Path

import pytest

from simulator import compute_metrics, load_scenario, simulate
from simulator.engine import control_run
from simulator.scenario import dump_scenario, parse_scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios"
STORY = SCENARIOS / "runaway-capacity-removal.yaml"

IDLE_GUARDRAILS = """
guardrails:
  - {id: idle-floor, kind: capacity_floor, frac_min: 0%}
  - {id: idle-velocity, kind: removal_velocity, window: 1s, frac_max: 100%, region_frac_max: 100%}
"""


@pytest.fixture(scope="module")
def trace():
    return simulate(load_scenario(STORY), seed=3)


def test_the_same_run_twice(trace):
    assert simulate(load_scenario(STORY), seed=3).digest == trace.digest


def test_another_seed_is_another_run(trace):
    assert simulate(load_scenario(STORY), seed=4).digest != trace.digest


def test_a_guardrail_that_never_fires_changes_nothing(trace, tmp_path):
    guarded = tmp_path / "guarded.yaml"
    guarded.write_text(f"extends: {STORY.name}\n{IDLE_GUARDRAILS}", encoding="utf-8")
    base = tmp_path / STORY.name
    base.write_text(dump_scenario(load_scenario(STORY)), encoding="utf-8")
    scenario = load_scenario(guarded)
    assert len(scenario.guardrails) == 2
    assert simulate(scenario, seed=3).digest == trace.digest


def test_a_saved_scenario_gives_the_same_run(trace):
    again = parse_scenario(dump_scenario(load_scenario(STORY)), name="saved.yaml")
    assert simulate(again, seed=3).digest == trace.digest


def test_no_run_is_like_another():
    scenario = load_scenario(SCENARIOS / "seoul-dns-2018.yaml")
    digests = {simulate(scenario, seed=seed).digest for seed in range(1, 9)}
    assert len(digests) == 8


def test_a_steady_day_is_its_own_control_run():
    scenario = load_scenario(SCENARIOS / "steady-day.yaml")
    day = simulate(scenario, seed=1)
    assert day.digest == control_run(scenario, seed=1).digest
    metrics = compute_metrics(day, day)
    assert metrics.recovered
    assert metrics.ttr_s == 0
    assert not [r for r in day.records if r.kind in {"alarm", "impaired", "page"}]
