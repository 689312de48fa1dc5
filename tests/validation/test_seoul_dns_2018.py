"""The published clock of EC2 DNS in Seoul, 2018-11-22 (AWS message 74876), against the replay.

Minutes from the start of the impact, as the provider states them. Verdict, fixed in advance: the
median over the seeds of each milestone is within 15 % of the published minute, the published minute
lies between the 10 % and 90 % quantiles, and the milestones come in the published order in every
seed.
"""

from pathlib import Path

import pytest

from simulator.engine import control_run, simulate
from simulator.metrics import compute_metrics
from simulator.metrics.expectations import evaluate_over, metric_value
from simulator.scenario import load_scenario

PATH = Path(__file__).parents[2] / "scenarios" / "seoul-dns-2018.yaml"
PUBLISHED_MIN = {"detected": 2, "diagnosed": 29, "mitigated": 44, "recovered": 84}
TOLERANCE = 0.15
SEEDS = range(1, 26)
MESSAGE = "https://aws.amazon.com/message/74876/"


@pytest.fixture(scope="module")
def scenario():
    return load_scenario(PATH)


@pytest.fixture(scope="module")
def runs(scenario):
    control = control_run(scenario, seed=1)
    return [compute_metrics(simulate(scenario, seed=seed), control) for seed in SEEDS]


def test_expectations_are_the_published_clock(scenario):
    bands = {
        e.metric.removeprefix("milestones_from_impact_s."): e
        for e in scenario.expectations
        if e.metric.startswith("milestones_from_impact_s.")
    }
    assert set(bands) == set(PUBLISHED_MIN)
    for name, minutes in PUBLISHED_MIN.items():
        band = bands[name]
        assert band.quantile == 0.5
        assert float(band.at_least.removesuffix("s")) == pytest.approx(60 * minutes * 0.85)
        assert float(band.at_most.removesuffix("s")) == pytest.approx(60 * minutes * 1.15)


def test_every_published_figure_has_its_source(scenario):
    supported = [s.supports for s in scenario.sources if s.ref == MESSAGE]
    for minutes in PUBLISHED_MIN.values():
        assert any(text.startswith(f"minute {minutes},") for text in supported)


def test_people_keep_the_published_pace(scenario):
    (team,) = scenario.people
    c = team.config
    find_s = c.page_response.median + c.escalation.median + c.evidence_needed.median
    assert find_s + c.assessment.median / 2 == pytest.approx(27 * 60)
    assert c.break_glass_access.median + c.break_glass_action.median == pytest.approx(15 * 60)


def test_at_most_two_parameters_are_free(scenario):
    assert len(scenario.free_parameters) <= 2


def test_nothing_ends_the_outage_but_the_mechanisms(scenario):
    """No fault, and no time of recovery, stands in the file."""
    assert scenario.faults == ()
    assert [m.kind for m in scenario.automation] == ["host_manager_floor_lost"]
    (loop,) = scenario.automation
    assert loop.config.floor_frac * 600 < min_units_left(scenario)


def min_units_left(scenario):
    """Units left when the people stop the loop, 44 min after the impact."""
    (loop,) = scenario.automation
    (service,) = scenario.region.services
    pool = next(p for p in scenario.region.pools if p.id == service.entry)
    needed = service.first_tries / pool.unit_rate
    return needed - PUBLISHED_MIN["mitigated"] * loop.config.frac_per_min * pool.units


def test_published_clock_is_met_in_the_median(runs):
    for name, minutes in PUBLISHED_MIN.items():
        values = sorted(metric_value(m, f"milestones_from_impact_s.{name}") for m in runs)
        median = values[len(values) // 2]
        assert median == pytest.approx(60 * minutes, rel=TOLERANCE), name


def test_published_minutes_lie_in_the_simulated_range(runs):
    for name, minutes in PUBLISHED_MIN.items():
        values = sorted(metric_value(m, f"milestones_from_impact_s.{name}") for m in runs)
        low, high = values[len(values) // 10], values[-len(values) // 10]
        assert low <= 60 * minutes <= high, name


def test_milestones_come_in_the_published_order(runs):
    for metrics in runs:
        times = [metrics.milestones_from_impact_s[name] for name in PUBLISHED_MIN]
        assert None not in times
        assert times == sorted(times)


def test_the_files_own_expectations_hold(scenario, runs):
    for expectation in scenario.expectations:
        values = [metric_value(m, expectation.metric) for m in runs]
        assert evaluate_over(expectation, values).passed, expectation.metric
