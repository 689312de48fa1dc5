"""Pools, edges and cohorts of the readable twin: one short method per equation of MODEL.md."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass, field

from simulator.flow.layout import SMOOTHING_S
from simulator.model import (
    ASYNCHRONOUS,
    DEADLINE_AWARE,
    NO_BUDGET,
    PER_FIRST_TRY,
    PER_SUCCESS,
    REQUIRED,
    ZOMBIE,
)

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
    in_flight: float = 0.0


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
    again: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Attempt number -> (amount that comes back as it, failed in this step; amount x age)."""
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
            amount_was, ages_was = self.again.get(k + 1, (0.0, 0.0))
            ages = ages_was + again * (self.elapsed_s[k] + age_s + wait_s)
            self.again[k + 1] = amount_was + again, ages
            self.back_later(k, again, now, steps)
        lost = amount - again
        self.step_failed += lost
        self.step_latency += lost * (self.elapsed_s[k] + age_s)

    def grow_older(self) -> None:
        """E6: mean time since the first try of what will be tried again."""
        for k, (amount, ages) in self.again.items():
            if amount > TINY:
                self.elapsed_s[k] = ages / amount
        self.again.clear()

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

    def deposit_first(self, first: float) -> None:
        """E8: what first tries earn, before admission."""
        if self.budget == PER_FIRST_TRY:
            self.deposit(first)

    def misses(self, first: float) -> float:
        """Return the first tries that are to go out: here is no cache."""
        return first


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
        """Count waiting attempts, dead ones included."""
        return self.dead_old + sum(cohort.total() for cohort in self.cohorts)

    def dead(self) -> float:
        """Count waiting attempts whose clients have given up."""
        return self.dead_old + sum(cohort.dead for cohort in self.cohorts)

    def blocked(self) -> float:
        """Count requests in flight on the edges that are waited for (E11)."""
        return sum(edge.known.in_flight for edge in self.waited_for)

    def present(self, edge: Edge) -> float:
        """Count first tries of an edge that are neither answered nor failed."""
        cells = [c.waiting for c in self.cohorts] + [c.late for c in self.cohorts]
        keys = [(edge, k) for k in range(edge.retries + 1)]
        return sum(cell.get(key, 0.0) for cell in cells for key in keys) + sum(edge.line.values())

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

    def after_debts(self, budget: float) -> float:
        """Return the work that is left for what waits: here nothing else costs any."""
        return budget

    def calls(self, edge: Edge, served: float) -> float:
        """Return the calls that are made on an edge for what was served."""
        return edge.calls * served

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
            edge.grow_older()
            if edge.budget == PER_SUCCESS:
                edge.deposit(edge.step_ok)
            self.write(edge)
        return errors

    def write(self, edge: Edge) -> None:
        """E15: counters, and what callers will learn."""
        done = edge.step_ok + edge.step_failed
        edge.ok += edge.step_ok
        edge.failed += edge.step_failed
        edge.in_flight -= done
        if edge.in_flight < TINY:
            edge.in_flight = 0.0
        edge.next.done_rps = done / self.h
        edge.next.in_flight = edge.in_flight
        if done > TINY:
            edge.next.p_ok = edge.step_ok / done
            edge.next.latency_s = edge.step_latency / done
        edge.watch.learn(edge.step_ok, done, -math.expm1(-self.h / SMOOTHING_S))
        edge.step_ok = edge.step_failed = edge.step_latency = 0.0
