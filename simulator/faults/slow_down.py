"""Requests of a pool take longer for a while: a slow disk, a lossy network, a cold dependency.

Equation: service time = ``factor`` times the declared one, from ``at`` until ``at + for``. A
worker is held longer, so capacity falls to 1/factor and callers block longer (MODEL.md, F14).
Factors of faults that overlap multiply.

Source: Huang et al., "Metastable Failures in the Wild", OSDI 2022, section 5 (latency as trigger);
MODEL.md, F14, for callers.

Defaults:

* ``lasts`` (``for`` in files): neutral, until the end of the run.
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import ConfigDict, Field

from simulator.mechanism import Context, Effect, Selector, select
from simulator.registry import register
from simulator.scenario.region import Spec
from simulator.units import Duration, Multiplier


@register("fault", "slow_down")
class SlowDown:
    """Requests take longer."""

    class Config(Spec):
        """Which pools, by how much, when and for how long."""

        model_config = ConfigDict(populate_by_name=True)

        pools: Selector
        """Pools concerned."""
        factor: Annotated[Multiplier, Field(gt=0)]
        """Service time over the declared one; 1 changes nothing."""
        at: Duration
        """Time of the change, from the start of the run."""
        lasts: Duration | None = Field(default=None, alias="for")
        """Time until the factor is 1 again; absent: to the end of the run."""

    def __init__(self, spec_id: str, config: Config, context: Context) -> None:
        self.id = spec_id
        self._config = config
        self._pools = select(config.pools, context.pools)

    def effects(self) -> Iterator[Effect]:
        """Yield the change of every pool, then the returns to factor 1."""
        c = self._config
        changes = [(c.at, c.factor)]
        if c.lasts is not None:
            changes.append((c.at + c.lasts, 1.0))
        for at_s, factor in changes:
            for pool in self._pools:
                yield Effect(at_s, "service_time_factor", pool, factor=factor)
