"""Edges of the twin: first tries, their attempts, hedges and retries (R2, R8, R9, R11)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import simpy

from simulator.model import CLIENT
from simulator.policies.cache import filling
from simulator.policies.deadline import time_left
from simulator.policies.retry import backoff_high, backoff_low
from simulator.request.latency import latency_bin
from simulator.request.reference.clients import GIVEN_UP, SENT, make_client
from simulator.request.reference.clock import Outcome
from simulator.request.reference.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np

    from simulator.model import Topology
    from simulator.request.reference.clients import Client
    from simulator.request.reference.clock import Chance, Clock
    from simulator.request.reference.pool import Pool

    Steps = Generator[simpy.Event, Any, None]
    """What a process does: it yields the events that it waits for."""
    Answer = Generator[simpy.Event, Any, bool]
    """Steps at whose end it is known whether something succeeded."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One request on the wire."""

    edge: Edge
    client: Client
    era: int
    """State of the client's breaker in which it was sent."""
    priority: int
    arrived_s: float
    deadline_s: float
    """When the caller gives up."""
    timeout_s: float
    outcome: Outcome
    """Of this attempt and its hedge: the first success, or the last failure."""
    twin: Attempt | None = None
    """The other one of a hedged pair."""
    is_live: bool = True
    """Whether its caller waits for it."""

    def end(self, *, ok: bool) -> None:
        """R8: the caller knows how it ended; of a hedged pair the first success counts for both."""
        self.close(ok=ok)
        other = self.twin
        if other is not None and other.is_live:
            if not ok:
                return
            other.close(ok=True)
            self.edge.pool.withdraw(other)
        self.outcome.settle(ok=ok)

    def close(self, *, ok: bool) -> None:
        """Nobody waits for it any more."""
        assert self.is_live, "an attempt ends once"
        self.is_live = False
        self.client.ended(self.era, self.edge.env.now, ok=ok)


