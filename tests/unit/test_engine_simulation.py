from typing import Any

import pytest

from simulator.engine.simulation import INSTANT_EVENTS_MAX, Phase, Simulation, check_balance
from simulator.errors import InvariantError
from simulator.model import build_topology
from simulator.scenario.region import Region
from tests.engine_world import REGION, FakePlane


def make(**options):
    plane = FakePlane(build_topology(Region.model_validate(REGION)), 60.0)
    plane.watch_pool(0, below=0.9)
    seen: list[Any] = []
    sim = Simulation(
        plane,
        on_crossing=lambda c: seen.append(("crossing", sim.now, c.t_s)),
        **options,
    )
    return sim, plane, seen


def test_events_of_one_time_run_by_phase_then_by_id_whatever_their_order():
    places = [(phase, name) for phase in Phase for name in ("a", "b", "c")]
    for order in (places, places[::-1], places[::2] + places[1::2]):
        sim, _, seen = make()
        for phase, name in order:
            sim.at(5.0, phase, name, lambda place=(phase, name), to=seen: to.append(place))
        sim.run_to(6.0)
        assert seen == places


def test_events_of_one_actor_run_in_the_order_in_which_they_were_scheduled():
    sim, _, seen = make()
    for i in (3, 1, 2):
        sim.at(5.0, Phase.DECIDE, "a", lambda i=i: seen.append(i))
    sim.run_to(6.0)
    assert seen == [3, 1, 2]


def test_an_event_may_schedule_a_later_phase_of_its_own_time():
    sim, _, seen = make()

    def world():
        seen.append("world")
        sim.at(sim.now, Phase.DECIDE, "a", lambda: seen.append("decide a"))

    sim.at(1.0, Phase.DECIDE, "b", lambda: seen.append("decide b"))
    sim.at(1.0, Phase.WORLD, "z", world)
    sim.run_to(2.0)
    assert seen == ["world", "decide a", "decide b"]


def test_processes_of_simpy_run_in_the_phase_of_their_priority():
    sim, _, seen = make()

    def process():
        yield sim.timeout(5.0)
        seen.append("process")

    sim.process(process())
    sim.at(5.0, Phase.WORLD, "z", lambda: seen.append("world"))
    sim.at(5.0, Phase.DECIDE, "a", lambda: seen.append("decide"))
    sim.run_to(6.0)
    assert seen == ["world", "process", "decide"]


def test_the_past_cannot_be_changed():
    sim, _, _ = make()
    sim.at(5.0, Phase.WORLD, "a", lambda: sim.at(4.0, Phase.WORLD, "a", lambda: None))
    with pytest.raises(AssertionError, match="past"):
        sim.run_to(6.0)


def test_the_data_plane_is_brought_to_the_time_of_an_event_before_it_runs():
    sim, plane, seen = make()
    for t_s in (2.5, 2.5, 7.0):
        sim.at(t_s, Phase.WORLD, "a", lambda: seen.append((sim.now, plane.now_s)))
    sim.run_to(10.0)
    assert seen == [(2.5, 2.5), (2.5, 2.5), (7.0, 7.0)]
    assert plane.advanced == [2.5, 7.0, 10.0], "once per instant, and to the horizon"


def test_events_at_the_horizon_do_not_run():
    sim, plane, seen = make()
    sim.at(10.0, Phase.WORLD, "a", lambda: seen.append("late"))
    sim.run_to(10.0)
    assert seen == []
    assert plane.now_s == 10.0


def test_a_crossing_becomes_an_event_of_its_own_before_later_events():
    sim, plane, seen = make()
    plane.crossings = [(3.0, "api", True), (4.0, "api", False)]
    sim.at(5.0, Phase.WORLD, "a", lambda: seen.append(("event", sim.now)))
    sim.run_to(6.0)
    assert seen == [("crossing", 3.0, 3.0), ("crossing", 4.0, 4.0), ("event", 5.0)]


