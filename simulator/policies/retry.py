"""Retry after a failure, a growing while later, as far as a budget goes.

Equation: attempt k < ``retries_max`` that failed is tried again after a delay uniform between
``low`` and ``high``. With b = min(``backoff_cap``, ``backoff_base`` · g), g = 1 (fixed), k + 1
(linear), 2**k (exponential): none b … b; full 0 … b; equal b/2 … b; decorrelated ``backoff_base``
… min(``backoff_cap``, 3 · delay before), where the delay before the first retry counts as
``backoff_base``. MODEL.md E6, E7, R8; budgets in F10. In the flow the delay before a decorrelated
retry is its mean.

Budget (one state per client): ``per_first_try`` deposits ``ratio`` tokens with every first try,
``per_success`` with every success, up to ``bucket``, full at the start; a retry takes one.
``windowed``: first tries of the last ``window`` times ``ratio``, plus ``min_rate`` · ``window``,
less the retries of that window, must be at least one. ``throttle``: a bucket of ``bucket`` loses
one with every failed attempt (not with a refusal that is not retried) and gains ``ratio`` with
every success; a retry needs more than half of it.

Source: Brooker, What is backoff for?, 2022 and Exponential Backoff and Jitter, AWS Architecture
Blog 2015 (jitter); Brooker, Fixing retries with token buckets and circuit breakers, 2022
(deposits); Finagle RetryBudget, 2016 (windowed); gRPC proposal A6 (throttle).

Defaults:

* ``retries_max`` 0, ``budget``, ``preset``: neutral, no retries.
* ``backoff`` exponential, ``jitter`` full, ``backoff_base`` 100ms, ``backoff_cap`` 20s: source,
  the form and the size of common clients (AWS SDK reference: exponential with full jitter, 20 s).
* ``bucket`` 100: assumption.
* ``window`` 10s, ``min_rate`` 10/s: source, Finagle.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from simulator.policies.base import Number, Policy, policy
from simulator.policies.presets import RETRY_PRESETS, RetryPreset, filled_in
from simulator.units import Count, Duration, Multiplier, Rate

NO_BUDGET, PER_FIRST_TRY, PER_SUCCESS, WINDOWED, THROTTLE = range(5)
FIXED, LINEAR, EXPONENTIAL = range(3)
NONE, FULL, EQUAL, DECORRELATED = range(4)
BUDGETS = {
    "per_first_try": PER_FIRST_TRY,
    "per_success": PER_SUCCESS,
    "windowed": WINDOWED,
    "throttle": THROTTLE,
}
GROWTHS = {"fixed": FIXED, "linear": LINEAR, "exponential": EXPONENTIAL}
JITTERS = {"none": NONE, "full": FULL, "equal": EQUAL, "decorrelated": DECORRELATED}


class RetryBudget(Policy):
    """What pays for retries (MODEL.md, F10)."""

    side: ClassVar = "edge"
    columns: ClassVar = {
        "budget": NO_BUDGET,
        "budget_ratio": 0.0,
        "budget_bucket": 0.0,
        "budget_window": 10.0,
        "budget_min_rate": 0.0,
    }

    deposit: Literal["per_first_try", "per_success", "windowed", "throttle"]
    """Rule of the budget. The kinds fail differently under overload."""
    ratio: Multiplier
    """Tokens deposited per event; one retry costs one token."""
    bucket: Count = 100
    """Largest number of tokens held (not ``windowed``); the bucket starts full."""
    window: Annotated[Duration, Field(gt=0)] = "10s"  # type: ignore[assignment]
    """Life of a deposit (``windowed``)."""
    min_rate: Rate = "10/s"  # type: ignore[assignment]
    """Retries per second that are allowed in any case (``windowed``)."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {
            "budget": BUDGETS[self.deposit],
            "budget_ratio": self.ratio,
            "budget_bucket": float(self.bucket),
            "budget_window": self.window,
            "budget_min_rate": self.min_rate,
        }


@policy("retry")
class Retry(Policy):
    """Try again after a failure, later each time, as far as the budget goes."""

    side: ClassVar = "edge"
    columns: ClassVar = {
        "retries": 0,
        "backoff_base": 0.0,
        "backoff_cap": 0.0,
        "growth": FIXED,
        "jitter": NONE,
        **RetryBudget.columns,
    }

    preset: RetryPreset | None = None
    """Published defaults of a client or guide; what is said besides holds instead."""
    retries_max: Annotated[int, Field(ge=0, le=10)] = 0
    """Retries after the first attempt; 0 means no retry."""
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    """Growth of the delay before retry k, up to the cap."""
    backoff_base: Duration = "100ms"  # type: ignore[assignment]
    """Delay before the first retry."""
    backoff_cap: Duration = "20s"  # type: ignore[assignment]
    """Largest delay before a retry."""
    jitter: Literal["none", "full", "equal", "decorrelated"] = "full"
    """How the delay is spread: not, over 0 … b, over b/2 … b, or from the base to three times the
    delay before."""
    budget: RetryBudget | None = None
    """Absent: retries are limited by ``retries_max`` alone."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        return filled_in(RETRY_PRESETS, data)

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {
            "retries": self.retries_max,
            "backoff_base": self.backoff_base,
            "backoff_cap": self.backoff_cap,
            "growth": GROWTHS[self.backoff],
            "jitter": JITTERS[self.jitter],
            **(self.budget.row() if self.budget else {}),
        }


def backoff_low(k: int, base: float, cap: float, growth: int, jitter: int) -> float:
    """Return the shortest delay (s) after attempt ``k``."""
    if jitter == FULL:
        return 0.0
    if jitter == DECORRELATED:
        return min(cap, base)
    delay = backoff_full(k, base, cap, growth)
    return 0.5 * delay if jitter == EQUAL else delay


def backoff_high(k: int, base: float, cap: float, growth: int, jitter: int, before: float) -> float:
    """Return the longest delay (s) after attempt ``k``; ``before`` is the delay before it."""
    if jitter == DECORRELATED:
        return min(cap, 3.0 * before) if k > 0 else min(cap, 3.0 * base)
    return backoff_full(k, base, cap, growth)


def backoff_full(k: int, base: float, cap: float, growth: int) -> float:
    """Return the delay (s) after attempt ``k`` without jitter."""
    if growth == EXPONENTIAL:
        return min(cap, base * 2.0**k)
    if growth == LINEAR:
        return min(cap, base * (k + 1.0))
    return min(cap, base)


def throttle_allows(tokens: float, bucket: float) -> bool:
    """Tell whether gRPC's throttle lets a retry pass, after the failure was booked."""
    return tokens > 0.5 * bucket


def windowed_balance(deposits: float, retries: float, ratio: float, floor: float) -> float:
    """Return the retries that a windowed budget still pays for; ``floor`` = rate · window."""
    return ratio * deposits + floor - retries
