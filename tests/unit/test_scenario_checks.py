"""What the checks let pass: legal extremes. (What they refuse is in tests/cli/errors.)"""

import pytest

from simulator.errors import ScenarioError
from simulator.metrics.result import MILESTONES, PHASES, BlastRadius, Metrics
from simulator.scenario import checks, parse_region, parse_scenario
from simulator.scenario.metrics_names import KNOWN_METRICS, POOL_METRIC, SERVICE_METRIC
from simulator.scenario.schema import Expectation

REGION = """
  id: small
  zones: [a, b]
  basis: {"*": assumption}
  pools:
    - {id: edge, units: 10, concurrency: 8, service_time: 5ms}
    - {id: db, units: 10, concurrency: 8, service_time: 5ms, units_min_to_serve: 20}
    - {id: lonely, units: 1, concurrency: 1, service_time: 1s, zones: {a: 0, b: 1}}
  dependencies:
    - {from: edge, to: db, timeout: 1s}
    - {from: db, to: edge, timeout: 1s}
  services:
    - {id: api, entry: edge, first_tries: 300/s, customers: 50%, timeout: 3s}
"""
SCENARIO = f"id: s\ntitle: t\nclaim: c\nhorizon: 2h\nregion:{REGION}"


def test_every_check_is_run():
    run = {check.__name__ for check in checks.REGION_CHECKS + checks.SCENARIO_CHECKS}
    takes_a_document = {
        name
        for name, function in vars(checks).items()
        if list(getattr(function, "__annotations__", {})) == ["doc", "return"] and name[0] != "_"
    }
    assert takes_a_document == run


@pytest.mark.parametrize(
    "extra",
    [
        "",  # no trigger, no fault; circles, an unreachable pool, a pool that never serves
        "faults: [{id: f, kind: capacity_factor, pools: ['*'], factor: 0, at: 0s}]\ntrigger: [f]",
        "demand: {shape: {factor: 0}}",
        "telemetry: {delay: 0s, alarms: [{id: a, pool: db, metric: units_frac, below: 50%}]}",
        "free_parameters: [region.pools.edge.units, region.dependencies.edge->db.timeout, horizon]",
    ],
)
def test_extremes_are_legal(extra):
    parse_scenario(SCENARIO + extra)


@pytest.mark.parametrize("metric", [*KNOWN_METRICS, "min_units_frac.db", "min_success_frac.api"])
def test_every_metric_may_be_expected(metric):
    limit = "equals: true" if metric in {"recovered", "impacted"} else "at_most: 1"
    loaded = parse_scenario(SCENARIO + f"expectations: [{{metric: {metric}, {limit}}}]")
    assert isinstance(loaded.expectations[0], Expectation)


def test_metrics_are_those_that_are_measured():
    fields = Metrics.__dataclass_fields__
    for metric in KNOWN_METRICS:
        head, _, name = metric.partition(".")
        assert head in fields
        if name:
            assert name in {*BlastRadius.__dataclass_fields__, *PHASES, *MILESTONES}
    assert {POOL_METRIC, SERVICE_METRIC} <= set(fields)


@pytest.mark.parametrize(
    "basis",
    [
        "{units: measured, concurrency: assumption, service_time: measured, '*': assumption}",
        "{'*': a, units: b}",
    ],
)
def test_basis_by_field(basis):
    parse_region(REGION.replace('{"*": assumption}', basis).replace("\n  ", "\n"))


def test_defaults_need_no_basis():
    text = REGION.replace('basis: {"*": assumption}', "title: no basis").replace("\n  ", "\n")
    own = "basis: {'*': assumption}"
    text = text.replace("ms}", f"ms, {own}}}").replace("20}", f"20, {own}}}")
    text = text.replace("3s}", f"3s, {own}}}").replace("b: 1}}", f"b: 1}}, {own}}}")
    text = text.replace("1s}", "1s, calls: 1, retry: {retries_max: 0}, basis: {timeout: a}}")
    parse_region(text)
    with pytest.raises(ScenarioError, match=r"no basis for calls \["):
        parse_region(text.replace("calls: 1,", "calls: 1.5,"))
