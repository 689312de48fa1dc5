"""Rate limit: a token bucket before a pool.

Equation: tokens grow by ``rate`` per second up to ``burst``, full at the start; an arriving
attempt takes one, or is rejected (R3; it may be retried). In the flow, at most tokens + ``rate``
· h are let in per step. Checked before concurrency limit, shedding and room; a rejection by any
of them gives no token back.

Source: token bucket, Turner, New directions in communications, IEEE Communications 24(10), 1986.

Defaults:

* ``burst``: neutral, absent means one second of ``rate``, at least one.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.policies.base import Number, Policy, policy
from simulator.units import Count, Rate


@policy("rate_limit")
class RateLimit(Policy):
    """Admit at most a rate, with bursts."""

    side: ClassVar = "pool"
    columns: ClassVar = {"rate_limit": 0, "limit_rate": 0.0, "limit_burst": 1.0}

    rate: Annotated[Rate, Field(gt=0)]
    """Attempts let in per second, over all callers."""
    burst: Annotated[Count, Field(ge=1)] | None = None
    """Size of the bucket."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        burst = max(1.0, self.rate) if self.burst is None else float(self.burst)
        return {"rate_limit": 1, "limit_rate": self.rate, "limit_burst": burst}


def refilled(tokens: float, rate: float, burst: float, elapsed_s: float) -> float:
    """Return the tokens after a time without arrivals."""
    return min(burst, tokens + rate * elapsed_s)
