"""A host manager whose minimum of healthy hosts has vanished from its configuration.

What it models: a loop that takes hosts out of service (for patching, rebalancing) and puts none
back while it believes that more may go. Its floor fell to a built-in value that is far too small.
It never ends: hosts that are put back are taken again until somebody pauses it. Its rounds have no
fixed phase to the clocks of others: the first comes within one period of ``start``, by chance.

Equation: with U units declared and S in service, every minute min(``frac_per_min`` * U,
S - ``floor_frac`` * U) units are taken, whatever happens to the customers.

Source: EC2 DNS resolution in Seoul, 2018-11-22 (AWS message 74876). Neither fleet size, nor
rate, nor the built-in value is published.

Defaults:

* ``start``: neutral, from the start of the run.
* ``verb`` drain: assumption; hosts were taken out of service, not terminated.
* ``period`` 1 min: assumption.
"""

import math
from typing import Annotated, Literal

from pydantic import Field

from simulator.mechanism import Action, Commands, Context, Selector, Wait, act, select
from simulator.registry import register
from simulator.scenario.region import Spec
from simulator.units import Duration, Fraction


@register("automation", "host_manager_floor_lost")
class HostManagerFloorLost:
    """Loop that takes hosts out of service down to a floor that is far too small."""

    class Config(Spec):
        """Which hosts, how fast, down to what."""

        pools: Selector
        """Pools that the manager looks after."""
        frac_per_min: Fraction
        """Share of the declared units taken per minute."""
        floor_frac: Fraction
        """Share of the declared units that the manager leaves in service."""
        start: Duration = 0.0
        """Time at which the floor is lost."""
        verb: Literal["remove", "drain"] = "drain"
        """Operation by which units are taken out."""
        period: Annotated[Duration, Field(gt=0)] = "1min"  # type: ignore[assignment]
        """Time between two rounds."""

    def __init__(self, spec_id: str, config: Config, context: Context) -> None:
        self.id = spec_id
        self.start_s = config.start
        self._config = config
        self._pools = select(config.pools, context.pools)
        self._declared = context.declared
        self._first_wait_s = float(context.rng.random()) * config.period

    def run(self) -> Commands:
        """Take units in every round, for ever."""
        c = self._config
        due = dict.fromkeys(self._pools, 0.0)
        yield Wait(self._first_wait_s)
        while True:
            for pool in self._pools:
                declared = self._declared[pool]
                due[pool] += c.frac_per_min * declared * c.period / 60
                seen = yield from act(Action("describe", pool))
                spare = seen.count - math.ceil(c.floor_frac * declared - 1e-9) if seen.ok else 0
                count = min(math.floor(due[pool] + 1e-9), spare)
                due[pool] -= math.floor(due[pool] + 1e-9)  # what a round misses is not made up for
                if count > 0:
                    yield from act(Action(c.verb, pool, count=count))
            yield Wait(c.period)
