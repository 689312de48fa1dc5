"""Hedged requests: a second attempt when the first is slow; the first answer counts.

Equation: if an attempt is unanswered ``delay`` after it was sent, the client sends one more, a
copy with the same attempt number and the same instant of timeout. The first answer without error
ends both (a success of both for the client's other policies, an end of neither kind in the books
of the other's pool); what is left of the other is dead work (it is cancelled where ``late_work``
cancels).
The attempt fails when its timeout comes, or when both have failed. Hedges count as attempts. They
take no retry token, are not hedged again, and are not sent if the client's other policies refuse.
In the flow: the share of a cohort that is unanswered at age ``delay`` is offered once more, as
work that is alive while its original is; MODEL.md states the error.

Source: Dean and Barroso, The Tail at Scale, CACM 56(2), 2013.

Defaults: none; the delay must be given (the paper: about the 95th percentile of latency).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.policies.base import Number, Policy, policy
from simulator.units import Duration


@policy("hedging")
class Hedging(Policy):
    """Send a second attempt when the first is slow, and take the first answer."""

    side: ClassVar = "edge"
    columns: ClassVar = {"hedge": 0, "hedge_delay": 0.0}

    delay: Annotated[Duration, Field(gt=0)]
    """Time without answer after which the copy is sent."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {"hedge": 1, "hedge_delay": self.delay}
