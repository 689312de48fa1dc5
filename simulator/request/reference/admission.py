"""What a pool of the twin lets in: rate, concurrency, shedding, room (R3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.policies.concurrency_limit import lowered, raised
from simulator.policies.load_shedding import CLASSES
from simulator.policies.rate_limit import refilled

if TYPE_CHECKING:
    import numpy as np

ROUNDING = 1e-9
"""Products of units may miss a whole number by this much."""


def whole(amount: float) -> float:
    """Round down, forgiving the last digits."""
    return float(math.floor(amount + ROUNDING)) if math.isfinite(amount) else amount


@dataclass(slots=True)
class Admission:
    """Limits at the door of a pool."""

    policy: np.void
    """Row of the table of policies."""
    tokens: float
    """Of the rate limit."""
    filled_s: float = 0.0
    """When the tokens were last counted."""
    limit: float = math.inf
    """Most attempts in the pool."""
    lowered_s: float = -math.inf
    """When an adaptive limit was last lowered."""
    room: float = math.inf
    """Attempts that find place to wait, before rounding."""

    def within_rate(self, now_s: float) -> bool:
        """Take a token, if there is one."""
        if not self.policy["rate_limit"]:
            return True
        rate_rps, burst = float(self.policy["limit_rate"]), float(self.policy["limit_burst"])
        self.tokens = refilled(self.tokens, rate_rps, burst, now_s - self.filled_s)
        self.filled_s = now_s
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def room_for(self, priority: int) -> float:
        """Return the number of waiting attempts below which a class may wait too."""
        if not self.policy["shedding"] or math.isinf(self.room):
            return whole(self.room)
        share = float(self.policy[f"shed_{min(priority, CLASSES - 1)}"])
        return whole(share * self.room)

    def answered(self, now_s: float, took_s: float, present: int) -> None:
        """Learn from an answer without error: raise or lower an adaptive limit."""
        if not self.policy["limit_adaptive"]:
            return
        target_s = float(self.policy["limit_target"])
        if took_s > target_s:
            if now_s - self.lowered_s >= target_s:
                decrease, least = self.policy["limit_decrease"], self.policy["limit_min"]
                self.limit = lowered(self.limit, float(decrease), float(least))
                self.lowered_s = now_s
        elif present >= 0.5 * self.limit:
            self.limit = raised(self.limit, 1.0, float(self.policy["limit_max"]))


def make_admission(policy: np.void) -> Admission:
    """Read the limits of a pool: buckets full, limits at their largest."""
    limited = bool(policy["concurrency_limit"])
    return Admission(
        policy=policy,
        tokens=float(policy["limit_burst"]),
        limit=float(policy["limit_max"]) if limited else math.inf,
    )
