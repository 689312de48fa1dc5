"""One scenario per policy, from scenarios/policies: the claims hold in flow and in requests."""

from functools import cache
from pathlib import Path

import pytest
import yaml

from simulator.engine import control_run, simulate
from simulator.metrics import compute_metrics, evaluate
from simulator.policies.tables import EDGE_POLICIES, POOL_POLICIES
from simulator.scenario import load_scenario

FOLDER = Path(__file__).parents[2] / "scenarios" / "policies"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
BASES = {
    "retry-storm",
    "outage-alone",
    "brown-out",
    "partial-outage",
    "short-queue",
    "layered-retries",
    "blocked-callers",
    "slow-tail",
}
"""What overlays are laid on; each has another trigger, load or room."""

# Overlay -> what it is compared with; more than half less is lost, or the opposite.
REMEDIES = {
    "adaptive-lifo": "retry-storm",
    "adaptive-throttling": "retry-storm",
    "bulkhead": "retry-storm",
    "bulkhead-blocked-callers": "blocked-callers",
    "cache-warm": "retry-storm",
    "circuit-breaker": "retry-storm",
    "codel": "retry-storm",
    "concurrency-limit": "retry-storm",
    "concurrency-limit-adaptive": "retry-storm",
    "deadline": "layered-retries",
    "fallback": "retry-storm",
    "lifo": "retry-storm",
    "load-shedding": "brown-out",
    "preset-aws-standard": "retry-storm",
    "preset-finagle": "retry-storm",
    "preset-grpc": "retry-storm",
    "preset-sre-per-client": "retry-storm",
    "priority": "brown-out",
    "rate-limit": "retry-storm",
    "retry-budget": "retry-storm",
    "short-queue": "retry-storm",
}
POINTLESS = (
    "circuit-breaker-many-clients",
    "concurrency-limit-too-high",
    "preset-finagle-many-clients",
    "rate-limit-above-capacity",
    "retry-decorrelated-jitter",
    "retry-long-backoff",
    "retry-without-jitter",
    "service-time-deterministic",
)
HARMFUL = {
    "circuit-breaker-partial": "partial-outage",
    "contention": "outage-alone",
    "fallback-slow": "outage-alone",
    "hedging-overload": "outage-alone",
    "memory-pressure": "outage-alone",
    "rejection-cost": "short-queue",
}
FIDELITIES = ["flow", pytest.param("request", marks=pytest.mark.slow)]
BY_REQUEST = ("deadline", "fallback-slow")
"""Where the flow is wrong, so that the file asks for requests."""

pytestmark = pytest.mark.timeout(300)


@cache
def measured(name, fidelity, *overrides):
    """Return scenario and metrics of a run with seed 1."""
    scenario = load_scenario(FOLDER / f"{name}.yaml", overrides=overrides)
    trace = simulate(scenario, seed=1, fidelity=fidelity)
    control = control_run(scenario, 1, fidelity=fidelity) if scenario.trigger else None
    return scenario, compute_metrics(trace, control)


def lost(name, fidelity):
    return measured(name, fidelity)[1].lost_first_tries


def forced_flow(name):
    """Return the metrics of a scenario by flow, whatever its file asks for."""
    pools = ("front", "back")
    return measured(name, "flow", *(f"region.pools.{pool}.fidelity=flow" for pool in pools))[1]


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("name", NAMES)
def test_the_claim_holds(name, fidelity):
    scenario, metrics = measured(name, fidelity)
    for expectation in scenario.expectations:
        verdict = evaluate(expectation, metrics)
        assert verdict.passed, f"{verdict.statement}; it is {verdict.shown_value}"


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("name", sorted(REMEDIES))
def test_a_remedy_loses_less_than_half(name, fidelity):
    assert lost(name, fidelity) < 0.5 * lost(REMEDIES[name], fidelity)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("name", POINTLESS)
def test_what_is_pointless_changes_nothing(name, fidelity):
    assert lost(name, fidelity) == pytest.approx(lost("retry-storm", fidelity), rel=0.01)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("name", sorted(HARMFUL))