@dataclass(slots=True, eq=False)
class Edge:
    """Requests from one caller (or service, or control plane) to one pool."""

    env: Clock
    index: int
    kind: int
    calls: float
    timeout_s: float
    policy: np.void
    """Row of the table of policies."""
    arrivals: Chance
    choices: Chance
    clients: list[Client]
    hit_frac: float
    """Part of the calls that the cache answers."""
    pool: Pool = field(init=False)
    """The pool that is called."""
    source: simpy.Process = field(init=False)
    rate_rps: float = 0.0
    admit: float = 1.0
    injected: float = 0.0
    todo: int = 0
    """Injected first tries that have not arrived yet."""
    first: int = 0
    ok: int = 0
    failed: int = 0
    attempts: int = 0
    in_flight: int = 0
    latencies: list[Counter[int]] = field(default_factory=lambda: [Counter()])
    """R10: successes per bin of latency, by sample; the last one is not complete."""
    watch: Watch = field(default_factory=Watch)

    # ---------------------------------------------------------------- where first tries come from

    def customers(self) -> Steps:
        """R2: first tries of a service; an interrupt says that the rate is another one now."""
        while True:
            left = self.arrivals.exponential()
            while left > 0.0:
                since_s, rate_rps = self.env.now, self.rate_rps
                try:
                    yield self.env.timeout(left / rate_rps if rate_rps > 0.0 else math.inf)
                    left = 0.0
                except simpy.Interrupt:
                    left -= rate_rps * (self.env.now - since_s)
            self.env.process(self.first_try())

    def set_rate(self, rate_rps: float) -> None:
        """R2: change the rate of first tries; what is left of the exponential number stays."""
        if rate_rps != self.rate_rps:
            self.rate_rps = rate_rps
            self.source.interrupt()

    def inject(self, requests: float) -> None:
        """R2: whole requests arrive now, the rest waits for the next ones."""
        self.injected += requests
        whole = math.floor(self.injected + 1e-9)
        self.injected = max(0.0, self.injected - whole)
        self.todo += whole
        if 0 < whole == self.todo:
            self.env.process(self.work())

    def work(self) -> Steps:
        """R2: injected first tries, one in turn."""
        while self.todo > 0:
            self.todo -= 1
            self.env.process(self.first_try())
            yield self.env.turn()

    # ---------------------------------------------------------------- a first try

    def first_try(self, deadline_s: float = math.inf) -> Answer:
        """R8, R9: make attempts until one succeeds or no more may be made; book what became of it.

        ``deadline_s`` is that of the request that calls.
        """
        client = self.clients[self.first % len(self.clients)]
        began_s = self.env.now
        self.first += 1
        self.in_flight += 1
        if self.policy["cache"] and self.choices.uniform() < self.hit_frac:
            ok = True
        else:
            client.budget.first_try(began_s)
            admitted = self.admit >= 1.0 or self.choices.uniform() < self.admit
            ok = admitted and (yield from self.tries(client, deadline_s))
        self.in_flight -= 1
        self.watch.count(ok=ok)
        if ok:
            self.ok += 1
            self.latencies[-1][latency_bin(self.env.now - began_s)] += 1
        else:
            self.failed += 1
        return ok

    def tries(self, client: Client, request_deadline_s: float) -> Answer:
        """R8: make attempts, later each time; return whether one succeeded."""
        before_s = 0.0
        for k in range(self.policy["retries"] + 1):
            timeout_s = self.timeout_s
            if self.policy["deadline"]:
                reserve_s = float(self.policy["deadline_reserve"])
                timeout_s = time_left(timeout_s, request_deadline_s, self.env.now, reserve_s)
                if timeout_s <= 0.0:
                    return False
            decision = client.decide(self.env.now, self.choices)
            if decision == GIVEN_UP:
                return False
            if decision == SENT and (yield self.send(client, timeout_s).outcome):
                self.succeed(client)
                return True
            client.budget.failure()
            if k == self.policy["retries"] or not client.budget.pays(self.env.now):
                return False
            before_s = self.delay_s(k, before_s)
            yield self.env.timeout(before_s) if before_s > 0.0 else self.env.turn()
        return False

    def succeed(self, client: Client) -> None:
        """Earn tokens, and let the cache learn."""
        client.budget.success()
        if self.policy["cache"]:
            most, keys = float(self.policy["cache_hit_max"]), float(self.policy["cache_keys"])
            self.hit_frac += filling(self.hit_frac, most, keys)

    def delay_s(self, k: int, before_s: float) -> float:
        """E7: delay after attempt ``k``; drawn only where its bounds differ."""
        row = self.policy
        base, cap = float(row["backoff_base"]), float(row["backoff_cap"])
        growth, jitter = int(row["growth"]), int(row["jitter"])
        low = backoff_low(k, base, cap, growth, jitter)
        high = backoff_high(k, base, cap, growth, jitter, before_s)
        return low if low == high else low + (high - low) * self.choices.uniform()

    # ---------------------------------------------------------------- on the wire

    def send(self, client: Client, timeout_s: float) -> Attempt:
        """R8: send an attempt, and later its hedge."""
        now_s = self.env.now
        attempt = Attempt(
            edge=self,
            client=client,
            era=client.era,
            priority=int(self.policy["priority"]),
            arrived_s=now_s,
            deadline_s=now_s + timeout_s,
            timeout_s=timeout_s,
            outcome=Outcome(self.env),
        )
        self.env.at(attempt.deadline_s, lambda: self.give_up(attempt))
        if self.policy["hedge"]:
            self.env.after(float(self.policy["hedge_delay"]), lambda: self.hedge(attempt))
        self.put_on_wire(attempt)
        return attempt

    def hedge(self, attempt: Attempt) -> None:
        """Send a second attempt, with the deadline of the first, if that is unanswered."""
        client = attempt.client
        if not attempt.is_live or client.decide(self.env.now, self.choices) != SENT:
            return
        copy = Attempt(
            edge=self,
            client=client,
            era=client.era,
            priority=attempt.priority,
            arrived_s=self.env.now,
            deadline_s=attempt.deadline_s,
            timeout_s=attempt.deadline_s - self.env.now,
            outcome=attempt.outcome,
            twin=attempt,
        )
        attempt.twin = copy
        self.env.at(copy.deadline_s, lambda: self.give_up(copy))
        self.put_on_wire(copy)

    def put_on_wire(self, attempt: Attempt) -> None:
        """Let an attempt arrive."""
        self.attempts += 1
        attempt.client.under_way += 1
        self.pool.arrive(attempt)

    def give_up(self, attempt: Attempt) -> None:
        """R8: the timeout has come."""
        if attempt.is_live:
            self.pool.time_out(attempt)


def make_edge(env: Clock, topology: Topology, e: int, arrivals: Chance, choices: Chance) -> Edge:
    """Read an edge from the arrays."""
    policy = topology.edge_policy[e]
    edge = Edge(
        env=env,
        index=e,
        kind=int(topology.edge_kind[e]),
        calls=float(topology.edge_calls[e]),
        timeout_s=float(topology.edge_timeout_s[e]),
        policy=policy,
        arrivals=arrivals,
        choices=choices,
        clients=[make_client(policy) for _ in range(int(policy["clients"]))],
        hit_frac=float(policy["cache_start"]),
    )
    if edge.kind == CLIENT:
        edge.source = env.process(edge.customers())
    return edge
