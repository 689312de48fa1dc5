"""Refuse to take a pool below a minimum of units in service.

Equation: with S units in service, U declared and the floor F = max(ceil(``frac_min`` * U),
``units_min``), a removal of n units is cut to min(n, S - F); at nothing left it is refused. With
``per_zone`` the same holds in every zone; a removal that is spread over zones takes from each in
proportion to its units, and is cut to what the tightest zone can spare.

Source: remedy after the S3 event of 2017-02-28, refuse removals that take a subsystem below its
minimum required capacity (AWS message 41926); minimum of healthy hosts whose loss caused
the Seoul DNS event of 2018-11-22, validated since (AWS message 74876).

Defaults:

* ``pools``: neutral, every pool.
* ``frac_min`` 66 %: source, a rolling deployment keeps at least 66 % of the boxes in service
  (Liguori, Amazon Builders' Library).
* ``units_min`` 0: neutral.
* ``per_zone``: neutral, off.
* ``verbs`` remove, drain: the words of the sources; others take failed units too.
* ``exempt``: neutral, nobody.
"""

import math
from typing import Literal

from simulator.mechanism import ALLOW, Action, Context, Inventory, Selector, Verdict, select
from simulator.registry import register
from simulator.scenario.references import ActorRef
from simulator.scenario.region import Spec
from simulator.units import Count, Fraction


@register("guardrail", "capacity_floor")
class CapacityFloor:
    """A minimum of units stays in service, whoever removes."""

    class Config(Spec):
        """How much must stay, of what, whoever asks."""

        pools: Selector = ("*",)
        """Pools that are protected."""
        frac_min: Fraction = 0.66
        """Share of the declared units that stays in service."""
        units_min: Count = 0
        """Units that stay in service; the larger of the two floors counts."""
        per_zone: bool = False
        """Whether the floor holds in every zone on its own."""
        verbs: tuple[Literal["remove", "drain", "replace", "restart"], ...] = ("remove", "drain")
        """Operations that are judged."""
        exempt: tuple[ActorRef, ...] = ()
        """Actors that are let through."""

    def __init__(self, spec_id: str, config: Config, context: Context) -> None:
        self.id = spec_id
        self._config = config
        self._pools = frozenset(select(config.pools, context.pools))
        self._zones = tuple(sorted(context.zones))

    def judge(self, action: Action, inventory: Inventory) -> Verdict:
        """Allow, clip to what the floor spares, or refuse."""
        c = self._config
        if action.verb not in c.verbs or action.pool not in self._pools or action.by in c.exempt:
            return ALLOW
        spare = self._spare(action.pool, "", inventory)
        if c.per_zone:
            spare = min(spare, self._spare_in_zones(action, inventory))
        if action.count <= spare:
            return ALLOW
        reason = f"{action.pool} can spare {max(spare, 0)} units above its floor"
        if spare <= 0:
            return Verdict("refuse", reason=reason)
        return Verdict("clip", spare, reason=reason)

    def _spare(self, pool: str, zone: str, inventory: Inventory) -> int:
        declared = inventory.declared(pool, zone)
        floor = math.ceil(self._config.frac_min * declared - 1e-9)
        units_min = self._config.units_min
        if zone:  # the zone's part of the minimum
            units_min = math.ceil(units_min * declared / max(inventory.declared(pool), 1))
        return inventory.in_service(pool, zone) - max(floor, units_min)

    def _spare_in_zones(self, action: Action, inventory: Inventory) -> int:
        if action.zone:
            return self._spare(action.pool, action.zone, inventory)
        pool, total = action.pool, inventory.in_service(action.pool)
        return min(
            (
                self._spare(pool, zone, inventory) * total // inventory.in_service(pool, zone)
                for zone in self._zones
                if inventory.in_service(pool, zone)
            ),
            default=0,
        )
