"""Hold a pool's utilisation at a target by adding and removing units.

Equation: desired = ceil(units * utilisation / ``target``), within ``frac_min`` and ``frac_max`` of
the declared units; nothing happens while utilisation/target is within 1 -+ ``tolerance``, within
the cooldown after the last action, or without data. One action adds at most ``scale_out_frac_max``
and removes at most ``scale_in_frac_max`` of the declared units. Units that are booting are not
counted: the cooldown must cover the boot time, or the loop orders too much.

Source: algorithm of the Kubernetes Horizontal Pod Autoscaler (documentation, "Algorithm details"
and "Configurable scaling behavior").

Defaults:

* ``pools``: neutral, every pool.
* ``target`` 60 %: assumption.
* ``tolerance`` 10 %: source, Kubernetes' default.
* ``period`` 60 s: assumption, one telemetry sample (Kubernetes: 15 s).
* ``scale_out_cooldown`` 5 min: assumption, the usual boot time of a unit.
* ``scale_in_cooldown`` 5 min: source, Kubernetes' stabilisation window for scaling in.
* ``scale_out_frac_max`` 100 %: source, Kubernetes' default lets a pool double.
* ``scale_in_frac_max`` 10 %: assumption; Kubernetes' default removes any number.
* ``frac_min`` 50 %: assumption.
* ``frac_max`` 2x: assumption.
"""

import math
from typing import Annotated

from pydantic import Field

from simulator.mechanism import Action, Context, Selector, View, select
from simulator.registry import register
from simulator.scenario.region import Spec
from simulator.units import Duration, Fraction, Multiplier


@register("healing", "autoscaler")
class Autoscaler:
    """Adds units above the target utilisation, removes them slowly below."""

    class Config(Spec):
        """Target, pace and bounds."""

        pools: Selector = ("*",)
        """Pools that are scaled."""
        target: Annotated[Fraction, Field(gt=0)] = 0.6
        """Utilisation that is held."""
        tolerance: Fraction = 0.1
        """Relative distance from the target that is let be."""
        period: Annotated[Duration, Field(gt=0)] = "60s"  # type: ignore[assignment]
        """Time between two decisions."""
        scale_out_cooldown: Duration = "5min"  # type: ignore[assignment]
        """Time after the last action before units are added."""
        scale_in_cooldown: Duration = "5min"  # type: ignore[assignment]
        """Time after the last action before units are removed."""
        scale_out_frac_max: Fraction = 1.0
        """Largest share of the declared units added at once."""
        scale_in_frac_max: Fraction = 0.1
        """Largest share of the declared units removed at once."""
        frac_min: Fraction = 0.5
        """Share of the declared units below which nothing is removed."""
        frac_max: Multiplier = 2.0
        """Multiple of the declared units above which nothing is added."""

    def __init__(self, spec_id: str, config: Config, context: Context) -> None:
        self.id = spec_id
        self.period_s = config.period
        self._config = config
        self._pools = select(config.pools, context.pools)
        self._declared = context.declared
        self._acted_s = dict.fromkeys(self._pools, -math.inf)

    def decide(self, view: View) -> list[Action]:
        """Propose one addition or removal for each pool that is off its target."""
        actions = []
        for pool in self._pools:
            change = self._change(pool, view)
            if change:
                verb = "add" if change > 0 else "remove"
                actions.append(Action(verb, pool, count=abs(change)))
                self._acted_s[pool] = view.now_s
        return actions

    def _change(self, pool: str, view: View) -> int:
        """Return units to add (positive) or to remove (negative)."""
        c = self._config
        units, utilisation = view.units(pool), view.utilisation_frac(pool)
        if units is None or utilisation is None:
            return 0
        ratio = utilisation / c.target
        quiet_s = view.now_s - self._acted_s[pool]
        if ratio > 1 + c.tolerance and quiet_s >= c.scale_out_cooldown:
            return self._out(pool, units, ratio)
        if ratio < 1 - c.tolerance and quiet_s >= c.scale_in_cooldown:
            return self._in(pool, units, ratio)
        return 0

    def _out(self, pool: str, units: int, ratio: float) -> int:
        declared = self._declared[pool]
        step = math.ceil(self._config.scale_out_frac_max * declared - 1e-9)
        most = min(step, math.floor(self._config.frac_max * declared) - units)
        # A pool without capacity has no finite utilisation: take the largest step.
        wanted = most if math.isinf(ratio) else math.ceil(units * (ratio - 1) - 1e-9)
        return max(0, min(wanted, most))

    def _in(self, pool: str, units: int, ratio: float) -> int:
        declared = self._declared[pool]
        step = math.floor(self._config.scale_in_frac_max * declared + 1e-9)
        most = min(step, units - math.ceil(self._config.frac_min * declared - 1e-9))
        return -max(0, min(math.floor(units * (1 - ratio) + 1e-9), most))
