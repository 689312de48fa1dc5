"""Distribution of service times around their mean s.

Equation: with u uniform on (0, 1), one draw each (none for ``deterministic``, two for
``lognormal``):

* ``exponential`` −s ln(1 − u); ``deterministic`` s;
* ``lognormal`` s exp(σ z − σ²/2), σ² = ln(1 + cv²), z standard normal by Box and Muller (√(−2 ln
  u₁) · cos 2π u₂);
* ``bimodal`` the share ``slow_frac`` takes ``slow_factor`` times as long as the rest: s·f/(1 +
  p(f − 1)) if u < p, else s/(1 + p(f − 1));
* ``hyperexponential`` two exponentials with balanced means (p₁ m₁ = p₂ m₂ = s/2) and coefficient
  of variation cv ≥ 1: p₁ = (1 + √((cv² − 1)/(cv² + 1)))/2, mean s/(2 p₁) with probability p₁,
  else s/(2 (1 − p₁)); u < p₁ chooses, and u/p₁ or (u − p₁)/(1 − p₁) is used again for the
  exponential.

MODEL.md E13, R6.

Source: Whitt, Approximating a point process by a renewal process, Operations Research 30(1), 1982
(balanced means).

Defaults:

* ``kind`` exponential: neutral, the usual one of queueing theory.
* ``cv`` 1: neutral.
* ``slow_frac`` 1%, ``slow_factor`` 10: assumption.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from simulator.policies.base import Number, Policy, policy
from simulator.units import Fraction, Multiplier

EXPONENTIAL, DETERMINISTIC, LOGNORMAL, BIMODAL, HYPEREXPONENTIAL = range(5)
KINDS = {
    "exponential": EXPONENTIAL,
    "deterministic": DETERMINISTIC,
    "lognormal": LOGNORMAL,
    "bimodal": BIMODAL,
    "hyperexponential": HYPEREXPONENTIAL,
}


@policy("service_time")
class ServiceTime(Policy):
    """Spread service times around their mean."""

    side: ClassVar = "pool"
    columns: ClassVar = {"service_kind": EXPONENTIAL, "service_a": 0.0, "service_b": 0.0}

    kind: Literal["exponential", "deterministic", "lognormal", "bimodal", "hyperexponential"] = (
        "exponential"
    )
    """Form; ``service_distribution: deterministic`` is short for ``{kind: deterministic}``."""
    cv: Annotated[Multiplier, Field(gt=0)] = 1.0
    """Coefficient of variation (``lognormal``, ``hyperexponential``)."""
    slow_frac: Annotated[Fraction, Field(gt=0, lt=1)] = 0.01
    """Share of slow services (``bimodal``)."""
    slow_factor: Annotated[Multiplier, Field(ge=1)] = 10.0
    """How much longer they take (``bimodal``)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.kind == "hyperexponential" and self.cv < 1.0:
            msg = "cv of a hyperexponential service is at least 1"
            raise ValueError(msg)
        return self

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        kind = KINDS[self.kind]
        a = b = 0.0
        if kind == LOGNORMAL:
            a = math.sqrt(math.log1p(self.cv**2))
        elif kind == BIMODAL:
            a, b = self.slow_frac, self.slow_factor
        elif kind == HYPEREXPONENTIAL:
            a = 0.5 * (1.0 + math.sqrt((self.cv**2 - 1.0) / (self.cv**2 + 1.0)))
        return {"service_kind": kind, "service_a": a, "service_b": b}


def draw(kind: int, mean: float, a: float, b: float, u: float, v: float) -> float:
    """Return a service time (s); ``v`` is used by the log-normal only."""
    if kind == EXPONENTIAL:
        return -mean * math.log(1.0 - u)
    if kind == DETERMINISTIC:
        return mean
    if kind == LOGNORMAL:
        z = math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)
        return mean * math.exp(a * z - 0.5 * a * a)
    if kind == BIMODAL:
        fast = mean / (1.0 + a * (b - 1.0))
        return fast * b if u < a else fast
    if u < a:
        return -mean / (2.0 * a) * math.log(1.0 - u / a)
    return -mean / (2.0 * (1.0 - a)) * math.log(1.0 - (u - a) / (1.0 - a))


def ends_within(kind: int, mean: float, a: float, b: float, slack: float) -> float:
    """Return the probability that a service ends within ``slack`` (s): F of E13."""
    if slack <= 0.0:
        return 0.0
    if kind == EXPONENTIAL:
        return -math.expm1(-slack / mean)
    if kind == DETERMINISTIC:
        return 1.0 if slack >= mean else 0.0
    if kind == LOGNORMAL:
        z = (math.log(slack / mean) + 0.5 * a * a) / a
        return 0.5 * math.erfc(-z / math.sqrt(2.0))
    if kind == BIMODAL:
        fast = mean / (1.0 + a * (b - 1.0))
        if slack < fast:
            return 0.0
        return 1.0 if slack >= fast * b else 1.0 - a
    first = -math.expm1(-2.0 * a * slack / mean)
    return a * first + (1.0 - a) * -math.expm1(-2.0 * (1.0 - a) * slack / mean)
