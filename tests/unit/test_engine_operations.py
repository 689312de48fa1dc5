from dataclasses import replace
from typing import Any

import pytest

from simulator.contract import Outlook
from simulator.control_plane import CALL_S, DEFERRALS_MAX
from simulator.engine import operations
from simulator.guardrails.removal_velocity import RemovalVelocity
from simulator.mechanism import BREAK_GLASS, Act, ActAll, Action, Verdict, Wait
from tests.engine_world import FOREVER, GOOD, REGION, World, acts, data, records
from tests.fakes import build

DESCRIBE = Action("describe", "api")
REMOVE = Action("remove", "api", count=2)


def outcomes_of(*actions, **parts):
    """Return the outcomes of a script's actions, the world and the trace."""
    outcomes: list[Any] = []
    world = World(scripts={"it": (50.0, acts(*actions, into=outcomes))}, **parts)
    return outcomes, world, world.run()


def at_once(n, action, into):
    def run(_context):
        into.extend((yield ActAll((action,) * n)))

    return run


def outlook(value):
    def plane(fake):
        fake.outlooks = lambda _t_s: value

    return plane


# ---------------------------------------------------------------------- serving pool
def test_an_operation_sends_its_work_to_the_serving_pool():
    _, world, _ = outcomes_of(Action("add", "api", count=4), DESCRIBE)
    edge = world.started.topology.control_edge("plane")
    assert world.calls("inject") == [(50.0, edge, 4.0), (60.5, edge, 1.0)]


def test_operations_wait_as_long_as_the_serving_pool_makes_them():
    (done,), _, trace = outcomes_of(DESCRIBE, plane=outlook(replace(GOOD, latency_s=12.0)))
    assert (done.status, done.latency_s, done.count) == ("done", 12.0, 10)
    (record,) = records(trace, "operation")
    assert data(record) == {
        "verb": "describe", "latency_s": 12.0, "pool": "api", "zone": "", "count": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "status", "latency_s", "reason"),
    [
        (replace(GOOD, latency_s=30.1), "timed_out", 30.0, "no answer in time"),
        (Outlook(1.0, FOREVER, FOREVER, 0.0), "timed_out", 30.0, "no answer in time"),
        (replace(GOOD, accept_frac=0.0), "failed", CALL_S, "queue is full"),
        (replace(GOOD, success_frac=0.0), "failed", 0.5, "serving pool failed"),
    ],
)
def test_an_ill_serving_pool_starves_operations(state, status, latency_s, reason):
    (outcome,), world, trace = outcomes_of(REMOVE, plane=outlook(state))
    assert outcome.status == status
    assert outcome.latency_s == pytest.approx(latency_s)
    assert reason in outcome.reason
    assert records(trace, "operation") == records(trace, "unit") == []
    (failure,) = records(trace, "failure")
    assert (failure.id, failure.subject, failure.actor, failure.cause) == (
        outcome.record, "api", "it", 0,
    )  # fmt: skip
    assert data(failure)["status"] == status
    assert world.started.state.serving(0) == 10


def test_shares_of_acceptance_and_success_are_chances():
    state = replace(GOOD, accept_frac=0.5, success_frac=0.8)
    counts = {"done": 0, "rejected": 0, "failed": 0}
    outcomes: list[Any] = []

    def run(_context):
        for _ in range(1000):
            outcomes.append((yield Act(DESCRIBE)))
            yield Wait(2.0)

    World(scripts={"it": (0.0, run)}, plane=outlook(state)).run()
    for o in outcomes:
        counts["rejected" if "queue" in o.reason else o.status] += 1
    # 4 standard deviations of binomial counts.
    assert abs(counts["rejected"] - 500) < 64
    assert abs(counts["done"] - 400) < 62
    assert abs(counts["failed"] - 100) < 38


# ---------------------------------------------------------------------- limits
def test_operations_beyond_the_burst_are_throttled():
    outcomes: list[Any] = []
    World(scripts={"it": (50.0, at_once(7, DESCRIBE, outcomes))}).run()
    assert [o.status for o in outcomes] == ["done"] * 5 + ["throttled"] * 2
    assert outcomes[-1].latency_s == pytest.approx(CALL_S)


