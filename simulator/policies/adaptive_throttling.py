"""Adaptive throttling: a client refuses for its backend what the backend would refuse.

Equation: with ``requests`` the attempts that the client wanted to make and ``accepts`` those that
the backend did not reject, both over the last ``window``, an attempt is refused locally with
probability max(0, (requests − ``k`` · accepts) / (requests + 1)), both counted before it (one
draw where this is above 0). A local refusal fails at once,
costs the backend nothing and is not retried. An attempt is booked as a request when it is wanted
and as an accept when it is answered in time without error. In steady overload the backend sees at
most ``k`` times what it accepts (F11).

Source: Beyer et al., Site Reliability Engineering 2016, ch. 21, client-side throttling.

Defaults:

* ``k`` 2, ``window`` 2m: source, the same chapter.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.policies.base import Number, Policy, policy
from simulator.units import Duration, Multiplier


@policy("adaptive_throttling")
class AdaptiveThrottling(Policy):
    """Refuse locally what exceeds a multiple of what the backend accepts."""

    side: ClassVar = "edge"
    columns: ClassVar = {"throttling": 0, "throttling_k": 2.0, "throttling_window": 120.0}

    k: Annotated[Multiplier, Field(ge=1)] = 2.0
    """Attempts let through per attempt accepted."""
    window: Annotated[Duration, Field(gt=0)] = "2m"  # type: ignore[assignment]
    """Time over which attempts are counted."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {
            "throttling": 1,
            "throttling_k": self.k,
            "throttling_window": self.window,
        }


def refusal_probability(requests: float, accepts: float, k: float) -> float:
    """Return the probability to refuse locally."""
    return max(0.0, (requests - k * accepts) / (requests + 1.0))
