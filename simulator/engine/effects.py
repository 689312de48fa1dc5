"""What operations and faults do to the region once they take effect."""

from __future__ import annotations

from collections import Counter
from functools import partial
from math import prod
from typing import TYPE_CHECKING

from simulator.engine.simulation import Phase
from simulator.errors import UsageError
from simulator.mechanism import BREAK_GLASS, Outcome
from simulator.state import Removal, Why, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from simulator.engine.causes import Causes
    from simulator.engine.lifecycle import BootSlots, Lifecycle
    from simulator.engine.simulation import Simulation
    from simulator.mechanism import Action, Effect
    from simulator.state import SystemState
    from simulator.trace import Log

_UNIT_VERBS = frozenset({"add", "remove", "replace", "restart", "drain"})


class Effects:
    """Applies executed operations and faults, and writes their records.

    ``wake`` is told the ids of actors that are no longer paused.
    """

    def __init__(
        self, sim: Simulation, *, state: SystemState, lifecycle: Lifecycle, log: Log
    ) -> None:
        self._sim = sim
        self.state = state
        self._life = lifecycle
        self._log = log
        self.wake: Callable[[str], None] = lambda _actor: None
        self.pausable: frozenset[str] = frozenset()
        """Ids of scripts and loops."""
        self._crashed: dict[tuple[str, int], list[int]] = {}
        """(fault, pool) -> units per zone that it took and has not repaired."""
        self._factors: dict[tuple[str, int, int], dict[str, float]] = {}
        """(what, pool, zone) -> factor of every fault."""
        self._losses: dict[int, Counter[str]] = {}
        """Zone -> losses in force, by fault."""

    # ------------------------------------------------------------------ operations
    def execute(
        self, action: Action, cause: int, *, latency_s: float, slots: BootSlots | None
    ) -> Outcome:
        """Execute an operation; return what its actor learns."""
        problem = self._problem(action)
        if problem:
            record = self._log.write(
                "failure",
                action.pool or action.service or action.actor or action.verb,
                actor=action.by,
                cause=cause,
                text=f"{action.verb}: {problem}",
                data={"verb": action.verb, "count": action.count, "status": "failed"},
            )
            return Outcome("failed", reason=problem, record=record)
        record = self._log.write(
            "operation",
            action.pool or action.service or action.actor or "region",
            actor=action.by,
            cause=cause,
            text=_wording(action),
            data=_facts_of(action, latency_s),
        )
        count = self._apply(action, Why(action.by, record), slots)
        return Outcome("done", count=count, record=record)

    def _problem(self, action: Action) -> str:
        """Return why an action cannot be executed at all, or an empty string."""
        known = (
            ("pool", action.pool, self.state.pool_index),
            ("zone", action.zone, self.state.zone_index),
            ("service", action.service, self.state.topology.service_ids),
        )
        for kind, name, names in known:
            if name and name not in names:
                return f"no {kind} {name!r}"
        if action.verb in _UNIT_VERBS and not action.pool:
            return "no pool named"
        if action.verb in {"pause", "resume"} and action.actor not in self.pausable:
            return f"no script or loop {action.actor!r}"
        return ""

    def _apply(self, action: Action, why: Why, slots: BootSlots | None) -> int:
        """Change the region; return the units concerned."""
        if action.verb in _UNIT_VERBS:
            return self._apply_to_units(action, why, slots)
        if action.verb == "throttle":
            self.throttle(action.service, action.factor, record=why.cause)
        elif action.verb == "pause":
            self.pause(action.actor)
        elif action.verb == "resume":
            self.resume(action.actor)
        elif action.verb == "describe" and action.pool:
            zone = self.state.zone_index[action.zone] if action.zone else None
            return self.state.serving(self.state.pool_index[action.pool], zone)
        return 0

    def _apply_to_units(self, action: Action, why: Why, slots: BootSlots | None) -> int:
        pool, life = self.state.pool_index[action.pool], self._life
        zones, count = self._zones(action.zone), max(0, action.count)
        if action.verb == "add":
            return life.add(pool, zones, count, slots=slots, why=why)
        if action.verb == "restart":
            return life.restart(pool, zones, count, why=why)
        removed = {
            "remove": partial(life.remove, pool, zones, count, why=why),
            "drain": partial(life.drain, pool, zones, count, why=why),
            "replace": partial(life.replace, pool, zones, count, slots=slots, why=why),
        }[action.verb]()
        if removed:
            now_s = float(self._sim.now)
            self.state.removals.append(Removal(now_s, pool, removed, action.verb))
        return removed

    def throttle(self, service: str, factor: float, *, record: int) -> None:
        """Admit a share of the first tries of one service, or of all; 1 lifts the throttle."""
        factor = min(1.0, max(0.0, factor))
        for name in (service,) if service else self.state.topology.service_ids:
            self._sim.plane.set_admission(self.state.topology.service_edge(name), factor)
            self.state.throttles.pop(name, None)
            if factor < 1.0:
                self.state.throttles[name] = (factor, record)

    def pause(self, actor: str) -> None:
        """Keep a script or loop from acting."""
        if actor in self.pausable:
            self.state.paused.add(actor)

    def resume(self, actor: str) -> None:
        """Let a paused actor go on."""
        if actor in self.state.paused:
            self.state.paused.discard(actor)
            self.wake(actor)

    # ------------------------------------------------------------------ faults
    def schedule(
        self, fault: str, effects: Iterable[Effect], *, causes: Causes, triggers: bool
    ) -> None:
        """Schedule all effects of a fault."""
        for effect in effects:
            if effect.at_s < 0.0:
                msg = f"fault {fault!r} has an effect at {effect.at_s} s, before the start"
                raise UsageError(msg)
            if effect.what not in self._FAULTS:
                msg = f"fault {fault!r} has an unknown effect {effect.what!r}"
                raise UsageError(msg)
            call = partial(self._strike, fault, effect, causes if triggers else None)
            self._sim.at(effect.at_s, Phase.WORLD, fault, call)

    def _strike(self, fault: str, effect: Effect, causes: Causes | None) -> None:
        record = self._log.write(
            "fault",
            effect.pool or effect.zone or fault,
            actor=fault,
            text=_fault_wording(effect),
            data={
                "what": effect.what,
                "pool": effect.pool,
                "zone": effect.zone,
                "count": effect.count,
                "frac": effect.frac,
                "factor": effect.factor,
            },
        )
        if causes is not None:
            causes.trigger = record
        self._FAULTS[effect.what](self, effect, Why(fault, record))

    def _pools(self, effect: Effect) -> list[int]:
        index = self.state.pool_index
        return [index[effect.pool]] if effect.pool else list(index.values())

    def _zones(self, zone: str) -> Sequence[int]:
        index = self.state.zone_index
        return (index[zone],) if zone else tuple(index.values())

    def _crash(self, effect: Effect, why: Why) -> None:
        zones = self._zones(effect.zone)
        for pool in self._pools(effect):
            there = sum(self.state.serving(pool, z) for z in zones)
            count = effect.count or round(effect.frac * there)
            parts = self._life.crash(pool, zones, count, why=why)
            before = self._crashed.get((why.actor, pool), [0] * len(parts))
            self._crashed[why.actor, pool] = [a + b for a, b in zip(before, parts, strict=True)]

    def _repair(self, effect: Effect, why: Why) -> None:
        zones = self._zones(effect.zone)
        for pool in self._pools(effect):
            own = self._crashed.get((why.actor, pool))
            if own is None:
                self._repair_any(effect, pool, zones, why)
            else:
                self._repair_own(effect, pool, own, why)

    def _repair_own(self, effect: Effect, pool: int, own: list[int], why: Why) -> None:
        """Repair what the same fault took: ``count`` of it, or all."""
        zones = self._zones(effect.zone)
        taken = [n if z in zones else 0 for z, n in enumerate(own)]
        count = min(effect.count, sum(taken)) or sum(taken)
        for zone, part in enumerate(spread(count, taken)):
            own[zone] -= part
            self._life.repair(pool, (zone,), part, why=why)

    def _repair_any(self, effect: Effect, pool: int, zones: Sequence[int], why: Why) -> None:
        """Repair failed units, whatever broke them: for faults that took none of this pool."""
        there = sum(self.state.counts["failed"][pool][z] for z in zones)
        wanted = effect.count or (round(effect.frac * there) if effect.frac else there)
        self._life.repair(pool, zones, wanted, why=why)

    def _capacity(self, effect: Effect, why: Why) -> None:
        self._set_factor(self.state.capacity_factor, effect, why, worse=-1)

    def _service_time(self, effect: Effect, why: Why) -> None:
        self._set_factor(self.state.service_factor, effect, why, worse=1)

    def _set_factor(
        self, table: list[list[float]], effect: Effect, why: Why, *, worse: int
    ) -> None:
        """Set a fault's factor; ``worse`` is the sign of a change that costs capacity."""
        for pool in self._pools(effect):
            row = table[pool]
            for zone in self._zones(effect.zone):
                factor = self._product(effect, pool, zone, why.actor)
                if (factor - row[zone]) * worse > 0.0:
                    self.state.last_loss[pool] = why.cause
                row[zone] = factor
            self._life.push(pool)

    def _product(self, effect: Effect, pool: int, zone: int, fault: str) -> float:
        """Return the product of the factors of all faults, after this change of one."""
        factors = self._factors.setdefault((effect.what, pool, zone), {})
        factors[fault] = effect.factor
        # In sorted order: rounding must not depend on who came first.
        return prod(factors[name] for name in sorted(factors))

    def _zone_loss(self, effect: Effect, why: Why) -> None:
        for zone in self._zones(effect.zone):
            self._losses.setdefault(zone, Counter())[why.actor] += 1
            self._life.lose_zone(zone, why=why)

    def _zone_return(self, effect: Effect, why: Why) -> None:
        """End one loss; the zone returns when all of its losses have ended."""
        for zone in self._zones(effect.zone):
            losses = self._losses.get(zone, Counter())
            if losses[why.actor]:
                losses[why.actor] -= 1
                if not losses.total():
                    self._life.return_zone(zone, why=why)

    _FAULTS = {  # noqa: RUF012 - a table of methods, never written
        "crash": _crash,
        "repair": _repair,
        "capacity_factor": _capacity,
        "service_time_factor": _service_time,
        "zone_loss": _zone_loss,
        "zone_return": _zone_return,
    }