def test_operations_queue_for_slots_in_order():
    outcomes: list[Any] = []
    World(
        scripts={"it": (50.0, at_once(5, DESCRIBE, outcomes))},
        plane=outlook(replace(GOOD, latency_s=4.0)),
    ).run()
    assert [o.latency_s for o in outcomes] == [4.0, 4.0, 8.0, 8.0, 12.0]


def test_an_operation_holds_its_slot_until_it_takes_effect():
    outcomes: list[Any] = []
    add = Action("add", "api", count=1)
    World(scripts={"it": (50.0, at_once(3, add, outcomes))}).run()
    assert [o.latency_s for o in outcomes] == [10.5, 10.5, 21.0]


def test_operations_time_out_in_the_queue_and_leave_it():
    outcomes: list[Any] = []
    world = World(
        scripts={"it": (50.0, at_once(5, DESCRIBE, outcomes))},
        plane=outlook(replace(GOOD, latency_s=20.0)),
    )
    world.run()
    # The second pair starts after 20 s, with 10 s left of its 30.
    assert [(o.status, o.latency_s) for o in outcomes] == [
        ("done", 20.0),
        ("done", 20.0),
        ("timed_out", 30.0),
        ("timed_out", 30.0),
        ("timed_out", 30.0),
    ]
    assert len(world.calls("inject")) == 4, "the fifth never reached the serving pool"


def test_a_full_queue_throttles_and_says_so(monkeypatch):
    monkeypatch.setattr(operations, "QUEUED_MAX", 2)
    outcomes: list[Any] = []
    trace = World(
        scripts={"it": (50.0, at_once(5, DESCRIBE, outcomes))},
        plane=outlook(replace(GOOD, latency_s=4.0)),
    ).run()
    assert [o.status for o in outcomes] == ["done"] * 4 + ["throttled"]
    assert [data(r) for r in records(trace, "limit")] == [{"limit": "QUEUED_MAX"}]


# ---------------------------------------------------------------------- guardrails
def rule(decision, **fields):
    return lambda action, _inventory: (
        Verdict(decision, **fields) if action.verb == "remove" else Verdict("allow")
    )


def test_a_refusal_is_a_record_and_costs_no_request():
    (outcome, described), world, trace = outcomes_of(
        REMOVE, DESCRIBE, guardrails={"floor": rule("refuse", reason="below the floor")}
    )
    assert (outcome.status, outcome.guardrail, outcome.reason) == (
        "refused", "floor", "below the floor",
    )  # fmt: skip
    assert outcome.latency_s == pytest.approx(CALL_S)
    assert described.ok
    (record,) = records(trace, "refusal")
    assert (record.id, record.subject, record.actor, record.cause) == (
        outcome.record, "api", "it", 0,
    )  # fmt: skip
    assert data(record) == {
        "guardrail": "floor", "decision": "refuse", "verb": "remove", "asked": 2, "count": 0,
    }  # fmt: skip
    assert len(world.calls("inject")) == 1


def test_guardrails_know_who_asks_and_are_asked_again_before_the_effect():
    asked: list[Any] = []

    def judge(action, inventory):
        asked.append((inventory.now_s, action.by))
        return Verdict("allow")

    outcomes_of(REMOVE, guardrails={"g": judge})
    assert asked == [(50.0, "it"), (55.5, "it")]


def test_clips_are_applied_in_order_of_ids():
    (outcome,), world, trace = outcomes_of(
        Action("remove", "api", count=8),
        guardrails={"b": rule("clip", count=3), "a": rule("clip", count=5)},
    )
    assert (outcome.status, outcome.count) == ("done", 3)
    assert world.started.state.serving(0) == 7
    clips = [data(r) for r in records(trace, "refusal")]
    assert [(c["guardrail"], c["asked"], c["count"]) for c in clips] == [("a", 8, 5), ("b", 5, 3)]


def test_a_halt_pauses_the_actor():
    outcomes: list[Any] = []
    (_, _, trace) = (None, None, World(
        scripts={"it": (50.0, acts(REMOVE, DESCRIBE, into=outcomes))},
        guardrails={"stop": rule("halt")},
    ).run())  # fmt: skip
    assert outcomes == [], "the script does not even hear of it"
    assert [data(r)["decision"] for r in records(trace, "refusal")] == ["halt"]
    assert records(trace, "operation") == []


