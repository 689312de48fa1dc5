"""Readable twin of the compiled data plane: the same equations (MODEL.md), a short method each.

Slow on purpose: queues of cohort objects and dictionaries instead of flat arrays, queue lengths
counted instead of carried along, every pool stepped finely at all times. The parity tests hold
:class:`simulator.flow.plane.FlowPlane` (``adaptive=False``) to it. Change this file first, then the
kernel.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from simulator.errors import InvariantError
from simulator.flow.contract import Crossing, Outlook
from simulator.flow.layout import SMOOTHING_S, step_lengths
from simulator.flow.plane import CONSERVATION_RTOL, guards_on
from simulator.model import (
    ASYNCHRONOUS,
    CANCEL,
    CLIENT,
    DEADLINE_AWARE,
    LIFO,
    NO_BUDGET,
    PER_FIRST_TRY,
    PER_SUCCESS,
    REQUIRED,
    ZOMBIE,
)

if TYPE_CHECKING:
    from simulator.model import Topology

TINY = 1e-9
"""Amounts (requests) below this are no work."""
CERTAIN = 16.0
"""Slack in service times above which an exponential service surely ends (1 - 1e-7)."""
HYSTERESIS = 0.1
"""A watched share has risen again when it is this part of the way from threshold to 1 above it."""


@dataclass(slots=True)
class Watch:
    """A smoothed success share and the threshold it is watched against."""

    share: float = 1.0
    below: float = -1.0
    is_below: bool = False

    def learn(self, ok: float, done: float, weight: float) -> None:
        """E16: move the share towards that of the step."""
        if done > TINY:
            self.share += weight * (ok / done - self.share)

    def crossed(self) -> bool:
        """E16: whether the share has changed sides, with hysteresis on the way up."""
        if self.below < 0.0:
            return False
        before = self.is_below
        above = self.below + HYSTERESIS * (1.0 - self.below)
        self.is_below = self.share < (above if before else self.below)
        return self.is_below != before


@dataclass(slots=True)
class Outcome:
    """What callers know about first tries on an edge."""

    p_ok: float = 1.0
    latency_s: float = 0.0
    done_rps: float = 0.0


@dataclass(slots=True, eq=False)
class Edge:
    """Requests from one caller (or service, or control plane) to one pool."""

    index: int
    kind: int
    calls: float
    timeout_s: float
    retries: int
    jitter: bool
    backoff_s: list[float]
    """Delay after attempt 0, 1, ... (upper end if jittered)."""
    budget: int
    ratio: float
    bucket: float
    tokens: float
    h: float
    """Step of the called pool."""
    line_steps: int
    """Length of the delay line: no retry is further away."""
    rate_rps: float = 0.0
    admit: float = 1.0
    issued: float = 0.0
    issued_tick: int = 0
    rate_next_rps: float = 0.0
    first: float = 0.0
    ok: float = 0.0
    failed: float = 0.0
    attempts: float = 0.0
    in_flight: float = 0.0
    line: defaultdict[tuple[int, int], float] = field(default_factory=lambda: defaultdict(float))
    """Retries due: (step of the pool, attempt number) -> amount."""
    elapsed_s: list[float] = field(default_factory=list)
    """Mean time since the first try when attempt k starts."""
    errors: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Attempt number -> (amount failed by callees in this step, amount x age)."""
    step_ok: float = 0.0
    step_failed: float = 0.0
    step_latency: float = 0.0
    known: Outcome = field(default_factory=Outcome)
    next: Outcome = field(default_factory=Outcome)
    watch: Watch = field(default_factory=Watch)

    @property
    def n_age(self) -> int:
        """Timeout in steps."""
        return max(1, round(self.timeout_s / self.h))

    def bank(self, tick: int, tick_s: float) -> None:
        """E2: count what was issued up to ``tick`` at the present rate."""
        self.issued += self.rate_rps * (tick - self.issued_tick) * tick_s
        self.issued_tick = tick

    def fail(self, k: int, amount: float, age_s: float, now: int, steps: int) -> None:
        """E6: an amount of attempt ``k`` failed at ``age_s``: try again or give up."""
        again = 0.0
        if k < self.retries:
            again = amount if self.budget == NO_BUDGET else self.spend(amount)
        if again > 0.0:
            wait_s = self.backoff_s[k] * (0.5 if self.jitter else 1.0)
            self.elapsed_s[k + 1] = self.elapsed_s[k] + age_s + wait_s
            self.back_later(k, again, now, steps)
        lost = amount - again
        self.step_failed += lost
        self.step_latency += lost * (self.elapsed_s[k] + age_s)

    def back_later(self, k: int, amount: float, now: int, steps: int) -> None:
        """E7: attempt ``k + 1`` after ``steps`` and the backoff; full jitter spreads it evenly."""
        wait = round(self.backoff_s[k] / self.h)
        if not self.jitter:
            self.line[now + min(self.line_steps - 1, steps + wait), k + 1] += amount
            return
        steps = min(steps, self.line_steps - 3)
        width = min(max(1, wait), self.line_steps - 2 - steps)
        first = now + max(1, steps)
        for step in range(first, first + width):
            self.line[step, k + 1] += amount / width

    def spend(self, amount: float) -> float:
        """E8: take tokens for retries; return the amount that may try again."""
        granted = min(amount, self.tokens)
        self.tokens -= granted
        return granted

    def deposit(self, events: float) -> None:
        """E8: earn tokens."""
        self.tokens = min(self.bucket, self.tokens + self.ratio * events)


