"""A small world to drive mechanisms by hand: no engine, no data plane, answers set by the test."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.mechanism import (
    BREAK_GLASS,
    Act,
    ActAll,
    Action,
    Command,
    Commands,
    Context,
    Look,
    Mark,
    Outcome,
    Status,
    Wait,
    WaitForPage,
)

DECLARED = {"api": 40, "control": 10, "store": 20}


def context(seed: int = 1, **changes: Any) -> Context:
    """Three pools: ``api`` and ``control`` call ``store``; people act through ``control``."""
    fields: dict[str, Any] = {
        "rng": np.random.default_rng(seed),
        "zones": ("a", "b"),
        "pools": tuple(sorted(DECLARED)),
        "services": ("read",),
        "declared": DECLARED,
        "control_planes": ("plane",),
        "automations": ("script",),
        "loops": ("replacer",),
        "control_pools": frozenset({"control"}),
        "dependencies": (("api", "store"), ("control", "store")),
    }
    return Context(**(fields | changes))


def config(cls: type, **settings: Any) -> Any:
    """Build the ``Config`` of a mechanism as the loader would."""
    return cls.Config.model_validate(settings)  # type: ignore[attr-defined]


def build(cls: type, *, where: Context | None = None, **settings: Any) -> Any:
    """Build a mechanism from its settings."""
    return cls("it", config(cls, **settings), where or context())


@dataclass
class FakeView:
    """What telemetry shows; a value that is not set is healthy, ``None`` is missing."""

    now_s: float = 0.0
    visible: bool = True
    age_s: float = 30.0
    success: dict[str, float | None] = field(default_factory=dict)
    load: dict[str, float | None] = field(default_factory=dict)
    count: dict[str, int | None] = field(default_factory=dict)
    failing: dict[str, float | None] = field(default_factory=dict)

    def success_frac(self, name: str) -> float | None:
        return self.success.get(name, 1.0)

    def utilisation_frac(self, pool: str) -> float | None:
        return self.load.get(pool, 0.6)

    def queue_wait_s(self, pool: str) -> float | None:
        return 0.0

    def units(self, pool: str) -> int | None:
        return self.count.get(pool, DECLARED[pool])

    def health_fail_frac(self, pool: str, timeout_s: float) -> float | None:
        return self.failing.get(pool, 0.0)


@dataclass
class FakeInventory:
    """The control plane's books: units per pool and zone, what was removed when."""

    now_s: float = 0.0
    zones: dict[str, dict[str, int]] = field(
        default_factory=lambda: {p: {"a": n // 2, "b": n - n // 2} for p, n in DECLARED.items()}
    )
    removals: list[tuple[float, str, int]] = field(default_factory=list)

    def declared(self, pool: str, zone: str = "") -> int:
        units = DECLARED[pool]
        return {"": units, "a": units // 2, "b": units - units // 2}[zone]

    def in_service(self, pool: str, zone: str = "") -> int:
        return self.zones[pool][zone] if zone else sum(self.zones[pool].values())

    def on_order(self, pool: str, zone: str = "") -> int:
        return 0

    def removed_since(self, t_s: float, pool: str = "", verbs: Collection[str] = ()) -> int:
        if verbs and "remove" not in verbs:
            return 0
        return sum(n for t, p, n in self.removals if t >= t_s and pool in {"", p})

    def serves_control_plane(self, pool: str) -> bool:
        return pool == "control"


@dataclass
class World:
    """Runs the commands of one script or person and keeps what they did.

    ``success`` and ``load`` may be functions of the world, so that they follow from its units.
    """

    units: dict[str, int] = field(default_factory=lambda: dict(DECLARED))
    visible: bool = True
    plane: Status = "done"
    """Status of every operation through the control plane."""
    success: Callable[["World"], float] = lambda _: 1.0
    load: Callable[["World"], float] = lambda _: 0.6
    before: Callable[["World"], None] = lambda _: None
    """Called before every command."""
    boot_s: float = 300.0
    now_s: float = 0.0
    admitted: float = 1.0
    paused: list[str] = field(default_factory=list)
    pages: list[float] = field(default_factory=lambda: [0.0])
    asked: list[tuple[float, Action, Outcome]] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    booting: list[tuple[float, str, int]] = field(default_factory=list)
    left_open: Command | None = None

    def run(self, commands: Commands, *, most: int = 5000, until_s: float = math.inf) -> bool:
        """Run until the generator ends (True), sleeps for good, or a limit is reached (False).

        After ``until_s`` it may be run on: the last command is answered then.
        """
        answer = None if self.left_open is None else self._answer(self.left_open)
        for _ in range(most):
            try:
                command = commands.send(answer)
            except StopIteration:
                return True
            self.commands.append(command)
            self.before(self)
            if self.now_s >= until_s or (isinstance(command, WaitForPage) and not self.pages):
                self.left_open = command
                return False
            answer = self._answer(command)
        return False

    def _answer(self, command: Command) -> object:
        match command:
            case Wait(seconds):
                assert seconds > 0
                self._pass(seconds)
            case WaitForPage():
                self.now_s = max(self.now_s, self.pages.pop(0))
                return self.now_s
            case Mark(milestone):
                self.marks.setdefault(milestone, self.now_s)
            case Look():
                return self.view()
            case Act(action):
                return self._many((action,))[0]
            case ActAll(actions):
                return self._many(actions)
        return None

    def view(self) -> FakeView:
        success = self.success(self) if self.visible else None
        return FakeView(
            self.now_s,
            visible=self.visible,
            success={"read": success},
            load=dict.fromkeys(DECLARED, self.load(self) if self.visible else None),
            count={p: n if self.visible else None for p, n in self.units.items()},
        )

    def _pass(self, seconds: float) -> None:
        self.now_s += seconds
        for due_s, pool, count in self.booting:
            if due_s <= self.now_s:
                self.units[pool] += count
        self.booting = [entry for entry in self.booting if entry[0] > self.now_s]

    def _many(self, actions: tuple[Action, ...]) -> tuple[Outcome, ...]:
        outcomes = tuple(self._operate(action) for action in actions)
        self.asked += [(self.now_s, *pair) for pair in zip(actions, outcomes, strict=True)]
        self._pass(max([1.0, *(a.takes_s for a in actions)]))
        return outcomes

    def _operate(self, action: Action) -> Outcome:
        if action.via != BREAK_GLASS and self.plane != "done":
            return Outcome(self.plane)
        count = action.count
        if action.verb == "describe":
            count = self.units[action.pool]
        elif action.verb in {"remove", "drain", "restart"}:
            count = min(count, self.units[action.pool])
            self.units[action.pool] -= count
        elif action.verb == "pause":
            self.paused.append(action.actor)
        elif action.verb == "resume":
            self.paused.remove(action.actor)
        elif action.verb == "throttle":
            self.admitted = action.factor
        if action.verb in {"add", "restart"}:
            self.booting.append((self.now_s + self.boot_s, action.pool, count))
        return Outcome("done", count=count)

    def done(self, verb: str) -> list[Action]:
        """Return the actions of one kind that were executed, in order."""
        return [action for _, action, outcome in self.asked if action.verb == verb and outcome.ok]
