"""Units of a pool fail at once, and may come back later.

Equation: at time ``at``, ``count`` units or the share ``frac`` of the units in service become
failed; ``repair_after`` later the same number of them boots again. Failed units serve nothing; the
pool's queue is divided among the rest.

Source: capacity-decreasing trigger of Huang et al., "Metastable Failures in the Wild", OSDI 2022,
section 2.

Defaults:

* ``zone``: neutral, units of all zones.
* ``count``, ``frac``: neutral, exactly one of the two is given.
* ``repair_after``: neutral, nobody repairs the units.
"""

from collections.abc import Iterator
from typing import Self

from pydantic import model_validator

from simulator.mechanism import Context, Effect, Selector, select
from simulator.registry import register
from simulator.scenario.references import ZoneRef
from simulator.scenario.region import Spec
from simulator.units import Count, Duration, Fraction


@register("fault", "crash")
class Crash:
    """Units of one or several pools fail at once."""

    class Config(Spec):
        """Which units fail, how many, when, and whether they are repaired."""

        pools: Selector
        """Pools whose units fail."""
        zone: ZoneRef | None = None
        """Zone whose units fail; absent: all zones."""
        count: Count | None = None
        """Units that fail, per pool."""
        frac: Fraction | None = None
        """Share of the units in service that fails, per pool."""
        at: Duration
        """Time of the crash, from the start of the run."""
        repair_after: Duration | None = None
        """Time after which the failed units boot again; absent: never."""

        @model_validator(mode="after")
        def _one_amount(self) -> Self:
            if (self.count is None) == (self.frac is None):
                msg = "give either count or frac"
                raise ValueError(msg)
            return self

    def __init__(self, spec_id: str, config: Config, context: Context) -> None:
        self.id = spec_id
        self._config = config
        self._pools = select(config.pools, context.pools)

    def effects(self) -> Iterator[Effect]:
        """Yield the crash of every pool, then the repairs."""
        c = self._config
        changes = [("crash", c.at)]
        if c.repair_after is not None:
            changes.append(("repair", c.at + c.repair_after))
        for what, at_s in changes:
            for pool in self._pools:
                yield Effect(at_s, what, pool, c.zone or "", count=c.count or 0, frac=c.frac or 0.0)