Key = tuple[Edge, int]
"""Edge and attempt number."""


@dataclass(slots=True)
class Cohort:
    """Attempts that arrived in one step of a pool."""

    waiting: dict[Key, float] = field(default_factory=dict)
    late: defaultdict[Key, float] = field(default_factory=lambda: defaultdict(float))
    """Served or discarded, but to fail at the timeout."""
    dead: float = 0.0
    """Waiting though its client has given up."""

    def total(self) -> float:
        """Amount that a server would find."""
        return self.dead + sum(self.waiting.values())


@dataclass(slots=True, eq=False)
class Pool:
    """Units behind one queue."""

    index: int
    h: float
    h_ticks: int
    s: float
    deterministic: bool
    lifo: bool
    late_work: int
    inputs: list[Edge]
    outputs: list[Edge]
    n_cohorts: int
    rate_rps: float = 0.0
    workers: float = 0.0
    room: float = 0.0
    count: int = 0
    """Steps so far."""
    cohorts: deque[Cohort] = field(default_factory=deque)
    """Newest first: the position is the age in steps."""
    dead_old: float = 0.0
    """Dead work older than every timeout."""
    eff_rps: float = 0.0
    accept: float = 1.0
    p_down: float = 1.0
    hold_s: float = 0.0
    offered: float = 0.0
    served: float = 0.0
    ok: float = 0.0
    bad: float = 0.0
    watch: Watch = field(default_factory=Watch)

    @property
    def waited_for(self) -> list[Edge]:
        """Outgoing edges whose answer a request waits for."""
        return [edge for edge in self.outputs if edge.kind != ASYNCHRONOUS]

    def queue(self) -> float:
        """Waiting attempts, dead ones included."""
        return self.dead_old + sum(cohort.total() for cohort in self.cohorts)

    def dead(self) -> float:
        """Waiting attempts whose clients have given up."""
        return self.dead_old + sum(cohort.dead for cohort in self.cohorts)

    def blocked(self) -> float:
        """Requests in flight on the edges that are waited for."""
        return sum(edge.in_flight for edge in self.waited_for)

    def age(self) -> None:
        """Open a cohort for this step; dead work of the oldest one loses its age."""
        self.count += 1
        self.cohorts.appendleft(Cohort())
        if len(self.cohorts) > self.n_cohorts:
            self.dead_old += self.cohorts.pop().dead

    def expire(self) -> float:
        """E5: what has waited its timeout fails; zombies stay in the queue."""
        total = 0.0
        for edge in self.inputs:
            if edge.n_age >= len(self.cohorts):
                continue
            cohort = self.cohorts[edge.n_age]
            for k in range(edge.retries + 1):
                waited = cohort.waiting.pop((edge, k), 0.0)
                gone = waited + cohort.late.pop((edge, k), 0.0)
                if self.late_work == ZOMBIE:
                    cohort.dead += waited
                if gone > 0.0:
                    edge.fail(k, gone, edge.n_age * self.h, self.count, 0)
                total += gone
        return total

    def look_down(self) -> None:
        """E9, E10: success and waiting time that callees add to a request served now."""
        self.p_down, self.hold_s = 1.0, 0.0
        for edge in self.waited_for:
            self.hold_s += edge.calls * edge.known.latency_s
            if edge.kind == REQUIRED:
                p_ok = edge.known.p_ok
                part = edge.calls <= 1.0
                self.p_down *= 1.0 - edge.calls * (1.0 - p_ok) if part else p_ok**edge.calls

    def capacity(self) -> float:
        """E1, E11: attempts per second that the pool can start now."""
        eff = min(self.rate_rps, self.workers / (self.s + self.hold_s))
        blocked = self.blocked()
        if blocked > 0.0:
            done = sum(edge.known.done_rps for edge in self.waited_for)
            calls = sum(edge.calls for edge in self.waited_for)
            free = (self.workers - blocked) / self.h + done
            eff = min(eff, max(0.0, free / max(1.0, calls)))
        return eff

    def admit(self, wanted: dict[Key, float], budget: float) -> float:
        """E4: what finds room joins the newest cohort, the rest is rejected; return that."""
        total = sum(wanted.values())
        room = max(0.0, self.room - self.queue()) + budget
        self.accept = min(1.0, room / total) if total > room else 1.0
        rejected = 0.0
        for (edge, k), amount in wanted.items():
            refused = amount * (1.0 - self.accept)
            self.cohorts[0].waiting[edge, k] = amount - refused
            edge.attempts += amount
            if refused > 0.0:
                rejected += refused
                edge.fail(k, refused, 0.0, self.count, 1)
        self.offered += total
        return rejected

    def serve(self, budget: float) -> tuple[float, float]:
        """E12: spend the step's work, oldest or youngest first; return (answered, served)."""
        left, answered = budget, 0.0
        if not self.lifo:
            left -= self.serve_dead(left)
        ages = range(len(self.cohorts))
        for age in ages if self.lifo else reversed(ages):
            if left <= TINY:
                break
            cohort = self.cohorts[age]
            if self.late_work == DEADLINE_AWARE:
                self.discard(cohort, age * self.h)
            total = cohort.total()
            if total > 0.0:
                frac = min(1.0, left / total)
                answered += self.serve_cohort(cohort, age * self.h, frac)
                left -= total * frac
        if self.lifo and left > TINY:
            left -= self.serve_dead(left)
        return answered, budget - left

    def serve_dead(self, left: float) -> float:
        """E12: work on what is older than every timeout."""
        done = min(left, self.dead_old)
        self.dead_old -= done
        return done

    def serve_cohort(self, cohort: Cohort, age_s: float, frac: float) -> float:
        """E13: serve a share of a cohort; what will be late fails at its timeout."""
        cohort.dead -= cohort.dead * frac
        answered = 0.0
        for (edge, k), amount in cohort.waiting.items():
            x = amount * frac
            cohort.waiting[edge, k] = amount - x
            good = x * self.p_in_time(edge.timeout_s - age_s - self.hold_s)
            ok = good * self.p_down
            took_s = age_s + self.s + self.hold_s
            cohort.late[edge, k] += x - good
            edge.step_ok += ok
            edge.step_latency += ok * (edge.elapsed_s[k] + took_s)
            if good > ok:
                amount_was, ages_was = edge.errors.get(k, (0.0, 0.0))
                edge.errors[k] = amount_was + (good - ok), ages_was + (good - ok) * took_s
            answered += good
        return answered * self.p_down

    def p_in_time(self, slack_s: float) -> float:
        """E13: chance that a service which starts now ends within ``slack_s``."""
        if slack_s <= 0.0:
            return 0.0
        if self.deterministic:
            return float(slack_s >= self.s)
        return 1.0 if slack_s > CERTAIN * self.s else -math.expm1(-slack_s / self.s)

    def discard(self, cohort: Cohort, age_s: float) -> None:
        """E14: drop what can no longer be answered in time; it fails at its timeout."""
        for (edge, k), amount in cohort.waiting.items():
            if edge.timeout_s - age_s < self.s + self.hold_s:
                cohort.late[edge, k] += amount
                cohort.waiting[edge, k] = 0.0

    def settle(self) -> float:
        """E6, E8, E15: errors of callees become retries; book the outcome of the step."""
        delay = max(1, round((self.s + self.hold_s) / self.h))
        errors = 0.0
        for edge in self.inputs:
            for k, (amount, ages) in sorted(edge.errors.items()):
                errors += amount
                edge.fail(k, amount, ages / amount, self.count, delay)
            edge.errors.clear()
            if edge.budget == PER_SUCCESS:
                edge.deposit(edge.step_ok)
            self.book(edge)
        return errors

    def book(self, edge: Edge) -> None:
        """E15: counters, and what callers will learn."""
        done = edge.step_ok + edge.step_failed
        edge.ok += edge.step_ok
        edge.failed += edge.step_failed
        edge.in_flight -= done
        if edge.in_flight < TINY:
            edge.in_flight = 0.0
        edge.next.done_rps = done / self.h
        if done > TINY:
            edge.next.p_ok = edge.step_ok / done
            edge.next.latency_s = edge.step_latency / done
        edge.watch.learn(edge.step_ok, done, -math.expm1(-self.h / SMOOTHING_S))
        edge.step_ok = edge.step_failed = edge.step_latency = 0.0


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
        self._edges = [make_edge(topology, e, steps_s) for e in range(topology.n_edges)]
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
            budget = float(self._rng.poisson(budget))
        rejected = pool.admit(self._wanted(pool), budget)
        ok, served = pool.serve(budget)
        bad = timed_out + rejected + pool.settle()
        pool.served += served
        pool.ok += ok
        pool.bad += bad
        pool.watch.learn(ok, ok + bad, -math.expm1(-pool.h / SMOOTHING_S))
        for edge in pool.outputs:
            edge.rate_next_rps = edge.calls * served / pool.h

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
        if self._rng is not None and edge.kind == CLIENT:
            first = float(self._rng.poisson(first))
        edge.first += first
        edge.in_flight += first
        if edge.budget == PER_FIRST_TRY:
            edge.deposit(first)
        edge.step_failed += first * (1.0 - edge.admit)
        return first * edge.admit

    def _publish(self, pool: Pool) -> None:
        """Let callers and callees see the step, after all pools of the tick have computed."""
        for edge in pool.outputs:
            edge.bank(self._tick, self.tick_s)
            edge.rate_rps = edge.rate_next_rps
        for edge in pool.inputs:
            new = edge.next
            edge.known = Outcome(new.p_ok, new.latency_s, new.done_rps)
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
        edges = [
            [*(row / span), e.in_flight] for e, row in zip(self._edges, by_edge, strict=True)
        ]
        self._rows.append((pools, edges))

    def outlook(self, edge: int) -> Outlook:
        """Estimate what an attempt on ``edge`` would see now."""
        p = next(pool for pool in self._pools if self._edges[edge] in pool.inputs)
        if p.rate_rps <= 0.0 or p.eff_rps <= 0.0:
            return Outlook(0.0 if p.room <= 0.0 else 1.0, math.inf, math.inf, 0.0)
        wait = 0.0 if p.lifo else p.queue() / p.eff_rps
        return Outlook(p.accept, wait, wait + p.s + p.hold_s, p.p_down)

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
                cells = [c.waiting for c in pool.cohorts] + [c.late for c in pool.cohorts]
                keys = [(edge, k) for k in range(edge.retries + 1)]
                there = sum(cell.get(key, 0.0) for cell in cells for key in keys)
                there += sum(edge.line.values())
                off = abs(edge.first - edge.ok - edge.failed - there)
                if off > CONSERVATION_RTOL * max(edge.first, 1.0):
                    msg = f"first tries are not conserved on edge {edge.index} at {self.now_s} s"
                    raise InvariantError(msg)


