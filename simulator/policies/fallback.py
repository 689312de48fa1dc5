"""Fallback: another answer when a call has failed, and what it costs.

Equation: when a call of a pool has failed for good, the fallback answers instead with probability
``success_frac`` (then the call counts as answered for the request, though the edge books a failed
first try), after ``work`` · s more of service on a processor of the caller, s being one draw of the
caller's service time. In requests the chance is drawn first (where it is not certain), and the work
waits for a processor in one line with that of rejections. In the flow the caller's work per request
grows by ``work`` · calls · (1 − p_ok) services, and p_ok in E9 becomes p_ok + (1 − p_ok) ·
``success_frac``.

Source: the slow error path of Bronson et al., Metastable Failures in Distributed Systems, HotOS
2021; Gabrielson, Avoiding fallback in distributed systems, Amazon Builders' Library (why it may
be worse than failing).

Defaults:

* ``success_frac`` 1: neutral.
* ``work`` 0: neutral.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.policies.base import Number, Policy, policy
from simulator.units import Fraction, Multiplier


@policy("fallback")
class Fallback(Policy):
    """Answer in another way when a call has failed, at a price."""

    side: ClassVar = "edge"
    columns: ClassVar = {"fallback": 0, "fallback_success": 0.0, "fallback_work": 0.0}

    success_frac: Fraction = 1.0
    """Chance that the other answer is good."""
    work: Multiplier = 0.0
    """Work of the other answer at the caller, in units of one of its services."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {
            "fallback": 1,
            "fallback_success": self.success_frac,
            "fallback_work": self.work,
        }
