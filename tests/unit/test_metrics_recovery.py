"""Recovery: impact, milestones, phases, hold window, backlog, mitigation, censoring."""

import math
from typing import Any

import pytest

from simulator.metrics import compute_metrics, recovery
from tests.handmade import NO, TRIGGER, control, outage, scenario, trace


def test_standard_outage_has_the_answers_worked_out_by_hand():
    m = compute_metrics(outage(), control())
    assert m.baseline == "control run"
    assert m.trigger_s == 600.0
    # The queue is outside its band up to the sample at 2700 s; the next one is at 2760 s.
    assert (m.impacted, m.recovered, m.ttr_s) == (True, True, 2160.0)
    assert m.ttr_from_impact_s == 2040.0
    assert m.censored_at_s is None
    assert m.relapses == 0
    assert m.milestones_s == {
        "trigger": 0.0,
        "impact": 120.0,
        "detected": 300.0,
        "acknowledged": 600.0,
        "diagnosed": 900.0,
        "mitigated": 1200.0,
        "restored": 1500.0,
        "drained": 2160.0,
        "recovered": 2160.0,
    }
    assert m.milestones_from_impact_s["detected"] == 180.0
    assert m.milestones_from_impact_s["trigger"] == -120.0
    assert m.phases_s == {
        "detect": 300.0,
        "acknowledge": 300.0,
        "diagnose": 300.0,
        "mitigate": 300.0,
        "restore": 300.0,
        "drain": 660.0,
    }


def test_phases_add_up_to_the_time_to_recovery():
    m = compute_metrics(outage(), control())
    assert sum(x for x in m.phases_s.values() if x is not None) == m.ttr_s


def test_no_impact_is_recovery_in_no_time():
    m = compute_metrics(trace([TRIGGER]), control())
    assert (m.impacted, m.recovered, m.ttr_s, m.ttr_from_impact_s) == (False, True, 0.0, 0.0)
    assert m.censored_at_s is None
    assert set(m.phases_s.values()) == {None}
    assert m.milestones_s["impact"] is None
    assert m.blast_radius.customers_frac == 0.0
    assert m.cascade_order == ()


def test_what_people_did_is_kept_without_impact():
    rows = [
        TRIGGER,
        (650.0, "alarm", "units-low", NO),
        (700.0, "milestone", "acknowledged", NO),
        (800.0, "milestone", "mitigated", NO),
    ]
    m = compute_metrics(trace(rows), control())
    assert not m.impacted
    known = {name: t_s for name, t_s in m.milestones_s.items() if t_s is not None}
    assert known == {"trigger": 0.0, "detected": 50.0, "acknowledged": 100.0, "mitigated": 200.0}
    assert set(m.phases_s.values()) == {None}
    assert set(m.milestones_from_impact_s.values()) == {None}


def test_the_control_run_compared_with_itself_shows_nothing():
    m = compute_metrics(control(), control())
    assert not m.impacted
    assert m.lost_first_tries == 0.0
    assert m.trigger_s is None


def test_a_run_that_stays_ill_is_censored():
    rows = [TRIGGER, (720.0, "impaired", "read", {"cause": 0}), (900.0, "alarm", "read", NO)]
    m = compute_metrics(trace(rows, failing={"read": [(13, 120, 1.0)]}), control())
    assert (m.recovered, m.ttr_s, m.ttr_from_impact_s) == (False, None, None)
    assert m.censored_at_s == 120 * 60.0 - 600.0
    assert m.phases_s["detect"] == 300.0
    assert m.phases_s["drain"] is None
    assert m.services[0].ttr_s is None


def test_well_for_less_than_the_hold_window_at_the_end_is_censored():
    end_s = 120 * 60.0
    for back_s, recovered in ((end_s - recovery.HOLD_S, True), (end_s - 599.0, False)):
        rows = [TRIGGER, (720.0, "impaired", "read", NO), (back_s, "restored", "read", NO)]
        assert compute_metrics(trace(rows), control()).recovered is recovered


