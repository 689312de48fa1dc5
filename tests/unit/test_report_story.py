"""Text, tree and figure of one run: what they say, and that they hold odd input."""

import io
import re
from itertools import pairwise

import pytest
from rich.console import Console

from simulator.metrics import compute_metrics, evaluate
from simulator.report.figure import LABEL_GAP_FRAC, _spread, figure_png, make_figure
from simulator.report.junit import Case, Suite, junit_xml
from simulator.report.story import describe, five_records
from simulator.report.text import clock, run_report, timeline
from simulator.report.tree import cause_forest, recovery_records
from simulator.scenario.schema import Expectation
from tests.handmade import TRIGGER, control, outage, records, scenario, trace


def text_of(t, m, width=100):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for part in run_report(t, m, [evaluate(e, m) for e in t.scenario.expectations]):
        console.print(part)
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def lines_of(nodes, depth=0):
    out = []
    for node in nodes:
        out.append("  " * depth + node.text)
        out += lines_of(node.children, depth + 1)
    return out


def test_the_report_names_what_matters():
    t = outage()
    text = text_of(t, compute_metrics(t, control()))
    for said in (
        "Made by hand",
        "handmade, seed 7",
        "Claim: the answers are known",
        "pass  ttr_s is at most 2h",
        "Recovery: 36min 00s from the trigger",
        "recovered at 0:36:00",
        "30.0%",
        "84,000",
        "front, read",
    ):
        assert said in text, said
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100


def test_reports_of_odd_runs():
    for t in (trace(), trace([TRIGGER]), trace([TRIGGER, (720.0, "impaired", "read", {})])):
        m = compute_metrics(t, control())
        assert text_of(t, m)
        assert figure_png(t, m).startswith(b"\x89PNG")


def test_a_censored_run_says_so():
    t = trace([TRIGGER, (720.0, "impaired", "read", {})])
    text = text_of(t, compute_metrics(t, control()))
    assert "Recovery: not within 1h 50min" in text
    assert "still down" in text
    assert "Nobody marked: detected, acknowledged, diagnosed, mitigated, restored" in text


def test_an_expectation_on_a_quantile_is_not_judged_by_one_run():
    spec = scenario(expectations=(Expectation(metric="ttr_s", quantile=0.5, at_most="1min"),))
    t = outage(spec=spec)
    text = " ".join(text_of(t, compute_metrics(t, control())).split())
    assert "(outside) – one run cannot judge a quantile: simulator check runs many" in text
    assert "FAIL" not in text


def test_brackets_are_no_markup():
    spec = scenario(title="[bold]x[/bold] [/]", claim="[red]")
    t = outage(spec=spec)
    assert "[bold]x[/bold] [/]" in text_of(t, compute_metrics(t, control()))


def test_bars_cover_the_time_without_a_gap():
    t = outage()
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(timeline(compute_metrics(t, control())))
    out = console.file
    assert isinstance(out, io.StringIO)
    covered = set()
    for line in out.getvalue().splitlines():
        covered |= {k for k, c in enumerate(line) if c == "█"}
    assert covered == set(range(min(covered), max(covered) + 1))


@pytest.mark.parametrize(
    ("t_s", "shown"), [(0, "0:00:00"), (59.6, "0:01:00"), (46_861, "13:01:01")]
)
def test_clock(t_s, shown):
    assert clock(t_s) == shown


def test_the_five_records_of_the_standard_outage():
    t = outage()
    roles = [(c.role, c.record.id) for c in five_records(t, compute_metrics(t, control()))]
    assert roles == [
        ("trigger", 0),
        ("widest effect", 1),
        ("first service down", 4),
        ("mitigation", 8),
        ("recovery", 11),
    ]


def test_without_an_act_that_did_harm_the_largest_refusal_is_shown():
    rows = [
        TRIGGER,
        (700.0, "refusal", "front", {"guardrail": "floor", "verb": "remove", "asked": 3}),
        (710.0, "refusal", "store", {"guardrail": "floor", "verb": "remove", "asked": 9}),
    ]
    t = trace(rows)
    chapters = five_records(t, compute_metrics(t, control()))
    assert ("widest effect", 2) in [(c.role, c.record.id) for c in chapters]


def test_there_are_five_records_where_nobody_was_harmed():
    rows = [
        TRIGGER,
        (650.0, "alarm", "units-low", {}),
        (660.0, "page", "units-low", {}),
        (700.0, "milestone", "acknowledged", {}),
        (710.0, "refusal", "front", {"guardrail": "floor", "verb": "remove", "asked": 3}),
        (720.0, "refusal", "front", {"guardrail": "floor", "verb": "remove", "asked": 3}),
        (800.0, "milestone", "mitigated", {}),
        (900.0, "milestone", "restored", {}),
    ]
    t = trace(rows)
    chapters = five_records(t, compute_metrics(t, control()))
    assert [(c.role, c.record.id) for c in chapters] == [
        ("trigger", 0),
        ("first signal", 1),
        ("acknowledged", 3),
        ("widest effect", 4),
        ("mitigation", 6),
    ]


# ------------------------------------------------------------------------------------- tree


def test_the_tree_leads_from_the_trigger_to_the_service():
    t = outage()
    assert lines_of(cause_forest(t.records, 0))[:4] == [
        "cleanup started",
        "  cleanup: operation",
        "    pool front fails its callers",
        "      service read falls below its SLO",
    ]


