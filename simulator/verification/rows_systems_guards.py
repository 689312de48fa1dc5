"""Rows on alerts and rollouts: V39 burn-rate alert, V40 staged rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.metrics import burn_rate
from simulator.verification import closed_forms_systems as cf
from simulator.verification import incident_samples as samples
from simulator.verification.readings import batch_mean, batch_share, exact, generator
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]

# ------------------------------------------------------------------------------------- V39 alerts
SLO = 0.999
MONTH_S = 30 * 86_400.0
STEP_S = 1.0
RATE_RPS = 100.0
QUIET_S, LONG_S = 22_000.0, 600.0
"""Sound traffic before the outage (longer than the longest window), and how long that lasts."""


def _alerts(fidelity: Fidelity) -> Iterator[Reading]:
    yield from _alert_formulas() if fidelity == "formula" else _alerts_fed()


def _alert_formulas() -> Iterator[Reading]:
    for alert, budget, detected_s in (
        (burn_rate.FAST_PAGE, 0.02, 51.84),
        (burn_rate.SLOW_PAGE, 0.05, 129.6),
        (burn_rate.TICKET, 0.10, 259.2),
    ):
        name = f"{alert.burn:g} over {alert.window_s / 3600.0:g} h"
        used = burn_rate.budget_used(alert.burn, alert.window_s, MONTH_S)
        yield exact(f"budget used, {name}", budget, used)
        yield exact(f"full outage detected, {name}", detected_s, alert.detection_s(1.0, slo=SLO))


def _alerts_fed() -> Iterator[Reading]:
    """Feed alerts with an outage that begins and ends at once; they see it a sample later."""
    for alert, name, error, after_s in (
        (burn_rate.FAST_PAGE, "14.4 over 1 h, all requests fail", 1.0, 51.84),
        (burn_rate.FAST_PAGE, "14.4 over 1 h, a tenth fails", 0.1, 518.4),
        (burn_rate.SLOW_PAGE, "6 over 6 h, all requests fail", 1.0, 129.6),
    ):
        first_s = _fed(alert, error)[0]
        yield Reading(f"detected, {name}", after_s, first_s, STEP_S, unit="s")
    ended_s = burn_rate.FAST_PAGE.short_s * (1.0 - 0.0144)
    last_s = _fed(burn_rate.FAST_PAGE, 1.0)[1] - LONG_S
    yield Reading("14.4 over 1 h, still fires after the end", ended_s, last_s, STEP_S, unit="s")
    silent = float(np.isnan(_fed(burn_rate.FAST_PAGE, 0.014)[0]))
    yield exact("14.4 over 1 h, silent when 1.4 % fail", 1.0, silent)


def _fed(alert: burn_rate.BurnAlert, error: float) -> tuple[float, float]:
    """Return first and last sample at which the alert fires, from the outage's start on."""
    t_s = np.arange(STEP_S, QUIET_S + 3_600.0, STEP_S)
    ended = np.full(len(t_s), RATE_RPS * STEP_S)
    failed = np.where((t_s > QUIET_S) & (t_s <= QUIET_S + LONG_S), error, 0.0) * ended
    firing = t_s[alert.firing(t_s, failed, ended, slo=SLO)]
    if len(firing) == 0:
        return float("nan"), float("nan")
    return float(firing[0]) - QUIET_S, float(firing[-1]) - QUIET_S


def _slower(alert: burn_rate.BurnAlert, error_frac: float, *, slo: float) -> float:
    return 1.1 * _DETECTION_S(alert, error_frac, slo=slo)


