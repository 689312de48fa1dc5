"""The judges are judged: expectations, quantiles, the comparison with a baseline."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from simulator.errors import QuantityError, UsageError
from simulator.metrics import compute_metrics, evaluate, evaluate_over, gate, metric_value
from simulator.metrics.expectations import quantile, show_duration, show_value
from simulator.scenario.metrics_names import KNOWN_METRICS
from simulator.scenario.schema import Expectation
from tests.handmade import TRIGGER, control, outage, trace

STANDARD = compute_metrics(outage(), control())
CENSORED = compute_metrics(trace([TRIGGER, (720.0, "impaired", "read", {})]), control())


@pytest.mark.parametrize("name", [*KNOWN_METRICS, "min_units_frac.front", "min_success_frac.read"])
def test_every_metric_that_a_file_may_name_exists(name):
    assert isinstance(metric_value(STANDARD, name), float)


@pytest.mark.parametrize(
    "name", ["ttr", "blast_radius.planets_frac", "min_units_frac.cellar", "x.y"]
)
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match="unknown metric"):
        metric_value(STANDARD, name)


@pytest.mark.parametrize("name", ["scenario", "cascade_order", "services"])
def test_what_is_no_number_is_refused(name):
    with pytest.raises(UsageError, match="not a number"):
        metric_value(STANDARD, name)


@pytest.mark.parametrize(
    ("limits", "passed"),
    [
        ({"metric": "ttr_s", "at_most": "36min"}, True),
        ({"metric": "ttr_s", "at_most": "35min"}, False),
        ({"metric": "ttr_s", "at_least": "36min"}, True),
        ({"metric": "ttr_s", "at_least": 2161.0}, False),
        ({"metric": "ttr_s", "at_least": "30min", "at_most": "40min"}, True),
        ({"metric": "ttr_s", "at_least": "30min", "at_most": "31min"}, False),
        ({"metric": "recovered", "equals": True}, True),
        ({"metric": "recovered", "equals": False}, False),
        ({"metric": "blast_radius.customers_frac", "equals": 0.3}, True),
        ({"metric": "blast_radius.customers_frac", "at_most": "29%"}, False),
        ({"metric": "cascade_depth", "equals": 2}, True),
        ({"metric": "phases_s.drain", "at_most": "11min"}, True),
    ],
)
def test_limits(limits, passed):
    assert evaluate(Expectation(**limits), STANDARD).passed is passed


def test_a_censored_time_is_longer_than_any_limit():
    assert metric_value(CENSORED, "ttr_s") == math.inf
    assert not evaluate(Expectation(metric="ttr_s", at_most="1000h"), CENSORED).passed
    assert evaluate(Expectation(metric="ttr_s", at_least="1000h"), CENSORED).passed


def test_a_number_without_a_meaning_is_refused():
    with pytest.raises(QuantityError):
        evaluate(Expectation(metric="ttr_s", at_most="soon"), STANDARD)


def test_quantiles_over_seeds_are_order_statistics():
    values = [5.0, 1.0, math.inf, 3.0]
    assert [quantile(values, q) for q in (0.0, 0.25, 0.26, 0.5, 0.75, 0.76, 1.0)] == [
        1.0, 1.0, 3.0, 3.0, 5.0, math.inf, math.inf,
    ]  # fmt: skip


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9, 1.0])
def test_quantile_equals_numpys_inverse_of_the_distribution(q):
    values = np.random.default_rng(1).lognormal(size=37)
    assert quantile(list(values), q) == np.quantile(values, q, method="inverted_cdf")


def test_with_a_quantile_that_is_judged_without_every_run():
    half = Expectation(metric="ttr_s", quantile=0.5, at_most="1h")
    values = [60.0, 120.0, math.inf]
    assert evaluate_over(half, values).passed
    every = Expectation(metric="ttr_s", at_most="1h")
    verdict = evaluate_over(every, values)
    assert (verdict.passed, verdict.failed_runs, verdict.runs) == (False, 1, 3)
    assert verdict.shown_value == "not reached"


def test_the_value_shown_is_the_worst():
    low = evaluate_over(Expectation(metric="cascade_depth", at_least=3), [5.0, 2.0, 4.0])
    assert (low.value, low.passed) == (2.0, False)
    high = evaluate_over(Expectation(metric="cascade_depth", at_most=9), [5.0, 2.0, 4.0])
    assert (high.value, high.passed) == (5.0, True)
    with pytest.raises(UsageError):
        evaluate_over(Expectation(metric="cascade_depth", at_least=3), [])


def test_statements_read_like_sentences():
    said = evaluate(Expectation(metric="ttr_s", quantile=0.5, at_most="2h"), STANDARD)
    assert said.statement == "median of ttr_s is at most 2h"
    assert said.over_seeds
    said = evaluate(Expectation(metric="recovered", equals=True), STANDARD)
    assert said.statement == "recovered is true"
    assert said.shown_value == "true"
    share = Expectation(metric="blast_radius.zones_frac", at_least=0.5, at_most=1.0, quantile=0.9)
    said = evaluate(share, STANDARD)
    assert said.statement == "p90 of blast_radius.zones_frac is at least 50% and at most 100%"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0s"),
        (12.5, "12.5s"),
        (59.99, "60s"),
        (60.0, "1min 00s"),
        (3599.6, "1h 00min"),
        (39_720.0, "11h 02min"),
        (100_000.0, "27h 46min"),
        (200_000.0, "2d 07h"),
        (-90.0, "−1min 30s"),
    ],
)
def test_durations_as_people_write_them(seconds, shown):
    assert show_duration(seconds) == shown


def test_values_as_people_write_them():
    assert show_value("impacted", 1.0) == "true"
    assert show_value("blast_radius.zones_frac", 0.5) == "50.0%"
    assert show_value("error_budget_min", math.inf) == "infinite"
    assert show_value("lost_first_tries", 1_234_567.0) == "1,234,567"


# --------------------------------------------------------------------------------- baseline


def runs(times):
    return [
        replace(STANDARD, seed=k, ttr_s=t, recovered=t is not None) for k, t in enumerate(times)
    ]


def before(times):
    return {k: math.inf if t is None else t for k, t in enumerate(times)}


BASE = [100.0 + k for k in range(10)]


def test_the_same_times_pass():
    g = gate.compare(before(BASE), runs(BASE))
    assert (g.passed, g.p_value, g.pairs) == (True, 1.0, 10)


def test_a_rise_of_a_third_in_every_run_fails():
    g = gate.compare(before(BASE), runs([1.33 * t for t in BASE]))
    assert not g.passed
    assert g.p_value < 0.01
    assert "+33%" in g.text


def test_a_certain_but_small_rise_passes():
    g = gate.compare(before(BASE), runs([1.05 * t for t in BASE]))
    assert g.passed
    assert g.p_value < 0.01


def test_a_large_rise_that_may_be_chance_passes():
    now = [t * (2.0 if k % 2 else 0.5) for k, t in enumerate(BASE)]
    g = gate.compare(before(BASE), runs(now))
    assert g.p_value > 0.05
    assert g.passed


def test_faster_passes():
    assert gate.compare(before(BASE), runs([t / 2 for t in BASE])).passed


def test_fewer_recovered_runs_fail_whatever_the_median():
    g = gate.compare(before(BASE), runs([*BASE[:-1], None]))
    assert (g.passed, g.recovered_before, g.recovered_now) == (False, 10, 9)


def test_more_recovered_runs_pass():
    assert gate.compare(before([*BASE[:-1], None]), runs(BASE)).passed


def test_never_recovered_stays_equal():
    g = gate.compare(before([None] * 6), runs([None] * 6))
    assert g.passed
    assert "not reached → not reached" in g.text


def test_only_common_seeds_are_compared():
    g = gate.compare({0: 100.0, 77: 1.0}, runs(BASE))
    assert g.pairs == 1
    with pytest.raises(UsageError, match="no seed in common"):
        gate.compare({77: 1.0}, runs(BASE))


def test_p_value_of_a_shift_is_exact_for_few_pairs():
    # All of n differences positive: one of 2**n sign patterns is as high.
    for n in (1, 2, 5, 8):
        g = gate.compare(before(BASE[:n]), runs([t + 1 for t in BASE[:n]]))
        assert g.p_value == pytest.approx(0.5**n)


def test_p_values_are_uniform_enough_when_nothing_changed():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        old, new = rng.lognormal(sigma=1.2, size=(2, 10))
        hits += gate.compare(before(old), runs(list(new))).p_value <= 0.05
    # Binomial(200, 0.05): 22 or more has a chance below 0.1 %.
    assert hits <= 21


def test_an_entry_is_written_and_read_back():
    entry = gate.baseline_entry(
        runs([1.5, None, 2.5]), scenario_hash="ab", version="0", reason="because"
    )
    assert gate.read_entry(json.loads(json.dumps(entry)), "x") == {0: 1.5, 1: math.inf, 2: 2.5}
    assert entry["ttr_quantiles_s"] == {"p10": 1.5, "p50": 2.5, "p90": None}
    assert entry["customers_frac"] == [0.3, 0.3, 0.3]


@pytest.mark.parametrize("entry", [None, {}, {"seeds": [1], "ttr_s": []}, {"seeds": 1, "ttr_s": 2}])
def test_a_malformed_entry_is_refused(entry):
    with pytest.raises(UsageError, match="lacks seeds"):
        gate.read_entry(entry, "x")


def with_customers(shares):
    blast = STANDARD.blast_radius
    return [
        replace(m, blast_radius=replace(blast, customers_frac=share))
        for m, share in zip(runs(BASE), shares, strict=True)
    ]


@pytest.mark.parametrize(
    ("now", "passed"),
    [
        ([0.30] * 10, True),
        ([0.39] * 10, True),
        ([0.41] * 10, False),
        ([0.30] * 6 + [0.99] * 4, True),  # the median stays
        ([0.30] * 4 + [0.99] * 6, False),
        ([0.0] * 10, True),
    ],
)
def test_more_customers_affected_fail(now, passed):
    old = dict.fromkeys(range(10), 0.30)
    g = gate.compare(before(BASE), with_customers(now), customers_before=old)
    assert g.passed is passed
    assert "median of customers 30.0% → " in g.text


def test_a_baseline_without_customers_is_compared_by_time():
    assert gate.read_customers({"seeds": [1], "ttr_s": [2.0]}) == {}
    assert gate.read_customers(None) == {}
    assert gate.read_customers({"seeds": [1, 2], "customers_frac": [0.5, 0.1]}) == {1: 0.5, 2: 0.1}
    g = gate.compare(before(BASE), with_customers([1.0] * 10), customers_before={})
    assert g.passed
    assert "customers" not in g.text


def test_a_changed_scenario_is_said():
    assert "has changed" in gate.compare(before(BASE), runs(BASE), same_scenario=False).text
