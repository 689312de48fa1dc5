import itertools
from typing import Any

import pytest
from pydantic import ValidationError

from simulator.automation.host_manager_floor_lost import HostManagerFloorLost
from simulator.automation.runaway_removal import RunawayRemoval
from simulator.mechanism import Wait
from tests.fakes import DECLARED, World, build, config

PACE = {"kind": "constant", "value": "1min"}
DEFECTS = ["wrong_scope", "unbounded_loop", "ignored_errors", "stale_inventory"]


def script(*defects, **settings):
    usual: dict[str, Any] = {
        "start": "10min",
        "target": ["store"],
        "scope": ["api", "store"],
        "goal_frac": "20%",
        "batch_units": 2,
        "pace": PACE,
        "defects": defects,
    }
    return build(RunawayRemoval, **(usual | settings))


def overload(world):
    """Success falls once less than half of a pool is left."""
    worst = min(world.units[p] / n for p, n in DECLARED.items())
    return min(1.0, 2 * worst)


def test_a_correct_script_does_what_it_should_and_ends():
    world = World(success=overload)
    it = script()
    assert it.start_s == 600.0
    assert world.run(it.run())
    assert world.units == DECLARED | {"store": 16}
    assert all(overload(world) == 1.0 for _ in world.asked)
    assert [a.count for a in world.done("remove")] == [2, 2]


@pytest.mark.parametrize("order", ["sequential", "round_robin"])
@pytest.mark.parametrize("size", [{"batch_units": 7}, {"batch_units": None, "batch_frac": "3%"}])
def test_a_correct_script_never_passes_its_goal(order, size):
    world = World()
    assert world.run(script(target=["*"], order=order, **size).run())
    assert world.units == {"api": 32, "control": 8, "store": 16}


def test_a_correct_script_sees_units_that_others_removed():
    world = World()
    world.units["store"] = 20

    def rival(it):
        it.units["store"] -= it.now_s > 30 and it.units["store"] > 17

    world.before = rival
    assert world.run(script().run())
    assert world.units["store"] == 16


def test_batches_take_turns_or_follow_each_other():
    for order, pools in (("sequential", "aaaass"), ("round_robin", "asasaa")):
        world = World()
        assert world.run(script(target=["api", "store"], order=order).run())
        assert "".join(a.pool[0] for a in world.done("remove")) == pools


def test_a_correct_script_stops_when_success_falls():
    world = World(success=lambda w: 0.9 if w.units["store"] < 20 else 1.0)
    assert world.run(script(goal_frac="100%").run())
    assert world.units["store"] == 18


def test_a_correct_script_does_not_act_blind():
    world = World(visible=False)
    assert world.run(script().run())
    assert not world.asked


@pytest.mark.parametrize("status", ["failed", "timed_out", "throttled", "refused", "halted"])
def test_a_correct_script_gives_up_after_errors(status):
    world = World(plane=status)
    assert world.run(script(give_up_after=4).run())
    assert len(world.asked) == 4


def test_errors_that_pass_are_forgotten():
    world = World()
    bad = itertools.cycle(["failed", "failed", "done", "done"])

    def flaky(it):
        it.plane = next(bad) if isinstance(it.commands[-1], Wait) else it.plane

    world.before = flaky
    assert world.run(script(give_up_after=3, goal_frac="50%").run())
    assert world.units["store"] == 10
    assert sum(not outcome.ok for _, _, outcome in world.asked) > 3


def test_wrong_scope_alone_harms_other_pools_up_to_the_goal():
    world = World(success=overload)
    assert world.run(script("wrong_scope").run())
    assert world.units == {"api": 32, "control": 10, "store": 16}
    world = World()
    assert world.run(script("wrong_scope", scope=None).run())
    assert world.units["api"] == 40


def test_unbounded_loop_alone_goes_past_the_goal_until_success_falls():
    world = World(success=overload)
    assert world.run(script("unbounded_loop").run())
    assert world.units == DECLARED | {"store": 8}


