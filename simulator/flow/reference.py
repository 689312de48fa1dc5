"""Readable twin of the compiled data plane: the same equations (MODEL.md), a short method each.

Slow on purpose: queues of cohort objects and dictionaries instead of flat arrays, queue lengths
counted instead of carried along, every pool stepped finely at all times. The parity tests hold
:class:`simulator.flow.plane.FlowPlane` (``adaptive=False``) to it. Change the twin first, then the
kernel. What happens inside a pool is in :mod:`simulator.flow.reference_pool`; here are the clock,
the order of the pools, noise and the books.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from simulator.contract import Crossing, Outlook
from simulator.errors import InvariantError
from simulator.flow.layout import SMOOTHING_S, step_lengths
from simulator.flow.plane import CONSERVATION_RTOL, guards_on
from simulator.flow.reference_build import make_edges, make_pool
from simulator.flow.reference_pool import TINY, Edge, Key, Pool, Watch
from simulator.flow.reference_special import SpecialEdge, SpecialPool
from simulator.model import CLIENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.model import Topology


def poisson_count(mean: float, u: float) -> float:
    """Map a uniform number to a Poisson count (E19).

    Outcomes take their share of (0, 1) in the order mode, one above, one below, and so on.
    """
    mode = high = low = math.floor(mean)
    above = below = math.exp(mode * math.log(mean) - mean - math.lgamma(mode + 1.0))
    rest = u - above
    while rest > 0.0 and (above > 0.0 or below > 0.0):
        high += 1
        above *= mean / high
        rest -= above
        if rest <= 0.0:
            return float(high)
        below *= low / mean
        low -= 1
        rest -= below
        if rest <= 0.0 and below > 0.0:
            return float(low)
    return float(mode)


class ReferencePlane:
    """Plain-Python twin of :class:`simulator.flow.plane.FlowPlane`, without sleeping pools.

    Parameters
    ----------
    topology
        The region as arrays.
    sample_period_s
        Time between two rows of the time series.
    rng
        Source of Poisson noise on first tries and service; None for the mean flow.
    guards
        Check conservation after every advance; None asks the environment.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        sample_period_s: float = 60.0,
        rng: np.random.Generator | None = None,
        guards: bool | None = None,
    ) -> None:
        self._topology, self._rng, self._guards = topology, rng, guards_on(guards)
        self.tick_s, h_ticks = step_lengths(topology)
        self._tick = 0
        self._sample_ticks = max(1, round(sample_period_s / self.tick_s))
        self._rows: list[tuple[list[list[float]], list[list[float]]]] = []
        self._crossings: deque[Crossing] = deque()
        steps_s = h_ticks * self.tick_s
        self._edges = make_edges(topology, steps_s)
        self._pools = [
            make_pool(topology, p, int(h_ticks[p]), self.tick_s, self._edges)
            for p in range(topology.n_pools)
        ]
        self._before = self._counters()
        units = topology.units.sum(axis=1)
        for p, n in enumerate(units):
            self.set_capacity(
                p,
                rate_rps=float(n * topology.unit_rate_rps[p]),
                workers=float(n * topology.concurrency[p]),
                units=float(n),
            )

    @property
    def now_s(self) -> float:
        """Time of the last completed tick."""
        return self._tick * self.tick_s

    def set_capacity(self, pool: int, *, rate_rps: float, workers: float, units: float) -> None:
        """Set full rate (warmth included), workers and unit count (it scales the queue bound)."""
        p = self._pools[pool]
        p.rate_rps, p.workers = rate_rps, workers
        per_unit = float(self._topology.queue_per_unit[pool])
        p.room = per_unit * units if math.isfinite(per_unit) else math.inf
        if isinstance(p, SpecialPool):
            declared = float(self._topology.units[pool].sum())
            p.size = units / declared if declared > 0.0 else 1.0

    def set_service_time(self, pool: int, service_s: float) -> None:
        """Set the mean service time (slow-down)."""
        self._pools[pool].s = service_s

    def set_demand(self, edge: int, rate_rps: float) -> None:
        """Set first tries per second of a service edge."""
        self._edges[edge].bank(self._tick, self.tick_s)
        self._edges[edge].rate_rps = rate_rps

    def set_admission(self, edge: int, frac: float) -> None:
        """Admit this share of a service edge's first tries; the rest fails at once (shed)."""
        self._edges[edge].bank(self._tick, self.tick_s)
        self._edges[edge].admit = frac

    def inject(self, edge: int, requests: float) -> None:
        """Add requests to a control edge (an operation's work)."""
        self._edges[edge].bank(self._tick, self.tick_s)
        self._edges[edge].issued += requests

    def set_hit_frac(self, edge: int, frac: float) -> None:
        """Set the hit ratio of an edge's cache, up to that of the full one (0 empties it)."""
        e = self._edges[edge]
        if isinstance(e, SpecialEdge) and e.cache is not None:
            e.cache.hit = min(max(frac, 0.0), e.cache.hit_max)

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
            due = [p for p in self._pools if self._tick % p.h_ticks == 0]
            for pool in due:
                self._step(pool)
            for pool in due:
                self._publish(pool)
            if self._tick % self._sample_ticks == 0:
                self._sample()
        if self._guards:
            self._check()
        return self._crossings.popleft() if self._crossings else None

    def _step(self, pool: Pool) -> None:
        """One step of a pool, ending at the present tick; nobody sees it yet."""
        pool.age()
        timed_out = pool.expire()
        pool.look_down()
        pool.eff_rps = pool.capacity()
        budget = pool.eff_rps * pool.h
        if self._rng is not None and budget > 0.0:
            budget = poisson_count(budget, self._rng.random())
        budget = pool.after_debts(budget)
        rejected = pool.admit(self._wanted(pool), budget)
        ok, served = pool.serve(budget)
        bad = timed_out + rejected + pool.settle()
        pool.served += served
        pool.ok += ok
        pool.bad += bad
        pool.watch.learn(ok, ok + bad, -math.expm1(-pool.h / SMOOTHING_S))
        for edge in pool.outputs:
            edge.rate_next_rps = pool.calls(edge, served) / pool.h

    def _wanted(self, pool: Pool) -> dict[Key, float]:
        """First tries (E2) and retries that are due (E3)."""
        wanted: dict[Key, float] = {}
        for edge in pool.inputs:
            wanted[edge, 0] = self._first_tries(edge)
            for k in range(1, edge.retries + 1):
                wanted[edge, k] = edge.line.pop((pool.count, k), 0.0)
        return wanted

    def _first_tries(self, edge: Edge) -> float:
        """E2: what was issued since the last step, less what is refused at the door."""
        edge.bank(self._tick, self.tick_s)
        first, edge.issued = edge.issued, 0.0
        if self._rng is not None and edge.kind == CLIENT and first > 0.0:
            first = poisson_count(first, self._rng.random())
        edge.first += first
        edge.in_flight += first
        first = edge.misses(first)
        edge.deposit_first(first)
        edge.step_failed += first * (1.0 - edge.admit)
        return first * edge.admit

    def _publish(self, pool: Pool) -> None:
        """Let callers and callees see the step, after all pools of the tick have computed."""
        for edge in pool.outputs:
            edge.bank(self._tick, self.tick_s)
            edge.rate_rps = edge.rate_next_rps
        for edge in pool.inputs:
            edge.known = replace(edge.next)
            self._look(edge.watch, edge.index)
        self._look(pool.watch, self._topology.n_edges + pool.index)

    def _look(self, watch: Watch, number: int) -> None:
        """Note a crossing."""
        if watch.crossed():
            self._crossings.append(Crossing(t_s=self.now_s, watch=number, below=watch.is_below))

    def _counters(self) -> tuple[np.ndarray, np.ndarray]:
        """Cumulative counters, pools and edges."""
        pools = [(p.offered, p.served, p.ok, p.bad) for p in self._pools]
        edges = [(e.first, e.ok, e.failed, e.attempts) for e in self._edges]
        return np.array(pools).reshape(-1, 4), np.array(edges).reshape(-1, 4)

    def _sample(self) -> None:
        """Write one row of means since the last sample."""
        span = self._sample_ticks * self.tick_s
        now = self._counters()
        by_pool, by_edge = now[0] - self._before[0], now[1] - self._before[1]
        self._before = now
        pools = []
        for p, (offered, served, ok, bad) in zip(self._pools, by_pool, strict=True):
            share = ok / (ok + bad) if ok + bad > TINY else p.watch.share
            state = [p.queue(), p.dead(), p.rate_rps, p.blocked()]
            pools.append([offered / span, served / span, share, *state])
        edges = [[*(row / span), e.in_flight] for e, row in zip(self._edges, by_edge, strict=True)]
        self._rows.append((pools, edges))

    def outlook(self, edge: int) -> Outlook:
        """Estimate what an attempt on ``edge`` would see now."""
        p = next(pool for pool in self._pools if self._edges[edge] in pool.inputs)
        if p.rate_rps <= 0.0 or p.eff_rps <= 0.0:
            return Outlook(0.0 if p.room <= 0.0 else 1.0, math.inf, math.inf, 0.0)
        wait = 0.0 if p.lifo else p.queue() / p.eff_rps
        s = p.s_now if isinstance(p, SpecialPool) else p.s
        return Outlook(p.accept, wait, wait + s + p.hold_s, p.p_down)

    def pool_success(self, pool: int) -> float:
        """Present success share of a pool's attempts (smoothed over about 5 s)."""
        return self._pools[pool].watch.share

    def edge_success(self, edge: int) -> float:
        """Present success share of an edge's first tries (smoothed over about 5 s)."""
        return self._edges[edge].watch.share

    def totals(self) -> dict[str, np.ndarray]:
        """Cumulative (E,) arrays: ``first``, ``ok``, ``failed``, ``attempts``, ``in_flight``."""
        names = ("first", "ok", "failed", "attempts", "in_flight")
        return {name: np.array([getattr(e, name) for e in self._edges]) for name in names}

    def latencies(self, edge: int, quantiles: Sequence[float]) -> np.ndarray | None:
        """Return None: a flow knows mean latencies only."""

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

    def _check(self) -> None:
        """Raise InvariantError when first tries are not conserved on some edge."""
        for pool in self._pools:
            for edge in pool.inputs:
                off = abs(edge.first - edge.ok - edge.failed - pool.present(edge))
                if off > CONSERVATION_RTOL * max(edge.first, 1.0):
                    msg = f"first tries are not conserved on edge {edge.index} at {self.now_s} s"
                    raise InvariantError(msg)
