"""The twin behind the contract of the data plane: setters, ticks, crossings, samples."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING

import numpy as np

from simulator.contract import Crossing, Outlook
from simulator.errors import InvariantError
from simulator.flow.layout import SMOOTHING_S, step_lengths
from simulator.flow.plane import guards_on
from simulator.model import LIFO
from simulator.request.kernel.codes import BINS
from simulator.request.latency import quantiles as read_quantiles
from simulator.request.reference.admission import whole
from simulator.request.reference.clock import Chance, Clock
from simulator.request.reference.edge import make_edge
from simulator.request.reference.pool import make_pool
from simulator.request.streams import stream_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.model import Topology
    from simulator.request.reference.watch import Watch


class RequestReference:
    """Plain twin of :class:`simulator.request.plane.RequestPlane`: a SimPy program.

    Parameters
    ----------
    topology
        The region as arrays.
    sample_period_s
        Time between two rows of the time series.
    rng
        Source of the keys of all random streams (R13).
    guards
        Check conservation after every advance; None asks the environment.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        sample_period_s: float = 60.0,
        rng: np.random.Generator,
        guards: bool | None = None,
    ) -> None:
        self._topology = topology
        self._guards = guards_on(guards)
        self.tick_s, _ = step_lengths(topology)
        self._tick = 0
        self._sample_ticks = max(1, round(sample_period_s / self.tick_s))
        self._weight = -math.expm1(-self.tick_s / SMOOTHING_S)
        self._rows: list[tuple[list[list[float]], list[list[float]]]] = []
        self._crossings: deque[Crossing] = deque()
        self._env = Clock()
        self._make(rng)
        self._before = self._counters()
        units = topology.units.sum(axis=1)
        for p, n in enumerate(units):
            self.set_capacity(
                p,
                rate_rps=float(n * topology.unit_rate_rps[p]),
                workers=float(n * topology.concurrency[p]),
                units=float(n),
            )

    def _make(self, rng: np.random.Generator) -> None:
        """Make edges, pools and the processes of the customers."""
        topology, env = self._topology, self._env
        arrivals, choices, service = (
            [Chance(int(key)) for key in keys] for keys in stream_keys(topology, rng)
        )
        self._edges = [
            make_edge(env, topology, e, arrivals[e], choices[e]) for e in range(topology.n_edges)
        ]
        self._pools = [
            make_pool(env, topology, p, service[p], self._edges) for p in range(topology.n_pools)
        ]
        self._happen()

    def _happen(self) -> None:
        """Let everything happen that is due now."""
        self._env.run_through(self.now_s)

    @property
    def now_s(self) -> float:
        """Time of the last completed tick."""
        return self._tick * self.tick_s

    def set_capacity(self, pool: int, *, rate_rps: float, workers: float, units: float) -> None:
        """Set full rate (warmth included), workers and unit count (it scales the queue bound)."""
        self._pools[pool].resize(rate_rps, workers, units)
        self._happen()

    def set_service_time(self, pool: int, service_s: float) -> None:
        """Set the mean service time (slow-down); what is in service ends as it would have."""
        self._pools[pool].s = service_s
        self._pools[pool].start_waiting()
        self._happen()

    def set_demand(self, edge: int, rate_rps: float) -> None:
        """Set first tries per second of a service edge."""
        self._edges[edge].set_rate(rate_rps)
        self._happen()

    def set_admission(self, edge: int, frac: float) -> None:
        """Admit this share of a service edge's first tries; the rest fails at once (shed)."""
        self._edges[edge].admit = frac

    def inject(self, edge: int, requests: float) -> None:
        """Add requests to a control edge (an operation's work)."""
        self._edges[edge].inject(requests)
        self._happen()

    def set_hit_frac(self, edge: int, frac: float) -> None:
        """Set the share of an edge's calls that its cache answers (0: it was emptied)."""
        line = self._edges[edge]
        line.hit_frac = min(frac, float(line.policy["cache_hit_max"]))

    def watch_edge(self, edge: int, *, below: float) -> int:
        """Watch the success share of first tries of an edge; return the number of the watch."""
        self._edges[edge].watch.below = below
        return edge

    def watch_pool(self, pool: int, *, below: float) -> int:
        """Watch the success share of a pool's attempts; return the number of the watch."""
        self._pools[pool].watch.below = below
        return self._topology.n_edges + pool

    def advance(self, until_s: float) -> Crossing | None:
        """Go to ``until_s``, or stop earlier at the first crossing and return it."""
        target = math.floor(until_s / self.tick_s + 1e-6)
        while not self._crossings and self._tick < target:
            self._tick += 1
            self._happen()
            self._look()
            if self._tick % self._sample_ticks == 0:
                self._sample()
        if self._guards:
            self._check()
        return self._crossings.popleft() if self._crossings else None

    def _look(self) -> None:
        """R12: learn what ended in the tick, note crossings."""
        for pool in self._pools:
            for edge in pool.inputs:
                self._look_at(edge.watch, edge.index)
            self._look_at(pool.watch, self._topology.n_edges + pool.index)

    def _look_at(self, watch: Watch, number: int) -> None:
        watch.learn(self._weight)
        if watch.crossed():
            self._crossings.append(Crossing(t_s=self.now_s, watch=number, below=watch.is_below))

    def _counters(self) -> tuple[np.ndarray, np.ndarray]:
        """Cumulative counters, pools and edges."""
        pools = [(p.offered, p.served, p.ok, p.bad) for p in self._pools]
        edges = [(e.first, e.ok, e.failed, e.attempts) for e in self._edges]
        return np.array(pools).reshape(-1, 4), np.array(edges).reshape(-1, 4)

    def _sample(self) -> None:
        """Write one row of means since the last sample."""
        span_s = self._sample_ticks * self.tick_s
        now = self._counters()
        by_pool, by_edge = now[0] - self._before[0], now[1] - self._before[1]
        self._before = now
        pools = []
        for p, (offered, served, ok, bad) in zip(self._pools, by_pool, strict=True):
            share = ok / (ok + bad) if ok + bad else p.watch.share
            state = [len(p.line), p.line.dead(), p.rate_rps, p.blocked()]
            pools.append([offered / span_s, served / span_s, share, *state])
        edges = [
            [*(row / span_s), e.in_flight] for e, row in zip(self._edges, by_edge, strict=True)
        ]
        self._rows.append((pools, edges))
        for edge in self._edges:
            edge.latencies.append(Counter())

    def outlook(self, edge: int) -> Outlook:
        """Estimate what an attempt on ``edge`` would see now."""
        p = self._edges[edge].pool
        waiting = len(p.line)
        has_room = waiting < whole(p.door.room)
        if p.rate_rps <= 0.0 or p.workers <= 0.0:
            return Outlook(float(has_room), math.inf, math.inf, 0.0)
        starts = waiting == 0 and p.can_start()
        eff_rps = min(p.rate_rps, p.workers / (p.s + p.hold_s))
        lifo = self._topology.discipline[p.index] == LIFO
        wait_s = 0.0 if lifo or starts else waiting / eff_rps
        latency_s = wait_s + p.s + p.hold_s
        return Outlook(float(starts or has_room), wait_s, latency_s, p.answered_well)

    def pool_success(self, pool: int) -> float:
        """Present success share of a pool's attempts (smoothed over about 5 s)."""
        return self._pools[pool].watch.share

    def edge_success(self, edge: int) -> float:
        """Present success share of an edge's first tries (smoothed over about 5 s)."""
        return self._edges[edge].watch.share

    def totals(self) -> dict[str, np.ndarray]:
        """Cumulative (E,) arrays: ``first``, ``ok``, ``failed``, ``attempts``, ``in_flight``."""
        names = ("first", "ok", "failed", "attempts", "in_flight")
        return {name: np.array([float(getattr(e, name)) for e in self._edges]) for name in names}

    @property
    def n_samples(self) -> int:
        """Samples taken so far (one per sample period)."""
        return len(self._rows)

    def samples(self, start: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``(t_s (n,), pools (n, P, 7), edges (n, E, 5))`` from sample ``start`` on."""
        period_s = self._sample_ticks * self.tick_s
        rows = self._rows[start:]
        pools = np.array([r[0] for r in rows]).reshape(len(rows), len(self._pools), 7)
        edges = np.array([r[1] for r in rows]).reshape(len(rows), len(self._edges), 5)
        return period_s * np.arange(start + 1, self.n_samples + 1), pools, edges

    def latency_counts(self, edge: int) -> np.ndarray:
        """Count all successes of first tries of an edge per bin of latency, (BINS,) int64 (R10)."""
        return _dense(sum(self._edges[edge].latencies, Counter()))

    def latencies(self, edge: int, quantiles: Sequence[float]) -> np.ndarray | None:
        """Return quantiles (s) of the latency of an edge's answered first tries, by sample."""
        shares = np.array(quantiles)
        complete = self._edges[edge].latencies[:-1]
        rows = [read_quantiles(_dense(sample), shares) for sample in complete]
        return np.array(rows).reshape(-1, len(quantiles))

    def _check(self) -> None:
        """Raise InvariantError when first tries, attempts or workers are lost."""
        for edge in self._edges:
            if edge.first != edge.ok + edge.failed + edge.in_flight:
                msg = f"first tries are not conserved on edge {edge.index} at {self.now_s} s"
                raise InvariantError(msg)
        for pool in self._pools:
            if pool.processing < 0 or pool.held < 0:
                msg = f"pool {pool.index} has lost count of its workers at {self.now_s} s"
                raise InvariantError(msg)


def _dense(counts: Counter[int]) -> np.ndarray:
    """Return counts per bin as an array."""
    dense = np.zeros(BINS, np.int64)
    for index, n in counts.items():
        dense[index] = n
    return dense
