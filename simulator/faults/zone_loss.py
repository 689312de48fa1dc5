"""A whole zone is lost: power, cooling or network of one failure domain.

Equation: all units of the zone, in every pool, serve nothing from ``at`` until ``at + for``, or
until the last loss has ended where several of one zone overlap. With equal shares over n zones the
region keeps (n - 1)/n of its capacity, so it holds its load only when it ran below that (static
stability: three zones, at most 2/3).

Source: static stability with availability zones, Amazon Builders' Library.

Defaults:

* ``lasts`` (``for`` in files): neutral, until the end of the run.
"""

from collections.abc import Iterator

from pydantic import ConfigDict, Field

from simulator.mechanism import Context, Effect
from simulator.registry import register
from simulator.scenario.references import ZoneRef
from simulator.scenario.region import Spec
from simulator.units import Duration


@register("fault", "zone_loss")
class ZoneLoss:
    """All units of one zone serve nothing for a while."""

    class Config(Spec):
        """Which zone is lost, when and for how long."""

        model_config = ConfigDict(populate_by_name=True)

        zone: ZoneRef
        """Zone that is lost."""
        at: Duration
        """Time of the loss, from the start of the run."""
        lasts: Duration | None = Field(default=None, alias="for")
        """Time until the zone is back; absent: to the end of the run."""

    def __init__(self, spec_id: str, config: Config, context: Context) -> None:
        self.id = spec_id
        self._config = config

    def effects(self) -> Iterator[Effect]:
        """Yield the loss, then the return."""
        c = self._config
        yield Effect(c.at, "zone_loss", zone=c.zone)
        if c.lasts is not None:
            yield Effect(c.at + c.lasts, "zone_return", zone=c.zone)
