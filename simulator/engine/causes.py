"""Why something happened: the rule by which records get their cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulator.model import ASYNCHRONOUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulator.model import Topology
    from simulator.state import SystemState

SEARCH_MAX: Final = 1_000
"""Pools looked at in the search for a cause downstream."""


class Causes:
    """What is impaired now, and what explains it.

    Parameters
    ----------
    topology : Topology
        Who calls whom.
    state : SystemState
        Who lost capacity.
    offered_rps : callable
        ``offered_rps(pool)``: attempts per second on a pool in the last sample.
    """

    def __init__(
        self, topology: Topology, state: SystemState, offered_rps: Callable[[int], float]
    ) -> None:
        self._state = state
        self._offered_rps = offered_rps
        self.pool_ill: dict[int, int] = {}
        """Impaired pools -> their ``impaired`` records."""
        self.service_ill: dict[int, int] = {}
        """Edges of impaired services -> their ``impaired`` records."""
        self.last_ill: dict[str, int] = {}
        """Pool or service -> its latest ``impaired`` record, restored or not."""
        self.trigger = -1
        """Latest ``fault`` or ``script`` record of a trigger mechanism."""
        self.raised: dict[str, int] = {}
        """Service -> last ``demand`` record that raised its demand, while it is above its start."""
        self.work: dict[int, int] = {}
        """Pool -> record behind the last operation whose requests it got."""
        self._pools = {name: p for p, name in enumerate(topology.pool_ids)}
        self._callees: dict[int, list[tuple[int, int]]] = {}
        self._callers: dict[int, list[int]] = {}
        self._clients: dict[int, list[int]] = {}
        for e in range(topology.n_edges):
            caller, callee = int(topology.edge_caller[e]), int(topology.edge_callee[e])
            kind = int(topology.edge_kind[e])
            if caller < 0:
                self._clients.setdefault(callee, []).append(e)
                continue
            self._callers.setdefault(callee, []).append(caller)
            if kind != ASYNCHRONOUS:
                self._callees.setdefault(caller, []).append((kind, callee))

    def of_pool(self, pool: int) -> int:
        """Return the record that most plausibly made a pool fail its callers.

        The first of these that exists; between several of a kind, the latest:

        1. the pool's own last loss of capacity (units removed or failed, a fault), if that loss
           is still in force and what is left is less than the attempts offered to it;
        2. the nearest callee that is impaired or lacks capacity now: required ones before
           optional ones, direct ones before those further down;
        3. a caller, or a service that enters here, that is impaired now: its retries are load;
        4. the pool's own last loss of capacity, still in force;
        5. the record behind the last operation whose requests the pool got;
        6. the last rise of demand, if demand is still above its start;
        7. the trigger, if it has begun; -1 otherwise.
        """
        own = self.loss_in_force(pool)
        if own >= 0 and self._state.rate_rps(pool) < self._offered_rps(pool):
            return own
        found = self._downstream(pool)
        if found < 0:
            found = self.upstream(pool)
        others = (own, self.work.get(pool, -1), max(self.raised.values(), default=-1))
        return next((r for r in (found, *others) if r >= 0), self.trigger)

    def of_service(self, name: str, entry: int) -> int:
        """Return the cause for a service: its throttle, its entry pool's illness or its cause."""
        if name in self._state.throttles:
            return self._state.throttles[name][1]
        ill = self.pool_ill.get(entry, -1)
        return ill if ill >= 0 else self.of_pool(entry)

    def of_decision(self, pool: int) -> int:
        """Return what a loop reacts to when it acts on a pool: its illness, loss, or callers'."""
        for found in (self.pool_ill.get(pool, -1), self.loss_in_force(pool), self.upstream(pool)):
            if found >= 0:
                return found
        return -1

    def of_alarm(self, subject: str) -> int:
        """Return what an alarm about a pool or service shows: its latest illness, or a loss."""
        pool = self._pools.get(subject, -1)
        return max(self.last_ill.get(subject, -1), self.loss_in_force(pool))

    def loss_in_force(self, pool: int) -> int:
        """Return the last record by which a pool lost capacity that it still lacks, or -1."""
        lost = self._state.last_loss.get(pool, -1)
        if lost < 0:
            return -1
        full_rps = self._state.declared_rate_rps(pool)
        return lost if self._state.rate_rps(pool) < full_rps * (1.0 - 1e-9) else -1

    def upstream(self, pool: int) -> int:
        """Return the latest ``impaired`` record of callers and of services that enter here."""
        records = [self.pool_ill.get(c, -1) for c in self._callers.get(pool, ())]
        records += [self.service_ill.get(e, -1) for e in self._clients.get(pool, ())]
        return max(records, default=-1)

    def _downstream(self, pool: int) -> int:
        """Search the callees, layer by layer."""
        seen, layer = {pool}, [pool]
        while layer and len(seen) < SEARCH_MAX:
            below = {
                callee: kind
                for kind, callee in sorted(self._edges_of(layer), reverse=True)
                if callee not in seen
            }
            found = [(-kind, self._ailment(callee)) for callee, kind in below.items()]
            best = max((f for f in found if f[1] >= 0), default=(0, -1))
            if best[1] >= 0:
                return best[1]
            seen.update(below)
            layer = sorted(below)
        return -1

    def _edges_of(self, layer: Iterable[int]) -> Iterable[tuple[int, int]]:
        for pool in layer:
            yield from self._callees.get(pool, ())

    def _ailment(self, pool: int) -> int:
        return max(self.pool_ill.get(pool, -1), self.loss_in_force(pool))
