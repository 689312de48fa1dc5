"""Operations over time: from an actor's wish to its effect and the answer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from simulator.control_plane import (
    CALL_S,
    DEFERRALS_MAX,
    QUEUED_MAX,
    FleetInventory,
    TokenBucket,
    choose_plane,
    decide_fate,
    judge,
    requests_of,
)
from simulator.engine.lifecycle import BootSlots
from simulator.engine.simulation import Phase
from simulator.mechanism import BREAK_GLASS, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from simulator.control_plane import Ruling
    from simulator.engine.causes import Causes
    from simulator.engine.effects import Effects
    from simulator.engine.simulation import Simulation
    from simulator.mechanism import Action, Guardrail, Status
    from simulator.sampling import Streams
    from simulator.scenario.region import ControlPlane
    from simulator.trace import Log

_UNDONE: Final[dict[str, tuple[Status, str]]] = {
    "rejected": ("failed", "rejected: the serving pool's queue is full"),
    "timed_out": ("timed_out", "no answer in time"),
    "failed": ("failed", "the serving pool failed"),
}


@dataclass(slots=True)
class Ticket:
    """One operation on its way."""

    action: Action
    actor: str
    cause: int
    answer: Callable[[Outcome], None]
    asked_s: float
    deferrals: int = 0
    waiting: bool = False
    """In the queue for a slot."""
    give_up_s: float = 0.0
    """When its caller gives up."""


@dataclass(slots=True)
class Desk:
    """Mutable side of one control plane."""

    spec: ControlPlane
    edge: int
    pool: int
    rng: np.random.Generator
    bucket: TokenBucket
    slots: BootSlots
    busy: int = 0
    queue: deque[Ticket] = field(default_factory=deque)


class Operations:
    """Takes operations from actors and brings them to their effect.

    Parameters
    ----------
    sim : Simulation
        Clock and data plane.
    effects : Effects
        What an operation does once it is executed.
    log : Log
        For ``operation``, ``refusal``, ``failure`` and ``limit`` records.
    causes : Causes
        Told which operation's requests went to which pool.
    guardrails : sequence of (id, Guardrail)
        In sorted order of ids.
    """

    def __init__(
        self,
        sim: Simulation,
        *,
        effects: Effects,
        log: Log,
        causes: Causes,
        guardrails: Sequence[tuple[str, Guardrail]],
    ) -> None:
        self._sim = sim
        self._effects = effects
        self._log = log
        self._causes = causes
        self._guardrails = guardrails
        self._inventory = FleetInventory(effects.state, lambda: float(sim.now))
        self._desks: dict[str, Desk] = {}

    def open(self, planes: Sequence[ControlPlane], streams: Streams) -> None:
        """Open the desks of all control planes; each has its own stream of chance."""
        topology = self._effects.state.topology
        for spec in planes:
            self._desks[spec.id] = Desk(
                spec=spec,
                edge=topology.control_edge(spec.id),
                pool=topology.pool(spec.pool),
                rng=streams.stream("control-plane", spec.id),
                bucket=TokenBucket(spec.rate_limit, float(spec.burst)),
                slots=BootSlots(spec.boots_at_once),
            )

    # ------------------------------------------------------------------ admission
    def submit(
        self, action: Action, *, actor: str, cause: int, answer: Callable[[Outcome], None]
    ) -> None:
        """Ask for an operation; ``answer`` is called later, in ``DECIDE``, with the outcome."""
        if action.by != actor:
            action = replace(action, by=actor)
        ticket = Ticket(action, actor, cause, answer, asked_s=float(self._sim.now))
        if action.via == BREAK_GLASS:
            self._later(max(CALL_S, action.takes_s), ticket, partial(self._execute, ticket, None))
            return
        plane = choose_plane(action, [d.spec for d in self._desks.values()])
        if plane is None:
            self._fail(ticket, "unavailable", f"no control plane offers {action.verb!r}", CALL_S)
            return
        self._judge(ticket, self._desks[plane.id])

    def _judge(self, ticket: Ticket, desk: Desk) -> None:
        """Let the operation in unless a guardrail stops it."""
        stop = self._ask(ticket)
        if stop is None:
            self._admit(ticket, desk)
        elif stop[0].verdict.decision == "defer":
            self._defer(ticket, desk, stop[0])
        else:
            self._deny(ticket, *stop, after_s=CALL_S)

    def _ask(self, ticket: Ticket, *, at_effect: bool = False) -> tuple[Ruling, int] | None:
        """Put the operation before the guardrails.

        Returns
        -------
        tuple[Ruling, int] or None
            The ruling that stops the operation and its record. An operation that is about to take
            effect holds a slot and cannot wait: there a deferral counts as a refusal.
        """
        ticket.action, rulings = judge(ticket.action, self._guardrails, self._inventory)
        for given in rulings:
            ruling = _without_delay(given) if at_effect else given
            record = self._note(ticket, ruling)
            if ruling.verdict.decision != "clip":
                return ruling, record
        return None

    def _deny(self, ticket: Ticket, ruling: Ruling, record: int, *, after_s: float) -> None:
        """Answer an operation that a guardrail refused; a halt also pauses its actor."""
        status: Status = "refused"
        if ruling.verdict.decision == "halt":
            status = "halted"
            self._effects.pause(ticket.actor)
        reason = ruling.verdict.reason
        outcome = Outcome(status, reason=reason, guardrail=ruling.guardrail, record=record)
        self._answer(ticket, outcome, after_s)

    def _defer(self, ticket: Ticket, desk: Desk, ruling: Ruling) -> None:
        ticket.deferrals += 1
        if ticket.deferrals > DEFERRALS_MAX:
            text = f"deferred more than {DEFERRALS_MAX} times by {ruling.guardrail}"
            self._limit(ticket, "DEFERRALS_MAX", text)
            self._answer(
                ticket, Outcome("refused", reason=text, guardrail=ruling.guardrail), CALL_S
            )
            return
        delay_s = max(CALL_S, ruling.verdict.delay_s)
        self._sim.at(
            self._sim.now + delay_s,
            Phase.DECIDE,
            ticket.actor,
            partial(self._judge, ticket, desk),
        )

    def _admit(self, ticket: Ticket, desk: Desk) -> None:
        """Apply rate limit and concurrency."""
        now_s = float(self._sim.now)
        if not desk.bucket.take(now_s):
            self._fail(ticket, "throttled", "rate limit of the control plane", CALL_S)
            return
        ticket.give_up_s = now_s + desk.spec.timeout
        if desk.busy < desk.spec.concurrency:
            self._start(ticket, desk)
            return
        if len(desk.queue) >= QUEUED_MAX:
            self._limit(ticket, "QUEUED_MAX", "too many operations wait")
            self._fail(ticket, "throttled", "queue of the control plane is full", CALL_S)
            return
        ticket.waiting = True
        desk.queue.append(ticket)
        self._later(desk.spec.timeout, ticket, partial(self._queue_timeout, ticket, desk))

    def _queue_timeout(self, ticket: Ticket, desk: Desk) -> None:
        if ticket.waiting:
            ticket.waiting = False
            desk.queue.remove(ticket)
            self._fail(ticket, "timed_out", "no free slot in time", 0.0)

    # ------------------------------------------------------------------ execution
    def _start(self, ticket: Ticket, desk: Desk) -> None:
        """Send the operation's requests and decide what becomes of them."""
        desk.busy += 1
        operation = desk.spec.operations[ticket.action.verb]  # type: ignore[index]
        outlook = self._sim.plane.outlook(desk.edge)
        requests = requests_of(operation, ticket.action.count)
        if requests > 0.0:
            self._sim.plane.inject(desk.edge, requests)
            self._causes.work[desk.pool] = ticket.cause
        draws = (float(desk.rng.random()), float(desk.rng.random()))
        left_s = ticket.give_up_s - float(self._sim.now)
        fate, after_s = decide_fate(outlook, left_s, draws)
        if fate == "done":
            done = partial(self._execute, ticket, desk)
            self._later(after_s + operation.takes, ticket, done)
        else:
            self._later(after_s, ticket, partial(self._undone, ticket, desk, fate))

    def _undone(self, ticket: Ticket, desk: Desk, fate: str) -> None:
        status, reason = _UNDONE[fate]
        self._fail(ticket, status, reason, 0.0)
        self._release(desk)

    def _release(self, desk: Desk) -> None:
        """Free a slot and give it to the operation that waits longest."""
        desk.busy -= 1
        if desk.queue:
            ticket = desk.queue.popleft()
            ticket.waiting = False
            self._start(ticket, desk)

    def _execute(self, ticket: Ticket, desk: Desk | None) -> None:
        """Let the operation take effect, if the guardrails still agree.

        What they allowed when it was asked for may have been used up since by others.
        """
        stop = None if desk is None else self._ask(ticket, at_effect=True)
        if stop is None:
            self._take_effect(ticket, None if desk is None else desk.slots)
        else:
            self._deny(ticket, *stop, after_s=0.0)
        if desk is not None:
            self._release(desk)

    def _take_effect(self, ticket: Ticket, slots: BootSlots | None) -> None:
        latency_s = float(self._sim.now) - ticket.asked_s
        done = self._effects.execute(ticket.action, ticket.cause, latency_s=latency_s, slots=slots)
        self._answer(ticket, done, 0.0)

    # ------------------------------------------------------------------ answers and records
    def _fail(self, ticket: Ticket, status: Status, reason: str, after_s: float) -> None:
        action = ticket.action
        record = self._log.write(
            "failure",
            action.pool or action.service or action.actor,
            actor=ticket.actor,
            cause=ticket.cause,
            text=f"{action.verb}: {reason}",
            data={"verb": action.verb, "count": action.count, "status": status},
        )
        self._answer(ticket, Outcome(status, reason=reason, record=record), after_s)

    def _note(self, ticket: Ticket, ruling: Ruling) -> int:
        """Write what a guardrail did; of many deferrals only the first."""
        verdict = ruling.verdict
        if verdict.decision == "defer" and ticket.deferrals:
            return -1
        action = ticket.action
        return self._log.write(
            "refusal",
            action.pool or action.service or action.actor,
            actor=ticket.actor,
            cause=ticket.cause,
            text=verdict.reason or f"{verdict.decision} {action.verb}",
            data={
                "guardrail": ruling.guardrail,
                "decision": verdict.decision,
                "verb": action.verb,
                "asked": ruling.asked,
                "count": verdict.count if verdict.decision == "clip" else 0,
            },
        )

    def _limit(self, ticket: Ticket, name: str, text: str) -> None:
        self._log.write(
            "limit",
            ticket.actor,
            actor=ticket.actor,
            cause=ticket.cause,
            text=text,
            data={"limit": name},
        )

    def _answer(self, ticket: Ticket, outcome: Outcome, after_s: float) -> None:
        now_s = float(self._sim.now)
        told = replace(outcome, latency_s=now_s + after_s - ticket.asked_s)
        self._sim.at(now_s + after_s, Phase.DECIDE, ticket.actor, partial(ticket.answer, told))

    def _later(self, after_s: float, ticket: Ticket, call: partial[None]) -> None:
        self._sim.at(self._sim.now + after_s, Phase.WORLD, ticket.actor, call)


def _without_delay(ruling: Ruling) -> Ruling:
    """Return the ruling with a refusal in the place of a deferral."""
    if ruling.verdict.decision != "defer":
        return ruling
    return replace(ruling, verdict=replace(ruling.verdict, decision="refuse"))