def test_a_crossing_may_be_answered_before_the_event_that_was_next():
    sim, plane, seen = make()
    plane.crossings = [(3.0, "api", True)]
    sim._on_crossing = lambda _c: sim.at(4.0, Phase.WORLD, "b", lambda: seen.append(sim.now))
    sim.at(5.0, Phase.WORLD, "a", lambda: seen.append(sim.now))
    sim.run_to(6.0)
    assert seen == [4.0, 5.0]
    assert plane.advanced == [5.0, 3.0, 4.0, 5.0, 6.0], "the second asked for more at the crossing"


def test_crossings_of_one_time_run_in_the_order_of_their_ranks():
    sim, plane, _ = make()
    places = {plane.watch_pool(p, below=0.9): 2 - p for p in range(3)}
    ranks: list[int] = []
    sim.rank = places.__getitem__
    sim._on_crossing = lambda c: ranks.append(places[c.watch])
    names = plane.topology.pool_ids
    plane.crossings = [(3.0, name, True) for name in names] + [(4.0, names[0], False)]
    sim.run_to(6.0)
    assert ranks == [0, 1, 2, 2]


def test_a_crossing_at_the_time_of_an_event_comes_after_world():
    sim, plane, seen = make()
    plane.crossings = [(5.0, "api", True)]
    sim.at(5.0, Phase.WORLD, "a", lambda: seen.append("world"))
    sim.at(5.0, Phase.OBSERVE, "a", lambda: seen.append("observe"))
    sim.run_to(6.0)
    assert seen == ["world", ("crossing", 5.0, 5.0), "observe"]


def test_a_crossing_on_the_plane_s_grid_just_before_now_does_not_turn_back_time():
    sim, plane, seen = make()
    sim.at(5.0, Phase.WORLD, "a", lambda: plane.crossings.append((4.9, "api", True)))
    sim.run_to(6.0)
    assert seen == [("crossing", 5.0, 4.9)]


def test_a_crossing_after_the_last_event_is_seen():
    sim, plane, seen = make()
    plane.crossings = [(8.0, "api", True)]
    sim.run_to(10.0)
    assert seen == [("crossing", 8.0, 8.0)]


def test_a_loop_that_takes_no_time_raises_and_names_its_actor():
    sim, _, _ = make()

    def again():
        sim.at(sim.now, Phase.DECIDE, "mad-script", again)

    sim.at(5.0, Phase.DECIDE, "mad-script", again)
    with pytest.raises(InvariantError, match="mad-script"):
        sim.run_to(6.0)


def test_many_events_at_different_times_or_of_different_actors_are_no_loop():
    sim, _, seen = make()
    for i in range(INSTANT_EVENTS_MAX + 10):
        sim.at(5.0, Phase.WORLD, f"actor {i}", lambda: seen.append(1))
        sim.at(6.0 + i, Phase.WORLD, "one", lambda: seen.append(1))
    sim.run_to(1e6)
    assert len(seen) == 2 * INSTANT_EVENTS_MAX + 20


def test_the_guard_is_asked_after_every_event():
    asked: list[Any] = []
    sim, _, _ = make(guard=lambda: asked.append(1.0))
    for t_s in (1.0, 2.0):
        sim.at(t_s, Phase.WORLD, "a", lambda: None)
    sim.run_to(3.0)
    assert asked == [1.0, 1.0]


def test_progress_is_told_rarely():
    told: list[Any] = []
    sim, _, _ = make(progress=lambda now_s, horizon_s: told.append((now_s, horizon_s)))
    for i in range(1000):
        sim.at(float(i), Phase.WORLD, "a", lambda: None)
    sim.run_to(1000.0)
    assert 1 <= len(told) < 500
    assert told[0][1] == 1000.0


def test_balance_of_first_tries_is_checked():
    _, plane, _ = make()
    plane.now_s = 100.0
    check_balance(plane.totals())
    plane.lost = 1e-9
    check_balance(plane.totals())
    plane.lost = 1.0
    with pytest.raises(InvariantError, match="edge 0"):
        check_balance(plane.totals())
