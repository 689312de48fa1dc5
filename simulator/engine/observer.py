"""What is noticed: crossings of true success shares, samples, alarms, customers' reports."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from simulator.engine.simulation import Phase
from simulator.model import ASYNCHRONOUS
from simulator.telemetry import AlarmBook, SampleBook

if TYPE_CHECKING:
    from simulator.contract import Crossing
    from simulator.engine.actors import Pager
    from simulator.engine.causes import Causes
    from simulator.engine.simulation import Simulation
    from simulator.model import Topology
    from simulator.sampling import Streams
    from simulator.scenario.schema import Alarm, Scenario
    from simulator.telemetry import SampledView
    from simulator.trace import Log

POOL_IMPAIRED_BELOW: Final = 0.99
"""Success share of a pool's attempts below which it counts as impaired (assumption). If a
service depends on it, the service's SLO counts where it is higher: a pool is not called healthy
while it fails more often than its customers accept."""
CUSTOMER_REPORTS: Final = "customer reports"
_TELEMETRY: Final = "telemetry"


class Observer:
    """Writes ``impaired`` and ``restored`` records, runs telemetry and raises pages.

    Parameters
    ----------
    sim : Simulation
        Clock and data plane.
    log : Log
        For ``impaired``, ``restored`` and ``alarm`` records.
    causes : Causes
        Told who is impaired; asked why.
    pager : Pager
        Who is paged.
    book : SampleBook
        What can be seen.
    """

    def __init__(
        self, sim: Simulation, *, log: Log, causes: Causes, pager: Pager, book: SampleBook
    ) -> None:
        self._sim = sim
        self._log = log
        self._causes = causes
        self._pager = pager
        self._book = book
        self._view: SampledView = book.view(0.0)
        self._watched: dict[int, tuple[str, int, int]] = {}
        self._rank: dict[int, int] = {}

    def start(self, scenario: Scenario, topology: Topology, streams: Streams) -> None:
        """Set the watches and begin to sample."""
        self._watch(scenario, topology)
        self._alarms = AlarmBook(scenario.telemetry.alarms)
        self._patience = scenario.telemetry.customer_reports
        self._streams = streams
        self._tick_later(1)

    def _watch(self, scenario: Scenario, topology: Topology) -> None:
        """Watch pools, callees before callers, then services in the order of their entries."""
        plane = self._sim.plane
        slo = {s.id: s.slo for s in scenario.region.services}
        entered: dict[int, list[str]] = {}
        for name in topology.service_ids:
            entry = int(topology.edge_callee[topology.service_edge(name)])
            entered.setdefault(entry, []).append(name)
        callees = callees_of(topology)
        order = callees_first(callees, topology.n_pools)
        below = [POOL_IMPAIRED_BELOW] * topology.n_pools
        for p in reversed(order):
            below[p] = max(below[p], *(slo[s] for s in entered.get(p, ())), 0.0)
            for callee in callees.get(p, ()):
                below[callee] = max(below[callee], below[p])
        for p in order:
            self._watched[plane.watch_pool(p, below=below[p])] = (topology.pool_ids[p], -1, p)
        for p in order:
            for name in entered.get(p, ()):
                edge = topology.service_edge(name)
                self._watched[plane.watch_edge(edge, below=slo[name])] = (name, edge, p)
        self._rank = {watch: i for i, watch in enumerate(self._watched)}

    def rank(self, watch: int) -> int:
        """Return the place of a watch among those that cross at the same time."""
        return self._rank[watch]

    # ------------------------------------------------------------------ the true state
    def crossed(self, crossing: Crossing) -> None:
        """Record that a pool or service became impaired or was restored."""
        name, edge, pool = self._watched[crossing.watch]
        ill = self._causes.pool_ill if edge < 0 else self._causes.service_ill
        key = pool if edge < 0 else edge
        what = "service" if edge >= 0 else "pool"
        if crossing.below:
            cause = self._causes.of_pool(pool) if edge < 0 else self._causes.of_service(name, pool)
            record = self._log.write(
                "impaired", name, cause=cause, text=f"{what} impaired", data={"what": what}
            )
            ill[key] = self._causes.last_ill[name] = record
            if edge >= 0:
                self._expect_reports(name, edge, record)
        elif key in ill:
            record = ill.pop(key)
            self._log.write(
                "restored", name, cause=record, text=f"{what} restored", data={"what": what}
            )
            if edge >= 0:
                self._pager.close(_reports_about(name))

    def _expect_reports(self, name: str, edge: int, record: int) -> None:
        """Let customers tell the people on duty if a service stays impaired for long enough."""
        rng = self._streams.stream("customer-reports", name)
        after_s = self._patience.sample(rng)
        call = partial(self._report, name, edge, record)
        self._sim.at(self._sim.now + after_s, Phase.OBSERVE, name, call)

    def _report(self, name: str, edge: int, record: int) -> None:
        if self._causes.service_ill.get(edge) == record:
            self._pager.page(_reports_about(name), text=CUSTOMER_REPORTS, cause=record)

    # ------------------------------------------------------------------ the seen state
    def view(self) -> SampledView:
        """Return what telemetry shows now (one object per instant)."""
        now_s = float(self._sim.now)
        if self._view.now_s != now_s:
            self._take_samples()
            self._view = self._book.view(now_s)
        return self._view

    def _take_samples(self) -> None:
        plane = self._sim.plane
        if plane.n_samples > self._book.n_taken:
            self._book.extend(*plane.samples(self._book.n_taken))

    def _tick_later(self, n: int) -> None:
        t_s = n * self._book.period_s + self._book.delay_s
        self._sim.at(t_s, Phase.OBSERVE, _TELEMETRY, partial(self._tick, n))

    def _tick(self, n: int) -> None:
        """Evaluate all alarms on the newest sample; close pages whose alarm has ended."""
        before = set(self._alarms.active)
        fired = self._alarms.evaluate(self.view())
        for ended in sorted(before - self._alarms.active):
            self._pager.close(ended)
        for alarm in fired:
            self._raise(alarm)
        self._tick_later(n + 1)

    def _raise(self, alarm: Alarm) -> None:
        subject = alarm.service or alarm.pool or ""
        record = self._log.write(
            "alarm",
            subject,
            actor=alarm.id,
            cause=self._causes.of_alarm(subject),
            text=f"{alarm.metric} of {subject}",
            data={"alarm": alarm.id, "metric": alarm.metric},
        )
        self._pager.page(alarm.id, text=f"alarm {alarm.id}", cause=record)


def callees_of(topology: Topology) -> dict[int, list[int]]:
    """Return the pools that each pool waits for, if there are any."""
    callees: dict[int, list[int]] = {}
    for e in range(topology.n_edges):
        if topology.edge_caller[e] >= 0 and topology.edge_kind[e] != ASYNCHRONOUS:
            callees.setdefault(int(topology.edge_caller[e]), []).append(
                int(topology.edge_callee[e])
            )
    return callees


def callees_first(callees: dict[int, list[int]], n_pools: int) -> list[int]:
    """Return all pools, each one after those it waits for (of a cycle, the first by id last)."""
    seen: set[int] = set()
    order: dict[int, None] = {}
    stack = list(reversed(range(n_pools)))
    while stack:
        pool = stack[-1]
        if pool in seen:  # and so are its callees, which were above it
            order.setdefault(stack.pop())
        else:
            seen.add(pool)
            stack += [c for c in callees.get(pool, ()) if c not in seen]
    return list(order)


def _reports_about(service: str) -> str:
    return f"{CUSTOMER_REPORTS}: {service}"
