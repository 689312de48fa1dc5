"""Units come and go: boots, warm-up, removal, crashes, zones. Keeps the data plane informed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from simulator.engine.simulation import Phase
from simulator.state import WARM_STAGES, History, Why, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.engine.simulation import Simulation
    from simulator.state import Batch, SystemState

DRAIN_SERVICE_TIMES: Final = 10.0
"""Time a draining unit needs to finish what it holds, in mean service times (assumption: all but
exp(-10) of exponential requests are done)."""


@dataclass(slots=True)
class Order:
    """Units of one pool and zone that are to boot."""

    pool: int
    zone: int
    count: int
    why: Why


@dataclass(slots=True)
class BootSlots:
    """Boots that one control plane runs at once; further units wait their turn (FIFO)."""

    free: int
    waiting: deque[Order] = field(default_factory=deque)


class Lifecycle:
    """Changes units over time and passes new rates to the data plane.

    Boot and warm-up times are deterministic. *When* something happens is decided here;
    what it does to the counts, by :class:`simulator.state.SystemState`.
    """

    def __init__(self, sim: Simulation, state: SystemState) -> None:
        self._sim = sim
        self._state = state
        self._zones = range(len(state.topology.zone_ids))
        self._service_s = [float(s) for s in state.topology.service_s]
        self.history = History([state.facts(p) for p in range(state.topology.n_pools)])
        for p in range(state.topology.n_pools):
            self.push(p)

    def push(self, pool: int) -> None:
        """Tell the data plane what a pool can do now."""
        state, plane = self._state, self._sim.plane
        plane.set_capacity(
            pool,
            rate_rps=state.rate_rps(pool),
            workers=state.workers(pool),
            units=float(state.serving(pool)),
        )
        facts = state.facts(pool)
        if facts.service_s != self._service_s[pool]:
            self._service_s[pool] = facts.service_s
            plane.set_service_time(pool, facts.service_s)
        self.history.note(pool, float(self._sim.now), facts)

    # ------------------------------------------------------------------ coming
    def add(
        self, pool: int, zones: Sequence[int], count: int, *, slots: BootSlots | None, why: Why
    ) -> int:
        """Order units, spread over zones as declared; zones that are lost get none if possible."""
        weights = [self._state.declared[pool][z] if z in zones else 0 for z in self._zones]
        if not any(weights):
            weights = [int(z in zones) for z in self._zones]
        live = [0 if z in self._state.zones_lost else w for z, w in enumerate(weights)]
        parts = spread(count, live if any(live) else weights)
        self._order(pool, parts, slots, why)
        return sum(parts)

    def _order(self, pool: int, parts: list[int], slots: BootSlots | None, why: Why) -> None:
        for zone, count in enumerate(parts):
            if count:
                self._state.order(pool, zone, count, why)
                self._enqueue(Order(pool, zone, count, why), slots)

    def _enqueue(self, order: Order, slots: BootSlots | None) -> None:
        if slots is None:
            self._boot(order, None)
        else:
            slots.waiting.append(order)
            self._fill(slots)

    def _fill(self, slots: BootSlots) -> None:
        """Give free slots to the orders that wait longest; an order may be split."""
        while slots.free > 0 and slots.waiting:
            order = slots.waiting[0]
            count = min(slots.free, order.count)
            order.count -= count
            if not order.count:
                slots.waiting.popleft()
            slots.free -= count
            self._boot(Order(order.pool, order.zone, count, order.why), slots)

    def _boot(self, order: Order, slots: BootSlots | None) -> None:
        ready_s = self._sim.now + self._state.specs[order.pool].boot_time
        self._later(ready_s, order.pool, partial(self._ready, order, slots))

    def _ready(self, order: Order, slots: BootSlots | None) -> None:
        """Units have booted: they warm up, or stay dark where their zone is lost."""
        state, spec = self._state, self._state.specs[order.pool]
        pool, zone, count, why = order.pool, order.zone, order.count, order.why
        if zone in state.zones_lost:
            state.move(pool, zone, count, how=("provisioning", "failed"), why=why)
            state.dark[pool][zone] += count
        elif spec.warmup > 0.0 and spec.warm_start < 1.0:
            batch = state.warm_up(pool, zone, count, why)
            self._warm_later(batch, why)
        else:
            state.move(pool, zone, count, how=("provisioning", "in_service"), why=why)
        self.push(pool)
        if slots is not None:
            slots.free += count
            self._fill(slots)

    def _warm_later(self, batch: Batch, why: Why) -> None:
        step_s = self._state.specs[batch.pool].warmup / WARM_STAGES
        self._later(self._sim.now + step_s, batch.pool, partial(self._warmer, batch, why))

    def _warmer(self, batch: Batch, why: Why) -> None:
        if batch.count:
            if self._state.warmer(batch, why):
                self._warm_later(batch, why)
            self.push(batch.pool)

    # ------------------------------------------------------------------ going
    def remove(self, pool: int, zones: Sequence[int], count: int, *, why: Why) -> int:
        """Remove serving units at once, spread over zones; at most what there is."""
        return sum(self._take(pool, zones, count, to="removed", why=why))

    def drain(self, pool: int, zones: Sequence[int], count: int, *, why: Why) -> int:
        """Stop traffic to units at once and remove them when they have finished."""
        parts = self._take(pool, zones, count, to="draining", why=why)
        ready_s = self._sim.now + DRAIN_SERVICE_TIMES * self._state.service_s(pool)
        for zone, part in enumerate(parts):
            if part:
                done = partial(
                    self._state.move, pool, zone, part, how=("draining", "removed"), why=why
                )
                self._later(ready_s, pool, done)
        return sum(parts)

    def replace(
        self, pool: int, zones: Sequence[int], count: int, *, slots: BootSlots | None, why: Why
    ) -> int:
        """Remove units at once, failed ones first, and order as many."""
        parts = self._take_ill_first(pool, zones, count, to="removed", why=why)
        done = sum(parts)
        for zone in self._zones:
            if parts[zone] and zone in self._state.zones_lost:
                self.add(pool, self._zones, parts[zone], slots=slots, why=why)
                parts[zone] = 0
        self._order(pool, parts, slots, why)
        return done

    def restart(self, pool: int, zones: Sequence[int], count: int, *, why: Why) -> int:
        """Reboot units, failed ones first: away for the boot time, then warming."""
        parts = self._take_ill_first(pool, zones, count, to="provisioning", why=why)
        for zone, part in enumerate(parts):
            if part:
                self._boot(Order(pool, zone, part, why), None)
        return sum(parts)

    def _take(self, pool: int, zones: Sequence[int], count: int, *, to: str, why: Why) -> list[int]:
        """Take serving units out, in proportion to what serves in each zone."""
        serving = self._state.serving_by_zone(pool)
        there = [n if z in zones else 0 for z, n in enumerate(serving)]
        parts = spread(min(count, sum(there)), there)
        for zone, part in enumerate(parts):
            if part:
                self._state.take(pool, zone, part, to=to, why=why)
        self.push(pool)
        return parts

    def _take_ill_first(
        self, pool: int, zones: Sequence[int], count: int, *, to: str, why: Why
    ) -> list[int]:
        failed = self._state.counts["failed"][pool]
        there = [n if z in zones else 0 for z, n in enumerate(failed)]
        parts = spread(min(count, sum(there)), there)
        for zone, part in enumerate(parts):
            self._state.move(pool, zone, part, how=("failed", to), why=why)
        rest = self._take(pool, zones, count - sum(parts), to=to, why=why)
        return [a + b for a, b in zip(parts, rest, strict=True)]

    # ------------------------------------------------------------------ faults
    def crash(self, pool: int, zones: Sequence[int], count: int, *, why: Why) -> list[int]:
        """Let serving units fail; return how many in every zone."""
        return self._take(pool, zones, count, to="failed", why=why)

    def repair(self, pool: int, zones: Sequence[int], count: int, *, why: Why) -> int:
        """Reboot failed units; those in a zone that is lost wait for their zone."""
        state = self._state
        broken = [
            state.counts["failed"][pool][z] - state.dark[pool][z] if z in zones else 0
            for z in self._zones
        ]
        parts = spread(min(count, sum(broken)), broken)
        for zone, part in enumerate(parts):
            self._reboot(pool, zone, part, why)
        return sum(parts)

    def lose_zone(self, zone: int, *, why: Why) -> int:
        """Cut a zone: every serving unit there fails until the zone returns."""
        self._state.zones_lost.add(zone)
        lost = 0
        for pool in range(self._state.topology.n_pools):
            count = sum(self._take(pool, (zone,), self._state.serving(pool), to="failed", why=why))
            self._state.dark[pool][zone] += count
            lost += count
        return lost

    def return_zone(self, zone: int, *, why: Why) -> int:
        """Bring a zone back: its units boot again, all at once."""
        self._state.zones_lost.discard(zone)
        back = 0
        for pool in range(self._state.topology.n_pools):
            count = self._state.dark[pool][zone]
            self._state.dark[pool][zone] = 0
            self._reboot(pool, zone, count, why)
            back += count
        return back

    def _reboot(self, pool: int, zone: int, count: int, why: Why) -> None:
        if count:
            self._state.move(pool, zone, count, how=("failed", "provisioning"), why=why)
            self._boot(Order(pool, zone, count, why), None)
            self.push(pool)

    def _later(self, t_s: float, pool: int, call: partial[None]) -> None:
        self._sim.at(t_s, Phase.WORLD, self._state.topology.pool_ids[pool], call)
