"""The mutable state of the region: units by lifecycle, factors, zones, throttles, pauses.

====================  ==========================================================================
``provisioning``      ordered or rebooting; serves nothing
``warming``           serves, at a share of the full rate that rises in :data:`WARM_STAGES` steps
``in_service``        serves at the full rate
``draining``          takes no more traffic, is removed soon
``removed``           gone (a cumulative count)
``failed``            exists, but serves nothing: crashed, or in a zone that is lost
====================  ==========================================================================

Units are conserved: for every pool and zone the six counts add up to the declared units plus
those ordered. Every change of a count writes one ``unit`` record per zone, with a cause. The
state knows neither the clock nor the data plane; the engine passes rates on.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from simulator.errors import InvariantError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.model import Topology
    from simulator.scenario.region import Pool
    from simulator.trace import Log

LIFECYCLE: Final = ("provisioning", "warming", "in_service", "draining", "removed", "failed")
WARM_STAGES: Final = 4
"""Steps in which a warming unit's rate rises from ``warm_start`` to 1 (assumption: fine enough
for ramps of minutes; each step is an event)."""

_SERVING: Final = frozenset({"warming", "in_service"})


@dataclass(slots=True)
class Batch:
    """Units of one pool and zone that warm up together."""

    pool: int
    zone: int
    count: int
    stage: int = 0


@dataclass(frozen=True, slots=True)
class Why:
    """Who brought a change about, and the record that explains it."""

    actor: str = ""
    cause: int = -1


@dataclass(frozen=True, slots=True)
class Facts:
    """Units of one pool at one time."""

    serving: int
    """In service or warming."""
    failed: int
    service_s: float
    """Mean service time, slow-downs included."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Units that an operation took out of one pool."""

    t_s: float
    pool: int
    units: int
    verb: str
    """remove, drain or replace."""


class History:
    """Facts of every pool over time, for telemetry and for the ``units`` column of the trace."""

    def __init__(self, start: Sequence[Facts]) -> None:
        self.times_s: list[list[float]] = [[-1.0] for _ in start]
        self.facts: list[list[Facts]] = [[f] for f in start]

    def note(self, pool: int, t_s: float, facts: Facts) -> None:
        """Remember the facts of a pool from ``t_s`` on."""
        times_s, known = self.times_s[pool], self.facts[pool]
        if times_s[-1] == t_s:
            known[-1] = facts
        elif known[-1] != facts:
            times_s.append(t_s)
            known.append(facts)

    def before(self, pool: int, t_s: float) -> Facts:
        """Return the facts just before ``t_s``: a sample covers what was, not what changes now."""
        return self.facts[pool][bisect_left(self.times_s[pool], t_s) - 1]


