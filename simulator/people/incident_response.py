"""The on-call team: is paged, finds out, stops the harm, restores capacity, lets customers back.

What it models: one team with ``responders`` parallel streams. How long it takes is not a
parameter: diagnosis slows down while monitoring and control plane are starved, stopping and
restoring fall back on break-glass while the control plane does not answer.

Equation: a diagnosis needs E minutes (``evidence_needed``) of well-sighted work. A cycle of t
minutes (``assessment``) yields w * t, with w = 1 if telemetry is visible and a describe operation
works, else ``evidence_telemetry_only``, ``evidence_describe_only`` or ``evidence_blind``. With mean
sight s = yield / time spent, a finished diagnosis is wrong with probability
``misdiagnosis_blind`` + s * (``misdiagnosis`` - ``misdiagnosis_blind``); a wrong one restarts a
batch of the worst-looking pool through the control plane and begins again. Restoring W waves in n
streams takes about W/n times (wave + check).

Steps and milestones:

1. page, response: ``acknowledged``. All well then or during the diagnosis: ``stood_down``.
2. escalation, diagnosis: ``diagnosed``.
3. pause all automation and ``pause_loops``, through the control plane first, else by break-glass:
   ``mitigated``.
4. shed load to ``shed_to`` if nothing can be seen, or if a pool is offered more than its capacity
   and fewer customers are answered than shedding would let in.
5. add units in waves, what the control plane needs first, callees before callers: ``restored``.
6. admit load again in steps, back one step where success falls; resume the loops; hold:
   ``recovered_declared``.

Source: page response, Site Reliability Engineering, chapter 11 (target of 5 min); times to
identification in 43 public post-mortems, p50 32 min, p75 67 min (data set of ISSRE 2022,
github.com/IntelligentDDS/Post-mortems-Analysis); log-normal times (Davidovic, Incident Metrics in
SRE, 2021); share to be shed, MODEL.md, F6. Chance of each purpose has a stream of its own, so that
arms stay aligned.

Defaults:

* ``page_response`` median 5 min: source, the target of the SRE book; sigma 0.5 assumption.
* ``escalation`` median 10 min, sigma 0.5: assumption.
* ``assessment`` median 12 min, sigma 0.5: assumption.
* ``evidence_needed`` sigma 1.1: source, ln(67/32)/0.674; median 15 min: assumption, so that with
  response, escalation and half a cycle the sum of medians is near the published 32 min.
* ``evidence_telemetry_only`` 60 %, ``evidence_describe_only`` 50 %, ``evidence_blind`` 15 %:
  assumption.
* ``misdiagnosis`` 10 %, ``misdiagnosis_blind`` 40 %, ``wrong_batch_frac`` 10 %: assumption.
* ``attempts`` 3, ``retry_wait`` 1 min: assumption.
* ``break_glass_access`` median 45 min, sigma 0.7: assumption.
* ``break_glass_action`` median 6 min, sigma 0.5: assumption.
* ``responders`` 3: assumption.
* ``pause_loops``: neutral, none.
* ``shed_to`` 35 %: source, F6 with three retries at 70 % load; null: never.
* ``wave_frac`` 10 %: assumption, as for the first batch of a deployment (Amazon Builders' Library).
* ``wave_check`` median 10 min, sigma 0.5: assumption.
* ``wave_patience`` 30 min: assumption.
* ``enough_frac`` 95 %: assumption.
* ``well_above`` 99 %: assumption, the SLO that a service has by default.
* ``readmit_steps`` 4, ``readmit_wait`` 10 min: assumption.
* ``all_clear_hold`` 10 min: assumption.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from simulator.mechanism import (
    Action,
    Commands,
    Context,
    Mark,
    Outcome,
    Step,
    View,
    Wait,
    WaitForPage,
    act,
    look,
)
from simulator.people.hands import WAIT_S_MIN, Habits, Hands, lasting
from simulator.people.order import recovery_order
from simulator.registry import register
from simulator.sampling import Constant, Distribution, Lognormal
from simulator.scenario.references import ActorRef
from simulator.scenario.region import Spec
from simulator.units import Count, Duration, Fraction

STOP_ROUNDS_MAX: Final = 20
"""Rounds of attempts to pause what does harm; then the team goes on to repair what it can."""
WORSE_BY_FRAC: Final = 0.05
"""A fall of success between two waves that makes the team wait (assumption)."""


def _lognormal(median: str, sigma: float) -> Lognormal:
    return Lognormal.model_validate({"median": median, "sigma": sigma})


def _constant(value: str) -> Constant:
    return Constant.model_validate({"value": value})


@dataclass(slots=True)
class _Incident:
    """What the team knows of the incident at hand."""

    hands: Hands
    admitted_frac: float = 1.0
    """Share of the load that the team lets in."""
    restored: bool = False


@register("people", "incident_response")
class IncidentResponse:
    """On-call team: diagnoses, stops what does harm, restores capacity and readmits load."""

    class Config(Spec):
        """Times, sight and habits of the team."""

        page_response: Distribution = _lognormal("5min", 0.5)
        """Time from the page until somebody is at work."""
        escalation: Distribution = _lognormal("10min", 0.5)
        """Time until the others who are needed have joined."""
        assessment: Distribution = _lognormal("12min", 0.5)
        """Time of one cycle of looking, asking and discussing."""
        evidence_needed: Distribution = _lognormal("15min", 1.1)
        """Work that a diagnosis needs, as time with full sight."""
        evidence_telemetry_only: Fraction = 0.6
        """Yield of a cycle with telemetry but without an answer of the control plane."""
        evidence_describe_only: Fraction = 0.5
        """Yield of a cycle with answers of the control plane but without telemetry."""
        evidence_blind: Fraction = 0.15
        """Yield of a cycle with neither."""
        misdiagnosis: Fraction = 0.1
        """Probability that a diagnosis made with full sight is wrong."""
        misdiagnosis_blind: Fraction = 0.4
        """Probability that a diagnosis made blind is wrong."""
        wrong_batch_frac: Fraction = 0.1
        """Share of the worst-looking pool that is restarted after a wrong diagnosis."""
        attempts: Annotated[Count, Field(ge=1)] = 3
        """Tries of an operation through the control plane before break-glass."""
        retry_wait: Distribution = _constant("1min")
        """Pause between two tries."""
        break_glass_access: Distribution = _lognormal("45min", 0.7)
        """Time to get access that needs no control plane, once per incident."""
        break_glass_action: Distribution = _lognormal("6min", 0.5)
        """Time of one action by break-glass."""
        responders: Annotated[Count, Field(ge=1)] = 3
        """Parallel streams of work."""
        pause_loops: tuple[ActorRef, ...] = ()
        """Healing loops that are paused together with the automation, and resumed at the end."""
        shed_to: Fraction | None = 0.35
        """Share of the customers' load that is let in under overload; null: never shed."""
        wave_frac: Annotated[Fraction, Field(gt=0)] = 0.1
        """Share of a pool's declared units added per wave."""
        wave_check: Distribution = _lognormal("10min", 0.5)
        """Time between a wave and the look at what it did."""
        wave_patience: Duration = "30min"  # type: ignore[assignment]
        """Time after which units that have not arrived are ordered again."""
        enough_frac: Fraction = 0.95
        """Share of the declared units that counts as restored."""
        well_above: Fraction = 0.99
        """Success of every service, of what is let in, that counts as well."""
        readmit_steps: Annotated[Count, Field(ge=1)] = 4
        """Steps in which load is let in again."""
        readmit_wait: Duration = "10min"  # type: ignore[assignment]
        """Time between two such steps."""
        all_clear_hold: Duration = "10min"  # type: ignore[assignment]
        """Time for which all must be well before the incident is declared over."""

    def __init__(self, spec_id: str, config: Config, context: Context) -> None:
        self.id = spec_id
        self._config = config
        self._context = context
        # Order of these streams is part of the results.
        self._page, self._evidence, self._cycles, self._verdicts, self._acts, self._waves = (
            context.rng.spawn(6)
        )
        self._order = recovery_order(context.pools, context.control_pools, context.dependencies)
        self._habits = Habits(
            config.responders,
            config.attempts,
            config.retry_wait,
            config.break_glass_access,
            config.break_glass_action,
        )

    def run(self) -> Commands:
        """Answer pages, one incident at a time."""
        while True:
            yield WaitForPage()
            hands = Hands(self._habits, self._acts, has_plane=bool(self._context.control_planes))
            yield lasting(self._config.page_response, self._page)
            yield Mark("acknowledged")
            yield from self._handle(_Incident(hands))

    def _handle(self, incident: _Incident) -> Step[None]:
        if (yield from self._stands_down()):
            return
        yield lasting(self._config.escalation, self._page)
        if not (yield from self._diagnose(incident.hands)):
            return
        loops = yield from self._stop(incident.hands)
        while True:
            yield from self._shed(incident)
            yield from self._restore(incident)
            if not (yield from self._readmit(incident)):
                continue
            yield from self._resume(loops, incident.hands)
            yield self._pause(self._config.all_clear_hold)
            if self._well((yield from look()), 1.0):
                break
        yield Mark("recovered_declared")

    # ------------------------------------------------------------------ finding out
    def _stands_down(self) -> Step[bool]:
        """Look; when nothing is wrong, say so."""
        view: View = yield from look()
        fine = self._well(view, 1.0) and not any(self._looks_short(p, view) for p in self._order)
        if fine:
            yield Mark("stood_down", "nothing is wrong")
        return fine

    def _diagnose(self, hands: Hands) -> Step[bool]:
        """Gather evidence until the cause is known; False if all is well before that."""
        c = self._config
        while True:
            needed_s = c.evidence_needed.sample(self._evidence)
            gained_s = spent_s = 0.0
            while gained_s < needed_s or not spent_s:
                cycle = lasting(c.assessment, self._cycles)
                weight = yield from self._sight(hands)
                yield cycle
                if (yield from self._stands_down()):
                    return False
                spent_s += cycle.seconds
                gained_s += weight * cycle.seconds
            wrong = c.misdiagnosis_blind + gained_s / spent_s * (
                c.misdiagnosis - c.misdiagnosis_blind
            )
            if self._verdicts.random() >= wrong:
                yield Mark("diagnosed")
                return True
            yield from self._act_wrongly()

    def _sight(self, hands: Hands) -> Step[float]:
        """Return what a cycle yields with what can be seen and asked now."""
        view: View = yield from look()
        answered = yield from hands.probe(self._worst(view))
        c = self._config
        if view.visible:
            return 1.0 if answered else c.evidence_telemetry_only
        return c.evidence_describe_only if answered else c.evidence_blind

    def _act_wrongly(self) -> Step[None]:
        """Restart a batch of the pool that looks worst."""
        pool = self._worst((yield from look()))
        count = math.ceil(self._config.wrong_batch_frac * self._context.declared[pool] - 1e-9)
        if count and self._context.control_planes:
            yield from act(Action("restart", pool, count=count))

    def _worst(self, view: View) -> str:
        """Return the pool that looks worst; what cannot be seen looks as it should."""

        def badness(pool: str) -> tuple[float, float]:
            units, success = view.units(pool), view.success_frac(pool)
            share = 1.0 if units is None else units / self._context.declared[pool]
            return min(share, 1.0), 1.0 if success is None else success

        return min(self._order, key=badness)

    # ------------------------------------------------------------------ stopping
    def _stop(self, hands: Hands) -> Step[list[str]]:
        """Pause what is suspected; return the loops that are to be resumed."""
        known = set(self._context.loops)
        loops = [loop for loop in self._config.pause_loops if loop in known]
        todo = [*self._context.automations, *loops]
        for number in range(STOP_ROUNDS_MAX):
            if number:
                yield lasting(self._config.retry_wait, self._acts)
            outcomes = yield from hands.do_all([Action("pause", actor=actor) for actor in todo])
            todo = [a for a, outcome in zip(todo, outcomes, strict=True) if not outcome.ok]
            if not todo:
                yield Mark("mitigated")
                break
        return [loop for loop in loops if loop not in todo]

    def _resume(self, loops: list[str], hands: Hands) -> Step[None]:
        """Resume paused loops; what could not be resumed stays in the list."""
        outcomes = yield from hands.do_all([Action("resume", actor=loop) for loop in loops])
        loops[:] = [a for a, outcome in zip(loops, outcomes, strict=True) if not outcome.ok]

    # ------------------------------------------------------------------ restoring
    def _shed(self, incident: _Incident) -> Step[None]:
        """Let in less load if that is the lesser harm; blind, the team must assume it is."""
        shed_to = self._config.shed_to
        if shed_to is None or incident.admitted_frac <= shed_to:
            return
        view: View = yield from look()
        if not view.visible or (self._overloaded(view) and self._mean_success(view) < shed_to):
            yield from self._throttle(incident, shed_to)

    def _throttle(self, incident: _Incident, frac: float) -> Step[None]:
        outcome = yield from incident.hands.do(Action("throttle", factor=frac))
        if outcome.ok:
            incident.admitted_frac = frac

    def _restore(self, incident: _Incident) -> Step[None]:
        """Add units in waves until every pool has enough."""
        hands, queue = incident.hands, list(self._order)
        seen = yield from hands.units(queue)
        while short := [p for p in queue if p in seen and seen[p] < self._enough(p)]:
            batch = short[: self._config.responders]
            if not hands.plane_answers:
                yield from hands.probe(batch[0])
            before: View = yield from look()
            orders = [Action("add", p, count=self._wave(p, seen[p])) for p in batch]
            outcomes = yield from hands.do_all(orders)
            now = yield from self._settle(hands, batch, seen, outcomes)
            for pool in batch:  # where nothing moved, others come first
                if now.get(pool, 0) <= seen[pool]:
                    queue.remove(pool)
                    queue.append(pool)
            seen |= now
            if self._worse(before, (yield from look())):
                yield lasting(self._config.wave_check, self._waves)
            yield from self._shed(incident)
        if not incident.restored:
            incident.restored = True
            yield Mark("restored")

    def _settle(
        self, hands: Hands, batch: Sequence[str], seen: dict[str, int], outcomes: list[Outcome]
    ) -> Step[dict[str, int]]:
        """Wait until a wave has arrived, or patience ends; return the units counted then."""
        expected = {p: seen[p] + outcome.count for p, outcome in zip(batch, outcomes, strict=True)}
        waited_s = 0.0
        while True:
            check = lasting(self._config.wave_check, self._waves)
            yield check
            waited_s += check.seconds
            now = yield from hands.units(batch)
            if all(now.get(p, 0) >= expected[p] for p in batch):
                return now
            if waited_s >= self._config.wave_patience:
                return now

    def _readmit(self, incident: _Incident) -> Step[bool]:
        """Let load in step by step; False if success fell on the way or is not good enough."""
        c = self._config
        start = incident.admitted_frac
        for step in range(1, c.readmit_steps + 1) if start < 1 else ():
            last = incident.admitted_frac
            yield from self._throttle(incident, start + (1 - start) * step / c.readmit_steps)
            yield self._pause(c.readmit_wait)
            if not self._well((yield from look()), incident.admitted_frac):
                yield from self._throttle(incident, last)
                yield self._pause(c.readmit_wait)
                return False
        if incident.admitted_frac >= 1 and self._well((yield from look()), 1.0):
            return True
        yield self._pause(c.readmit_wait)
        return False

    # ------------------------------------------------------------------ judging what is seen
    def _well(self, view: View, admitted_frac: float) -> bool:
        """Say whether every service answers what is let in; what cannot be seen is not well."""
        least = self._config.well_above * admitted_frac
        return view.visible and all(s >= least for s in self._successes(view))

    def _successes(self, view: View) -> list[float]:
        found = (view.success_frac(service) for service in self._context.services)
        return [success for success in found if success is not None]

    def _overloaded(self, view: View) -> bool:
        """Say whether a pool is offered more than its capacity."""
        loads = (view.utilisation_frac(pool) for pool in self._order)
        return any(load is not None and load > 1 for load in loads)

    def _mean_success(self, view: View) -> float:
        successes = self._successes(view)
        return sum(successes) / len(successes) if successes else 1.0

    def _worse(self, before: View, after: View) -> bool:
        if not (before.visible and after.visible):
            return False
        was, now = self._successes(before), self._successes(after)
        return bool(was and now) and min(now) < min(was) - WORSE_BY_FRAC

    def _looks_short(self, pool: str, view: View) -> bool:
        units = view.units(pool)
        return units is None or units < self._enough(pool)

    def _enough(self, pool: str) -> int:
        return math.ceil(self._config.enough_frac * self._context.declared[pool] - 1e-9)

    def _wave(self, pool: str, units: int) -> int:
        declared = self._context.declared[pool]
        return min(math.ceil(self._config.wave_frac * declared - 1e-9), declared - units)

    @staticmethod
    def _pause(seconds: float) -> Wait:
        return Wait(max(seconds, WAIT_S_MIN))