def make_edge(topology: Topology, e: int, steps_s: np.ndarray) -> Edge:
    """Read an edge from the arrays."""
    retries, h = int(topology.edge_retries[e]), float(steps_s[topology.edge_callee[e]])
    base, cap = float(topology.edge_backoff_base_s[e]), float(topology.edge_backoff_cap_s[e])
    growth = 2.0 if topology.edge_exponential[e] else 1.0
    backoff_s = [min(cap, base * growth**k) for k in range(retries + 1)]
    timeout_s = float(topology.edge_timeout_s[e])
    return Edge(
        index=e,
        kind=int(topology.edge_kind[e]),
        calls=float(topology.edge_calls[e]),
        timeout_s=timeout_s,
        retries=retries,
        jitter=bool(topology.edge_jitter[e]),
        backoff_s=backoff_s,
        budget=int(topology.edge_budget[e]),
        ratio=float(topology.edge_budget_ratio[e]),
        bucket=float(topology.edge_budget_bucket[e]),
        tokens=float(topology.edge_budget_bucket[e]),
        h=h,
        line_steps=math.ceil((max(backoff_s) + timeout_s) / h) + 4,
        elapsed_s=[0.0] * (retries + 1),
    )


def make_pool(topology: Topology, p: int, h_ticks: int, tick_s: float, edges: list[Edge]) -> Pool:
    """Read a pool from the arrays."""
    inputs = [edge for edge in edges if topology.edge_callee[edge.index] == p]
    return Pool(
        index=p,
        h=h_ticks * tick_s,
        h_ticks=h_ticks,
        s=float(topology.service_s[p]),
        deterministic=bool(topology.deterministic[p]),
        lifo=int(topology.discipline[p]) == LIFO,
        late_work=int(topology.late_work[p]),
        inputs=inputs,
        outputs=[edge for edge in edges if topology.edge_caller[edge.index] == p],
        n_cohorts=max((edge.n_age for edge in inputs), default=1) + 1,
    )
