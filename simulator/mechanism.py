"""Contracts of the open folders: what a mechanism may see and what it may ask for.

A mechanism *decides*; the engine *acts and keeps time*. A mechanism never sees the true state: it
gets a :class:`View` (telemetry: sampled, delayed, sometimes missing) and outcomes of the
operations that it asked for. It never imports the engine or SimPy.

====================  ==========================================================================
``HealingLoop``       ``decide(view) -> list[Action]`` once per ``period_s``
``Guardrail``         ``judge(action, inventory) -> Verdict`` before an operation is executed
``Script``            generator of commands (``Wait``, ``Act``, ``Look``, ``Mark``): automation
``Operator``          the same, for people, with ``Page`` answered by the paging system
``Fault``             ``effects() -> list[Effect]``: what happens to the region and when
====================  ==========================================================================

Each class carries ``Config`` (a frozen, closed pydantic model), is built as
``cls(spec_id, config, context)`` and is registered with ``@register(family, kind)``.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, cast, runtime_checkable

from simulator.scenario import references

if TYPE_CHECKING:
    import numpy as np

Status = Literal["done", "failed", "timed_out", "throttled", "refused", "halted", "unavailable"]


@dataclass(frozen=True, slots=True)
class Action:
    """A proposed operation. ``count`` is in units; ``zone`` empty means spread over all zones."""

    verb: str
    """describe, add, remove, replace, restart, drain, throttle, pause, resume."""
    pool: str = ""
    zone: str = ""
    count: int = 0
    service: str = ""
    """For ``throttle``: the service whose first tries are limited (empty: all)."""
    factor: float = 1.0
    """For ``throttle``: admitted share of first tries; 1 lifts the throttle."""
    actor: str = ""
    """For ``pause`` and ``resume``: id of the script or loop that is meant."""
    via: str = ""
    """Control plane id; empty: the first one that offers the verb; ``break-glass``: the slow
    path that needs no control plane."""
    takes_s: float = 0.0
    """For break-glass: how long the person needs for it."""
    by: str = ""
    """Id of the actor that asks; the engine fills it in, so that guardrails can tell actors
    apart."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action, as its actor learns it."""

    status: Status
    count: int = 0
    """Units really acted on (after clipping)."""
    latency_s: float = 0.0
    reason: str = ""
    guardrail: str = ""
    record: int = -1
    """Id of the trace record, to be used as a cause."""

    @property
    def ok(self) -> bool:
        """True when the operation was executed."""
        return self.status == "done"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A guardrail's answer; ``count`` for clip, ``delay_s`` for defer."""

    decision: Literal["allow", "clip", "defer", "refuse", "halt"]
    count: int = 0
    delay_s: float = 0.0
    reason: str = ""


ALLOW = Verdict("allow")


@dataclass(frozen=True, slots=True)
class Wait:
    """Let ``seconds`` pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WaitForPage:
    """Sleep until an alarm pages (operators); answered with the time of the page."""


@dataclass(frozen=True, slots=True)
class Act:
    """Ask for an operation; answered with an :class:`Outcome`."""

    action: Action


@dataclass(frozen=True, slots=True)
class ActAll:
    """Ask for several operations at once (parallel streams); answered with their outcomes."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Look at the dashboards; answered with a :class:`View`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Write a milestone into the trace: ``acknowledged``, ``diagnosed``, ``mitigated``, ..."""

    milestone: str
    detail: str = ""


Command = Wait | WaitForPage | Act | ActAll | Look | Mark
Commands = Generator[Command, object, None]

T = TypeVar("T")
Step = Generator[Command, object, T]
"""A part of a generator of commands that returns something: ``outcome = yield from act(...)``."""


class View(Protocol):
    """The region as telemetry shows it. Missing values are ``None``, never a guess."""

    @property
    def now_s(self) -> float:
        """Time of the look, not of the sample."""

    @property
    def visible(self) -> bool:
        """False while no sample younger than five periods can be seen."""

    @property
    def age_s(self) -> float:
        """Age of the newest visible sample (inf if there is none)."""

    def success_frac(self, name: str) -> float | None:
        """Success share of a service (customers) or a pool (all callers)."""

    def utilisation_frac(self, pool: str) -> float | None:
        """Attempt rate over full capacity."""

    def queue_wait_s(self, pool: str) -> float | None:
        """Queue over capacity: what a new attempt would wait."""

    def units(self, pool: str) -> int | None:
        """Units in service."""

    def health_fail_frac(self, pool: str, timeout_s: float) -> float | None:
        """Share of health checks that fail now.

        Checks are requests: they fail for broken units and also for good units whose queue is
        longer than the check's timeout.
        """


