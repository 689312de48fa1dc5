"""Look-aside cache in front of a callee: what it holds need not be called.

Equation: of the calls on the edge only the share 1 − h goes out; the rest is answered at once. The
hit ratio fills with what comes back: dh/dt = (``hit_max`` / ``keys``) · G · (``hit_max`` − h) / (1
− h), G the calls per second that succeed (F15), starting from ``hit_start``. In requests: each call
is a hit with probability h (one draw, before all else): a first try that succeeds at once, without
an attempt, a deposit or a draw for admission; each success of a call that went out moves h by
(``hit_max``/``keys``) · (``hit_max`` − h)/(1 − h). All clients of an edge share h. The control of a
run can empty it (``set_hit_frac``).

Source: Bronson et al., HotOS 2021, and Brooker, Caches, modes, and unstable systems, 2021 (a
cache that cannot fill while every query times out); the equation is derived for this project.

Defaults:

* ``hit_start``: neutral, absent means ``hit_max`` (a warm cache).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.policies.base import Number, Policy, policy
from simulator.units import Count, Fraction


@policy("cache")
class Cache(Policy):
    """Answer a share of the calls from a cache that fills with what comes back."""

    side: ClassVar = "edge"
    columns: ClassVar = {"cache": 0, "cache_hit_max": 0.0, "cache_keys": 1.0, "cache_start": 0.0}

    hit_max: Annotated[Fraction, Field(lt=1)]
    """Hit ratio of the full cache."""
    keys: Annotated[Count, Field(ge=1)]
    """Number of keys that make up the full cache."""
    hit_start: Fraction | None = None
    """Hit ratio at the start."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        start = self.hit_max if self.hit_start is None else min(self.hit_start, self.hit_max)
        return {
            "cache": 1,
            "cache_hit_max": self.hit_max,
            "cache_keys": float(self.keys),
            "cache_start": start,
        }


def filling(hit: float, hit_max: float, keys: float) -> float:
    """Return the growth of the hit ratio per successful call."""
    return hit_max / keys * max(0.0, hit_max - hit) / (1.0 - hit)
