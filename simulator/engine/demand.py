"""Demand over time: shapes as lists of steps."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from simulator.engine.simulation import Phase
from simulator.scenario.schema import Csv, Diurnal, Ramp, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from simulator.engine.causes import Causes
    from simulator.engine.simulation import Simulation
    from simulator.model import Topology
    from simulator.scenario.region import Service
    from simulator.scenario.schema import DemandShape, Scenario
    from simulator.trace import Log

DAY_S = 86_400.0


def steps_of(shape: DemandShape, horizon_s: float) -> list[tuple[float, float]]:
    """Return (time, factor) at time 0 and wherever the factor changes before the horizon."""
    raw = sorted(_raw(shape, horizon_s), key=lambda step: step[0])
    start = [factor for t_s, factor in raw if t_s <= 0.0]
    steps = [(0.0, start[-1] if start else 1.0)]
    steps += [(t_s, factor) for t_s, factor in raw if 0.0 < t_s < horizon_s]
    # Of several factors for one time the last one holds.
    last = dict(steps)
    kept = sorted(last.items())
    return kept[:1] + [b for a, b in pairwise(kept) if a[1] != b[1]]


def _raw(shape: DemandShape, horizon_s: float) -> Iterable[tuple[float, float]]:
    if isinstance(shape, Csv):
        return shape.points
    if isinstance(shape, Step):
        return [(0.0, shape.factor), *((s.at, s.factor) for s in shape.steps)]
    if isinstance(shape, Ramp):
        return _ramp(shape)
    if isinstance(shape, Diurnal):
        return _diurnal(shape, horizon_s)
    return [(0.0, shape.factor)]


def _ramp(shape: Ramp) -> Iterator[tuple[float, float]]:
    """Stairs whose treads have the height of the line at their middle."""
    yield 0.0, shape.factor
    length_s = shape.end - shape.start
    stairs = max(1, math.ceil(length_s / shape.every)) if length_s > 0.0 else 0
    for k in range(stairs):
        share = (k + 0.5) / stairs
        yield (
            shape.start + length_s * k / stairs,
            shape.factor + (shape.to - shape.factor) * share,
        )
    yield shape.end, shape.to


def _diurnal(shape: Diurnal, horizon_s: float) -> Iterator[tuple[float, float]]:
    """Stairs whose treads have the height of the curve at their middle."""
    for k in range(math.ceil(horizon_s / shape.every)):
        t_s = k * shape.every
        angle = 2.0 * math.pi * (t_s + shape.every / 2.0 - shape.peak_at) / DAY_S
        yield t_s, shape.factor * (1.0 + shape.amplitude * math.cos(angle))


def largest_demand(scenario: Scenario) -> np.ndarray:
    """Return the largest first tries per second of each service, (services,) by sorted id."""
    demand = scenario.demand
    return np.array(
        [
            service.first_tries
            * max(
                factor
                for _, factor in steps_of(
                    demand.services.get(service.id, demand.shape), scenario.horizon
                )
            )
            for service in sorted(scenario.region.services, key=lambda s: s.id)
        ]
    )


class DemandFeed:
    """Sets the first tries of every service when they change, and records it."""

    def __init__(self, sim: Simulation, *, topology: Topology, log: Log, causes: Causes) -> None:
        self._sim = sim
        self._topology = topology
        self._log = log
        self._causes = causes

    def start(self, scenario: Scenario) -> None:
        """Set the demand of time 0 and schedule the first change of each service."""
        demand = scenario.demand
        for service in sorted(scenario.region.services, key=lambda s: s.id):
            shape = demand.services.get(service.id, demand.shape)
            steps = steps_of(shape, scenario.horizon)
            edge = self._topology.service_edge(service.id)
            self._sim.plane.set_demand(edge, service.first_tries * steps[0][1])
            self._next(service, edge, steps, 1)

    def _next(self, service: Service, edge: int, steps: list[tuple[float, float]], n: int) -> None:
        if n < len(steps):
            call = partial(self._change, service, edge, steps, n)
            self._sim.at(steps[n][0], Phase.WORLD, service.id, call)

    def _change(
        self, service: Service, edge: int, steps: list[tuple[float, float]], n: int
    ) -> None:
        factor, before, start = steps[n][1], steps[n - 1][1], steps[0][1]
        rate_rps = service.first_tries * factor
        self._sim.plane.set_demand(edge, rate_rps)
        record = self._log.write(
            "demand",
            service.id,
            text=f"first tries × {factor:.4g}",
            data={"factor": factor, "first_tries_rps": rate_rps},
        )
        if factor > before:
            self._causes.raised[service.id] = record
        elif factor <= start:
            self._causes.raised.pop(service.id, None)
        self._next(service, edge, steps, n + 1)
