"""Replace units that fail their health checks.

Equation: every ``period`` the share f of failing checks is seen for each pool. The share that
failed in each of the last ``threshold`` periods, min(f), counts as broken. Of U declared units,
min(f) * N are replaced, at most ``replace_frac_max`` * U per period, where N = S / (1 - min(f)) is
the fleet that goes with S units in service (at most U, at least S). A check is a request: under
overload good units fail it too, so this loop can take away capacity where capacity is short. It
fails open (replaces nothing) where more than ``fail_open_above`` looks broken.

Source: health checks and fail-open of the AWS Application Load Balancer (user guide, "Health checks
for your target groups"); deep checks can remove a fleet at once (Amazon Builders' Library,
"Implementing health checks").

Defaults:

* ``pools``: neutral, every pool.
* ``period`` 30 s, ``check_timeout`` 5 s, ``threshold`` 2: source, the load balancer's defaults for
  interval, timeout and unhealthy threshold.
* ``replace_frac_max`` 10 %: assumption.
* ``fail_open_above``: neutral, off. The load balancer itself fails open when all targets look bad.
"""

import math
from collections import deque
from typing import Annotated

from pydantic import Field

from simulator.mechanism import Action, Context, Selector, View, select
from simulator.registry import register
from simulator.scenario.region import Spec
from simulator.units import Count, Duration, Fraction

SURELY_NONE = 0.5
"""Broken units below which the loop cannot find a whole one."""


@register("healing", "unhealthy_replacer")
class UnhealthyReplacer:
    """Replaces units that fail several health checks in a row."""

    class Config(Spec):
        """What counts as broken, and how fast it is replaced."""

        pools: Selector = ("*",)
        """Pools that are looked after."""
        period: Annotated[Duration, Field(gt=0)] = "30s"  # type: ignore[assignment]
        """Time between two checks."""
        check_timeout: Duration = "5s"  # type: ignore[assignment]
        """A check that is not answered within this time has failed."""
        threshold: Annotated[Count, Field(ge=1, le=1000)] = 2
        """Checks in a row that must fail."""
        replace_frac_max: Fraction = 0.1
        """Largest share of a pool's declared units replaced per period."""
        fail_open_above: Fraction | None = None
        """Nothing is replaced while a larger share than this fails; absent: never fails open."""

    def __init__(self, spec_id: str, config: Config, context: Context) -> None:
        self.id = spec_id
        self.period_s = config.period
        self._config = config
        self._pools = select(config.pools, context.pools)
        self._declared = context.declared
        # Failing shares of the last checks; no more than `threshold` of them.
        self._seen: dict[str, deque[float]] = {
            pool: deque(maxlen=config.threshold) for pool in self._pools
        }

    def decide(self, view: View) -> list[Action]:
        """Replace what failed in every one of the last checks."""
        actions = []
        for pool in self._pools:
            count = self._broken(pool, view)
            if count:
                actions.append(Action("replace", pool, count=count))
        return actions

    def _broken(self, pool: str, view: View) -> int:
        c, seen = self._config, self._seen[pool]
        failing, units = view.health_fail_frac(pool, c.check_timeout), view.units(pool)
        if failing is None or units is None:  # no data: the row of checks starts again
            seen.clear()
            return 0
        seen.append(failing)
        if failing * max(units, self._declared[pool]) < SURELY_NONE:  # healthy: ask no further
            return 0
        if len(seen) < c.threshold or not min(seen):
            return 0
        if c.fail_open_above is not None and failing > c.fail_open_above:
            return 0
        broken, declared = min(seen), float(self._declared[pool])
        fleet = max(units, declared if broken >= 1 else min(declared, units / (1 - broken)))
        most = math.ceil(c.replace_frac_max * declared - 1e-9)
        return min(math.floor(broken * fleet + 1e-9), most)