def test_repeats_are_one_line():
    rows = [TRIGGER]
    for k in range(40):
        data = {"actor": "cleanup", "cause": 0, "verb": "remove", "pool": "front", "count": 12}
        rows.append((700.0 + k, "operation", "front", data))
    rows.append((800.0, "impaired", "front", {"cause": 20}))
    rows.append((801.0, "restored", "front", {"cause": 41}))
    rows.append((802.0, "impaired", "front", {"cause": 21}))
    assert lines_of(cause_forest(records(rows), 0)) == [
        "cleanup started",
        "  cleanup: remove 480 units of front × 40 operations",
        "    pool front fails its callers  (× 2)",
    ]


def test_refusals_are_shown_and_harmless_operations_are_not():
    rows = [
        TRIGGER,
        (700.0, "operation", "store", {"cause": 0, "verb": "describe", "actor": "cleanup"}),
        (701.0, "refusal", "store", {"cause": 0, "actor": "cleanup", "guardrail": "floor",
                                     "verb": "remove", "asked": 4, "decision": "refuse"}),
    ]  # fmt: skip
    lines = lines_of(cause_forest(records(rows), 0))
    assert lines == ["cleanup started", "  floor stopped cleanup: remove on store"]


def test_what_is_ill_above_is_not_shown_again_below():
    rows = [
        TRIGGER,
        (700.0, "impaired", "front", {"cause": 0}),
        (701.0, "impaired", "store", {"cause": 1}),
        (702.0, "restored", "front", {"cause": 1}),
        (703.0, "impaired", "front", {"cause": 2}),
    ]
    assert lines_of(cause_forest(records(rows), 0)) == [
        "cleanup started",
        "  pool front fails its callers",
        "    pool store fails its callers",
    ]


def test_illness_with_another_cause_has_a_tree_of_its_own():
    rows = [(5.0, "impaired", "store", {}), TRIGGER, (700.0, "impaired", "front", {"cause": 1})]
    assert [n.first.subject for n in cause_forest(records(rows), 1)] == ["cleanup", "store"]


def test_a_chain_of_a_thousand_causes_does_not_overflow():
    rows = [TRIGGER]
    rows += [(700.0 + k, "impaired", f"p{k}", {"cause": k}) for k in range(1000)]
    assert len(lines_of(cause_forest(records(rows), 0))) <= 60


def test_recovery_lists_first_signal_milestones_throttles_and_last_returns():
    t = outage()
    kinds = [(r.kind, r.subject) for r in recovery_records(t.records, 600.0)]
    assert kinds == [
        ("alarm", "read-low"),
        ("milestone", "acknowledged"),
        ("milestone", "diagnosed"),
        ("milestone", "mitigated"),
        ("milestone", "restored"),
        ("restored", "read"),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((0.0, "operation", "front", {"actor": "a", "text": "add 2 × front"}), "a: add 2 × front"),
        ((0.0, "script", "a", {"actor": "a", "text": "started"}), "a started"),
        ((0.0, "milestone", "diagnosed", {"actor": "bob", "text": "diagnosed"}), "bob: diagnosed"),
        ((0.0, "alarm", "read", {"actor": "low", "text": "of read"}), "alarm: low (of read)"),
        ((0.0, "page", "low", {"text": "alarm low"}), "page: alarm low"),
        ((0.0, "restored", "read", {}), "service read is back at its SLO"),
    ],
)  # fmt: skip
def test_describe(row, said):
    assert describe(records([row])[0]) == said


# ----------------------------------------------------------------------------------- figure


def test_the_figure_has_units_and_tells_lines_apart_without_colour():
    t = outage()
    figure = make_figure(t, compute_metrics(t, control()))
    goodput, capacity, phases = figure.axes
    assert goodput.get_ylabel() == "goodput\n(% of first tries)"
    assert capacity.get_ylabel() == "capacity\n(% of the start)"
    assert phases.get_xlabel() == "time since the trigger (min)"
    for axes in (goodput, capacity):
        named = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
        styles = {(str(line.get_linestyle()), str(line.get_marker())) for line in named}
        assert len(styles) == len(named) == 2


def test_labels_of_the_figure_do_not_overlap():
    t = outage()
    figure = make_figure(t, compute_metrics(t, control()))
    figure.canvas.draw()
    boxes = [a.get_window_extent() for a in figure.axes[2].texts]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[k + 1 :])
    spots = sorted(a.xyann[0] for a in figure.axes[0].texts if hasattr(a, "xyann"))
    low, high = figure.axes[0].get_xlim()
    gaps = [b - a for a, b in pairwise(spots)]
    assert min(gaps) >= 0.999 * LABEL_GAP_FRAC * (high - low)


def test_labels_stay_in_order_and_in_the_axis():
    spots = _spread([9.9, 9.95, 10.0, 10.0], 0.0, 10.0)
    assert spots == sorted(spots)
    assert spots[-1] <= 10.0


def test_the_figure_is_the_same_every_time():
    t = outage()
    m = compute_metrics(t, control())
    assert figure_png(t, m, dpi=40) == figure_png(t, m, dpi=40)


def test_junit_escapes_and_counts():
    cases = (Case("a < b & c", passed=False, message='"no"'), Case("d", passed=True, message="1"))
    xml = junit_xml((Suite("s", 1.25, cases),)).decode()
    assert 'tests="2" failures="1" errors="0" time="1.250"' in xml
    assert re.search(r'name="a &lt; b &amp; c">\s*<failure message="&quot;no&quot;"', xml)