def test_what_is_harmful_loses_more(name, fidelity):
    assert lost(name, fidelity) > 1.1 * lost(HARMFUL[name], fidelity)


def test_every_scenario_is_held_against_another():
    pairs = {*REMEDIES, *POINTLESS, *HARMFUL}
    # These two have no trigger, so that nothing is lost against a control run.
    assert {*NAMES} == pairs | BASES | {"hedging", "cache-cold"}


def test_every_policy_has_a_scenario():
    """Every settings class of the policy tables is used by at least one file."""
    used = set()
    for name in NAMES:
        region = load_scenario(FOLDER / f"{name}.yaml").region
        for item in (*region.pools, *region.dependencies):
            values = (getattr(item, field) for field in type(item).model_fields)
            used |= {type(v) for v in values if isinstance(v, (*EDGE_POLICIES, *POOL_POLICIES))}
    assert used == {*EDGE_POLICIES, *POOL_POLICIES}


@pytest.mark.parametrize("name", sorted({*NAMES} - BASES - {"cache-cold"}))
def test_an_overlay_changes_the_policy_and_not_the_trouble(name):
    parent = Path(yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["extends"]).stem
    own = load_scenario(FOLDER / f"{name}.yaml").model_dump()
    base = load_scenario(FOLDER / f"{parent}.yaml").model_dump()
    for what in ("faults", "trigger", "horizon", "demand", "telemetry"):
        assert own[what] == base[what]
    for kind, fields in (
        ("pools", ("units", "concurrency", "service_time", "queue_per_unit", "late_work")),
        ("dependencies", ("kind", "calls", "timeout")),
        ("services", ("first_tries", "timeout", "retry", "slo")),
    ):
        for mine, theirs in zip(own["region"][kind], base["region"][kind], strict=True):
            assert {f: mine[f] for f in fields} == {f: theirs[f] for f in fields}


@pytest.mark.parametrize("name", sorted({*NAMES} - {*BY_REQUEST}))
@pytest.mark.slow
def test_both_fidelities_tell_the_same(name):
    flow, request = (measured(name, fidelity)[1] for fidelity in ("flow", "request"))
    assert flow.recovered is request.recovered
    if request.recovered:
        assert flow.ttr_s == pytest.approx(request.ttr_s, rel=0.05, abs=10.0)
    if flow.trigger_s is not None:
        assert flow.lost_first_tries == pytest.approx(request.lost_first_tries, rel=0.06)


@pytest.mark.slow
def test_where_the_flow_is_wrong():
    """README.md of the folder says why; when this fails, drop `fidelity: request` in the file."""
    assert not measured("fallback-slow", "request")[1].recovered
    assert forced_flow("fallback-slow").recovered


@pytest.mark.parametrize(("limit", "recovers"), [(320, True), (600, False)])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_concurrency_limit_has_to_be_below_a_timeout_of_work(limit, recovers, fidelity):
    """F4: C · (T − s) = 360 that wait, and 40 in service; just above, chance decides."""
    override = f"region.pools.back.concurrency_limit.limit={limit}"
    assert measured("concurrency-limit", fidelity, override)[1].recovered is recovers


@pytest.mark.parametrize(("rate", "recovers"), [(380, True), (420, False)])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_rate_limit_has_to_be_below_the_capacity(rate, recovers, fidelity):
    """F3: 400/s."""
    override = f"region.pools.back.rate_limit.rate={rate}/s"
    assert measured("rate-limit", fidelity, override)[1].recovered is recovers


@pytest.mark.parametrize(("clients", "recovers"), [(5, True), (10, False)])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_the_floor_of_a_budget_counts_once_per_client(clients, recovers, fidelity):
    """F10: 1.2 · 200/s + 10/s · clients + 80/s against 400/s, so that 8 clients are too many."""
    override = f"region.dependencies.front->back.clients={clients}"
    assert measured("preset-finagle", fidelity, override)[1].recovered is recovers


def test_the_readme_lists_every_scenario():
    text = (FOLDER / "README.md").read_text()
    for name in NAMES:
        assert f"`{name}`" in text
