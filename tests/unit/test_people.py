import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.mechanism import BREAK_GLASS, Act, Look, Wait
from simulator.people.incident_response import STOP_ROUNDS_MAX, IncidentResponse
from simulator.people.order import recovery_order
from tests.fakes import DECLARED, World, build, context

MINUTE = 60.0


def fixed(minutes):
    return {"kind": "constant", "value": f"{minutes}min" if minutes else 0}


TIMES = {
    "page_response": fixed(5),
    "escalation": fixed(10),
    "assessment": fixed(12),
    "evidence_needed": fixed(24),
    "break_glass_access": fixed(45),
    "break_glass_action": fixed(6),
    "wave_check": fixed(10),
}


def team(*, where=None, **settings):
    usual = {"misdiagnosis": 0, "misdiagnosis_blind": 0}
    return build(IncidentResponse, where=where, **(TIMES | usual | settings))


def well_if_whole(world):
    """Success follows from the units that are left and from the load that is let in."""
    share = min(world.units[p] / n for p, n in DECLARED.items())
    return min(1.0, share / (0.6 * world.admitted)) * world.admitted


def load_of_units(world):
    share = min(world.units[p] / n for p, n in DECLARED.items())
    return 0.6 * world.admitted / share if share else float("inf")


def hurt(**changes):
    fields: dict[str, Any] = {
        "units": {"api": 10, "control": 2, "store": 8},
        "success": well_if_whole,
        "load": load_of_units,
    }
    return World(**(fields | changes))


def solve(world, it, until_h=72):
    assert not world.run(it.run(), most=20_000, until_s=until_h * 3600.0)
    return {name: t / MINUTE for name, t in world.marks.items()}


ALL = ["acknowledged", "diagnosed", "mitigated", "restored", "recovered_declared"]


def test_a_team_that_sees_and_acts_brings_the_region_back():
    world = hurt()
    marks = solve(world, team())
    assert list(marks) == ALL
    assert sorted(marks.values()) == list(marks.values())
    assert marks["acknowledged"] == 5.0
    # Response, escalation and two cycles with full sight; each probe takes a second.
    assert marks["diagnosed"] == pytest.approx(5 + 10 + 24, abs=0.1)
    assert marks["mitigated"] == pytest.approx(marks["diagnosed"], abs=0.1)
    assert world.paused == ["script"]
    assert all(world.units[p] >= 0.95 * n for p, n in DECLARED.items())
    assert world.admitted == 1.0
    assert not any(a.via == BREAK_GLASS for _, a, _ in world.asked)


def test_a_false_alarm_is_stood_down_and_the_next_page_is_answered():
    world = World(pages=[0.0, 7200.0])
    assert list(solve(world, team())) == ["acknowledged", "stood_down"]
    assert world.asked == []
    assert world.now_s == 7200.0 + 300.0


def test_success_alone_is_not_well_while_units_are_missing():
    world = hurt(success=lambda _: 1.0)
    assert "stood_down" not in solve(world, team())


def test_trouble_that_passes_during_the_diagnosis_is_stood_down():
    world = World(success=lambda w: 0.5 if w.now_s < 20 * MINUTE else 1.0)
    assert list(solve(world, team())) == ["acknowledged", "stood_down"]
    assert world.paused == []


@pytest.mark.parametrize(
    ("visible", "plane", "cycles"),
    [(True, "done", 2), (True, "failed", 4), (False, "done", 5), (False, "timed_out", 10)],
)
def test_diagnosis_slows_down_with_what_cannot_be_seen(visible, plane, cycles):
    it = team(evidence_telemetry_only="50%", evidence_describe_only="40%", evidence_blind="20%")
    world = hurt(visible=visible, plane=plane)
    assert solve(world, it, until_h=6)["diagnosed"] == pytest.approx(15 + 12 * cycles, abs=0.3)


def test_a_dead_control_plane_means_break_glass():
    world = hurt(plane="timed_out", visible=False)
    marks = solve(world, team(), until_h=200)
    assert list(marks)[:4] == ALL[:4]
    glass = [a for _, a, o in world.asked if a.via == BREAK_GLASS]
    assert {a.verb for a in glass} >= {"pause", "throttle", "add", "describe"}
    assert all(a.takes_s == 360.0 for a in glass)
    # Access is asked for once: the only wait of 45 min.
    assert world.commands.count(Wait(45 * MINUTE)) == 1
    # No tries through the control plane: the diagnosis has shown that it is dead.
    assert marks["mitigated"] - marks["diagnosed"] == pytest.approx(45 + 6, abs=0.1)


