"""Scripts, people and healing loops: who acts, when, and with which answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from simulator.engine.simulation import INSTANT_EVENTS_MAX, Phase, zero_delay
from simulator.errors import UsageError
from simulator.mechanism import Act, ActAll, Look, Mark, Outcome, Wait, WaitForPage

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.engine.causes import Causes
    from simulator.engine.operations import Operations
    from simulator.engine.simulation import Simulation
    from simulator.mechanism import Action, Commands, HealingLoop, Operator, Script
    from simulator.state import SystemState
    from simulator.telemetry import SampledView
    from simulator.trace import Log


@dataclass(slots=True)
class Driver:
    """A generator of commands and where it stands."""

    id: str
    commands: Commands
    is_person: bool
    cause: int = -1
    """Record that made it act."""
    heard: int = -1
    """Latest ``page`` record that a person has taken."""
    waits_for_page: bool = False
    parked: list[object] = field(default_factory=list)
    """The answer it gets when it is no longer paused."""


class Pager:
    """Pages people: those who wait are woken, those who are busy find what is still open.

    Parameters
    ----------
    log : Log
        For ``page`` records.
    """

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._waiting: dict[str, Callable[[float, int], None]] = {}
        self._open: dict[str, tuple[float, int]] = {}

    def page(self, about: str, *, text: str, cause: int) -> None:
        """Wake everybody who waits; keep the page open until :meth:`close`."""
        now_s = self._clock()
        record = self._log.write("page", about, cause=cause, text=text)
        self._open[about] = (now_s, record)
        waiting, self._waiting = self._waiting, {}
        for person in sorted(waiting):
            waiting[person](now_s, record)

    def close(self, about: str) -> None:
        """Forget a page whose reason has ended."""
        self._open.pop(about, None)

    def wait(self, person: str, heard: int, answer: Callable[[float, int], None]) -> None:
        """Answer with an open page that is newer than the record ``heard``, or when one comes."""
        newer = [entry for entry in self._open.values() if entry[1] > heard]
        if newer:
            answer(*max(newer, key=lambda entry: entry[1]))
        else:
            self._waiting[person] = answer


class Actors:
    """Runs all drivers and loops.

    Parameters
    ----------
    sim : Simulation
        Clock.
    state : SystemState
        Who is paused.
    log : Log
        For ``script``, ``milestone`` and ``loop`` records.
    operations : Operations
        Where actions go.
    causes : Causes
        Told when a trigger begins; asked what a loop reacts to.
    view : callable
        ``view()``: what telemetry shows now.
    """

    def __init__(  # noqa: PLR0913 - the actors are where all parts meet
        self,
        sim: Simulation,
        *,
        state: SystemState,
        log: Log,
        operations: Operations,
        causes: Causes,
        pager: Pager,
        view: Callable[[], SampledView],
    ) -> None:
        self._sim = sim
        self._state = state
        self._log = log
        self._operations = operations
        self._causes = causes
        self._pager = pager
        self._view = view
        self._drivers: dict[str, Driver] = {}

    # ------------------------------------------------------------------ scripts and people
    def add_script(self, name: str, script: Script, *, triggers: bool) -> None:
        """Let a script run from its start time on."""
        if script.start_s < 0.0:
            msg = f"script {name!r} starts at {script.start_s} s, before the run"
            raise UsageError(msg)
        driver = Driver(name, script.run(), is_person=False)
        call = partial(self._start_script, driver, triggers)
        self._sim.at(script.start_s, Phase.DECIDE, name, call)

    def _start_script(self, driver: Driver, triggers: bool) -> None:  # noqa: FBT001
        driver.cause = self._log.write(
            "script", driver.id, actor=driver.id, text="started", data={"event": "started"}
        )
        if triggers:
            self._causes.trigger = driver.cause
        self._drivers[driver.id] = driver
        self._resume(driver, None)

    def add_person(self, name: str, person: Operator) -> None:
        """Let a person be on duty from the start."""
        driver = Driver(name, person.run(), is_person=True)
        self._drivers[name] = driver
        self._sim.at(0.0, Phase.DECIDE, name, partial(self._resume, driver, None))

    def wake(self, actor: str) -> None:
        """Let an actor that was paused go on where it stood."""
        driver = self._drivers.get(actor)
        if driver is not None and driver.parked:
            answer = driver.parked.pop()
            now_s = self._sim.now
            self._sim.at(now_s, Phase.DECIDE, actor, partial(self._resume, driver, answer))

    def _resume(self, driver: Driver, answer: object) -> None:
        """Send an answer; execute commands until one takes time."""
        if driver.id in self._state.paused:
            driver.parked.append(answer)
            return
        for _ in range(INSTANT_EVENTS_MAX):
            try:
                command = driver.commands.send(answer)
            except StopIteration:
                self._end(driver)
                return
            if isinstance(command, Look):
                answer = self._view()
            elif isinstance(command, Mark):
                self._mark(driver, command)
                answer = None
            else:
                self._begin(driver, command)
                return
        raise zero_delay(driver.id, float(self._sim.now))

    def _end(self, driver: Driver) -> None:
        del self._drivers[driver.id]
        if not driver.is_person:
            self._log.write(
                "script",
                driver.id,
                actor=driver.id,
                cause=driver.cause,
                text="ended",
                data={"event": "ended"},
            )

    def _mark(self, driver: Driver, mark: Mark) -> None:
        record = self._log.write(
            "milestone",
            mark.milestone,
            actor=driver.id,
            cause=driver.cause,
            text=mark.detail or mark.milestone,
            data={"milestone": mark.milestone},
        )
        if driver.is_person:
            driver.cause = record

    def _begin(self, driver: Driver, command: object) -> None:
        """Start a command that takes time; its answer resumes the driver."""
        resume = partial(self._resume, driver)
        if isinstance(command, Wait):
            wake_s = self._sim.now + max(0.0, command.seconds)
            self._sim.at(wake_s, Phase.DECIDE, driver.id, partial(resume, None))
        elif isinstance(command, WaitForPage):
            self._pager.wait(driver.id, driver.heard, partial(self._paged, driver))
        elif isinstance(command, Act):
            self._submit(driver.id, command.action, driver.cause, resume)
        elif isinstance(command, ActAll):
            self._act_all(driver, command.actions, resume)
        else:
            msg = f"actor {driver.id!r} gave an unknown command {command!r}"
            raise UsageError(msg)

    def _paged(self, driver: Driver, t_s: float, record: int) -> None:
        driver.heard = driver.cause = record
        now_s = self._sim.now
        self._sim.at(now_s, Phase.DECIDE, driver.id, partial(self._resume, driver, t_s))

    def _act_all(
        self, driver: Driver, actions: tuple[Action, ...], resume: Callable[[object], None]
    ) -> None:
        """Ask for all operations at once; resume when every one is answered."""
        outcomes: list[Outcome | None] = [None] * len(actions)
        missing = len(actions)

        def answered(i: int, outcome: Outcome) -> None:
            nonlocal missing
            outcomes[i] = outcome
            missing -= 1
            if missing == 0:
                resume(tuple(outcomes))

        if not actions:
            self._sim.at(self._sim.now, Phase.DECIDE, driver.id, partial(resume, ()))
        for i, action in enumerate(actions):
            self._submit(driver.id, action, driver.cause, partial(answered, i))

    def _submit(
        self, actor: str, action: Action, cause: int, answer: Callable[[Outcome], None]
    ) -> None:
        self._operations.submit(action, actor=actor, cause=cause, answer=answer)

    # ------------------------------------------------------------------ healing loops
    def add_loop(self, name: str, loop: HealingLoop) -> None:
        """Let a loop decide once per period, first after one period."""
        if not loop.period_s > 0.0:
            msg = f"loop {name!r} has the period {loop.period_s} s"
            raise UsageError(msg)
        self._tick_later(name, loop, 1)

    def _tick_later(self, name: str, loop: HealingLoop, n: int) -> None:
        # A product does not drift as a sum of periods would.
        call = partial(self._tick, name, loop, n)
        self._sim.at(n * loop.period_s, Phase.DECIDE, name, call)

    def _tick(self, name: str, loop: HealingLoop, n: int) -> None:
        if name not in self._state.paused:
            for action in loop.decide(self._view()):
                self._propose(name, action)
        self._tick_later(name, loop, n + 1)

    def _propose(self, name: str, action: Action) -> None:
        """Write the decision of a loop and ask for the operation; the outcome is not awaited."""
        cause = -1
        pool = self._state.pool_index.get(action.pool)
        if pool is not None:
            cause = self._causes.of_decision(pool)
        record = self._log.write(
            "loop",
            name,
            actor=name,
            cause=cause,
            text=f"{action.verb} {action.count} × {action.pool or action.service}",
            data={"verb": action.verb, "pool": action.pool, "count": action.count},
        )
        self._submit(name, action, record, _not_awaited)


def _not_awaited(_outcome: Outcome) -> None:
    """Healing loops look again instead of listening."""