def test_ignored_errors_alone_goes_on_until_the_goal_whatever_happens():
    world = World(success=lambda _: 0.0, visible=False, plane="failed")
    assert not world.run(script("ignored_errors").run(), until_s=7200.0)
    assert len(world.asked) > 100
    world = World(success=lambda _: 0.0, visible=False)
    assert world.run(script("ignored_errors").run())
    assert world.units["store"] == 16


def test_ignored_errors_fall_back_on_the_last_inventory():
    world = World()

    def describes_fail(it):
        first = len(it.asked) == 0
        action = getattr(it.commands[-1], "action", None)
        it.plane = "failed" if action and action.verb == "describe" and not first else "done"

    world.before = describes_fail
    assert not world.run(script("ignored_errors").run(), until_s=3600.0)
    assert world.units["store"] == 0, "the same stale count is believed again and again"


def test_stale_inventory_alone_repeats_itself_until_success_falls():
    world = World(success=overload)
    assert world.run(script("stale_inventory").run())
    assert world.units == DECLARED | {"store": 8}
    assert len(world.done("describe")) == 1


def test_all_defects_together_never_end():
    world = World(success=overload, plane="done")
    it = script(*DEFECTS, order="round_robin")
    assert not world.run(it.run(), until_s=6 * 3600.0)
    assert world.units == {"api": 0, "control": 10, "store": 0}
    assert world.asked[-1][0] > 5 * 3600.0


def test_an_unbounded_loop_takes_what_is_put_back():
    world = World()

    def put_back(it):
        if it.now_s > 7200 and not it.booting:
            it.units["api"] = max(it.units["api"], 4)

    world.before = put_back
    it = script("unbounded_loop", "ignored_errors", target=["store", "api"])
    assert not world.run(it.run(), until_s=4 * 3600.0)
    assert sum(a.count for a in world.done("remove") if a.pool == "api") > 40


def test_chosen_verb_and_control_plane_are_used():
    world = World()
    assert world.run(script(verb="drain", via="plane").run())
    assert {(a.verb, a.via) for _, a, _ in world.asked} == {
        ("describe", "plane"),
        ("drain", "plane"),
    }


@pytest.mark.parametrize("sizes", [{"batch_units": None}, {"batch_frac": "5%"}])
def test_exactly_one_batch_size(sizes):
    with pytest.raises(ValidationError, match="either batch_frac or batch_units"):
        script(**sizes)


def test_unknown_defects_are_refused():
    with pytest.raises(ValidationError, match="literal_error"):
        config(RunawayRemoval, start="0s", target=["api"], goal_frac=0, pace=PACE, defects=["typo"])


def test_a_pace_of_zero_does_not_stop_the_clock():
    world = World()
    it = script("unbounded_loop", "ignored_errors", pace={"kind": "constant", "value": 0})
    assert not world.run(it.run(), most=3000)
    assert world.now_s > 0


def test_host_manager_takes_hosts_down_to_its_floor_and_no_further():
    world = World(success=lambda _: 0.0)
    it = build(
        HostManagerFloorLost, pools=["api"], frac_per_min="5%", floor_frac="10%", start="5min"
    )
    assert it.start_s == 300.0
    assert not world.run(it.run(), until_s=7200.0)
    assert world.units == DECLARED | {"api": 4}
    assert {a.count for a in world.done("drain")} == {2}


def test_host_manager_takes_fractions_of_a_unit_in_time_and_what_is_put_back():
    world = World()
    it = build(HostManagerFloorLost, pools=["control"], frac_per_min="2%", floor_frac="50%")
    commands = it.run()
    assert not world.run(commands, until_s=3600.0)
    assert world.units["control"] == 5
    assert len(world.done("drain")) == 5
    world.units["control"] = 7
    assert not world.run(commands, until_s=7200.0)
    assert world.units["control"] == 5


def test_host_manager_without_an_answer_does_nothing():
    world = World(plane="timed_out")
    it = build(HostManagerFloorLost, pools=["api"], frac_per_min="5%", floor_frac="10%")
    assert not world.run(it.run(), until_s=3600.0)
    assert world.units == DECLARED
