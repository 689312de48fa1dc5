"""Deadline propagation: a call may not outlast the request it serves.

Equation: an attempt that a pool makes for a request has the timeout min(``timeout`` of the edge,
deadline of the request − now − ``reserve``); at nothing left the call fails at once, without an
attempt (its first try has failed). So no call is made for a caller that has given up. In the flow:
dead work calls nobody, and the timeout of an edge is at most the shortest timeout of its caller's
own callers, less ``reserve``. MODEL.md R7.

Source: Beyer et al., Site Reliability Engineering 2016, ch. 22, deadline propagation (30 s; 7 s
spent leave 23 s; 4 s more leave 19 s).

Defaults:

* ``reserve`` 0s: neutral.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.policies.base import Number, Policy, policy
from simulator.units import Duration

ROUNDING_S = 1e-9
"""Less than this is no time."""


@policy("deadline")
class Deadline(Policy):
    """Calls inherit the deadline of the request that they are made for."""

    side: ClassVar = "edge"
    columns: ClassVar = {"deadline": 0, "deadline_reserve": 0.0}

    reserve: Duration = "0s"  # type: ignore[assignment]
    """Time kept back for the caller's own work after the call."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {"deadline": 1, "deadline_reserve": self.reserve}


def time_left(timeout_s: float, deadline_s: float, now_s: float, reserve_s: float) -> float:
    """Return the timeout (s) of a call for a request with a deadline; at most 0: do not call."""
    left_s = deadline_s - now_s - reserve_s
    # A call that has just used up the deadline leaves nothing but a rounding error.
    return min(timeout_s, left_s) if left_s > ROUNDING_S else 0.0