def test_a_halted_script_goes_on_when_it_is_resumed():
    outcomes: list[Any] = []
    World(
        scripts={
            "it": (50.0, acts(REMOVE, DESCRIBE, into=outcomes)),
            "switch": (200.0, acts(Action("resume", actor="it"))),
        },
        guardrails={"stop": rule("halt")},
    ).run()
    assert [o.status for o in outcomes] == ["halted", "done"]


def test_a_halt_tells_people_but_does_not_stop_them():
    outcomes: list[Any] = []
    World(
        people={"ann": acts(REMOVE, DESCRIBE, into=outcomes)}, guardrails={"stop": rule("halt")}
    ).run()
    assert [o.status for o in outcomes] == ["halted", "done"]


def test_a_deferred_operation_is_judged_again_later():
    def until(action, inventory):
        late = inventory.now_s < 100.0
        return Verdict("defer", delay_s=20.0) if late else Verdict("allow")

    (outcome,), _, trace = outcomes_of(REMOVE, guardrails={"bake": until})
    # Asked at 50, judged at 50, 70, 90, 110.
    assert (outcome.status, outcome.latency_s) == ("done", 65.5)
    assert [(r.t_s, data(r)["decision"]) for r in records(trace, "refusal")] == [(50.0, "defer")]


def test_deferring_for_ever_ends_in_a_refusal_that_says_so():
    (outcome,), _, trace = outcomes_of(
        REMOVE, guardrails={"bake": rule("defer", delay_s=1.0)}, horizon="2h"
    )
    assert (outcome.status, outcome.guardrail) == ("refused", "bake")
    assert outcome.latency_s == pytest.approx(DEFERRALS_MAX + CALL_S)
    assert [data(r) for r in records(trace, "limit")] == [{"limit": "DEFERRALS_MAX"}]


def test_a_delay_of_nothing_takes_time_all_the_same():
    (outcome,), _, _ = outcomes_of(REMOVE, guardrails={"bake": rule("defer")})
    assert outcome.latency_s == pytest.approx((DEFERRALS_MAX + 1) * CALL_S)


def keeps(n):
    """A floor of ``n`` units: clips to what is above it, refuses at nothing."""

    def judge(action, inventory):
        spare = inventory.in_service(action.pool) - n
        if action.count <= spare:
            return Verdict("allow")
        return Verdict("clip", count=spare) if spare > 0 else Verdict("refuse", reason="floor")

    return judge


def removal_by_each_of(*names, **parts):
    """Let scripts ask for the same removal in one instant."""
    told: dict[str, list[Any]] = {name: [] for name in names}
    scripts = {name: (50.0, acts(REMOVE, into=told[name])) for name in names}
    world = World(scripts=scripts, **parts)
    trace = world.run()
    return told, world, trace


def test_operations_asked_for_at_once_cannot_pass_a_floor_together():
    told, world, trace = removal_by_each_of("a", "b", guardrails={"floor": keeps(7)})
    assert [(o.status, o.count) for (o,) in told.values()] == [("done", 2), ("done", 1)]
    told, world, trace = removal_by_each_of("a", "b", guardrails={"floor": keeps(8)})
    assert [(o.status, o.reason) for (o,) in told.values()] == [("done", ""), ("refused", "floor")]
    assert world.started.state.serving(0) == 8
    (record,) = records(trace, "refusal")
    assert (record.t_s, record.actor, data(record)["asked"]) == (55.5, "b", 2)
    assert (told["b"][0].record, told["b"][0].latency_s) == (record.id, 5.5)


@pytest.mark.parametrize(("decision", "status"), [("defer", "refused"), ("halt", "halted")])
def test_what_takes_effect_can_be_stopped_but_not_put_off(decision, status):
    def once(action, inventory):
        late = inventory.removed_since(0.0) > 0
        return Verdict(decision, delay_s=9.0) if late else Verdict("allow")

    told: dict[str, list[Any]] = {"ann": [], "bob": []}
    people = {name: acts(REMOVE, DESCRIBE, into=told[name]) for name in told}
    trace = World(people=people, guardrails={"once": once}).run()
    assert told["ann"][0].status == "done"
    assert told["bob"][0].status == status
    first = next(r for r in records(trace, "refusal") if r.actor == "bob")
    assert data(first)["decision"] == ("refuse" if decision == "defer" else "halt")
    assert len(records(trace, "unit")) == 2, "one per zone, all of one removal"