def _twice_as_long(window_s: float, t_s: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return _OVER(2.0 * window_s, t_s, counts)


_OVER = burn_rate._over  # noqa: SLF001 - what a deliberate error replaces
_DETECTION_S = burn_rate.BurnAlert.detection_s

V39 = Row(
    id="V39",
    claim="A burn-rate alert fires when, and only when, the share of the budget is gone",
    formula="(1 − SLO) burn window / error share; budget used = burn window / period",
    source="Beyer et al., The Site Reliability Workbook, 2018, ch. 5, table 5-8",
    inputs="SLO 99.9 %, 30 days; burn 14.4 over 1 h, 6 over 6 h, 1 over 3 d; samples of 1 s",
    fidelities=("formula", "direct"),
    measure=_alerts,
    mutants=(
        Mutant(
            "a tenth more is waited for",
            lambda: replaced(burn_rate.BurnAlert, "detection_s", _slower),
            "formula",
        ),
        Mutant(
            "windows twice as long",
            lambda: replaced(burn_rate, "_over", _twice_as_long),
            "direct",
        ),
    ),
    note="The tolerance is one sample: an alert sees nothing between two.",
)

# ----------------------------------------------------------------------------------- V40 rollouts
ALL_AT_ONCE = ((1.0, 25.0),)
WAVES = ((0.001, 1.0), (0.03, 12.0), (0.1, 3.0), (0.3, 3.0), (0.6, 3.0), (1.0, 3.0))
"""Share of the region, hours until the next wave: 25 h in all, either way."""
MEDIAN_H, SIGMA, ROLLBACK_H = 2.0, 1.3, 0.25
CHANGES, CHANGE_BATCHES = 50_000, 20
FOUND = (
    ("all at once", ALL_AT_ONCE, 4.35, 1.0),
    ("in waves", WAVES, 0.307, 0.063),
)


def _rollouts(fidelity: Fidelity) -> Iterator[Reading]:
    rng = generator("V40")
    for name, stages, lost, reach in FOUND:
        theory = cf.rollout(stages, MEDIAN_H, SIGMA, ROLLBACK_H)
        if fidelity == "formula":
            yield Reading(f"region-hours lost, {name}", lost, theory[0], within(0.03, lost))
            yield Reading(f"share reached, {name}", reach, theory[1], within(0.03, reach))
            yield Reading(f"never detected, {name}", 0.026, theory[2], within(0.03, 0.026))
            continue
        lot = [
            samples.roll_out(stages, _detections(rng), ROLLBACK_H) for _ in range(CHANGE_BATCHES)
        ]
        means = np.array([[x.mean() for x in batch] for batch in lot])
        quantity = f"region-hours lost, {name}"
        yield batch_mean(quantity, theory[0], means[:, 0], within(0.03, theory[0]))
        yield batch_mean(f"share reached, {name}", theory[1], means[:, 1], within(0.03, theory[1]))
        quantity = f"never detected, {name}"
        yield batch_share(quantity, theory[2], means[:, 2], CHANGES, within(0.03, theory[2]))


def _detections(rng: np.random.Generator) -> np.ndarray:
    return rng.lognormal(np.log(MEDIAN_H), SIGMA, CHANGES)


def _no_rollback(
    stages: Sequence[tuple[float, float]], median_h: float, sigma: float, rollback_h: float
) -> tuple[float, float, float]:
    return _ROLLOUT(stages, median_h, sigma, 0.0 * rollback_h)


def _no_baking(
    stages: Sequence[tuple[float, float]], detected_h: np.ndarray, rollback_h: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    total = sum(hours for _, hours in stages)
    even = [(share, total / len(stages)) for share, _ in stages]
    return _ROLL_OUT(even, detected_h, rollback_h)


_ROLLOUT, _ROLL_OUT = cf.rollout, samples.roll_out

V40 = Row(
    id="V40",
    claim="Waves that wait before they widen cut what a bad change costs",
    formula="Σ fᵢ (E[min(D, tᵢ₊₁)] − E[min(D, tᵢ)] + rollback P(tᵢ < D ≤ tᵢ₊₁)), D lognormal",
    source="stages after Liguori, Automating safe, hands-off deployments, Amazon Builders' "
    "Library 2020; integral of the lognormal law",
    inputs="D: median 2 h, σ=1.3; rollback 0.25 h; all at once for 25 h against waves of "
    "0.1, 3, 10, 30, 60, 100 % for 1, 12, 3, 3, 3, 3 h",
    fidelities=("formula", "direct"),
    measure=_rollouts,
    mutants=(
        Mutant("rollback takes no time", lambda: replaced(cf, "rollout", _no_rollback), "formula"),
        Mutant(
            "all waves wait equally long",
            lambda: replaced(samples, "roll_out", _no_baking),
            "direct",
        ),
    ),
    note="The time to detection is assumed, and assumed not to depend on how many are exposed.",
)

ROWS = (V39, V40)
