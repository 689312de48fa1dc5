from typing import Any

import pytest

from simulator.errors import InvariantError, UsageError
from simulator.mechanism import Act, ActAll, Action, Look, Mark, Wait, WaitForPage
from tests.engine_world import World, acts, chain, data, records

ADD = Action("add", "api", count=1)
PAUSE, RESUME = Action("pause", actor="it"), Action("resume", actor="it")


def test_a_script_starts_waits_and_ends_at_its_times():
    seen: list[Any] = []

    def run(_context):
        answer = yield Wait(100.0)
        seen.append(answer)
        view = yield Look()
        seen.append(view.now_s)

    trace = World(scripts={"it": (50.0, run)}).run()
    assert seen == [None, 150.0]
    assert [(r.t_s, r.text, r.cause) for r in records(trace, "script", "it")] == [
        (50.0, "started", -1),
        (150.0, "ended", 0),
    ]


def test_a_script_before_the_run_is_refused():
    with pytest.raises(UsageError, match=r"'it' starts at -1\.0 s"):
        World(scripts={"it": (-1.0, acts())}).run()


def test_an_act_is_answered_when_it_is_done():
    outcomes: list[Any] = []
    trace = World(scripts={"it": (50.0, acts(ADD, into=outcomes))}).run()
    (done,) = outcomes
    # 0.5 s at the serving pool, 10 s of its own.
    assert (done.ok, done.count, done.latency_s) == (True, 1, 10.5)
    record = trace.records[done.record]
    assert (record.kind, record.subject, record.actor, record.t_s) == (
        "operation",
        "api",
        "it",
        60.5,
    )
    assert chain(trace, record) == ["operation api", "script it"]


def test_several_acts_at_once_are_answered_together():
    answers: list[Any] = []

    def run(_context):
        answers.append((yield ActAll((ADD, Action("describe", "store")))))
        answers.append((yield Look()).now_s)
        answers.append((yield ActAll(())))

    World(scripts={"it": (50.0, run)}).run()
    first, second = answers[0]
    assert (first.count, second.count) == (1, 6)
    assert second.latency_s == 0.5
    assert answers[1:] == [60.5, ()]


def test_marks_of_people_become_their_cause():
    def run(_context):
        yield WaitForPage()
        yield Mark("acknowledged", "with a coffee")
        yield Act(ADD)

    world = World(
        people={"ann": run},
        telemetry={"customer_reports": {"kind": "constant", "value": "10min"}},
        plane=lambda p: p.crossings.append((100.0, "read", True)),
    )
    trace = world.run()
    (mark,) = records(trace, "milestone")
    assert (mark.subject, mark.actor, mark.t_s) == ("acknowledged", "ann", 700.0)
    assert data(mark) == {"milestone": "acknowledged"}
    assert mark.text == "with a coffee"
    (operation,) = records(trace, "operation")
    assert chain(trace, operation) == [
        "operation api",
        "milestone acknowledged",
        "page customer reports: read",
        "impaired read",
    ]


def test_actors_of_one_instant_act_in_order_of_their_ids():
    def first_of(order):
        world = World(scripts={name: (50.0, acts(ADD)) for name in order})
        return [r.actor for r in records(world.run(), "operation")]

    assert first_of("cab") == first_of("abc") == ["a", "b", "c"]


def test_a_script_that_never_waits_is_named():
    def run(_context):
        while True:
            yield Look()

    with pytest.raises(InvariantError, match="'mad'"):
        World(scripts={"mad": (50.0, run)}).run()


def test_a_script_that_waits_for_no_time_is_named():
    def run(_context):
        while True:
            yield Wait(0.0)

    with pytest.raises(InvariantError, match="'mad'"):
        World(scripts={"mad": (50.0, run)}).run()


def test_an_unknown_command_is_refused():
    def run(_context):
        yield "hello"

    with pytest.raises(UsageError, match="'it' gave an unknown command 'hello'"):
        World(scripts={"it": (50.0, run)}).run()


