"""Pools of the twin: arrival, service, calls and answers (R3 … R7)."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.model import ASYNCHRONOUS, DEADLINE_AWARE, OPTIONAL, ZOMBIE
from simulator.policies.contention import contention_factor
from simulator.policies.memory_pressure import memory_factor
from simulator.policies.service_time import DETERMINISTIC, LOGNORMAL, draw
from simulator.request.reference.admission import ROUNDING, Admission, make_admission, whole
from simulator.request.reference.clock import Outcome
from simulator.request.reference.line import Line
from simulator.request.reference.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import simpy

    from simulator.model import Topology
    from simulator.request.reference.clock import Chance, Clock
    from simulator.request.reference.edge import Answer, Attempt, Edge, Steps

ANSWERS = 20.0
"""R5: time and success of callees are smoothed over so many answers."""


@dataclass(slots=True, eq=False)
class Pool:
    """Units behind one queue."""

    env: Clock
    index: int
    s: float
    late_work: int
    policy: np.void
    """Row of the table of policies."""
    declared_units: float
    room_per_unit: float
    chance: Chance
    inputs: list[Edge]
    outputs: list[Edge]
    line: Line
    door: Admission
    jobs: deque[tuple[float, Outcome]] = field(default_factory=deque)
    """Work of the pool on its own account: it goes before those who wait, and needs no worker."""
    rate_rps: float = 0.0
    workers: float = 0.0
    units: float = 0.0
    processing: int = 0
    """Busy processors."""
    held: int = 0
    """Busy workers: in service, or waiting for callees."""
    hold_s: float = 0.0
    """Mean time between end of service and answer."""
    answered_well: float = 1.0
    """Share of answers without error."""
    offered: int = 0
    rejected: int = 0
    served: int = 0
    ok: int = 0
    bad: int = 0
    watch: Watch = field(default_factory=Watch)

    # ---------------------------------------------------------------- what the engine sets

    def resize(self, rate_rps: float, workers: float, units: float) -> None:
        """R4: set full rate, workers and units; start who can start now."""
        self.rate_rps, self.units = rate_rps, units
        self.workers = max(1.0, whole(workers)) if units > 0.0 else 0.0
        unbounded = math.isinf(self.room_per_unit)
        self.door.room = math.inf if unbounded else self.room_per_unit * units
        self.start_waiting()

    @property
    def processors(self) -> int:
        """R4: number that serves the full rate with mean service time ``s``."""
        if self.rate_rps <= 0.0:
            return 0
        return max(1, math.ceil(self.rate_rps * self.s - ROUNDING))

    @property
    def present(self) -> int:
        """Attempts in the pool: waiting, in service, or waiting for callees."""
        return len(self.line) + self.held

    @property
    def crowd(self) -> int:
        """What slows down a service: those who wait, and what the processors do."""
        return len(self.line) + self.processing

    # ---------------------------------------------------------------- arrival

    def arrive(self, attempt: Attempt) -> None:
        """R3: refuse an attempt, start it, or let it wait."""
        self.offered += 1
        if not self.lets_in(attempt):
            self.reject(attempt)
            self.start_waiting()
        elif self.can_start() and not self.is_hopeless(attempt):
            self.start(attempt)
        elif not self.can_start():
            self.line.join(attempt, self.env.now)

    def lets_in(self, attempt: Attempt) -> bool:
        """R3: ask rate limit, concurrency limit, shedding and room, in this order."""
        if not self.door.within_rate(self.env.now) or self.present >= self.door.limit:
            return False
        return self.can_start() or len(self.line) < self.door.room_for(attempt.priority)

    def reject(self, attempt: Attempt) -> None:
        """R3: an attempt fails at once; saying so may be work."""
        self.rejected += 1
        work = float(self.policy["rejection_work"])
        if work > 0.0:
            self.jobs.append((work, Outcome(self.env)))
        self.end(attempt, ok=False)

    def time_out(self, attempt: Attempt) -> None:
        """R5, R8: the caller has given up; a zombie keeps its place in the line."""
        self.withdraw(attempt)
        self.end(attempt, ok=False)

    def withdraw(self, attempt: Attempt) -> None:
        """R5: forget an attempt that nobody waits for, unless it is to be served all the same."""
        if self.late_work != ZOMBIE:
            self.line.leave(attempt)

    # ---------------------------------------------------------------- service

    def can_start(self) -> bool:
        """R4: whether a processor and a worker are free."""
        return self.has_processor() and self.held < self.workers

    def has_processor(self) -> bool:
        """R4: whether a processor is free."""
        return self.processing < self.processors

    def start_waiting(self) -> None:
        """R5: start own work, then attempts in the order of the discipline, while there is room."""
        while True:
            if self.jobs and self.has_processor():
                self.start_own_work(*self.jobs.popleft())
            elif self.line.attempts and self.can_start():
                self.start_next()
            else:
                return

    def start_next(self) -> None:
        """R5: start who is next, or drop it."""
        attempt = self.line.take()
        if self.line.is_too_old(attempt, self.env.now):
            if attempt.is_live:
                self.reject(attempt)
        elif not self.is_hopeless(attempt):
            self.start(attempt)

    def is_hopeless(self, attempt: Attempt) -> bool:
        """R5: dropped by a deadline-aware pool, as no answer is expected in time."""
        if self.late_work != DEADLINE_AWARE:
            return False
        left_s = attempt.timeout_s - (self.env.now - attempt.arrived_s)
        return left_s < self.s + self.hold_s

    def start(self, attempt: Attempt) -> None:
        """R4: take a processor and a worker."""
        self.processing += 1
        self.held += 1
        self.served += 1
        service = self.env.timeout(self.draw_s() * self.slowness())
        self.env.process(self.request(attempt, service))

    def draw_s(self) -> float:
        """R4, R6: time in service, such that all processors together serve the full rate."""
        kind = int(self.policy["service_kind"])
        u = 0.5 if kind == DETERMINISTIC else self.chance.uniform()
        v = self.chance.uniform() if kind == LOGNORMAL else 0.5
        a, b = float(self.policy["service_a"]), float(self.policy["service_b"])
        return draw(kind, self.processors / self.rate_rps, a, b, u, v)

    def slowness(self) -> float:
        """Return the factor by which what is in the pool slows down a service that starts."""
        row, factor = self.policy, 1.0
        if row["contention"] > 0.0:
            most = float(row["contention_max"])
            factor *= contention_factor(self.crowd, float(row["contention"]), self.s, most)
        if row["memory"]:
            size = self.units / self.declared_units
            low, high = float(row["memory_from"]) * size, float(row["memory_full"]) * size
            factor *= memory_factor(self.crowd, low, high, float(row["memory_max"]))
        return factor

    def start_own_work(self, work: float, done: Outcome) -> None:
        """Spend a processor on a rejection or a fallback."""
        self.processing += 1

        def end() -> None:
            self.processing -= 1
            done.settle(ok=True)
            self.start_waiting()

        self.env.after(work * self.draw_s(), end)

    # ---------------------------------------------------------------- calls and answer

    def request(self, attempt: Attempt, service: simpy.Timeout) -> Steps:
        """R7: what becomes of a request that has started; dead ones do the same work."""
        yield service
        self.processing -= 1
        self.start_waiting()
        served_s, ok = self.env.now, True
        for edge in self.calls():
            if edge.kind == ASYNCHRONOUS:
                self.env.process(edge.first_try(attempt.deadline_s))
                yield self.env.turn()
            else:
                yield self.env.turn()
                answered = yield from self.call(edge, attempt)
                ok = ok and (answered or edge.kind == OPTIONAL)
        self.answer(attempt, self.env.now - served_s, ok=ok)

    def calls(self) -> Iterator[Edge]:
        """R7: the calls of a request; how many go along an edge is drawn when its turn comes."""
        for edge in self.outputs:
            whole_calls = math.floor(edge.calls)
            for _ in range(whole_calls + self.chance.happens(edge.calls - whole_calls)):
                yield edge

    def call(self, edge: Edge, attempt: Attempt) -> Answer:
        """R7: make a call, with a fallback if it failed; the request goes on in turn."""
        ok = yield from edge.first_try(attempt.deadline_s)
        if not ok and edge.policy["fallback"]:
            ok = edge.choices.happens(float(edge.policy["fallback_success"]))
            work = float(edge.policy["fallback_work"])
            if work > 0.0:
                done = Outcome(self.env)
                self.jobs.append((work, done))
                self.start_waiting()
                yield done
        yield self.env.turn()
        return ok

    def answer(self, attempt: Attempt, took_s: float, *, ok: bool) -> None:
        """R5, R8, R9: free the worker for the next one, then tell the caller if it still waits."""
        self.hold_s += (took_s - self.hold_s) / ANSWERS
        self.answered_well += (float(ok) - self.answered_well) / ANSWERS
        if ok:
            self.door.answered(self.env.now, self.env.now - attempt.arrived_s, self.present)
        self.held -= 1
        self.start_waiting()
        if attempt.is_live:
            self.end(attempt, ok=ok)

    def end(self, attempt: Attempt, *, ok: bool) -> None:
        """R12: book the end of an attempt, as its caller sees it, and tell the caller."""
        self.watch.count(ok=ok)
        if ok:
            self.ok += 1
        else:
            self.bad += 1
        attempt.end(ok=ok)

    # ---------------------------------------------------------------- what others see

    def blocked(self) -> int:
        """Count calls on whose answer a request of this pool waits."""
        return sum(edge.in_flight for edge in self.outputs if edge.kind != ASYNCHRONOUS)


def make_pool(env: Clock, topology: Topology, p: int, chance: Chance, edges: list[Edge]) -> Pool:
    """Read a pool from the arrays."""
    policy = topology.pool_policy[p]
    line = Line(
        discipline=int(topology.discipline[p]),
        lifo_above=float(policy["lifo_above"]),
        interval_s=float(policy["codel_interval"]),
        target_s=float(policy["codel_target"]),
    )
    outputs = [edge for edge in edges if topology.edge_caller[edge.index] == p]
    pool = Pool(
        env=env,
        index=p,
        s=float(topology.service_s[p]),
        late_work=int(topology.late_work[p]),
        policy=policy,
        declared_units=float(topology.units[p].sum()),
        room_per_unit=float(topology.queue_per_unit[p]),
        chance=chance,
        inputs=[edge for edge in edges if topology.edge_callee[edge.index] == p],
        outputs=sorted(outputs, key=lambda edge: int(topology.edge_callee[edge.index])),
        line=line,
        door=make_admission(policy),
    )
    for edge in pool.inputs:
        edge.pool = pool
    return pool