def test_the_control_plane_is_tried_several_times_first():
    world = hurt()

    def dies(it):
        it.plane = "throttled" if "diagnosed" in it.marks else "done"

    world.before = dies
    marks = solve(world, team(attempts=4, retry_wait=fixed(2)), until_h=6)
    tries = [a for _, a, o in world.asked if a.verb == "pause" and a.via != BREAK_GLASS]
    assert len(tries) == 4
    # What was learnt holds for what comes next.
    assert {a.via for _, a, _ in world.asked if a.verb == "throttle"} == {BREAK_GLASS}
    assert marks["mitigated"] - marks["diagnosed"] == pytest.approx(3 * 2 + 45 + 6, abs=0.2)


def test_the_control_plane_is_used_again_when_it_answers():
    world = hurt(plane="timed_out")

    def recovers(it):
        it.plane = "done" if it.units["control"] >= 4 else "timed_out"

    world.before = recovers
    solve(world, team())
    ways = [a.via == BREAK_GLASS for a in world.done("add")]
    assert ways[0]
    assert not ways[-1]


def test_counting_shows_that_the_control_plane_is_dead():
    world = hurt()

    def dies(it):
        counting = len(getattr(it.commands[-1], "actions", ())) > 1
        if counting and "mitigated" in it.marks:
            it.plane = "timed_out"

    world.before = dies
    solve(world, team(shed_to=None), until_h=20)
    probes = [a for _, a, o in world.asked if a.verb == "add" and a.via != BREAK_GLASS]
    assert probes == []


def test_a_verb_that_no_plane_offers_goes_by_break_glass_at_once():
    world = hurt()

    def no_throttle(it):
        action = getattr(it.commands[-1], "actions", (None,))[0]
        it.plane = "unavailable" if action and action.verb == "throttle" else "done"

    world.before = no_throttle
    solve(world, team())
    assert {a.via for a in world.done("throttle")} == {BREAK_GLASS}
    assert {a.via for a in world.done("add")} == {""}


def test_a_region_without_control_planes_is_repaired_by_hand():
    world = hurt()
    it = team(where=context(control_planes=(), automations=()))
    marks = solve(world, it)
    assert list(marks) == ALL
    assert all(a.via == BREAK_GLASS for _, a, _ in world.asked)
    assert marks["mitigated"] == marks["diagnosed"], "nobody to stop"


@pytest.mark.parametrize("status", ["refused", "halted"])
def test_people_do_not_go_around_a_guardrail(status):
    world = hurt(plane=status)
    marks = solve(world, team(), until_h=10)
    assert "mitigated" not in marks
    pauses = [a for _, a, _ in world.asked if a.verb == "pause"]
    assert len(pauses) == STOP_ROUNDS_MAX
    assert not any(a.via == BREAK_GLASS for a in pauses)


def test_a_wrong_diagnosis_restarts_the_worst_pool_and_starts_again():
    world = hurt()
    solve(world, team(misdiagnosis=1, misdiagnosis_blind=1), until_h=4)
    assert "diagnosed" not in world.marks
    restarts = world.done("restart")
    assert len(restarts) > 3
    assert (restarts[0].pool, restarts[0].count) == ("control", 1)
    assert world.paused == []


def test_a_wrong_diagnosis_without_control_plane_costs_only_time():
    world = hurt()
    it = team(where=context(control_planes=()), misdiagnosis=1, misdiagnosis_blind=1)
    solve(world, it, until_h=4)
    assert world.asked == []


def test_blindness_makes_wrong_diagnoses():
    def wrong(visible):
        it = team(misdiagnosis=0, misdiagnosis_blind=1, evidence_describe_only="20%")
        world = hurt(visible=visible)
        solve(world, it, until_h=24)
        return len(world.done("restart"))

    assert wrong(visible=True) == 0
    assert wrong(visible=False) > 0


def test_loops_are_paused_if_asked_for_and_resumed_at_the_end():
    world = hurt()
    marks = solve(world, team(pause_loops=["replacer", "ghost"]))
    assert [a.actor for a in world.done("pause")] == ["script", "replacer"]
    assert [a.actor for a in world.done("resume")] == ["replacer"]
    assert world.paused == ["script"]
    assert list(marks) == ALL


def test_load_is_shed_under_overload_and_let_in_by_steps():
    world = hurt()
    solve(world, team(shed_to="40%", readmit_steps=3))
    assert [a.factor for a in world.done("throttle")] == pytest.approx([0.4, 0.6, 0.8, 1.0])


def test_no_load_is_shed_where_that_does_more_harm_or_without_leave():
    enough = hurt(success=lambda w: max(well_if_whole(w), 0.5))
    for world, it in (
        (hurt(load=lambda _: 0.6), team()),
        (hurt(), team(shed_to=None)),
        (enough, team(shed_to="40%")),
    ):
        assert list(solve(world, it)) == ALL
        assert world.done("throttle") == []


