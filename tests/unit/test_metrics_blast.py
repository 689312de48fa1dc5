"""Blast radius: customers, services, zones, pools; losses; chain of causes; amplification."""

import json
from dataclasses import replace

import pytest

from simulator.errors import UsageError
from simulator.metrics import blast, compute_metrics
from tests.handmade import TRIGGER, Row, control, outage, scenario, trace


def test_standard_outage():
    m = compute_metrics(outage(), control())
    b = m.blast_radius
    assert b.services == ("read",)
    assert b.services_frac == 0.5
    assert b.customers_frac == pytest.approx(0.3)
    assert b.direct_pools == ("front",)
    assert (b.direct_frac, b.cascaded_frac) == (0.5, 0.0)
    # Four of five units in zone a: 80 % lost; the record says 1 is left.
    assert b.zones == ("a",)
    assert b.zones_frac == 0.5
    # 28 min at 100 first tries/s, half of them failed.
    assert m.lost_first_tries == pytest.approx(28 * 60 * 100 * 0.5)
    # 28 min * 0.5 / (1 - 0.99)
    assert m.error_budget_min == pytest.approx(1400.0)
    assert m.min_units_frac == {"front": 0.2, "store": 1.0}
    assert m.min_success_frac == {"read": 0.5, "write": 1.0}
    assert m.cascade_order == ("front", "read")
    assert m.alarms == 1


def test_customers_of_two_services_overlap_by_chance():
    t = trace([TRIGGER], failing={"read": [(20, 30, 1.0)], "write": [(20, 30, 1.0)]})
    b = compute_metrics(t, control()).blast_radius
    assert b.customers_frac == pytest.approx(1 - 0.7 * 0.5)


@pytest.mark.parametrize(
    ("failing", "touched"),
    [
        ([(20, 30, 0.04)], False),  # below theta for long
        ([(20, 30, 0.06)], True),
        ([(20, 20, 0.20)], False),  # one minute in five: 4 %
        ([(20, 20, 0.30)], True),
        ([(5, 9, 1.0)], False),  # before the trigger
    ],
)
def test_a_service_is_touched_above_theta_in_some_window(failing, touched):
    t = trace([TRIGGER], failing={"read": failing})
    assert (compute_metrics(t, control()).blast_radius.services == ("read",)) is touched


def test_what_fails_in_the_control_run_too_does_not_count():
    base = trace(failing={"read": [(20, 30, 1.0)]})
    m = compute_metrics(trace([TRIGGER], failing={"read": [(20, 30, 1.0)]}), base)
    assert m.blast_radius.services == ()
    assert m.lost_first_tries == 0.0
    assert m.error_budget_min == 0.0


def _unit(t_s: float, level: int, *, count: int, how: tuple[str, str], zone: str = "b"):
    data = {"zone": zone, "count": count, "from": how[0], "to": how[1], "in_service": level}
    return (t_s, "unit", "store", data)


DOWN: Row = (720.0, "impaired", "read", {})


def test_zones_need_the_loss_of_a_tenth():
    gone, back = ("in_service", "removed"), ("warming", "in_service")
    one = trace([TRIGGER, _unit(700.0, 10, count=1, how=gone), DOWN])
    assert compute_metrics(one, control()).blast_radius.zones == ()
    two = trace([TRIGGER, _unit(700.0, 9, count=1, how=gone), DOWN])
    assert compute_metrics(two, control()).blast_radius.zones == ("b",)
    same = trace([_unit(700.0, 9, count=1, how=gone)])
    assert compute_metrics(two, same).blast_radius.zones == ()
    before = [_unit(60.0, 2, count=8, how=gone), TRIGGER, _unit(700.0, 3, count=1, how=back), DOWN]
    assert compute_metrics(trace(before), control()).blast_radius.zones == ()


def test_without_impact_no_zone_is_touched():
    gone = ("in_service", "removed")
    m = compute_metrics(trace([TRIGGER, _unit(700.0, 1, count=9, how=gone)]), control())
    assert (m.impacted, m.blast_radius.zones, m.blast_radius.zones_frac) == (False, (), 0.0)


@pytest.mark.parametrize(("zone", "zones"), [("b", ("b",)), ("", ("a", "b"))])
def test_a_fault_touches_the_zone_it_names_or_all(zone, zones):
    fault = (700.0, "fault", "store", {"actor": "x", "what": "capacity_factor", "zone": zone})
    assert compute_metrics(trace([TRIGGER, fault, DOWN]), control()).blast_radius.zones == zones
    # The control run has it too, or it came before the trigger, or nobody felt it.
    assert compute_metrics(trace([TRIGGER, fault, DOWN]), trace([fault])).blast_radius.zones == ()
    early = (60.0, *fault[1:])
    assert compute_metrics(trace([early, TRIGGER, DOWN]), control()).blast_radius.zones == ()
    assert compute_metrics(trace([TRIGGER, fault]), control()).blast_radius.zones == ()