def _wording(action: Action) -> str:
    what = action.pool or action.service or action.actor or "all services"
    where = f" in {action.zone}" if action.zone else ""
    how = " by break-glass" if action.via == BREAK_GLASS else ""
    if action.verb == "throttle":
        return f"throttle {what} to {action.factor:g}{how}"
    units = f" {action.count} ×" if action.verb in _UNIT_VERBS else ""
    return f"{action.verb}{units} {what}{where}{how}"


def _facts_of(action: Action, latency_s: float) -> dict[str, object]:
    facts: dict[str, object] = {"verb": action.verb, "latency_s": latency_s}
    if action.pool:
        facts |= {"pool": action.pool, "zone": action.zone, "count": action.count}
    if action.verb == "throttle":
        facts |= {"service": action.service, "factor": action.factor}
        facts["mitigation_active"] = action.factor < 1.0
    if action.actor:
        facts["target"] = action.actor
    if action.via == BREAK_GLASS:
        facts["break_glass"] = True
    return facts


def _fault_wording(effect: Effect) -> str:
    where = " ".join(x for x in (effect.pool, effect.zone) if x) or "region"
    if effect.what.endswith("_factor"):
        return f"{effect.what} of {where}: {effect.factor:g}"
    amount = f" {effect.count} ×" if effect.count else f" {effect.frac:.1%}" if effect.frac else ""
    return f"{effect.what}{amount} {where}"