# ---------------------------------------------------------------------- loops
def test_loops_tick_after_each_period():
    ticks: list[Any] = []

    def decide(view):
        ticks.append(view.now_s)
        return []

    World(loops={"loop": (0.7, decide)}, horizon="5s").run()
    assert ticks == [pytest.approx(0.7 * k) for k in range(1, 8)]


def test_a_loop_s_decision_is_a_record_and_the_cause_of_its_operation():
    world = World(
        loops={"loop": (400.0, lambda view: [ADD] if view.now_s < 500.0 else [])},
        plane=lambda p: p.crossings.append((100.0, "api", True)),
        trigger=("crash",),
        faults={"crash": []},
    )
    trace = world.run()
    (operation,) = records(trace, "operation")
    assert chain(trace, operation) == ["operation api", "loop loop", "impaired api"]


def test_a_loop_without_a_period_is_refused():
    with pytest.raises(UsageError, match="'loop' has the period 0"):
        World(loops={"loop": (0.0, lambda _view: [])}).run()


# ---------------------------------------------------------------------- pause and resume
def ticking(into):
    def run(_context):
        while True:
            yield Wait(10.0)
            into.append((yield Look()).now_s)

    return run


def test_a_paused_script_stays_where_it_is_until_it_is_resumed():
    seen: list[Any] = []

    def switch(_context):
        yield Act(PAUSE)
        yield Wait(60.0)
        yield Act(RESUME)

    world = World(scripts={"it": (0.0, ticking(seen)), "switch": (24.0, switch)}, horizon="120s")
    world.run()
    # Paused at 24.5; its wait ends at 30, unheard; resumed at 85.
    assert seen == [10.0, 20.0, 85.0, 95.0, 105.0, 115.0]


def test_a_resume_without_a_pause_changes_nothing():
    seen: list[Any] = []
    World(
        scripts={"it": (0.0, ticking(seen)), "switch": (24.0, acts(RESUME, PAUSE, PAUSE))},
        horizon="60s",
    ).run()
    assert seen == [10.0, 20.0]


def test_pausing_for_less_than_a_wait_costs_nothing():
    seen: list[Any] = []
    World(
        scripts={"it": (0.0, ticking(seen)), "switch": (21.0, acts(PAUSE, RESUME))},
        horizon="45s",
    ).run()
    assert seen == [10.0, 20.0, 30.0, 40.0]


def test_a_paused_loop_does_not_decide():
    ticks: list[Any] = []

    def decide(view):
        ticks.append(view.now_s)
        return []

    def switch(_context):
        yield Wait(24.0)
        yield Act(PAUSE)
        yield Wait(20.0)
        yield Act(RESUME)

    World(loops={"it": (10.0, decide)}, scripts={"s": (0.0, switch)}, horizon="75s").run()
    assert ticks == [10.0, 20.0, 50.0, 60.0, 70.0]


def test_people_cannot_be_paused():
    outcomes: list[Any] = []

    def nobody(_context):
        yield WaitForPage()

    World(people={"it": nobody}, scripts={"s": (0.0, acts(PAUSE, into=outcomes))}).run()
    assert outcomes[0].status == "failed"
    assert "no script or loop 'it'" in outcomes[0].reason


# ---------------------------------------------------------------------- pages
REPORTS = {"customer_reports": {"kind": "constant", "value": "10min"}}


def waiter(into, busy_s=0.0):
    def run(_context):
        while True:
            into.append((yield WaitForPage()))
            yield Wait(busy_s)

    return run


def test_customers_report_what_lasts_even_if_nothing_can_be_seen():
    pages: list[Any] = []
    world = World(
        people={"ann": waiter(pages)},
        telemetry=REPORTS,
        plane=lambda p: p.crossings.extend(
            [(100.0, "read", True), (600.0, "read", False), (1000.0, "read", True)]
        ),
    )
    trace = world.run()
    assert pages == [1600.0], "the first illness was too short"
    (page,) = records(trace, "page")
    assert page.text == "customer reports"
    assert trace.records[page.cause].t_s == 1000.0


def test_an_illness_that_pauses_starts_anew_for_customers():
    pages: list[Any] = []
    world = World(
        people={"ann": waiter(pages)},
        telemetry=REPORTS,
        plane=lambda p: p.crossings.extend(
            [(100.0, "read", True), (500.0, "read", False), (501.0, "read", True)]
        ),
    )
    world.run()
    assert pages == [1101.0]


