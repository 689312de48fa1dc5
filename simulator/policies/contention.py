"""Contention: service slows down with the attempts in service or waiting.

Equation: a service that starts while n attempts wait or are on a processor (dead ones, work on
rejections and itself included) takes 1 + ``per_attempt`` · n / s times as long, s being the mean
service time: s + ``per_attempt`` · n, up to ``factor_max`` times. Capacity falls with the backlog
(F13): with no other limit, a pool that serves a per second settles at n = a · s / (1 −
``per_attempt`` · a).

Source: latency that grows with concurrency (locks, context switches); F13 is derived for this
project. Gunther, Guerrilla Capacity Planning, 2007, has the general law.

Defaults:

* ``factor_max`` 100: assumption, a bound that keeps a dead pool finite.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.policies.base import Number, Policy, policy
from simulator.units import Duration, Multiplier


@policy("contention")
class Contention(Policy):
    """Serve more slowly the more attempts are in the pool."""

    side: ClassVar = "pool"
    columns: ClassVar = {"contention": 0.0, "contention_max": 1.0}

    per_attempt: Annotated[Duration, Field(gt=0)]
    """Service time added per attempt in the pool."""
    factor_max: Annotated[Multiplier, Field(ge=1)] = 100.0
    """Largest factor on the service time."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {"contention": self.per_attempt, "contention_max": self.factor_max}


def contention_factor(present: float, per_attempt: float, service_s: float, most: float) -> float:
    """Return the factor on the service time."""
    return min(most, 1.0 + per_attempt * present / service_s)