class Inventory(Protocol):
    """What the control plane knows about its own fleet; guardrails see this."""

    @property
    def now_s(self) -> float:
        """Present time."""

    def declared(self, pool: str, zone: str = "") -> int:
        """Units that the region file declares."""

    def in_service(self, pool: str, zone: str = "") -> int:
        """Units in service or warming."""

    def on_order(self, pool: str, zone: str = "") -> int:
        """Units provisioning."""

    def removed_since(self, t_s: float, pool: str = "", verbs: Collection[str] = ()) -> int:
        """Units removed since ``t_s`` by operations of ``verbs`` (empty: all pools, all verbs).

        Operations that remove are ``remove``, ``drain`` and ``replace``.
        """

    def serves_control_plane(self, pool: str) -> bool:
        """Whether operators need this pool to act."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a mechanism gets when it is built: names and its own stream of chance."""

    rng: np.random.Generator
    zones: tuple[str, ...]
    pools: tuple[str, ...]
    services: tuple[str, ...]
    declared: dict[str, int]
    """Units per pool as declared."""
    control_planes: tuple[str, ...] = ()
    automations: tuple[str, ...] = ()
    loops: tuple[str, ...] = ()
    control_pools: frozenset[str] = frozenset()
    """Pools with ``serves_control_plane``."""
    dependencies: tuple[tuple[str, str], ...] = ()
    """(caller, callee) pairs: what a person knows of the architecture."""
    carrier: str = ""
    """Pool that carries telemetry."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One change that a fault makes at ``at_s`` (from the start of the run).

    ``what`` is one of ``crash`` (units fail: ``count`` or ``frac``), ``repair`` (those that the
    same fault took boot again: ``count`` of them, or all), ``capacity_factor`` (rate of the units
    multiplied by ``factor`` until the same fault changes it again), ``service_time_factor``
    (slow-down, likewise), ``zone_loss`` and ``zone_return``. Factors of several faults multiply;
    a zone returns when every loss of it has ended.
    """

    at_s: float
    what: str
    pool: str = ""
    zone: str = ""
    count: int = 0
    frac: float = 0.0
    factor: float = 1.0


@runtime_checkable
class HealingLoop(Protocol):
    """A controller that observes and proposes, once per period."""

    period_s: float

    def decide(self, view: View) -> list[Action]:
        """Propose operations from what is seen."""


@runtime_checkable
class Guardrail(Protocol):
    """Stands between a proposed operation and its execution."""

    def judge(self, action: Action, inventory: Inventory) -> Verdict:
        """Answer for one action; must not change anything outside itself."""


@runtime_checkable
class Script(Protocol):
    """Automation as an actor."""

    start_s: float

    def run(self) -> Commands:
        """Yield commands; the engine answers each with ``send``."""


@runtime_checkable
class Operator(Protocol):
    """A person."""

    def run(self) -> Commands:
        """Yield commands; the engine answers each with ``send``."""


@runtime_checkable
class Fault(Protocol):
    """Something that no actor chose."""

    def effects(self) -> Iterable[Effect]:
        """All changes, in order of time; drawn from the mechanism's own stream."""


BREAK_GLASS = references.BREAK_GLASS
"""``via`` of an action that needs no control plane."""

Selector = tuple[references.SelectorRef, ...]
"""Pools by id or by pattern (``web-*``; ``*`` for all), in the order in which they are meant."""


def select(selector: Iterable[str], pools: Iterable[str]) -> tuple[str, ...]:
    """Return the pools that a selector names: in its order, each pattern's pools sorted."""
    known = sorted(pools)
    found = {pool: None for pattern in selector for pool in known if fnmatchcase(pool, pattern)}
    return tuple(found)


def act(action: Action) -> Step[Outcome]:
    """Ask for one operation and return what came of it."""
    return cast("Outcome", (yield Act(action)))


def act_all(actions: Iterable[Action], streams: int) -> Step[list[Outcome]]:
    """Ask for operations, ``streams`` of them at a time; outcomes in the order of the actions."""
    todo, outcomes = tuple(actions), list[Outcome]()
    for i in range(0, len(todo), streams):
        answer = yield ActAll(todo[i : i + streams])
        outcomes.extend(cast("Iterable[Outcome]", answer))
    return outcomes


def look() -> Step[View]:
    """Look at the dashboards and return what they show."""
    return cast("View", (yield Look()))