def spread(count: int, weights: Sequence[int]) -> list[int]:
    """Split ``count`` in proportion to ``weights`` by largest remainder; ties to the first.

    If ``count`` is not greater than the sum of the weights, no part is greater than its weight.
    """
    total = sum(weights)
    if total <= 0 or count <= 0:
        return [0] * len(weights)
    whole = [count * w // total for w in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(count * weights[i] % total), i))
    for i in order[: count - sum(whole)]:
        whole[i] += 1
    return whole


class SystemState:
    """Units, factors and switches of the region; indices are those of the topology.

    Parameters
    ----------
    topology : Topology
        Declared units and rates.
    specs : Sequence[Pool]
        Declared pools in the order of the topology.
    log : Log
        Where ``unit`` records go.
    """

    def __init__(self, topology: Topology, specs: Sequence[Pool], log: Log) -> None:
        self.topology = topology
        self.specs = tuple(specs)
        self.log = log
        # Looked up with every operation; a search in a tuple of 20,000 names would show.
        self.pool_index = {name: p for p, name in enumerate(topology.pool_ids)}
        self.zone_index = {name: z for z, name in enumerate(topology.zone_ids)}
        declared = [[int(n) for n in row] for row in topology.units]
        self.declared = declared
        self.ordered = _zeros(declared)
        """Units ordered so far, beyond the declared ones."""
        self.counts = {name: _zeros(declared) for name in LIFECYCLE}
        self.counts["in_service"] = [list(row) for row in declared]
        self.dark = _zeros(declared)
        """Those of the failed units that only lack their zone."""
        self.batches: dict[tuple[int, int], list[Batch]] = {}
        self.capacity_factor = [[1.0] * len(row) for row in declared]
        self.service_factor = [[1.0] * len(row) for row in declared]
        self.zones_lost: set[int] = set()
        self.throttles: dict[str, tuple[float, int]] = {}
        """Service -> admitted share, where below 1, and the record of the operation."""
        self.paused: set[str] = set()
        """Ids of the scripts and loops that may not act."""
        self.removals: list[Removal] = []
        """Every removal by an operation, in order of time."""
        self.last_loss: dict[int, int] = {}
        """Pool -> last record by which it lost capacity."""
        self._unchecked = set(range(topology.n_pools))

    # ------------------------------------------------------------------ reading
    def serving(self, pool: int, zone: int | None = None) -> int:
        """Return the units in service or warming."""
        warm, full = self.counts["warming"][pool], self.counts["in_service"][pool]
        return sum(warm) + sum(full) if zone is None else warm[zone] + full[zone]

    def serving_by_zone(self, pool: int) -> list[int]:
        """Return the units in service or warming, per zone."""
        warm, full = self.counts["warming"][pool], self.counts["in_service"][pool]
        return [w + f for w, f in zip(warm, full, strict=True)]

    def total(self, name: str, pool: int) -> int:
        """Return the units of a pool in one stage of the lifecycle."""
        return sum(self.counts[name][pool])

    def warmth(self, pool: int, stage: int) -> float:
        """Return the share of the full rate in a stage of the warm-up."""
        start = self.specs[pool].warm_start
        return start + (1.0 - start) * stage / WARM_STAGES

    def _effective(self, pool: int, zone: int) -> float:
        """Return fully warm units that would serve as much as those of this zone do."""
        full = float(self.counts["in_service"][pool][zone])
        for batch in self.batches.get((pool, zone), ()):
            full += batch.count * self.warmth(pool, batch.stage)
        factor = self.capacity_factor[pool][zone] / self.service_factor[pool][zone]
        return full * factor

    def rate_rps(self, pool: int) -> float:
        """Return the rate of all units that serve; 0 below ``units_min_to_serve``."""
        if self.serving(pool) < max(1, self.specs[pool].units_min_to_serve):
            return 0.0
        zones = range(len(self.declared[pool]))
        return float(self.topology.unit_rate_rps[pool]) * sum(
            self._effective(pool, z) for z in zones
        )

    def declared_rate_rps(self, pool: int) -> float:
        """Return the rate that the declared units have when all is well."""
        return float(self.topology.unit_rate_rps[pool]) * sum(self.declared[pool])

    def workers(self, pool: int) -> float:
        """Return the requests that the serving units can hold at once."""
        return float(self.topology.concurrency[pool]) * self.serving(pool)

    def service_s(self, pool: int) -> float:
        """Return the mean service time over the units that serve (they share work by rate)."""
        base = float(self.topology.service_s[pool])
        units = self.serving_by_zone(pool)
        if not any(units):
            units = [1] * len(units)
        slow = self.service_factor[pool]
        # The quotient first: it is exactly 1 where nothing is slow.
        return base * (sum(units) / sum(n / f for n, f in zip(units, slow, strict=True)))

    def facts(self, pool: int) -> Facts:
        """Return the present facts of a pool."""
        return Facts(self.serving(pool), self.total("failed", pool), self.service_s(pool))

    def check(self) -> None:
        """Raise unless units are conserved in the pools that changed since the last check.

        Raises
        ------
        InvariantError
            Naming the pool.
        """
        while self._unchecked:
            p = self._unchecked.pop()
            for z in range(len(self.declared[p])):
                have = [self.counts[c][p][z] for c in LIFECYCLE]
                warming = sum(b.count for b in self.batches.get((p, z), ()))
                if (
                    sum(have) != self.declared[p][z] + self.ordered[p][z]
                    or min(have) < 0
                    or warming != self.counts["warming"][p][z]
                    or not 0 <= self.dark[p][z] <= self.counts["failed"][p][z]
                ):
                    name = self.topology.pool_ids[p]
                    msg = f"units of pool {name!r}, zone {z} are not conserved: {have}"
                    raise InvariantError(msg)

    # ------------------------------------------------------------------ changing
    def order(self, pool: int, zone: int, count: int, why: Why) -> None:
        """Order new units: they are provisioning."""
        self.ordered[pool][zone] += count
        self.counts["provisioning"][pool][zone] += count
        self._record(pool, zone, count, ("ordered", "provisioning"), why)

    def move(self, pool: int, zone: int, count: int, *, how: tuple[str, str], why: Why) -> None:
        """Move units from one stage of the lifecycle to another (``how``), neither ``warming``."""
        source, target = how
        assert "warming" not in how, "warming units come in batches"
        assert 0 <= count <= self.counts[source][pool][zone], "more units than there are"
        if count:
            self.counts[source][pool][zone] -= count
            self.counts[target][pool][zone] += count
            if source == "failed":
                left = self.counts["failed"][pool][zone]
                self.dark[pool][zone] = min(self.dark[pool][zone], left)
            self._record(pool, zone, count, how, why)

    def take(self, pool: int, zone: int, count: int, *, to: str, why: Why) -> int:
        """Take serving units out of service, warm ones first; return how many there were."""
        full = self.counts["in_service"][pool]
        first = min(count, full[zone])
        full[zone] -= first
        taken = first + self._take_warming(pool, zone, count - first)
        if taken:
            self.counts[to][pool][zone] += taken
            self._record(pool, zone, taken, ("in_service", to), why)
        return taken

    def _take_warming(self, pool: int, zone: int, count: int) -> int:
        """Take warming units, the newest batch first."""
        taken = 0
        batches = self.batches.get((pool, zone), [])
        while batches and taken < count:
            batch = batches[-1]
            some = min(batch.count, count - taken)
            batch.count -= some
            taken += some
            if not batch.count:
                batches.pop()
        self.counts["warming"][pool][zone] -= taken
        return taken

    def warm_up(self, pool: int, zone: int, count: int, why: Why) -> Batch:
        """Start the warm-up of provisioned units."""
        assert count <= self.counts["provisioning"][pool][zone], "more units than are on order"
        batch = Batch(pool, zone, count)
        self.counts["provisioning"][pool][zone] -= count
        self.counts["warming"][pool][zone] += count
        self.batches.setdefault((pool, zone), []).append(batch)
        self._record(pool, zone, count, ("provisioning", "warming"), why)
        return batch

    def warmer(self, batch: Batch, why: Why) -> bool:
        """Advance a batch by one stage; return whether it is still warming.

        The last stage puts its units into service. The stages in between change a rate but no
        count, and write no record.
        """
        batch.stage += 1
        if batch.stage < WARM_STAGES or not batch.count:
            return batch.count > 0
        self.batches[batch.pool, batch.zone].remove(batch)
        self.counts["warming"][batch.pool][batch.zone] -= batch.count
        self.counts["in_service"][batch.pool][batch.zone] += batch.count
        self._record(batch.pool, batch.zone, batch.count, ("warming", "in_service"), why)
        return False

    def _record(self, pool: int, zone: int, count: int, how: tuple[str, str], why: Why) -> None:
        source, target = how
        self._unchecked.add(pool)
        name, where = self.topology.pool_ids[pool], self.topology.zone_ids[zone]
        record = self.log.write(
            "unit",
            name,
            actor=why.actor,
            cause=why.cause,
            text=f"{count} × {source} → {target} in {where}",
            data={
                "zone": where,
                "count": count,
                "from": source,
                "to": target,
                "in_service": self.serving(pool, zone),
            },
        )
        if source in _SERVING and target not in _SERVING:
            self.last_loss[pool] = record


def _zeros(like: list[list[int]]) -> list[list[int]]:
    return [[0] * len(row) for row in like]
