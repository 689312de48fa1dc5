"""A script that removes capacity: right as designed, harmful with one of four defects.

What it models: a script that debugs a capacity-management system, written by an assistant and
approved by people. It is to take the idle or suspect share ``goal_frac`` out of the pools
``target``. It plans (reads the inventory), filters (which pools, how many units), acts (one batch)
and checks (inventory, errors, customers' success), then pauses and goes on.

Equation: with S units at the start, a pool is done at ceil((1 - ``goal_frac``) * S) units. One
batch takes min(batch, units believed - that), one per ``pace``; so without a stop the loss grows
as batch * t / pace.

Defects, each alone or together:

=================  ================================================================================
``wrong_scope``    acts on the pools ``scope`` instead of ``target``
``unbounded_loop``  no goal: a pool is done at no units, and the script starts over when all are
``ignored_errors``  a failed, refused or throttled operation is tried again after the pace, for
                   ever; success of the customers is not looked at
``stale_inventory``  the inventory is read once: removals are not seen to have taken, and are
                   issued again
=================  ================================================================================

Without a defect it stops at the goal, after ``give_up_after`` errors in a row, when a service's
success falls below ``stop_below``, or when nothing can be seen.

Source: shape of the reported event of December 2025 (Financial Times, 2026-02-20; disputed by the
provider); defects from Diskerase, an empty set read as everything (Site Reliability Engineering,
chapters 7 and 13), S3 2017-02-28, wrong scope (AWS message 41926), and Reddit 2016-08-11,
stale inventory.

Defaults:

* ``scope``: neutral, the target.
* ``batch_frac``, ``batch_units``: neutral, exactly one of the two is given.
* ``defects``: neutral, none.
* ``order`` sequential: assumption, one pool after the other.
* ``verb`` remove: neutral.
* ``give_up_after`` 3: assumption.
* ``stop_below`` 99 %: assumption, the SLO that a service has by default.
* ``via``: neutral, the first control plane that offers the operation.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from simulator.mechanism import (
    Action,
    Commands,
    Context,
    Outcome,
    Selector,
    Step,
    View,
    Wait,
    act,
    look,
    select,
)
from simulator.registry import register
from simulator.sampling import Distribution
from simulator.scenario.references import ControlPlaneRef
from simulator.scenario.region import Spec
from simulator.units import Count, Duration, Fraction

Defect = Literal["wrong_scope", "unbounded_loop", "ignored_errors", "stale_inventory"]

PACE_S_MIN = 0.1
"""Shortest pause between two batches: a script that never waits would stop the clock."""


@dataclass(slots=True)
class _Stock:
    """What the script knows of the fleet: units per pool."""

    first: dict[str, int] = field(default_factory=dict)
    """As read when the pool was planned."""
    believed: dict[str, int] = field(default_factory=dict)
    """As last read."""


@register("automation", "runaway_removal")
class RunawayRemoval:
    """Script that removes units in batches; its defects decide whether it ever stops."""

    class Config(Spec):
        """What the script is meant to do, how fast, and what is wrong with it."""

        start: Duration
        """Time at which the script starts."""
        target: Selector
        """Pools that the author meant."""
        goal_frac: Fraction
        """Share of each pool's units whose removal would be right."""
        pace: Distribution
        """Pause after each batch."""
        batch_frac: Fraction | None = None
        """Size of a batch, as a share of the pool's units at the start (at least one unit)."""
        batch_units: Annotated[Count, Field(ge=1)] | None = None
        """Size of a batch in units."""
        scope: Selector | None = None
        """Pools that the script acts on if its scope is wrong; absent: the target."""
        defects: tuple[Defect, ...] = ()
        """What is wrong with the script."""
        order: Literal["sequential", "round_robin"] = "sequential"
        """Finish one pool before the next, or one batch from each in turn."""
        verb: Literal["remove", "drain"] = "remove"
        """Operation by which units are taken out."""
        give_up_after: Annotated[Count, Field(ge=1)] = 3
        """Errors in a row after which the script ends."""
        stop_below: Fraction = 0.99
        """Success of a service below which the script ends."""
        via: ControlPlaneRef | None = None
        """Control plane that is used; absent: the first one that offers the operation."""

        @model_validator(mode="after")
        def _one_batch_size(self) -> Self:
            if (self.batch_frac is None) == (self.batch_units is None):
                msg = "give either batch_frac or batch_units"
                raise ValueError(msg)
            return self

    def __init__(self, spec_id: str, config: Config, context: Context) -> None:
        self.id = spec_id
        self.start_s = config.start
        self._config = config
        self._rng = context.rng
        self._services = context.services
        meant = config.scope if "wrong_scope" in config.defects and config.scope else config.target
        self._pools = select(meant, context.pools)

    def run(self) -> Commands:
        """Plan once, then filter, act and check until there is a reason to stop."""
        stock = _Stock()
        errors = 0
        for pool in self._turns(stock):
            if (yield from self._sees_harm()):
                return
            outcome = yield from self._batch(pool, stock)
            errors = 0 if outcome.ok else errors + 1
            if self._gives_up(errors):
                return
            yield Wait(max(self._config.pace.sample(self._rng), PACE_S_MIN))

    def _turns(self, stock: _Stock) -> Iterator[str]:
        """Give the pool whose turn it is, until all are done."""
        sequential = self._config.order == "sequential"
        while True:
            todo = [p for p in self._pools if self._left(p, stock) > 0]
            if todo:
                yield from todo[:1] if sequential else todo
            elif "unbounded_loop" in self._config.defects and self._pools:
                yield from self._pools
            else:
                return

    def _left(self, pool: str, stock: _Stock) -> int:
        """Return units still to be removed, as far as the script knows."""
        if pool not in stock.first:
            return 1
        goal = 1.0 if "unbounded_loop" in self._config.defects else self._config.goal_frac
        return stock.believed[pool] - math.ceil((1 - goal) * stock.first[pool] - 1e-9)

    def _batch(self, pool: str, stock: _Stock) -> Step[Outcome]:
        """Read the inventory if need be, then remove one batch; return the last outcome."""
        c = self._config
        if pool not in stock.first or "stale_inventory" not in c.defects:
            outcome = yield from act(Action("describe", pool, via=c.via or ""))
            if outcome.ok:
                stock.believed[pool] = outcome.count
                stock.first.setdefault(pool, outcome.count)
            elif pool not in stock.first or "ignored_errors" not in c.defects:
                return outcome
        share = math.floor((c.batch_frac or 0.0) * stock.first[pool] + 1e-9)
        count = min(c.batch_units or max(1, share), self._left(pool, stock))
        if count <= 0:
            return Outcome("done")
        return (yield from act(Action(c.verb, pool, count=count, via=c.via or "")))

    def _gives_up(self, errors: int) -> bool:
        return "ignored_errors" not in self._config.defects and errors >= self._config.give_up_after

    def _sees_harm(self) -> Step[bool]:
        """Look at the customers' success; what cannot be seen counts as harm."""
        if "ignored_errors" in self._config.defects:
            return False
        view: View = yield from look()
        return not view.visible or any(
            success is not None and success < self._config.stop_below
            for success in map(view.success_frac, self._services)
        )
