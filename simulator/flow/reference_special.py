"""Pools and edges with policies in the readable twin (MODEL.md, policies in the flow: E27 to E42).

What a policy decides is written in :mod:`simulator.policies`; here is what that means for amounts.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.flow.policy_layout import delays
from simulator.flow.reference_pool import CERTAIN, TINY, Cohort, Edge, Key, Pool
from simulator.model import DEADLINE_AWARE, REQUIRED, ZOMBIE
from simulator.policies.adaptive_throttling import refusal_probability
from simulator.policies.base import SLICES, slice_of
from simulator.policies.cache import filling
from simulator.policies.circuit_breaker import CLOSED, HALF_OPEN, OPEN, opens
from simulator.policies.concurrency_limit import lowered, raised
from simulator.policies.contention import contention_factor
from simulator.policies.discipline import CODEL, LIFO, PRIORITY, codel_age, serves_youngest
from simulator.policies.load_shedding import CLASSES
from simulator.policies.memory_pressure import memory_factor
from simulator.policies.rate_limit import refilled
from simulator.policies.retry import (
    PER_FIRST_TRY,
    PER_SUCCESS,
    THROTTLE,
    WINDOWED,
    windowed_balance,
)
from simulator.policies.service_time import EXPONENTIAL, ends_within

if TYPE_CHECKING:
    import numpy as np


@dataclass(slots=True)
class Window:
    """E27: events of the last ``span_s``, kept as slices of which the oldest expires as a whole."""

    span_s: float
    slices: list[float] = field(default_factory=lambda: [0.0] * SLICES)
    present: int = 0

    def roll(self, now_s: float) -> None:
        """Expire what has left the window."""
        number = slice_of(now_s, self.span_s)
        for i in range(self.present + 1, min(number, self.present + SLICES) + 1):
            self.slices[i % SLICES] = 0.0
        self.present = number

    def add(self, events: float) -> None:
        """Count events now."""
        self.slices[self.present % SLICES] += events

    @property
    def total(self) -> float:
        """Events in the window."""
        return sum(self.slices)


@dataclass(slots=True)
class Breaker:
    """E31: one breaker for all clients of an edge."""

    frac: float
    calls_min: float
    open_for_s: float
    probes: float
    ended: Window
    failed: Window
    state: int = CLOSED
    since_s: float = 0.0
    sent: float = 0.0
    probes_ended: float = 0.0
    probes_failed: float = 0.0

    def roll(self, now_s: float, h: float) -> None:
        """Expire the window; let probes through after the wait."""
        self.ended.roll(now_s)
        self.failed.roll(now_s)
        if self.state == OPEN and now_s + TINY >= self.since_s + self.open_for_s:
            self.turn(HALF_OPEN, now_s - h)

    def turn(self, state: int, since_s: float) -> None:
        """Change the state and forget what was counted."""
        self.state, self.since_s = state, since_s
        self.sent = self.probes_ended = self.probes_failed = 0.0
        for window in (self.ended, self.failed):
            window.slices = [0.0] * SLICES

    def share(self, wanted: float) -> float:
        """Return the share of attempts that is let through; as probes they count as sent."""
        if self.state != HALF_OPEN:
            return float(self.state == CLOSED)
        left = max(0.0, self.probes - self.sent)
        share = left / wanted if wanted > left else 1.0
        self.sent += wanted * share
        return share

    def book(self, ok: float, failed: float) -> None:
        """Count attempts that ended and were sent since the last change."""
        if self.state == CLOSED:
            self.ended.add(ok + failed)
            self.failed.add(failed)
        elif self.state == HALF_OPEN:
            self.probes_ended += ok + failed
            self.probes_failed += failed

    def judge(self, now_s: float) -> None:
        """Open or close."""
        if self.state == CLOSED:
            if opens(self.ended.total, self.failed.total, self.calls_min, self.frac):
                self.turn(OPEN, now_s)
        elif self.state == HALF_OPEN:
            if self.probes_failed >= self.frac * self.probes - TINY:
                self.turn(OPEN, now_s)
            elif self.probes_ended >= self.probes * (1.0 - TINY):
                self.turn(CLOSED, now_s)


@dataclass(slots=True)
class Throttling:
    """E30: one window for all clients of an edge."""

    k: float
    clients: float
    requests: Window
    accepts: Window

    def roll(self, now_s: float) -> None:
        """Expire the window."""
        self.requests.roll(now_s)
        self.accepts.roll(now_s)

    def share(self, wanted: float) -> float:
        """Book what is wanted; return the share that is let through, by what was known before."""
        requests, accepts = self.requests.total / self.clients, self.accepts.total / self.clients
        self.requests.add(wanted)
        return 1.0 - refusal_probability(requests, accepts, self.k)


@dataclass(slots=True)
class Cache:
    """E42: hit ratio of a look-aside cache."""

    hit_max: float
    keys: float
    hit: float

    def learn(self, answers: float) -> None:
        """Fill with what came back."""
        grown = filling(self.hit, self.hit_max, self.keys) * answers
        self.hit = min(self.hit_max, self.hit + grown)


@dataclass(slots=True)
class InService:
    """E35: what was started and is not yet ended, with an exponential time in service."""

    amount: float = 0.0

    def go_on(self, started: float, took_s: float, h: float) -> None:
        """Let a step pass in which ``started`` began evenly."""
        stays = math.exp(-h / took_s)
        self.amount = self.amount * stays + started * (took_s / h) * (1.0 - stays)

    def room(self, limit: float, present: float, took_s: float, h: float, work: float) -> float:
        """Return how much may join ``present`` so that at most ``limit`` are there in the end."""
        stays = math.exp(-h / took_s)
        part = took_s / h * (1.0 - stays)
        room = limit - self.amount * stays
        if room <= part * work:
            return max(0.0, room / part - present)
        return max(0.0, room - present + work * (1.0 - part))


@dataclass(slots=True, eq=False, kw_only=True)
class SpecialEdge(Edge):
    """Edge into a pool with policies, or with policies of its own."""

    policy: np.void
    delay_s: list[tuple[float, float]] = field(default_factory=list)
    """Shortest and longest delay after attempt 0, 1, ..."""
    deposits: Window = field(init=False)
    retried: Window = field(init=False)
    breaker: Breaker | None = None
    throttling: Throttling | None = None
    cache: Cache | None = None
    bulkhead: float = 0.0
    priority: int = 0
    hedge_steps: int = 0
    deadline_s: float = math.inf
    """Age at which a copy is sent; 0: never."""
    step_hits: float = 0.0
    started: float = 0.0
    serving: InService = field(default_factory=InService)

    def __post_init__(self) -> None:
        """Read the policies."""
        row = self.policy
        clients = float(row["clients"])
        self.delay_s = delays(row)
        self.deposits = Window(float(row["budget_window"]))
        self.retried = Window(float(row["budget_window"]))
        self.bulkhead = float(row["bulkhead"]) * clients
        self.priority = min(max(int(row["priority"]), 0), CLASSES - 1)
        if row["breaker"]:
            window = float(row["breaker_window"])
            self.breaker = Breaker(
                float(row["breaker_frac"]),
                float(row["breaker_calls_min"]) * clients,
                float(row["breaker_open_for"]),
                float(row["breaker_probes"]) * clients,
                Window(window),
                Window(window),
            )
        if row["throttling"]:
            window = float(row["throttling_window"])
            self.throttling = Throttling(
                float(row["throttling_k"]), clients, Window(window), Window(window)
            )
        if row["cache"]:
            self.cache = Cache(
                float(row["cache_hit_max"]), float(row["cache_keys"]), float(row["cache_start"])
            )

    def roll(self, now_s: float) -> None:
        """E27: let the windows reach the present."""
        if self.budget == WINDOWED:
            self.deposits.roll(now_s)
            self.retried.roll(now_s)
        if self.throttling is not None:
            self.throttling.roll(now_s)
        if self.breaker is not None:
            self.breaker.roll(now_s, self.h)

    def deposit_first(self, first: float) -> None:
        """E8, E29: what first tries that go out earn."""
        if self.budget == WINDOWED:
            self.deposits.add(first)
        elif self.budget == PER_FIRST_TRY:
            self.deposit(first)

    def misses(self, first: float) -> float:
        """E42: what the cache has not; the rest is answered at once."""
        if self.cache is None:
            return first
        self.step_hits = first * self.cache.hit
        self.step_ok += self.step_hits
        return first - self.step_hits

    def pay(self, amount: float) -> float:
        """E8, E29: return the amount that the budget lets try again."""
        if self.budget in (PER_FIRST_TRY, PER_SUCCESS):
            return self.spend(amount)
        if self.budget == WINDOWED:
            row = self.policy
            floor = float(row["budget_min_rate"] * row["budget_window"] * row["clients"])
            balance = windowed_balance(self.deposits.total, self.retried.total, self.ratio, floor)
            granted = min(amount, max(0.0, balance))
            self.retried.add(granted)
            return granted
        if self.budget == THROTTLE:  # those that fail before half is reached may
            return min(amount, max(0.0, self.tokens - 0.5 * self.bucket))
        return amount

    def fail(self, k: int, amount: float, age_s: float, now: int, steps: int) -> None:
        """E6, E28, E29: an amount of attempt ``k`` failed at ``age_s``: try again or give up."""
        low, high = self.delay_s[k]
        in_time = self.elapsed_s[k] + age_s + 0.5 * (low + high) < self.deadline_s  # E40
        again = self.pay(amount) if k < self.retries and in_time else 0.0
        if self.budget == THROTTLE:
            self.tokens = max(0.0, self.tokens - amount)
        if again > 0.0:
            amount_was, ages_was = self.again.get(k + 1, (0.0, 0.0))
            ages = ages_was + again * (self.elapsed_s[k] + age_s + 0.5 * (low + high))
            self.again[k + 1] = amount_was + again, ages
            self.back_later(k, again, now, steps)
        self.give_up(k, amount - again, age_s)

    def give_up(self, k: int, amount: float, age_s: float) -> None:
        """E6: a failed first try."""
        self.step_failed += amount
        self.step_latency += amount * (self.elapsed_s[k] + age_s)

    def back_later(self, k: int, amount: float, now: int, steps: int) -> None:
        """E28: attempt ``k + 1`` after ``steps`` and a delay spread evenly between its bounds."""
        low, high = self.delay_s[k]
        if not self.jitter:
            self.line[now + min(self.line_steps - 1, steps + round(high / self.h)), k + 1] += amount
            return
        start = min(max(1, steps + round(low / self.h)), self.line_steps - 3)
        width = min(max(1, round((high - low) / self.h)), self.line_steps - 2 - start)
        for step in range(now + start, now + start + width):
            self.line[step, k + 1] += amount / width

    def book(self, ok: float, failed: float, age_s: float, now_s: float) -> None:
        """E31: tell the breaker what ended, if it was sent after the last change."""
        if self.breaker is not None and age_s <= now_s - self.breaker.since_s - 0.5 * self.h:
            self.breaker.book(ok, failed)

    def learn(self, now_s: float) -> None:
        """E29 to E31, E42: what the answers of the step teach."""
        answers = self.step_ok - self.step_hits
        self.step_hits = 0.0
        if self.budget in (PER_SUCCESS, THROTTLE):
            self.deposit(answers)
        if self.throttling is not None:
            self.throttling.accepts.add(answers)
        if self.cache is not None:
            self.cache.learn(answers)
        if self.breaker is not None:
            self.breaker.judge(now_s)


@dataclass(slots=True)
class Copies:
    """E43: copies of one attempt number that were sent in one step."""

    waiting: float
    hedged: float
    """Originals that were unanswered when the copies were sent."""
    let_in: float = 1.0
    """Share of the copies that was let in."""


@dataclass(slots=True)
class SpecialCohort(Cohort):
    """Cohort that knows the classes of its dead work, and its copies."""

    copies: dict[Key, Copies] = field(default_factory=dict)
    unanswered: defaultdict[Key, float] = field(default_factory=lambda: defaultdict(float))
    """Served, and answered in time, but only after copies will be sent."""

    dead_of: list[float] = field(default_factory=lambda: [0.0] * CLASSES)

    def total(self) -> float:
        """Amount that a server would find."""
        return Cohort.total(self) + sum(copy.waiting for copy in self.copies.values())

    def bury(self, gone: float, only: int | None) -> None:
        """Take dead work out of one class, or out of all in their shares."""
        if only is not None:
            self.dead_of[only] = max(0.0, self.dead_of[only] - gone)
            return
        total = sum(self.dead_of)
        keep = 1.0 - min(1.0, gone / total) if total > 0.0 else 0.0
        self.dead_of = [x * keep for x in self.dead_of]


@dataclass(slots=True, eq=False, kw_only=True)
class SpecialPool(Pool):
    """Pool whose step knows policies."""

    policy: np.void
    rows: np.ndarray
    """Policies of all edges of the region."""
    discipline: int
    size: float = 1.0
    """Units in service, as a share of those declared."""
    old: SpecialCohort = field(default_factory=SpecialCohort)
    """Classes of the dead work without age."""
    s_now: float = 0.0
    factor: float = 1.0
    work: float = 0.0
    """Fallback work per request, in services."""
    serving: InService = field(default_factory=InService)
    held: InService = field(default_factory=InService)
    tokens: float = 0.0
    limit: float = 0.0
    lowered_s: float = -math.inf
    slow: float = 0.0
    fast_step: float = 0.0
    slow_step: float = 0.0
    debt: float = 0.0
    empty_s: float = 0.0
    dropped: float = 0.0
    rejected: float = 0.0
    alive: float = 0.0
    """Served in this step for clients that still waited."""
    gone: float = 0.0
    """Served in this step though nobody waited."""

    def __post_init__(self) -> None:
        """Full bucket, widest limit."""
        self.tokens = float(self.policy["limit_burst"])
        self.limit = float(self.policy["limit_max"])

    @property
    def now_s(self) -> float:
        """The pool's own clock."""
        return self.count * self.h

    @property
    def callers(self) -> list[SpecialEdge]:
        """Incoming edges."""
        return [edge for edge in self.inputs if isinstance(edge, SpecialEdge)]

    def age(self) -> None:
        """Open a cohort for this step; windows and breakers go on."""
        self.count += 1
        self.cohorts.appendleft(SpecialCohort())
        if len(self.cohorts) > self.n_cohorts:
            last = self.cohorts.pop()
            self.dead_old += last.dead
            if isinstance(last, SpecialCohort):
                self.old.dead_of = [
                    x + y for x, y in zip(self.old.dead_of, last.dead_of, strict=True)
                ]
        for edge in self.callers:
            edge.roll(self.now_s)

    def expire(self) -> float:
        """E5, with the class of what becomes dead work."""
        for edge in self.callers:
            if edge.n_age < len(self.cohorts):
                cohort = self.cohorts[edge.n_age]
                keys = [(edge, k) for k in range(edge.retries + 1)]
                waited = sum(cohort.waiting.get(key, 0.0) for key in keys)
                gone = waited + sum(cohort.late.get(key, 0.0) for key in keys)
                edge.book(0.0, gone, edge.n_age * self.h, self.now_s)
                if self.late_work == ZOMBIE and isinstance(cohort, SpecialCohort):
                    cohort.dead_of[edge.priority] += waited
                if edge.hedge_steps:
                    self.expire_copies(edge)
        return Pool.expire(self)

    def cohort(self, age: int) -> SpecialCohort:
        """Return the cohort of an age in steps; an empty one before the first."""
        cohort = self.cohorts[age] if age < len(self.cohorts) else SpecialCohort()
        assert isinstance(cohort, SpecialCohort), "pools with policies have such cohorts"
        return cohort

    def expire_copies(self, edge: SpecialEdge) -> None:
        """E43: copies of attempts that time out now wait on as dead work, or leave."""
        cohort = self.cohort(edge.n_age - edge.hedge_steps)
        for k in range(edge.retries + 1):
            copies = cohort.copies.pop((edge, k), None)
            if copies is not None and self.late_work == ZOMBIE:
                cohort.dead += copies.waiting
                cohort.dead_of[edge.priority] += copies.waiting

    def hedge(self, edge: SpecialEdge) -> None:
        """E43: send a copy of what is unanswered at the age of hedging."""
        old, new = self.cohort(edge.hedge_steps), self.cohort(0)
        for k in range(edge.retries + 1):
            key = edge, k
            open_ = old.waiting.get(key, 0.0) + old.late.get(key, 0.0) + old.unanswered[key]
            new.copies[key] = Copies(open_, open_)

    def newest_copies(self, edge: Edge) -> list[Copies]:
        """Return the copies that are sent in this step."""
        return [c for (owner, _), c in self.cohort(0).copies.items() if owner is edge]

    def serve_copies(
        self, cohort: SpecialCohort, age: int, edge: SpecialEdge, frac: float
    ) -> tuple[float, float]:
        """E43: serve a share of a cohort's copies of an edge; return (answered, served)."""
        age_s = (age + edge.hedge_steps) * self.h
        chance = self.p_in_time(edge.timeout_s - age_s - self.hold_s)
        original = self.cohort(age + edge.hedge_steps)
        answered = served = 0.0
        for k in range(edge.retries + 1):
            copies = cohort.copies.get((edge, k))
            if copies is None or copies.waiting <= 0.0:
                continue
            x = copies.waiting * frac
            copies.waiting -= x
            served += x
            part = min(1.0, x / copies.hedged) * chance * self.p_down
            saved = 0.0
            for cells in (original.late, original.waiting):
                was = cells.get((edge, k), 0.0)
                cells[edge, k] = was - was * part
                saved += was * part
                if cells is original.waiting and self.late_work == ZOMBIE:
                    original.dead += was * part
                    original.dead_of[edge.priority] += was * part
            edge.step_ok += saved
            took_s = age_s + self.s_now + self.hold_s
            edge.step_latency += saved * (edge.elapsed_s[k] + took_s)
            answered += saved
        edge.started += served * chance
        edge.book(answered, 0.0, age * self.h, self.now_s)
        return answered, served

    def cancel_copies(self, age: int) -> None:
        """E43: where late work is cancelled, copies whose originals are answered leave."""
        for (edge, k), copies in self.cohort(age).copies.items():
            assert isinstance(edge, SpecialEdge)
            original = self.cohort(age + edge.hedge_steps)
            left_s = edge.timeout_s - (age + edge.hedge_steps) * self.h
            if self.late_work == DEADLINE_AWARE and left_s < self.s_now + self.hold_s:
                copies.waiting = 0.0
            if age > 0:
                key = edge, k
                alive = original.waiting.get(key, 0.0) + original.late.get(key, 0.0)
                copies.waiting = min(copies.waiting, copies.let_in * alive)

    def look_down(self) -> None:
        """E9, E10, E33, E36, E37: what callees, fallbacks and the backlog add to a request."""
        self.factor = self.slowdown()
        self.s_now = self.s * self.factor
        self.p_down, self.hold_s, self.work = 1.0, 0.0, 0.0
        for edge in self.waited_for:
            row, p_ok = self.rows[edge.index], edge.known.p_ok
            self.hold_s += edge.calls * edge.known.latency_s
            if row["fallback"]:
                self.work += float(row["fallback_work"]) * edge.calls * (1.0 - p_ok)
                p_ok += (1.0 - p_ok) * float(row["fallback_success"])
            if edge.kind == REQUIRED:
                part = edge.calls <= 1.0
                self.p_down *= 1.0 - edge.calls * (1.0 - p_ok) if part else p_ok**edge.calls
        self.hold_s += self.s_now * self.work

    def slowdown(self) -> float:
        """E36, E37: factor on the service time."""
        row, present, factor = self.policy, self.queue() + self.serving.amount, 1.0
        if row["contention"] > 0.0:
            factor = contention_factor(
                present, float(row["contention"]), self.s, float(row["contention_max"])
            )
        if row["memory"]:
            size = max(self.size, TINY)
            start, full = float(row["memory_from"]) * size, float(row["memory_full"]) * size
            factor *= memory_factor(present, start, full, float(row["memory_max"]))
        return factor

    def capacity(self) -> float:
        """E1, E11 with the service time of now."""
        eff = min(
            self.rate_rps / (self.factor * (1.0 + self.work)),
            self.workers / (self.s_now + self.hold_s),
        )
        blocked = self.blocked()
        if blocked > 0.0:
            done = sum(edge.known.done_rps for edge in self.waited_for)
            calls = sum(edge.calls for edge in self.waited_for)
            free = (self.workers - blocked) / self.h + done
            eff = min(eff, max(0.0, free / max(1.0, calls)))
        return eff

    def after_debts(self, budget: float) -> float:
        """E39: rejections are paid for first."""
        paid = min(budget, self.debt)
        self.debt -= paid
        return budget - paid

    def ask_caller(self, edge: SpecialEdge, wanted: dict[Key, float], budget: float) -> None:
        """E30 to E32: what the caller's own policies refuse is taken out of ``wanted``."""
        keys = [(edge, k) for k in range(edge.retries + 1)]
        out = sum(wanted[key] for key in keys) + sum(c.waiting for c in self.newest_copies(edge))
        by_throttling = by_bulkhead = by_breaker = 1.0
        if edge.throttling is not None:
            by_throttling = edge.throttling.share(out)
            out *= by_throttling
        if edge.bulkhead > 0.0:
            by_bulkhead = self.bulkhead_share(edge, out, budget)
            out *= by_bulkhead
        if edge.breaker is not None:
            by_breaker = edge.breaker.share(out)
        for key in keys:
            lost = wanted[key] * (1.0 - by_throttling)
            refused = (wanted[key] - lost) * (1.0 - by_bulkhead)
            if refused > 0.0:
                edge.fail(key[1], refused, 0.0, self.count, 1)
            left = wanted[key] - lost - refused
            wanted[key] = left * by_breaker
            edge.give_up(key[1], lost + left * (1.0 - by_breaker), 0.0)
        for copies in self.newest_copies(edge):
            copies.waiting *= by_throttling * by_bulkhead * by_breaker
            copies.let_in *= by_throttling * by_bulkhead * by_breaker

    def bulkhead_share(self, edge: SpecialEdge, wanted: float, budget: float) -> float:
        """E32: share that finds room under the edge's own limit."""
        keys = [(edge, k) for k in range(edge.retries + 1)]
        older = [self.cohort(age) for age in range(1, len(self.cohorts))]
        mine = sum(c.waiting.get(key, 0.0) for c in older for key in keys)
        mine += sum(c.copies[key].waiting for c in older for key in keys if key in c.copies)
        late = sum(c.late.get(key, 0.0) for c in self.cohorts for key in keys)
        queue = self.queue_before()
        work = max(0.0, budget - queue)
        if queue > TINY:
            work += min(budget, queue) * min(1.0, mine / queue)
        took_s = self.s_now + self.hold_s
        room = edge.serving.room(edge.bulkhead - late, mine, took_s, self.h, work)
        return room / wanted if wanted > room else 1.0

    def queue_before(self) -> float:
        """Count what waits, without the copies that are sent in this step."""
        return self.queue() - sum(c.waiting for c in self.cohort(0).copies.values())

    def rate_share(self, total: float) -> float:
        """E34: share that finds tokens."""
        row = self.policy
        if not row["rate_limit"]:
            return 1.0
        rate, burst = float(row["limit_rate"]), float(row["limit_burst"])
        room = self.tokens + rate * self.h
        share = room / total if total > room else 1.0
        self.tokens = max(0.0, refilled(self.tokens - total * share, rate, burst, self.h))
        return share

    def class_room(self, number: int, budget: float) -> float:
        """E4, E35, E38: room for a class and all above it."""
        row, queue = self.policy, self.queue_before()
        room = max(0.0, self.room - queue) + budget
        if row["shedding"] and math.isfinite(self.room):
            part = float(row[f"shed_{number}"]) * self.room
            room = min(room, max(0.0, part - queue) + budget)
        if row["concurrency_limit"]:
            took_s = self.s_now + self.hold_s
            room = min(room, self.held.room(self.limit, queue, took_s, self.h, budget))
        return room

    def admit(self, wanted: dict[Key, float], budget: float) -> float:
        """E4, E30 to E35, E38: callers refuse, then the pool; return what the pool rejects."""
        for caller in self.callers:
            if caller.hedge_steps:
                self.hedge(caller)
            if caller.policy["special"]:
                self.ask_caller(caller, wanted, budget)
        copies = self.cohort(0).copies
        total = sum(wanted.values()) + sum(c.waiting for c in copies.values())
        by_rate = self.rate_share(total)
        shares, entered = [1.0] * CLASSES, 0.0
        for number in range(CLASSES if self.policy["shedding"] else 1):
            amount = total
            if self.policy["shedding"]:
                amount = sum(x for (e, _), x in wanted.items() if self.class_of(e) == number)
                amount += sum(
                    c.waiting for (e, _), c in copies.items() if self.class_of(e) == number
                )
            amount *= by_rate
            room = max(0.0, self.class_room(number, budget) - entered)
            share = room / amount if amount > room else 1.0
            entered += amount * share
            shares[number] = share * by_rate
        self.rejected = 0.0
        for (edge, k), amount in wanted.items():
            share = shares[self.class_of(edge) if self.policy["shedding"] else 0]
            refused = amount * (1.0 - share)
            self.cohorts[0].waiting[edge, k] = amount - refused
            edge.attempts += amount
            if refused > 0.0:
                self.rejected += refused
                self.book(edge, 0.0, refused, 0.0)
                edge.fail(k, refused, 0.0, self.count, 1)
        for (edge, _), copy in copies.items():
            share = shares[self.class_of(edge) if self.policy["shedding"] else 0]
            edge.attempts += copy.waiting
            self.rejected += copy.waiting * (1.0 - share)
            copy.waiting *= share
            copy.let_in *= share
        self.offered += total
        self.accept = (total - self.rejected) / total if self.rejected > 0.0 else 1.0
        return self.rejected

    def class_of(self, edge: Edge) -> int:
        """Return the class of an edge's attempts."""
        return edge.priority if isinstance(edge, SpecialEdge) else 0

    def book(self, edge: Edge, ok: float, failed: float, age_s: float) -> None:
        """E31: tell the caller's breaker."""
        if isinstance(edge, SpecialEdge):
            edge.book(ok, failed, age_s, self.now_s)

    def serve(self, budget: float) -> tuple[float, float]:
        """E12, E38, E41: spend the step's work in the order of the discipline."""
        row = self.policy
        self.alive = self.gone = self.dropped = 0.0
        if self.discipline == PRIORITY:
            answered, left = 0.0, budget
            for number in range(CLASSES):
                before = self.alive + self.gone
                answered += self.serve_in_order(left, youngest=False, only=number)
                left -= self.alive + self.gone - before
            return answered, self.alive + self.gone
        if self.discipline == CODEL and budget > TINY:
            interval_s, target_s = float(row["codel_interval"]), float(row["codel_target"])
            self.drop(codel_age(self.now_s - TINY, self.empty_s, interval_s, target_s))
        answered, part, queue = 0.0, 0.0, self.queue()
        above = float(row["lifo_above"])
        if serves_youngest(self.discipline, queue, above):
            part = budget if self.discipline == LIFO else min(budget, queue - above)
            answered += self.serve_in_order(part, youngest=True, only=None)
        if part < budget:
            answered += self.serve_in_order(budget - part, youngest=False, only=None)
        return answered, self.alive + self.gone

    def serve_in_order(self, left: float, *, youngest: bool, only: int | None) -> float:
        """E12: one pass over the cohorts, of one class or of all; return what is answered."""
        answered = 0.0
        if not youngest:
            left -= self.serve_old(left, only)
        ages = range(len(self.cohorts))
        for age in ages if youngest else reversed(ages):
            if left <= TINY:
                break
            cohort, age_s = self.cohorts[age], age * self.h
            chosen = self.chosen(cohort, only)
            if self.late_work == DEADLINE_AWARE:
                self.discard_of(cohort, age_s, chosen)
            if self.late_work != ZOMBIE:
                self.cancel_copies(age)
            dead = self.dead_in(cohort, only)
            hedgers = [e for e in self.callers if e.hedge_steps and only in {None, e.priority}]
            copies = [c for c in self.cohort(age).copies.items() if c[0][0] in hedgers]
            total = dead + sum(cohort.waiting[key] for key in chosen)
            total += sum(copy.waiting for _, copy in copies)
            if total > 0.0:
                frac = min(1.0, left / total)
                answered += self.serve_part(cohort, age_s, frac, chosen)
                for hedger in hedgers:
                    saved, served = self.serve_copies(self.cohort(age), age, hedger, frac)
                    answered += saved
                    self.alive += served
                    self.answers(age_s, served)
                gone = dead * frac
                cohort.dead -= gone
                if isinstance(cohort, SpecialCohort):
                    cohort.bury(gone, only)
                self.gone += gone
                self.answers(age_s, gone)
                left -= total * frac
        if youngest:
            self.serve_old(left, only)
        return answered

    def chosen(self, cohort: Cohort, only: int | None) -> list[Key]:
        """Return the keys of a cohort that belong to a class (all: None)."""
        keys = list(cohort.waiting)
        return keys if only is None else [key for key in keys if self.class_of(key[0]) == only]

    def dead_in(self, cohort: Cohort, only: int | None) -> float:
        """Return the dead work of a cohort in a class."""
        if only is None or not isinstance(cohort, SpecialCohort):
            return cohort.dead
        return cohort.dead_of[only]

    def serve_old(self, left: float, only: int | None) -> float:
        """E12: work on what is older than every timeout."""
        if left <= TINY:
            return 0.0
        old = self.dead_old if only is None else min(self.dead_old, self.old.dead_of[only])
        done = min(left, old)
        self.dead_old -= done
        self.old.bury(done, only)
        self.gone += done
        self.answers(self.n_cohorts * self.h, done)
        return done

    def serve_part(self, cohort: Cohort, age_s: float, frac: float, chosen: list[Key]) -> float:
        """E13: serve a share of some of a cohort; what will be late fails at its timeout."""
        took_s = age_s + self.s_now + self.hold_s
        answered = 0.0
        by_edge: defaultdict[Edge, float] = defaultdict(float)
        for edge, k in chosen:
            amount = cohort.waiting[edge, k]
            x = amount * frac
            cohort.waiting[edge, k] = amount - x
            good = x * self.p_in_time(edge.timeout_s - age_s - self.hold_s)
            ok = good * self.p_down
            cohort.late[edge, k] += x - good
            self.note_unanswered(cohort, (edge, k), age_s, x * self.p_down)
            edge.step_ok += ok
            edge.step_latency += ok * (edge.elapsed_s[k] + took_s)
            if good > ok:
                amount_was, ages_was = edge.errors.get(k, (0.0, 0.0))
                edge.errors[k] = amount_was + (good - ok), ages_was + (good - ok) * took_s
            answered += good
            by_edge[edge] += good
            self.alive += x
            self.answers(age_s, x)
        for caller, good in by_edge.items():
            if isinstance(caller, SpecialEdge):
                caller.started += good
            self.book(caller, good * self.p_down, good - good * self.p_down, age_s)
        return answered * self.p_down

    def note_unanswered(self, cohort: Cohort, key: Key, age_s: float, served: float) -> None:
        """E43: note what will be answered in time, but not before copies are sent."""
        edge = key[0]
        if not isinstance(edge, SpecialEdge) or not isinstance(cohort, SpecialCohort):
            return
        slack_s = edge.hedge_steps * self.h - age_s
        if edge.hedge_steps and slack_s > 0.0:
            in_time = self.p_in_time(edge.timeout_s - age_s - self.hold_s)
            before = self.p_in_time(slack_s - self.hold_s)
            cohort.unanswered[key] += served * (in_time - before)

    def p_in_time(self, slack_s: float) -> float:
        """E13: chance that a service which starts now ends within ``slack_s``."""
        row = self.policy
        kind = int(row["service_kind"])
        if kind == EXPONENTIAL and slack_s > CERTAIN * self.s_now:
            return 1.0
        a, b = float(row["service_a"]), float(row["service_b"])
        return ends_within(kind, self.s_now, a, b, slack_s)

    def answers(self, age_s: float, served: float) -> None:
        """E35: tell answers within the target of an adaptive limit from later ones."""
        if self.policy["limit_adaptive"]:
            fast = self.p_in_time(float(self.policy["limit_target"]) - age_s - self.hold_s)
            self.fast_step += served * self.p_down * fast
            self.slow_step += served * self.p_down * (1.0 - fast)

    def discard_of(self, cohort: Cohort, age_s: float, chosen: list[Key]) -> None:
        """E14: drop what can no longer be answered in time; it fails at its timeout."""
        for edge, k in chosen:
            if edge.timeout_s - age_s < self.s_now + self.hold_s:
                cohort.late[edge, k] += cohort.waiting[edge, k]
                cohort.waiting[edge, k] = 0.0

    def drop(self, oldest_s: float) -> None:
        """E41: what is older than CoDel serves fails at once."""
        self.dead_old = 0.0
        for age, cohort in enumerate(self.cohorts):
            if age == 0 or age * self.h <= oldest_s + TINY:
                continue
            cohort.dead = 0.0
            self.cohort(age).copies.clear()
            for (edge, k), amount in cohort.waiting.items():
                if amount > 0.0:
                    cohort.waiting[edge, k] = 0.0
                    self.dropped += amount
                    self.book(edge, 0.0, amount, age * self.h)
                    edge.fail(k, amount, age * self.h, self.count, 1)

    def settle(self) -> float:
        """E6, E15 and what the policies learn; return errors of callees, and what was dropped."""
        took_s = self.s_now + self.hold_s
        delay = max(1, round(took_s / self.h))
        errors = 0.0
        for edge in self.callers:
            for k, (amount, ages) in sorted(edge.errors.items()):
                errors += amount
                edge.fail(k, amount, ages / amount, self.count, delay)
            edge.errors.clear()
            edge.grow_older()
            edge.learn(self.now_s)
            edge.serving.go_on(edge.started, took_s, self.h)
            edge.started = 0.0
            self.write(edge)
        served = self.alive + self.gone
        self.serving.go_on(served, self.s_now, self.h)
        self.held.go_on(served, took_s, self.h)
        self.debt += float(self.policy["rejection_work"]) * (self.rejected + self.dropped)
        if self.queue() <= TINY:
            self.empty_s = self.now_s
        if self.policy["limit_adaptive"]:
            self.adapt_limit()
        return errors + self.dropped

    def adapt_limit(self) -> None:
        """E35: raise or lower an adaptive limit by the answers of the step."""
        row = self.policy
        if self.fast_step > 0.0 and self.queue() + self.held.amount >= 0.5 * self.limit:
            self.limit = raised(self.limit, self.fast_step, float(row["limit_max"]))
        if self.now_s - self.lowered_s >= float(row["limit_target"]) - TINY:
            self.slow += self.slow_step
            if self.slow >= 1.0:
                least = float(row["limit_min"])
                self.limit = lowered(self.limit, float(row["limit_decrease"]), least)
                self.lowered_s, self.slow = self.now_s, 0.0
        self.fast_step = self.slow_step = 0.0

    def calls(self, edge: Edge, served: float) -> float:
        """E40: where a deadline is passed on, dead work calls nobody."""
        return edge.calls * (self.alive if self.rows[edge.index]["deadline"] else served)