def test_backlog_outside_its_band_delays_recovery():
    rows = [TRIGGER, (720.0, "impaired", "read", NO), (900.0, "restored", "read", NO)]
    without = compute_metrics(trace(rows), control())
    assert without.ttr_s == 300.0
    cases: tuple[dict[str, Any], ...] = (
        {"pools": {("store", "dead"): [(13, 30, 1000.0)]}},
        {"pools": {("store", "queue"): [(13, 30, 1000.0)]}},
        {"services": {("write", "in_flight"): [(13, 30, 1000.0)]}},
    )
    for where in cases:
        m = compute_metrics(trace(rows, **where), control())
        assert m.ttr_s == 31 * 60.0 - 600.0
        assert m.milestones_s["drained"] == m.ttr_s


def test_a_backlog_below_one_second_of_arrivals_is_none():
    rows = [TRIGGER, (720.0, "impaired", "read", NO), (900.0, "restored", "read", NO)]
    m = compute_metrics(trace(rows, pools={("store", "queue"): [(13, 30, 100.0)]}), control())
    assert m.ttr_s == 300.0


def test_a_backlog_that_never_drains_is_censored():
    rows = [TRIGGER, (720.0, "impaired", "read", NO), (900.0, "restored", "read", NO)]
    m = compute_metrics(trace(rows, pools={("store", "queue"): [(13, 120, 1e4)]}), control())
    assert not m.recovered
    assert m.milestones_s["drained"] is None


def test_a_throttle_delays_recovery_until_it_is_lifted():
    throttle = (800.0, "operation", "region", {"verb": "throttle", "service": "", "factor": 0.4})
    lift = (3000.0, "operation", "region", {"verb": "throttle", "service": "", "factor": 1.0})
    ill = [(720.0, "impaired", "read", NO), (900.0, "restored", "read", NO)]
    m = compute_metrics(trace(sorted([TRIGGER, throttle, lift, *ill])), control())
    assert m.ttr_s == 2400.0
    m = compute_metrics(trace(sorted([TRIGGER, throttle, *ill])), control())
    assert m.ttr_s is None


def test_throttles_are_counted_by_service():
    rows = [
        TRIGGER,
        (720.0, "impaired", "read", NO),
        (730.0, "operation", "region", {"verb": "throttle", "service": "", "factor": 0.4}),
        (900.0, "restored", "read", NO),
        (1000.0, "operation", "read", {"verb": "throttle", "service": "read", "factor": 1.0}),
        (1500.0, "operation", "write", {"verb": "throttle", "service": "write", "factor": 1.0}),
    ]
    assert compute_metrics(trace(rows), control()).ttr_s == 900.0


def test_a_paused_loop_is_no_mitigation_that_delays_recovery():
    rows = [
        TRIGGER,
        (720.0, "impaired", "read", NO),
        (800.0, "operation", "scaler", {"verb": "pause", "target": "scaler"}),
        (900.0, "restored", "read", NO),
    ]
    assert compute_metrics(trace(rows), control()).ttr_s == 300.0


def test_a_relapse_undoes_recovery_and_is_counted():
    rows = [
        TRIGGER,
        (720.0, "impaired", "read", NO),
        (900.0, "restored", "read", NO),
        (3000.0, "impaired", "write", NO),
        (3600.0, "restored", "write", NO),
    ]
    m = compute_metrics(trace(rows), control())
    assert m.ttr_s == 3000.0
    assert m.relapses == 1
    assert [s.ttr_s for s in m.services] == [300.0, 3000.0]
    assert [s.impaired_s for s in m.services] == [180.0, 600.0]


def test_illness_before_the_trigger_or_in_the_control_run_is_not_its_doing():
    ill = [(60.0, "impaired", "read", NO), (120.0, "restored", "read", NO)]
    assert not compute_metrics(trace([*ill, TRIGGER]), control()).impacted
    noon = [(3000.0, "impaired", "read", NO), (3300.0, "restored", "read", NO)]
    base = trace(noon)
    assert not compute_metrics(trace([TRIGGER, *noon]), base).impacted
    longer = [(3000.0, "impaired", "read", NO), (3900.0, "restored", "read", NO)]
    m = compute_metrics(trace([TRIGGER, *longer]), base)
    assert m.milestones_s["impact"] == 2700.0
    assert m.services[0].impaired_s == 600.0
    sliver = [(3000.0, "impaired", "read", NO), (3310.0, "restored", "read", NO)]
    assert not compute_metrics(trace([TRIGGER, *sliver]), base).impacted


