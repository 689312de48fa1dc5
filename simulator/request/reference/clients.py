"""Clients of the twin: budgets of retries, and what a client refuses itself (R3, R8, R11)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.policies.adaptive_throttling import refusal_probability
from simulator.policies.base import SLICES, slice_of
from simulator.policies.circuit_breaker import CLOSED, HALF_OPEN, OPEN, opens
from simulator.policies.retry import (
    NO_BUDGET,
    PER_FIRST_TRY,
    PER_SUCCESS,
    THROTTLE,
    WINDOWED,
    throttle_allows,
    windowed_balance,
)

if TYPE_CHECKING:
    import numpy as np

    from simulator.request.reference.clock import Chance

SENT, REFUSED, GIVEN_UP = range(3)
"""What a client does with an attempt: send it, refuse it (retries may follow), or give up."""


@dataclass(slots=True)
class Window:
    """A count over a rolling window, kept in slices."""

    window_s: float
    counts: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, now_s: float) -> None:
        """Count one."""
        self.counts[slice_of(now_s, self.window_s)] += 1

    def total(self, now_s: float) -> float:
        """Return the count of the present slice and of those before it that are in the window."""
        last = slice_of(now_s, self.window_s)
        return float(sum(n for i, n in self.counts.items() if last - SLICES < i <= last))


@dataclass(slots=True)
class Budget:
    """What pays for the retries of a client (E8; simulator/policies/retry.py)."""

    kind: int
    ratio: float
    bucket: float
    floor: float
    tokens: float
    first_tries: Window
    retries: Window

    def first_try(self, now_s: float) -> None:
        """Book a first try."""
        if self.kind == PER_FIRST_TRY:
            self.deposit()
        elif self.kind == WINDOWED:
            self.first_tries.add(now_s)

    def success(self) -> None:
        """Book a success."""
        if self.kind in (PER_SUCCESS, THROTTLE):
            self.deposit()

    def failure(self) -> None:
        """Book a failed attempt."""
        if self.kind == THROTTLE:
            self.tokens = max(0.0, self.tokens - 1.0)

    def deposit(self) -> None:
        """Earn tokens."""
        self.tokens = min(self.bucket, self.tokens + self.ratio)

    def pays(self, now_s: float) -> bool:
        """Pay for a retry, if possible."""
        if self.kind == NO_BUDGET:
            return True
        if self.kind == THROTTLE:
            return throttle_allows(self.tokens, self.bucket)
        if self.kind == WINDOWED:
            deposits, spent = self.first_tries.total(now_s), self.retries.total(now_s)
            if windowed_balance(deposits, spent, self.ratio, self.floor) < 1.0:
                return False
            self.retries.add(now_s)
            return True
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


@dataclass(slots=True)
class Throttle:
    """Local refusals in proportion to what the callee rejects (simulator/policies)."""

    k: float
    requests: Window
    accepts: Window

    def refuses(self, now_s: float, choices: Chance) -> bool:
        """Draw whether an attempt is refused; book that it was wanted."""
        probability = refusal_probability(
            self.requests.total(now_s), self.accepts.total(now_s), self.k
        )
        self.requests.add(now_s)
        return choices.happens(probability)


@dataclass(slots=True)
class Breaker:
    """A circuit breaker (simulator/policies)."""

    frac: float
    calls_min: float
    window_s: float
    open_for_s: float
    probes: int
    state: int = CLOSED
    era: int = 0
    """Number of changes of state: what was sent in an earlier one is not counted."""
    opened_s: float = 0.0
    sent: int = 0
    """Probes sent."""
    good: int = 0
    """Probes that succeeded."""
    ended: Window = field(init=False)
    failed: Window = field(init=False)

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Empty the window."""
        self.ended, self.failed = Window(self.window_s), Window(self.window_s)

    def change(self, state: int, now_s: float) -> None:
        """Go to another state."""
        self.state, self.opened_s = state, now_s
        self.era += 1
        self.sent = self.good = 0
        self.forget()

    def refuses(self, now_s: float) -> bool:
        """Whether an attempt is refused; if not, it counts as sent."""
        if self.state == OPEN and now_s >= self.opened_s + self.open_for_s:
            self.change(HALF_OPEN, now_s)
        if self.state == HALF_OPEN and self.sent < self.probes:
            self.sent += 1
            return False
        return self.state != CLOSED

    def learn(self, era: int, now_s: float, *, ok: bool) -> None:
        """Learn how an attempt ended that was sent in an era."""
        if era != self.era:
            return
        if self.state == HALF_OPEN:
            self.good += ok
            if not ok:
                self.change(OPEN, now_s)
            elif self.good == self.probes:
                self.change(CLOSED, now_s)
            return
        self.ended.add(now_s)
        if not ok:
            self.failed.add(now_s)
        ended, failed = self.ended.total(now_s), self.failed.total(now_s)
        if opens(ended, failed, self.calls_min, self.frac):
            self.change(OPEN, now_s)


@dataclass(slots=True)
class Client:
    """One of the callers behind an edge, with a state of its own (R11)."""

    budget: Budget
    throttle: Throttle | None
    breaker: Breaker | None
    bulkhead: int
    """Most attempts under way at once; 0: no limit."""
    under_way: int = 0

    def decide(self, now_s: float, choices: Chance) -> int:
        """R3: whether an attempt is sent; the breaker is asked last."""
        if self.throttle and self.throttle.refuses(now_s, choices):
            return GIVEN_UP
        if 0 < self.bulkhead <= self.under_way:
            return REFUSED
        if self.breaker and self.breaker.refuses(now_s):
            return GIVEN_UP
        return SENT

    @property
    def era(self) -> int:
        """What the breaker wants to know of an attempt when it ends."""
        return self.breaker.era if self.breaker else 0

    def ended(self, era: int, now_s: float, *, ok: bool) -> None:
        """Book the end of an attempt that was sent."""
        self.under_way -= 1
        if self.throttle and ok:
            self.throttle.accepts.add(now_s)
        if self.breaker:
            self.breaker.learn(era, now_s, ok=ok)


def make_client(row: np.void) -> Client:
    """Read a client from the policies of its edge."""
    life_s = float(row["budget_window"])
    throttle = breaker = None
    if row["throttling"]:
        span_s = float(row["throttling_window"])
        throttle = Throttle(float(row["throttling_k"]), Window(span_s), Window(span_s))
    if row["breaker"]:
        breaker = Breaker(
            frac=float(row["breaker_frac"]),
            calls_min=float(row["breaker_calls_min"]),
            window_s=float(row["breaker_window"]),
            open_for_s=float(row["breaker_open_for"]),
            probes=int(row["breaker_probes"]),
        )
    budget = Budget(
        kind=int(row["budget"]),
        ratio=float(row["budget_ratio"]),
        bucket=float(row["budget_bucket"]),
        floor=float(row["budget_min_rate"]) * life_s,
        tokens=float(row["budget_bucket"]),
        first_tries=Window(life_s),
        retries=Window(life_s),
    )
    return Client(budget, throttle, breaker, int(row["bulkhead"]))
