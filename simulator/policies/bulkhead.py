"""Bulkhead: a bound on what one caller may have under way at one callee.

Equation: an attempt is refused locally (fails at once, without cost to the callee, and may be
retried) while the client has ``limit`` attempts of the edge under way. An attempt is under way
from sending until its answer, its rejection or its timeout. A client asks adaptive throttling,
then the bulkhead, then the circuit breaker. In the flow the limit holds for
attempts in flight on the edge, all clients together (``limit`` · clients), and what exceeds it is
refused.

Source: Nygard, Release It!, 2nd ed. 2018, ch. 5, bulkheads.

Defaults: none; the limit must be given.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.policies.base import Number, Policy, policy
from simulator.units import Count


@policy("bulkhead")
class Bulkhead(Policy):
    """Bound what a client has under way at one callee."""

    side: ClassVar = "edge"
    columns: ClassVar = {"bulkhead": 0}

    limit: Annotated[Count, Field(ge=1)]
    """Attempts under way at once, per client."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {"bulkhead": self.limit}
