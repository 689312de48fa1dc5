"""Circuit breaker: after too many failures a client stops calling for a while.

Equation: *closed*: over the last ``window``, if at least ``calls_min`` attempts ended and the
failed share is ``failed_frac`` or more, it opens. *Open*: every attempt is refused locally (fails
at once, is not retried) until ``open_for`` has passed. *Half-open*: ``probes`` attempts are let
through and all others refused; one failed probe opens again for ``open_for``; when all probes
have succeeded it closes, with an empty window. Failures are timeouts, rejections and errors. An
attempt that was under way when the state changed is not counted. A closed breaker is looked at
when an attempt ends, an open one when an attempt is wanted; it is asked last, so that what it
lets through is sent. In the flow, up to ``probes``
are let through, and it opens again when ``failed_frac`` of them have failed (MODEL.md E31).

Source: Nygard, Release It!, 2nd ed. 2018, ch. 5; Fowler, CircuitBreaker, 2014; the window, the
minimum of calls and the probes are those of resilience4j's documentation.

Defaults:

* ``failed_frac`` 50%, ``calls_min`` 100, ``open_for`` 60s, ``probes`` 10: source, resilience4j.
* ``window`` 60s: assumption (its default counts calls, not time).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.policies.base import Number, Policy, policy
from simulator.units import Count, Duration, Fraction

CLOSED, OPEN, HALF_OPEN = range(3)


@policy("circuit_breaker")
class CircuitBreaker(Policy):
    """Stop calling after too many failures, and probe before calling again."""

    side: ClassVar = "edge"
    columns: ClassVar = {
        "breaker": 0,
        "breaker_frac": 0.5,
        "breaker_calls_min": 100.0,
        "breaker_window": 60.0,
        "breaker_open_for": 60.0,
        "breaker_probes": 10,
    }

    failed_frac: Annotated[Fraction, Field(gt=0)] = 0.5
    """Failed share of the window's attempts that opens the breaker."""
    calls_min: Annotated[Count, Field(ge=1)] = 100
    """Attempts that must have ended within the window before it may open."""
    window: Annotated[Duration, Field(gt=0)] = "60s"  # type: ignore[assignment]
    """Time over which attempts are counted."""
    open_for: Annotated[Duration, Field(gt=0)] = "60s"  # type: ignore[assignment]
    """Time without calls before probes are let through."""
    probes: Annotated[Count, Field(ge=1)] = 10
    """Attempts that must succeed to close it."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {
            "breaker": 1,
            "breaker_frac": self.failed_frac,
            "breaker_calls_min": float(self.calls_min),
            "breaker_window": self.window,
            "breaker_open_for": self.open_for,
            "breaker_probes": self.probes,
        }


def opens(ended: float, failed: float, calls_min: float, frac: float) -> bool:
    """Tell whether a closed breaker opens."""
    return ended >= calls_min and failed >= frac * ended
