"""Cost of a rejection: saying no is work too.

Equation: every attempt that a pool rejects (for want of room or by a policy of the pool) costs
``work`` of one mean service on one of its processors, before anything that waits (F12). With φ =
``work`` and r retries the bad state exists above C / max_p (1 − p**(r+1)) (1 + φ p/(1 − p)). In
requests a rejection is a job of ``work`` · (one draw of the service time, when it starts) that is
served before the queue, first come first served, and needs no worker; in the flow the step's work
is less by ``work`` · (what was rejected before and is not paid for yet; MODEL.md E39).

Source: derived for this project (F12); slow error paths are in Bronson et al., HotOS 2021.

Defaults:

* ``work`` 0: neutral.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.policies.base import Number, Policy, policy
from simulator.units import Multiplier


@policy("rejection")
class Rejection(Policy):
    """Rejecting an attempt costs a share of serving it."""

    side: ClassVar = "pool"
    columns: ClassVar = {"rejection_work": 0.0}

    work: Multiplier = 0.0
    """Work of one rejection, in units of one mean service."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {"rejection_work": self.work}
