"""Limit how fast capacity may be removed, per pool and over the region.

Equation: with U units declared and R(w) units removed within the last ``window``, a removal of n
units is cut to min(n, L - R(w)), where L = max(``units_min``, floor(``frac_max`` * U)); at nothing
left it is refused. The smaller of the pool's and the region's answer counts. Whoever removes by
one of ``verbs`` fills the window, also an exempt actor. Detection and containment of t hours then
bound the loss of a pool by L * (t/window + 1).

Source: remedy after the S3 event of 2017-02-28, "remove capacity more slowly" (AWS message 41926);
hourly cap on removals after the Seoul DNS event of 2018-11-22 (AWS message 74876).
Neither says how much.

Defaults:

* ``pools``: neutral, every pool.
* ``window`` 1 h: source, the hourly cap of Seoul.
* ``frac_max`` 5 %: assumption; with it the Seoul fleet would have lost at most 3.7 % in
  the 44 min until removals were stopped.
* ``region_frac_max``: neutral, no limit over the region.
* ``units_min`` 1: assumption; without it nothing could ever be removed from a small pool.
* ``verbs`` remove, drain: the words of the sources; ``replace`` may be added.
* ``exempt``: neutral, nobody.
"""

import math
from typing import Literal

from simulator.mechanism import ALLOW, Action, Context, Inventory, Selector, Verdict, select
from simulator.registry import register
from simulator.scenario.references import ActorRef
from simulator.scenario.region import Spec
from simulator.units import Count, Duration, Fraction


@register("guardrail", "removal_velocity")
class RemovalVelocity:
    """At most a share of the declared units may be removed per window."""

    class Config(Spec):
        """How much may be removed, of what, by whom."""

        pools: Selector = ("*",)
        """Pools that are protected."""
        window: Duration = "1h"  # type: ignore[assignment]
        """Length of the sliding window."""
        frac_max: Fraction = 0.05
        """Largest share of a pool's declared units removed per window."""
        region_frac_max: Fraction | None = None
        """Largest share of all declared units removed per window, in all pools together;
        absent: no limit."""
        units_min: Count = 1
        """Units that may be removed per window however small the pool is."""
        verbs: tuple[Literal["remove", "drain", "replace"], ...] = ("remove", "drain")
        """Operations that count as removal: they are judged, and they fill the window."""
        exempt: tuple[ActorRef, ...] = ()
        """Actors that are let through."""

    def __init__(self, spec_id: str, config: Config, context: Context) -> None:
        self.id = spec_id
        self._config = config
        self._pools = frozenset(select(config.pools, context.pools))
        self._region_units = sum(context.declared.values())

    def judge(self, action: Action, inventory: Inventory) -> Verdict:
        """Allow, clip to what is left in the window, or refuse."""
        c = self._config
        if action.verb not in c.verbs or action.pool not in self._pools or action.by in c.exempt:
            return ALLOW
        since_s = inventory.now_s - c.window
        limit = self._limit(c.frac_max, inventory.declared(action.pool))
        left = limit - inventory.removed_since(since_s, action.pool, c.verbs)
        of = "pool"
        if c.region_frac_max is not None:
            region = self._limit(c.region_frac_max, self._region_units)
            region -= inventory.removed_since(since_s, verbs=c.verbs)
            left, of = min((left, of), (region, "region"))
        if action.count <= left:
            return ALLOW
        reason = f"{of} may lose {max(left, 0)} more units within {c.window:g} s"
        return (
            Verdict("clip", left, reason=reason) if left > 0 else Verdict("refuse", reason=reason)
        )

    def _limit(self, frac: float, units: int) -> int:
        # Tolerance: 5 % of 300 is 15, not 14.
        return max(self._config.units_min, math.floor(frac * units + 1e-9))
