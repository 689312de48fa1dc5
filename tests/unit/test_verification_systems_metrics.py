"""Censored times, length bias and burn-rate alerts: edge cases, nonsense, agreement with SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf

from simulator.errors import UsageError
from simulator.metrics import compute_metrics
from simulator.metrics.burn_rate import FAST_PAGE, SLOW_PAGE, BurnAlert, budget_used
from simulator.metrics.durations import length_biased_mean, mean_residual
from simulator.metrics.survival import kaplan_meier, recovery_survival
from simulator.verification.closed_forms_systems import product_limit
from tests.handmade import control, outage

COHORT = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40)


# ---------------------------------------------------------------------- survival
@given(COHORT)
def test_survival_agrees_with_the_product_limit_written_out(cohort):
    times, ended = [float(t) for t, _ in cohort], [e for _, e in cohort]
    found = kaplan_meier(times, ended)
    for t, share in product_limit(times, ended).items():
        assert found.at(t) == pytest.approx(share, abs=1e-12)
    assert (np.diff(found.share, prepend=1.0) <= 1e-12).all()
    assert (found.n, found.censored) == (len(cohort), ended.count(False))


def test_survival_agrees_with_scipy_between_and_beyond_the_times():
    rng = np.random.default_rng(5)
    t, done = rng.lognormal(size=200), rng.random(200) < 0.6
    found = kaplan_meier(t.tolist(), done.tolist())
    judge = ecdf(CensoredData(uncensored=t[done], right=t[~done])).sf
    for x in np.linspace(0.0, float(t.max()), 57):
        assert found.at(float(x)) == pytest.approx(float(judge.evaluate(x)))


def test_without_censoring_median_and_restricted_mean_are_the_plain_ones():
    found = kaplan_meier([4.0, 1.0, 2.0, 9.0, 2.0], [True] * 5)
    assert found.median_s == 2.0
    assert found.restricted_mean_s(3.0) == pytest.approx((3 + 1 + 2 + 3 + 2) / 5)
    assert found.restricted_mean_s(1e6) == pytest.approx(18 / 5)
    assert found.known_to_s == math.inf


def test_median_of_an_even_number_is_where_half_are_left():
    assert kaplan_meier([1.0, 2.0, 3.0, 4.0], [True] * 4).median_s == 2.0


def test_nobody_recovered_means_no_median_and_full_survival():
    found = kaplan_meier([10.0, 20.0], [False, False])
    assert (found.at(15.0), found.at(20.0), found.median_s) == (1.0, 1.0, math.inf)
    assert found.known_to_s == 20.0
    assert found.restricted_mean_s(20.0) == 20.0


def test_an_end_and_a_censoring_at_one_time_count_the_end_first():
    # Both are at risk at 5; only then does the second one leave.
    assert kaplan_meier([5.0, 5.0, 7.0], [True, False, True]).at(5.0) == pytest.approx(2 / 3)


def test_instant_recovery_is_a_duration_of_zero():
    found = kaplan_meier([0.0, 10.0], [True, True])
    assert (found.at(0.0), found.median_s) == (0.5, 0.0)
    assert found.restricted_mean_s(10.0) == 5.0


@pytest.mark.parametrize(
    ("times", "ended"),
    [
        ([], []),
        ([1.0], []),
        ([1.0, 2.0], [True]),
        ([-1.0], [True]),
        ([math.inf], [False]),
        ([math.nan], [True]),
        ([1.0], [1]),
        ([[1.0]], [[True]]),
    ],
)
def test_nonsense_is_refused_by_survival(times, ended):
    with pytest.raises(UsageError, match="survival needs"):
        kaplan_meier(times, ended)


@pytest.mark.parametrize("horizon_s", [0.0, -1.0, 21.0, math.inf, math.nan])
def test_a_restricted_mean_is_refused_where_the_curve_is_unknown(horizon_s):
    with pytest.raises(UsageError, match="up to 20 s"):
        kaplan_meier([10.0, 20.0], [True, False]).restricted_mean_s(horizon_s)


def test_runs_that_recover_count_as_ends():
    run = compute_metrics(outage(), control())
    found = recovery_survival([run, run])
    assert (found.n, found.censored, found.median_s) == (2, 0, run.ttr_s)


def test_a_run_that_does_not_recover_is_censored_at_its_end():
    class Run:
        def __init__(self, ttr_s, censored_at_s):
            self.ttr_s, self.censored_at_s = ttr_s, censored_at_s

    found = recovery_survival([Run(60.0, None), Run(None, 600.0)])  # type: ignore[list-item]
    assert (found.at(60.0), found.at(600.0), found.censored) == (0.5, 0.5, 1)
    with pytest.raises(UsageError, match="neither recovered"):
        recovery_survival([Run(None, None)])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="at least one"):
        recovery_survival([])


# ---------------------------------------------------------------------- length bias
def test_equal_durations_have_no_length_bias():
    assert length_biased_mean([7.0] * 5) == pytest.approx(7.0)
    assert mean_residual([7.0] * 5) == pytest.approx(3.5)


@given(st.lists(st.floats(0.0, 1e6), min_size=1).filter(lambda x: max(x) > 1e-6))
def test_length_bias_never_shortens_and_scales(x):
    biased = length_biased_mean(x)
    assert np.mean(x) * (1 - 1e-9) <= biased <= max(x) * (1 + 1e-9)
    assert length_biased_mean([60.0 * v for v in x]) == pytest.approx(60.0 * biased)


def test_length_bias_of_huge_durations_does_not_overflow():
    assert length_biased_mean([1e300, 1e300]) == pytest.approx(1e300)


@pytest.mark.parametrize("x", [[], [0.0], [0.0, 0.0], [-1.0, 2.0], [math.inf], [math.nan, 1.0]])
def test_nonsense_is_refused_by_length_bias(x):
    with pytest.raises(UsageError, match="length-biased"):
        length_biased_mean(x)


# ---------------------------------------------------------------------- burn rate
def steps(n, dt_s=60.0, failed=0.0):
    return dt_s * np.arange(1, n + 1), np.full(n, failed), np.full(n, 100.0)


def test_the_short_window_is_a_twelfth_unless_given():
    assert FAST_PAGE.short_s == pytest.approx(300.0)
    assert BurnAlert(2.0, 600.0, 60.0).short_s == 60.0


def test_budget_used_by_the_recommended_pages():
    month_s = 30 * 86_400.0
    assert budget_used(14.4, 3600.0, month_s) == pytest.approx(0.02)
    assert budget_used(SLOW_PAGE.burn, SLOW_PAGE.window_s, month_s) == pytest.approx(0.05)


def test_no_failures_and_no_traffic_are_silent():
    t_s, failed, ended = steps(100)
    assert not FAST_PAGE.firing(t_s, failed, ended, slo=0.999).any()
    assert not FAST_PAGE.firing(t_s, failed, 0.0 * ended, slo=0.999).any()
    assert FAST_PAGE.first_s(t_s, failed, ended, slo=0.999) is None


def test_a_steady_burn_at_the_threshold_fires_and_just_below_does_not():
    t_s, failed, ended = steps(100, failed=1.44)
    assert FAST_PAGE.firing(t_s, failed, ended, slo=0.999).all()
    assert not FAST_PAGE.firing(t_s, 0.999 * failed, ended, slo=0.999).any()


def test_both_windows_are_needed():
    t_s, failed, ended = steps(300)
    failed[100:105] = 100.0
    at = t_s[FAST_PAGE.firing(t_s, failed, ended, slo=0.999)]
    # The long window remembers the five minutes for an hour, the short one for five minutes.
    assert at[0] == 101 * 60.0
    assert at[-1] == 109 * 60.0


def test_samples_need_not_be_evenly_spaced():
    t_s = np.array([3600.0, 3601.0, 3630.0, 3700.0])
    ended = np.diff(t_s, prepend=0.0)
    failed = np.where(t_s > 3600.0, ended, 0.0)
    assert FAST_PAGE.firing(t_s, failed, ended, slo=0.999).tolist() == [False, False, False, True]


def test_detection_time_is_infinite_below_the_threshold():
    assert FAST_PAGE.detection_s(0.0143, slo=0.999) == math.inf
    assert FAST_PAGE.detection_s(0.0144, slo=0.999) == pytest.approx(3600.0)


@pytest.mark.parametrize(
    ("burn", "window_s", "short_s"),
    [(0.0, 60.0, 0.0), (-1.0, 60.0, 0.0), (1.0, 0.0, 0.0), (1.0, 60.0, 61.0), (1.0, 60.0, -1.0),
     (math.nan, 60.0, 0.0), (math.inf, 60.0, 0.0), (1.0, math.nan, 0.0)],
)  # fmt: skip
def test_nonsensical_alerts_are_refused(burn, window_s, short_s):
    with pytest.raises(UsageError, match=r"alert|window"):
        BurnAlert(burn, window_s, short_s)


@pytest.mark.parametrize("slo", [0.0, 1.0, 1.5, -0.1, math.nan])
def test_an_slo_without_a_budget_is_refused(slo):
    t_s, failed, ended = steps(3)
    with pytest.raises(UsageError, match="SLO"):
        FAST_PAGE.firing(t_s, failed, ended, slo=slo)


@pytest.mark.parametrize(
    ("t_s", "failed", "ended"),
    [
        ([1.0, 2.0], [0.0], [1.0, 1.0]),
        ([2.0, 1.0], [0.0, 0.0], [1.0, 1.0]),
        ([0.0, 1.0], [0.0, 0.0], [1.0, 1.0]),
        ([1.0, 2.0], [2.0, 0.0], [1.0, 1.0]),
        ([1.0, 2.0], [-1.0, 0.0], [1.0, 1.0]),
        ([1.0, 2.0], [0.0, 0.0], [1.0, math.inf]),
        ([1.0, 2.0], [0.0, math.nan], [1.0, 1.0]),
    ],
)
def test_nonsensical_samples_are_refused(t_s, failed, ended):
    with pytest.raises(UsageError, match="an alert needs"):
        FAST_PAGE.firing(np.array(t_s), np.array(failed), np.array(ended), slo=0.999)
