"""Concurrency limit: a bound on the attempts in a pool, fixed or adaptive.

Equation: an arriving attempt is rejected (R3) while ``limit`` attempts wait or are in service (dead
ones count; attempts that wait for callees count while they hold a worker). Adaptive (AIMD): the
limit is a number L between ``limit_min`` and ``limit``, starting at ``limit``. An attempt that is
answered without error later than ``target`` after its arrival makes L := max(``limit_min``,
``decrease`` · L), at most once per ``target``; one that is answered in time while at least L/2
(itself included) are in the pool makes L := min(``limit``, L + 1/L). Answers that come too late for
their callers count too. In the flow: the same with amounts per step (L grows by answered/L, shrinks
once per ``target`` when one slow answer is to be expected since the last time; MODEL.md E35).

Source: Little's law; AIMD after Netflix concurrency-limits (AIMDLimit), 2018, with the additive
step per limit's worth of answers of Chiu and Jain, Computer Networks 17(1), 1989.

Defaults:

* ``adaptive``: neutral, off.
* ``decrease`` 0.9: source, Netflix concurrency-limits.
* ``limit_min`` 20: source, Netflix concurrency-limits.
* ``target`` 1s: assumption.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.policies.base import Number, Policy, policy
from simulator.units import Count, Duration, Fraction


@policy("concurrency_limit")
class ConcurrencyLimit(Policy):
    """Bound what waits and is served in a pool, fixed or by latency."""

    side: ClassVar = "pool"
    columns: ClassVar = {
        "concurrency_limit": 0,
        "limit_max": 0.0,
        "limit_adaptive": 0,
        "limit_min": 1.0,
        "limit_target": 1.0,
        "limit_decrease": 0.9,
    }

    limit: Annotated[Count, Field(ge=1)]
    """Attempts in the pool at once: largest value."""
    adaptive: bool = False
    """Lower the limit when answers are slow."""
    limit_min: Annotated[Count, Field(ge=1)] = 20
    """Smallest value of an adaptive limit."""
    target: Annotated[Duration, Field(gt=0)] = "1s"  # type: ignore[assignment]
    """Time in the pool above which an answer is slow."""
    decrease: Annotated[Fraction, Field(gt=0, lt=1)] = 0.9
    """Factor on the limit after a slow answer."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {
            "concurrency_limit": 1,
            "limit_max": float(self.limit),
            "limit_adaptive": int(self.adaptive),
            "limit_min": float(min(self.limit_min, self.limit)),
            "limit_target": self.target,
            "limit_decrease": self.decrease,
        }


def raised(limit: float, answers: float, limit_max: float) -> float:
    """Return an adaptive limit after answers in time."""
    return min(limit_max, limit + answers / limit)


def lowered(limit: float, decrease: float, limit_min: float) -> float:
    """Return an adaptive limit after a slow answer."""
    return max(limit_min, decrease * limit)