def test_a_refusal_before_the_effect_frees_the_slot():
    told, _, _ = removal_by_each_of(*"abcd", guardrails={"floor": keeps(8)})
    assert [o.status for (o,) in told.values()] == ["done", "refused", "refused", "refused"]


@pytest.mark.parametrize(
    ("verbs", "removed"), [(("remove", "drain"), 2), (("remove", "drain", "replace"), 0)]
)
def test_replacements_fill_the_window_of_a_velocity_only_where_they_count(verbs, removed):
    guardrail = build(RemovalVelocity, frac_max=0.2, verbs=verbs)
    (replaced, outcome), _, _ = outcomes_of(
        replace(REMOVE, verb="replace"), REMOVE, guardrails={"velocity": guardrail.judge}
    )
    assert (replaced.status, replaced.count) == ("done", 2)
    assert outcome.count == removed


# ---------------------------------------------------------------------- break-glass
def test_break_glass_works_when_nothing_else_does():
    dead = outlook(Outlook(0.0, FOREVER, FOREVER, 0.0))
    action = replace(REMOVE, via=BREAK_GLASS, takes_s=600.0)
    (outcome,), world, trace = outcomes_of(action, plane=dead, guardrails={"floor": rule("refuse")})
    assert (outcome.status, outcome.count, outcome.latency_s) == ("done", 2, 600.0)
    (record,) = records(trace, "operation")
    assert data(record)["break_glass"] is True
    assert "break-glass" in record.text
    assert world.calls("inject") == []
    assert world.started.state.serving(0) == 8


# ---------------------------------------------------------------------- effects
def test_what_no_control_plane_offers_is_unavailable():
    region = REGION | {"control_planes": []}
    (outcome,), _, _ = outcomes_of(REMOVE, region=region)
    assert (outcome.status, outcome.reason) == ("unavailable", "no control plane offers 'remove'")


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (Action("remove", "nope", count=1), "no pool 'nope'"),
        (Action("remove", "api", zone="z", count=1), "no zone 'z'"),
        (Action("throttle", service="nope", factor=0.5), "no service 'nope'"),
        (Action("remove", count=1), "no pool named"),
        (Action("pause", actor="nope"), "no script or loop 'nope'"),
    ],
)
def test_an_operation_on_what_does_not_exist_fails(action, reason):
    (outcome,), _, trace = outcomes_of(action)
    assert (outcome.status, outcome.reason) == ("failed", reason)
    assert records(trace, "operation") == []
    assert len(records(trace, "failure")) == 1


def test_describe_counts_what_serves():
    outcomes, _, _ = outcomes_of(
        Action("describe", "store"), Action("describe", "store", zone="a"), Action("describe")
    )
    assert [o.count for o in outcomes] == [6, 3, 0]


def test_a_throttle_reaches_the_data_plane_and_is_marked_as_a_mitigation():
    _, world, trace = outcomes_of(
        Action("throttle", factor=0.3),
        Action("throttle", service="read", factor=2.0),
        plane=lambda p: p.crossings.append((60.0, "write", True)),
    )
    assert [c[1:] for c in world.calls("admission")] == [
        ("read", 0.3), ("write", 0.3), ("read", 1.0),
    ]  # fmt: skip
    marks = [data(r)["mitigation_active"] for r in records(trace, "operation")]
    assert marks == [True, False]
    throttle = records(trace, "operation")[0]
    assert world.started.state.throttles == {"write": (0.3, throttle.id)}
    (ill,) = records(trace, "impaired", "write")
    assert ill.cause == throttle.id


def test_removals_are_in_the_control_plane_s_books():
    seen: list[Any] = []

    def judge(_action, inventory):
        seen.append((inventory.in_service("api"), inventory.removed_since(0.0, "api")))
        return Verdict("allow")

    outcomes_of(REMOVE, replace(REMOVE, verb="drain"), REMOVE, guardrails={"g": judge})
    assert seen[::2] == [(10, 0), (8, 2), (6, 4)], "when they were asked for"
    assert seen[1::2] == seen[::2], "and before they took effect"