def test_a_region_that_does_not_bear_the_load_gets_less_again():
    world = hurt()
    solve_success = world.success

    def fragile(it):
        return solve_success(it) if it.admitted < 0.7 else 0.2

    world.success = fragile
    marks = solve(world, team(shed_to="40%"), until_h=24)
    assert "restored" in marks
    assert "recovered_declared" not in marks
    assert all(a.factor < 1 for a in world.done("throttle"))
    factors = [a.factor for a in world.done("throttle")]
    assert len(factors) > 6
    for here, then in itertools.pairwise(factors):
        assert then < 0.7 or here < 0.7, "back one step where success fell"


def test_an_incident_is_not_over_when_it_comes_back_during_the_hold():
    world, hold = hurt(), Wait(13 * MINUTE)
    steady = world.success
    holds = []
    world.before = lambda w: holds.append(w.now_s) if w.commands[-1] == hold else None

    def ends(it):
        return 0.5 if len(holds) == 1 and it.now_s < holds[0] + 3600 else steady(it)

    world.success = ends
    marks = solve(world, team(all_clear_hold="13min"))
    assert len(holds) == 2
    assert marks["recovered_declared"] == pytest.approx(holds[1] / MINUTE + 13)


def test_waves_follow_the_order_of_need_and_their_size():
    world = hurt()
    solve(world, team(responders=1, shed_to=None))
    pools = [a.pool for a in world.done("add")]
    assert pools == sorted(pools, key=["store", "control", "api"].index)
    sizes = {p: {a.count for a in world.done("add") if a.pool == p} for p in DECLARED}
    assert sizes == {"store": {2}, "control": {1}, "api": {4}}


def test_parallel_streams_are_limited():
    world = hurt()
    solve(world, team(responders=2))
    assert max(len(getattr(c, "actions", ())) for c in world.commands) == 2


def test_a_pool_that_does_not_grow_makes_way_for_others():
    world = hurt()

    def drained(it):
        it.units["store"] = 8

    world.before = drained
    solve(world, team(responders=1, shed_to=None), until_h=30)
    assert {a.pool for a in world.done("add")} == set(DECLARED)
    assert world.units["api"] >= 38
    assert "restored" not in world.marks


def test_units_are_waited_for_before_more_are_ordered():
    world = hurt(boot_s=25 * MINUTE)
    solve(world, team(responders=1, wave_patience="1h"))
    ordered = sum(a.count for a in world.done("add") if a.pool == "store")
    assert ordered <= 12


def test_success_that_falls_after_a_wave_makes_the_team_wait():
    def checks(success):
        world = hurt(success=success)
        solve(world, team(shed_to=None, wave_check=fixed(11)), until_h=24)
        assert "restored" in world.marks
        return world.commands.count(Wait(11 * MINUTE))

    calm = checks(lambda _: 0.9)
    assert checks(lambda w: 0.9 if len(w.done("add")) < 4 else 0.5) == calm + 1
    assert checks(lambda w: 0.9 if len(w.done("add")) < 4 else 0.86) == calm


def test_with_random_times_every_wait_is_positive_and_runs_repeat():
    def once():
        world = hurt()
        world.run(
            build(IncidentResponse, where=context(seed=5)).run(), most=20_000, until_s=48 * 3600.0
        )
        return world.marks

    first = once()
    assert next(iter(first)) == "acknowledged"
    assert first == once()


def test_zero_times_do_not_stop_the_clock():
    zero = {name: fixed(0) for name in TIMES} | {"retry_wait": fixed(0)}
    it = team(**zero, readmit_wait=0, all_clear_hold=0)
    world = hurt(success=lambda _: 0.5)
    world.run(it.run(), most=5000)
    assert world.now_s > 500


def test_looks_and_probes_do_not_change_the_region():
    world = hurt()
    solve(world, team(), until_h=0.6)
    assert {type(c) for c in world.commands} >= {Look, Act, Wait}
    assert {a.verb for _, a, _ in world.asked} == {"describe"}


@given(
    edges=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=30),
    first=st.sets(st.integers(0, 8)),
)
def test_recovery_order_is_complete_and_respects_needs(edges, first):
    pools = [f"p{n}" for n in range(9)]
    deps = [(f"p{a}", f"p{b}") for a, b in edges if a != b]
    needed = {f"p{n}" for n in first}
    order = recovery_order(pools, needed, deps)
    assert sorted(order) == pools
    assert order == recovery_order(reversed(pools), needed, reversed(deps))
    closure = reachable(needed, deps)
    assert set(order[: len(closure)]) == closure
    for caller, callee in deps:
        if caller not in reachable({callee}, deps):
            assert order.index(callee) < order.index(caller)


def reachable(roots, deps):
    found = set(roots)
    while True:
        more = {b for a, b in deps if a in found} - found
        if not more:
            return found
        found |= more