def test_impaired_pools_are_not_reported_by_customers():
    pages: list[Any] = []
    World(
        people={"ann": waiter(pages)},
        telemetry=REPORTS,
        plane=lambda p: p.crossings.append((100.0, "store", True)),
    ).run()
    assert pages == []


def test_a_page_wakes_all_who_wait_in_order_of_their_ids():
    woken: list[Any] = []

    def person(name):
        def run(_context):
            yield WaitForPage()
            woken.append(name)

        return run

    World(
        people={name: person(name) for name in ("cy", "ann", "bob")},
        telemetry=REPORTS,
        plane=lambda p: p.crossings.append((100.0, "read", True)),
    ).run()
    assert woken == ["ann", "bob", "cy"]


def test_a_page_reaches_all_who_wait_and_later_those_who_were_busy():
    ann: list[float] = []
    bob: list[float] = []

    def busy(context):
        yield Wait(1000.0)
        yield from waiter(bob)(context)

    world = World(
        people={"ann": waiter(ann), "bob": busy},
        telemetry=REPORTS,
        plane=lambda p: p.crossings.append((100.0, "read", True)),
    )
    world.run()
    assert ann == [700.0], "one page, answered once"
    assert bob == [700.0], "told the time of the page that is still open"


def test_a_page_whose_reason_has_ended_wakes_nobody():
    bob: list[Any] = []

    def busy(context):
        yield Wait(1000.0)
        yield from waiter(bob)(context)

    World(
        people={"bob": busy},
        telemetry=REPORTS,
        plane=lambda p: p.crossings.extend([(100.0, "read", True), (900.0, "read", False)]),
    ).run()
    assert bob == []


# ---------------------------------------------------------------------- alarms
ALARM = {
    "alarms": [{"id": "low", "service": "read", "below": 0.9, "hold": "2min"}],
    "customer_reports": {"kind": "constant", "value": "10h"},
}


def ill_service(from_s, to_s):
    def row(t_s):
        return (10.0, 4.0, 6.0, 10.0, 0.0) if from_s < t_s <= to_s else (10.0, 10.0, 0.0, 10.0, 0.0)

    return row


def test_an_alarm_pages_after_its_hold_and_the_delay_of_telemetry():
    pages: list[Any] = []

    def plane(p):
        p.edge_rows["read"] = ill_service(600.0, 1800.0)
        p.crossings.append((610.0, "read", True))

    world = World(people={"ann": waiter(pages)}, telemetry=ALARM, plane=plane)
    trace = world.run()
    # Bad samples at 660, 720, 780; the last becomes visible 30 s later.
    assert pages == [810.0]
    (alarm,) = records(trace, "alarm")
    assert (alarm.t_s, alarm.subject, alarm.actor) == (810.0, "read", "low")
    (page,) = records(trace, "page")
    assert chain(trace, page) == ["page low", "alarm read", "impaired read"]


def test_no_alarm_while_the_samples_are_lost():
    pages: list[Any] = []

    def plane(p):
        p.edge_rows["read"] = ill_service(600.0, 3000.0)
        sick = (10.0, 10.0, 0.2, 0.0, 0.0, 100.0, 0.0)
        well = (10.0, 10.0, 1.0, 0.0, 0.0, 100.0, 0.0)
        p.pool_rows["store"] = lambda t_s: sick if 600.0 < t_s <= 1500.0 else well

    world = World(
        people={"ann": waiter(pages)}, telemetry=ALARM | {"carried_by": "store"}, plane=plane
    )
    world.run()
    # Visible again at 1560; the hold is over at 1680, seen 30 s later.
    assert pages == [1710.0]


def test_an_alarm_that_ends_is_no_longer_open():
    bob: list[Any] = []

    def busy(context):
        yield Wait(2500.0)
        yield from waiter(bob)(context)

    def plane(p):
        p.edge_rows["read"] = ill_service(600.0, 1800.0)

    World(people={"bob": busy}, telemetry=ALARM, plane=plane).run()
    assert bob == []