def test_direct_and_cascaded_pools():
    rows = [
        TRIGGER,
        # A unit lost is no reason to fail as long as the rest is enough.
        (690.0, "unit", "front", {"zone": "a", "count": 1, "from": "in_service",
                                        "to": "removed", "in_service": 4}),
        (700.0, "fault", "store", {"actor": "x", "what": "capacity_factor", "pool": "store"}),
        (710.0, "impaired", "store", {"cause": 2}),
        (720.0, "impaired", "front", {"cause": 3}),
    ]  # fmt: skip
    # The store's capacity falls below its load as it fails, that of the front only afterwards.
    lows = (("store", 12, 99.0), ("front", 13, 9.0))
    short = {(pool, "capacity_rps"): [(since, 20, low)] for pool, since, low in lows}
    b = compute_metrics(trace(rows, pools=short), control()).blast_radius
    assert (b.direct_pools, b.cascaded_pools) == (("store",), ("front",))
    assert (b.direct_frac, b.cascaded_frac) == (0.5, 0.5)
    # The load is that of the control run at that time, not of the run.
    less = trace(pools={("store", "offered_rps"): [(12, 12, 98.0)]})
    assert compute_metrics(trace(rows, pools=short), less).blast_radius.direct_pools == ()


def test_what_is_no_trace_or_of_another_region_is_refused():
    with pytest.raises(UsageError, match="trace must be a Trace, as simulate returns it, not str"):
        compute_metrics("run.yaml")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="control must be a Trace"):
        compute_metrics(trace(), 7)  # type: ignore[arg-type]
    other = replace(control(), pool_ids=("a", "b"))
    with pytest.raises(UsageError, match="other pools or services"):
        compute_metrics(trace(), other)


def test_depth_counts_different_subjects_along_one_chain_of_causes():
    rows = [
        TRIGGER,
        (700.0, "impaired", "store", {"cause": 0}),
        (701.0, "operation", "front", {"cause": 1, "verb": "describe"}),
        (702.0, "impaired", "front", {"cause": 2}),
        (703.0, "impaired", "read", {"cause": 3}),
        (704.0, "impaired", "write", {"cause": 1}),
        (705.0, "restored", "store", {"cause": 1}),
        (706.0, "impaired", "store", {"cause": 4}),
    ]
    assert compute_metrics(trace(rows), control()).cascade_depth == 3


def test_illness_without_a_cause_is_one_deep_and_before_the_trigger_none():
    rows = [(10.0, "impaired", "store", {}), TRIGGER, (700.0, "impaired", "front", {"cause": 0})]
    assert compute_metrics(trace(rows), control()).cascade_depth == 1


def test_a_cause_that_comes_later_is_no_cause():
    rows = [TRIGGER, (700.0, "impaired", "store", {"cause": 2}), (701.0, "impaired", "read", {})]
    assert compute_metrics(trace(rows), control()).cascade_depth == 1


def test_peak_amplification_of_services_and_pools():
    t = trace([TRIGGER], services={("read", "attempts_rps"): [(5, 6, 900.0), (20, 21, 300.0)]})
    m = compute_metrics(t, control())
    assert (m.peak_amplification, m.peak_attempts_per_first_try) == (3.0, 3.0)
    t = trace([TRIGGER], pools={("store", "offered_rps"): [(20, 21, 450.0)]})
    m = compute_metrics(t, control())
    assert (m.peak_amplification, m.peak_attempts_per_first_try) == (4.5, 1.0)


def test_load_on_an_idle_pool_is_not_infinite():
    base = trace(pools={("store", "offered_rps"): [(1, 120, 0.0)]})
    m = compute_metrics(trace([TRIGGER]), base)
    # 100/s against a hundredth of the capacity of 200/s.
    assert m.peak_amplification == 50.0


def test_refusals_by_guardrail():
    rows = [
        TRIGGER,
        *((700.0 + k, "refusal", "front", {"guardrail": "floor"}) for k in range(3)),
        (710.0, "refusal", "front", {"guardrail": "velocity"}),
    ]
    m = compute_metrics(trace(rows), control())
    assert m.actions_refused == 4
    assert m.refused_by == {"floor": 3, "velocity": 1}


def test_an_slo_of_one_has_no_error_budget():
    region = scenario().region
    services = tuple(s.model_copy(update={"slo": 1.0}) for s in region.services)
    spec = scenario(region=region.model_copy(update={"services": services}))
    m = compute_metrics(outage(spec=spec), control())
    assert m.error_budget_min is None


def test_to_dict_is_json_and_to_frame_has_a_row_per_service():
    m = compute_metrics(outage(), control())
    assert json.loads(json.dumps(m.to_dict(), allow_nan=False))["ttr_s"] == 2160.0
    frame = m.to_frame()
    assert list(frame.index) == ["read", "write"]
    assert "36min 00s" in m._repr_html_()


def test_html_escapes_what_files_say():
    m = compute_metrics(outage(spec=scenario(title="<b>")), control())
    assert "<script" not in m._repr_html_()
    assert "&lt;b&gt;" in outage(spec=scenario(title="<b>"))._repr_html_()


def test_windows_sum_whole_samples():
    t = trace([TRIGGER], failing={"read": [(20, 20, 0.26)]})
    # 0.26 of one in five minutes is 5.2 %: above theta only if the window is five samples long.
    assert compute_metrics(t, control()).blast_radius.services == ("read",)
    t = trace([TRIGGER], failing={"read": [(20, 20, 0.24)]})
    assert compute_metrics(t, control()).blast_radius.services == ()


@pytest.mark.parametrize(
    ("name", "value"), [("THETA_FRAC", 0.6), ("WINDOW_S", 1e9), ("ZONE_LOSS_FRAC", 0.9)]
)
def test_mutants_of_the_rule_change_the_standard_answer(monkeypatch, name, value):
    monkeypatch.setattr(blast, name, value)
    t = outage(failing={"read": [(13, 13, 0.5)]})
    b = compute_metrics(t, control()).blast_radius
    assert (b.services, b.zones) != (("read",), ("a",))