def test_an_alarm_of_the_control_run_is_no_detection():
    alarm = (650.0, "alarm", "store", NO)
    m = compute_metrics(outage(), control())
    assert m.milestones_s["detected"] == 300.0
    rows = [TRIGGER, alarm, (720.0, "impaired", "read", NO), (900.0, "restored", "read", NO)]
    assert compute_metrics(trace(rows), trace([alarm])).milestones_s["detected"] is None
    assert compute_metrics(trace(rows), control()).milestones_s["detected"] == 50.0


def test_milestones_marked_late_or_out_of_order_do_not_break_the_sum():
    rows = [
        TRIGGER,
        (720.0, "impaired", "read", NO),
        (780.0, "milestone", "diagnosed", NO),
        (800.0, "milestone", "acknowledged", NO),
        (900.0, "restored", "read", NO),
        (5000.0, "milestone", "restored", NO),
    ]
    m = compute_metrics(trace(rows), control())
    assert m.ttr_s == 300.0
    assert sum(x for x in m.phases_s.values() if x is not None) == 300.0
    assert all(x is None or x >= 0.0 for x in m.phases_s.values())
    assert m.phases_s["mitigate"] is None


def test_capacity_counts_as_restored_when_it_was_for_the_last_time():
    rows = [
        TRIGGER,
        (720.0, "impaired", "read", NO),
        (1000.0, "milestone", "restored", NO),
        (2000.0, "milestone", "restored", NO),
        (2100.0, "restored", "read", NO),
    ]
    assert compute_metrics(trace(rows), control()).milestones_s["restored"] == 1400.0


def test_without_a_control_run_the_state_before_the_trigger_is_the_measure():
    m = compute_metrics(outage())
    assert m.baseline == "state before the trigger"
    assert m.ttr_s == compute_metrics(outage(), control()).ttr_s
    assert m.lost_first_tries == pytest.approx(84_000.0)


def test_without_a_trigger_the_clock_starts_with_the_impact():
    rows = [(720.0, "impaired", "read", NO), (900.0, "restored", "read", NO)]
    m = compute_metrics(trace(rows, spec=scenario(trigger=())), None)
    assert m.trigger_s is None
    assert (m.ttr_s, m.ttr_from_impact_s) == (180.0, 180.0)


def test_a_pool_and_a_service_of_one_name_are_two():
    rows = [
        TRIGGER,
        (700.0, "impaired", "read", {"what": "pool"}),
        (710.0, "restored", "read", {"what": "pool"}),
        (720.0, "impaired", "read", {"what": "service", "cause": 1}),
        (900.0, "restored", "read", {"what": "service"}),
    ]
    m = compute_metrics(trace(rows), control())
    assert m.milestones_s["impact"] == 120.0
    assert m.cascade_depth == 2


def test_an_interval_open_in_the_control_run_hides_the_rest():
    base = trace([(650.0, "impaired", "read", NO)])
    m = compute_metrics(trace([TRIGGER, (620.0, "impaired", "read", NO)]), base)
    # The 30 seconds by which it came earlier are a shift, not an effect.
    assert not m.impacted
    assert not math.isinf(m.end_s)


@pytest.mark.parametrize(
    ("name", "value"), [("HOLD_S", 6000.0), ("BACKLOG_FACTOR", 1e9), ("BACKLOG_ARRIVALS_S", 1e9)]
)
def test_mutants_of_the_rule_change_the_standard_answer(monkeypatch, name, value):
    monkeypatch.setattr(recovery, name, value)
    assert compute_metrics(outage(), control()).ttr_s != 2160.0
