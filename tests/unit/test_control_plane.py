from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.contract import Outlook
from simulator.control_plane import (
    CALL_S,
    FleetInventory,
    TokenBucket,
    choose_plane,
    decide_fate,
    judge,
    requests_of,
)
from simulator.mechanism import ALLOW, Action, Guardrail, Inventory, Verdict
from simulator.model import build_topology
from simulator.scenario.region import ControlPlane, Operation, Region
from simulator.state import Removal, SystemState, Why
from simulator.trace import Log
from tests.engine_world import FOREVER, REGION

GOOD = Outlook(accept_frac=1.0, wait_s=0.0, latency_s=0.5, success_frac=1.0)


@pytest.fixture
def state():
    region = Region.model_validate(REGION)
    return SystemState(build_topology(region), region.pools, Log(lambda: 0.0))


@pytest.fixture
def inventory(state):
    return FleetInventory(state, lambda: 100.0)


# ---------------------------------------------------------------------- rate limit
@given(st.lists(st.floats(0.0, 3.0), max_size=60), st.floats(0.1, 5.0), st.integers(1, 5))
def test_no_window_admits_more_than_burst_plus_rate_times_its_length(gaps, rate_rps, burst):
    bucket = TokenBucket(rate_rps, float(burst))
    now_s, taken = 0.0, []
    for gap_s in gaps:
        now_s += gap_s
        if bucket.take(now_s):
            taken.append(now_s)
    for i, first_s in enumerate(taken):
        for j in range(i, len(taken)):
            assert j - i + 1 <= burst + rate_rps * (taken[j] - first_s) + 1e-6


def test_bucket_starts_full_and_fills_at_its_rate():
    bucket = TokenBucket(0.5, 2.0)
    assert [bucket.take(t) for t in (0.0, 0.0, 0.0, 1.0, 2.0, 2.5, 4.0)] == [
        True, True, False, False, True, False, True,
    ]  # fmt: skip


def test_bucket_never_holds_more_than_its_burst():
    bucket = TokenBucket(1.0, 2.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False]


# ---------------------------------------------------------------------- guardrails
class Rule:
    """Guardrail with one answer; remembers the counts that it saw."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.seen: list[int] = []

    def judge(self, action: Action, inventory: Inventory) -> Verdict:
        self.seen.append(action.count)
        return self.verdict


def put_before(inventory, *verdicts):
    rules = [(f"g{i}", Rule(v)) for i, v in enumerate(verdicts)]
    assert all(isinstance(rule, Guardrail) for _, rule in rules)
    action, rulings = judge(Action("remove", "api", count=10), rules, inventory)
    return action.count, [(r.guardrail, r.verdict.decision) for r in rulings], rules


def test_allowed_actions_leave_no_trace(inventory):
    assert put_before(inventory, ALLOW, ALLOW)[:2] == (10, [])


def test_clip_reduces_the_count_and_the_next_guardrail_judges_the_rest(inventory):
    count, rulings, rules = put_before(
        inventory, Verdict("clip", count=6), ALLOW, Verdict("clip", count=2)
    )
    assert (count, rulings) == (2, [("g0", "clip"), ("g2", "clip")])
    assert [rule.seen for _, rule in rules] == [[10], [6], [6]]


def test_a_clip_never_raises_the_count(inventory):
    assert put_before(inventory, Verdict("clip", count=11))[:2] == (10, [])


def test_clipping_to_nothing_is_a_refusal(inventory):
    count, rulings, rules = put_before(inventory, Verdict("clip", count=0), ALLOW)
    assert (count, rulings) == (0, [("g0", "refuse")])
    assert rules[1][1].seen == []


@pytest.mark.parametrize("decision", ["refuse", "halt", "defer"])
def test_the_first_guardrail_that_says_no_ends_it(inventory, decision):
    count, rulings, rules = put_before(inventory, ALLOW, Verdict(decision), ALLOW)
    assert (count, rulings) == (10, [("g1", decision)])
    assert rules[2][1].seen == []


# ---------------------------------------------------------------------- inventory
def test_inventory_counts_by_pool_and_zone(state, inventory):
    pool = state.topology.pool("store")
    assert inventory.declared("store") == 6
    assert inventory.declared("store", "a") == 3
    state.take(pool, 0, 2, to="removed", why=Why())
    state.order(pool, 1, 5, Why())
    assert inventory.in_service("store") == 4
    assert inventory.in_service("store", "a") == 1
    assert inventory.on_order("store", "b") == 5
    assert inventory.on_order("store", "a") == 0
    assert inventory.declared("store") == 6
    assert inventory.now_s == 100.0


def test_inventory_counts_removals_since_a_time(state, inventory):
    state.removals = [
        Removal(10.0, 0, 1, "remove"),
        Removal(50.0, 2, 4, "remove"),
        Removal(50.0, 0, 8, "replace"),
        Removal(90.0, 0, 16, "drain"),
    ]
    assert inventory.removed_since(50.0) == 28
    assert inventory.removed_since(50.0, "api") == 24
    assert inventory.removed_since(50.0, "api", ("remove", "drain")) == 16
    assert inventory.removed_since(0.0, verbs=["replace"]) == 8
    assert inventory.removed_since(91.0) == 0
    assert inventory.removed_since(0.0, "control") == 0


def test_inventory_knows_what_operators_need(inventory):
    assert inventory.serves_control_plane("control")
    assert not inventory.serves_control_plane("api")


# ---------------------------------------------------------------------- choice and fate
def planes():
    one = ControlPlane(id="a", pool="api", operations={"describe": Operation()})
    two = ControlPlane(id="b", pool="api", operations={"describe": Operation(), "add": Operation()})
    return [two, one]


@pytest.mark.parametrize(
    ("verb", "via", "chosen"),
    [("describe", "", "a"), ("add", "", "b"), ("describe", "b", "b"), ("add", "a", None)],
)
def test_the_first_plane_by_id_that_offers_the_verb_is_chosen(verb, via, chosen):
    plane = choose_plane(Action(verb, via=via), planes())
    assert (plane.id if plane else None) == chosen


def test_work_grows_with_the_units():
    assert requests_of(Operation(work=2.0, work_per_unit=0.5), 10) == 7.0


@pytest.mark.parametrize(
    ("outlook", "left_s", "draws", "fate"),
    [
        (GOOD, 30.0, (0.9, 0.9), ("done", 0.5)),
        (replace(GOOD, accept_frac=0.9), 30.0, (0.9, 0.0), ("rejected", CALL_S)),
        (replace(GOOD, accept_frac=0.91), 30.0, (0.9, 0.0), ("done", 0.5)),
        (replace(GOOD, success_frac=0.9), 30.0, (0.0, 0.9), ("failed", 0.5)),
        (replace(GOOD, latency_s=31.0), 30.0, (0.0, 0.0), ("timed_out", 30.0)),
        (replace(GOOD, latency_s=29.0), 30.0, (0.0, 0.0), ("done", 29.0)),
        (replace(GOOD, latency_s=5.0), 4.0, (0.0, 0.0), ("timed_out", 4.0)),
        (Outlook(1.0, FOREVER, FOREVER, 0.0), 30.0, (0.0, 0.0), ("timed_out", 30.0)),
        (replace(GOOD, latency_s=0.0), 30.0, (0.0, 0.0), ("done", CALL_S)),
    ],
)
def test_fate_of_an_operation(outlook, left_s, draws, fate):
    assert decide_fate(outlook, left_s, draws) == fate
