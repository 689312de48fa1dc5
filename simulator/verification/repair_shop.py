"""Units that fail at random and wait for a repair crew, on the program's own lifecycle of units.

The engine's parts are those of every run: :class:`~simulator.engine.lifecycle.Lifecycle` crashes a
unit and replaces it, :class:`~simulator.engine.lifecycle.BootSlots` are the crews, the clock is
:class:`~simulator.engine.simulation.Simulation`. New are only the chance of a failure, and a boot
time that is drawn anew for every repair (in a region file it is constant). No requests flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from simulator.engine.lifecycle import BootSlots, Lifecycle
from simulator.engine.simulation import Phase, Simulation
from simulator.model import build_topology
from simulator.scenario.loader import parse_region
from simulator.state import SystemState, Why

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator

    from simulator.contract import Crossing, DataPlane
    from simulator.scenario.region import Pool
    from simulator.trace import Log

__all__ = ["Shop", "pattern_serves", "run_shop"]

CHUNK = 4096

REGION = """\
schema: 1
id: shop
zones: [{zones}]
basis: {{"*": assumption}}
pools:
  - {{id: shop, units: {units}, concurrency: 1, service_time: 1s, units_min_to_serve: {needed}}}
services:
  - {{id: api, entry: shop, first_tries: 1/s, customers: 100%, timeout: 1s}}
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """The parameters of the machine-repairman model; times in any one unit."""

    units: int
    crews: int
    fail_rate: float
    """Per unit that serves."""
    repair_rate: float
    """Per crew at work."""


class _Draws:
    """Exponential numbers of mean 1, drawn in chunks, and uniform ones."""

    def __init__(self, rng: Generator) -> None:
        self._rng = rng
        self._exp: list[float] = []
        self._uni: list[float] = []

    def exponential(self) -> float:
        if not self._exp:
            self._exp = self._rng.exponential(size=CHUNK).tolist()
        return self._exp.pop()

    def uniform(self) -> float:
        if not self._uni:
            self._uni = self._rng.random(CHUNK).tolist()
        return self._uni.pop()


class _RandomBoot:
    """What the lifecycle reads of a pool's specification, with a boot time drawn each time."""

    units_min_to_serve = 0
    warm_start = 1.0
    warmup = 0.0

    def __init__(self, repair_rate: float, draws: _Draws) -> None:
        self._mean = 1.0 / repair_rate
        self._draws = draws

    @property
    def boot_time(self) -> float:
        return self._mean * self._draws.exponential()


class _NoRequests:
    """A data plane without requests."""

    def set_capacity(self, pool: int, *, rate_rps: float, workers: float, units: float) -> None:
        """Nothing is served."""

    def advance(self, until_s: float) -> None:
        """Nothing happens between two events."""


class _NoLog:
    """Nobody reads the millions of records."""

    def write(self, *_args: object, **_fields: object) -> int:
        return -1


def _no_crossing(_crossing: Crossing) -> None:
    """Nothing is watched."""


def _state(units: int, specs: Sequence[Pool] | None, *, zones: str, needed: int) -> SystemState:
    region = parse_region(REGION.format(zones=zones, units=units, needed=needed))
    chosen = region.pools if specs is None else specs
    return SystemState(build_topology(region), chosen, cast("Log", _NoLog()))


def run_shop(shop: Shop, until: float, rng: Generator, *, warm: float) -> np.ndarray:
    """Return (B,) float64: the mean number of failed units in each of 20 stretches of time.

    Parameters
    ----------
    shop : Shop
        The model.
    until : float
        End of the run.
    rng : numpy.random.Generator
        Chance.
    warm : float
        Time left out at the start, when all units are still up.
    """
    draws = _Draws(rng)
    spec = cast("Pool", _RandomBoot(shop.repair_rate, draws))
    state = _state(shop.units, [spec], zones="a", needed=0)
    sim = Simulation(cast("DataPlane", _NoRequests()), on_crossing=_no_crossing)
    life = Lifecycle(sim, state)
    slots, why, zones = BootSlots(free=shop.crews), Why("shop"), (0,)
    rate_max = shop.units * shop.fail_rate

    def fail() -> None:
        # Failures come at the rate of all units; those that would hit one that is down do nothing.
        if draws.uniform() * shop.units < state.serving(0):
            life.crash(0, zones, 1, why=why)
            life.replace(0, zones, 1, slots=slots, why=why)
        sim.at(sim.now + draws.exponential() / rate_max, Phase.WORLD, "shop", fail)

    sim.at(draws.exponential() / rate_max, Phase.WORLD, "shop", fail)
    sim.run_to(until)
    return _stretches(life, shop.units, np.linspace(warm, until, 21))


def _stretches(life: Lifecycle, units: int, edges: np.ndarray) -> np.ndarray:
    """Return the mean number of units that do not serve between each two edges."""
    t = np.array(life.history.times_s[0])
    t[0] = 0.0
    down = units - np.array([f.serving for f in life.history.facts[0]], dtype=np.float64)
    total = np.concatenate([[0.0], np.cumsum(down[:-1] * np.diff(t))])
    k = np.searchsorted(t, edges, side="right") - 1
    return np.asarray(np.diff(total[k] + down[k] * (edges - t[k])) / np.diff(edges))


def pattern_serves(units: int, needed: int, failed: Sequence[int]) -> bool:
    """Return whether the program's pool serves anything when the units of these zones crashed.

    Every unit is in a zone of its own, as copies over availability zones are.
    """
    zones = ", ".join(f"z{k}" for k in range(units))
    state: Any = _state(units, None, zones=zones, needed=needed)
    life = Lifecycle(Simulation(cast("DataPlane", _NoRequests()), on_crossing=_no_crossing), state)
    life.crash(0, tuple(failed), len(failed), why=Why("pattern"))
    return bool(state.rate_rps(0) > 0.0)
