"""All units of a pool lose a share of their rate for a while.

Equation: rate of a unit = ``factor`` times its full rate, from ``at`` until ``at + for``.
Factors of faults that overlap multiply.

Source: capacity-decreasing trigger of Huang et al., "Metastable Failures in the Wild", OSDI 2022,
section 2: C_org(t).

Defaults:

* ``lasts`` (``for`` in files): neutral, until the end of the run.
"""

from collections.abc import Iterator

from pydantic import ConfigDict, Field

from simulator.mechanism import Context, Effect, Selector, select
from simulator.registry import register
from simulator.scenario.region import Spec
from simulator.units import Duration, Fraction


@register("fault", "capacity_factor")
class CapacityFactor:
    """Units work at a share of their rate."""

    class Config(Spec):
        """Which pools, by how much, when and for how long."""

        model_config = ConfigDict(populate_by_name=True)

        pools: Selector
        """Pools concerned."""
        factor: Fraction
        """Share of the full rate that is left; 0 is a total outage."""
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
                yield Effect(at_s, "capacity_factor", pool, factor=factor)
