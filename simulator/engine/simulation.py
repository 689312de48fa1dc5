"""The clock: SimPy's event loop with the data plane in step and a fixed order in one instant."""

from __future__ import annotations

from enum import IntEnum
from heapq import heappush
from time import perf_counter
from typing import TYPE_CHECKING, Final

import simpy

from simulator.errors import InvariantError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from simpy.core import SimTime

    from simulator.contract import Crossing, DataPlane

    Progress = Callable[[float, float], None]

INSTANT_EVENTS_MAX: Final = 10_000
"""Events of one actor at one time; more is a loop that takes no time."""
PROGRESS_EVERY_S: Final = 0.05
"""Wall-clock time between two calls of the progress callback."""
CONSERVATION_FRAC: Final = 1e-6
"""Relative error allowed in the balance of first tries of an edge."""


class Phase(IntEnum):
    """Order of events at one time; the number is SimPy's event priority."""

    WORLD = 0
    SETTLE = 1
    OBSERVE = 2
    DECIDE = 3
    RECORD = 4


class Turn(simpy.Event):
    """One turn of an actor: a call at a time, in a phase.

    A SimPy event that has been triggered already, with a single callback.
    """

    def __init__(self, env: simpy.Environment, actor: str, call: Callable[[], None]) -> None:
        super().__init__(env)
        self.actor = actor
        self.call = call
        self._ok = True
        self._value = None
        assert self.callbacks is not None
        self.callbacks.append(_take_turn)


def _take_turn(event: simpy.Event) -> None:
    assert isinstance(event, Turn)
    event.call()


class Simulation(simpy.Environment):
    """Discrete events on top of a data plane.

    Before an event at time *t* runs, the data plane is advanced to *t*. If a watched share
    crosses its threshold on the way, that instant becomes an event of its own and runs first.
    Between events nothing in Python runs.

    Order of events at one time:

    =====  ===========  ===============================================================
    order  phase        what runs
    =====  ===========  ===============================================================
    1      ``WORLD``    faults, changes of demand, operations take effect, units boot
    2      ``SETTLE``   crossings that the data plane reported at this time
    3      ``OBSERVE``  telemetry: new samples become visible, alarms and pages
    4      ``DECIDE``   loops, scripts, people; control planes and guardrails answer
    5      ``RECORD``   bookkeeping that must see everything else of this time
    =====  ===========  ===============================================================

    Within a phase, events run in sorted order of the id of their actor; crossings, in the order of
    ``rank``. Only events of one and
    the same actor run in the order in which they were scheduled. The order in which actors were
    created therefore never matters. Other SimPy events (timeouts, processes) have the empty id
    and the phase that equals their priority.

    Parameters
    ----------
    plane : DataPlane
        Requests between two events.
    on_crossing : callable
        Called in ``SETTLE`` with each crossing.
    guard : callable or None
        Called after every event; raises if a law does not hold.
    progress : callable or None
        ``progress(now_s, horizon_s)``, at most 20 times per second of wall-clock time.
    """

    def __init__(
        self,
        plane: DataPlane,
        *,
        on_crossing: Callable[[Crossing], None],
        guard: Callable[[], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(0.0)
        self.plane = plane
        self.horizon_s = float("inf")
        self.rank: Callable[[int], int] = lambda watch: watch
        """Place of a watch among those that cross at the same time."""
        self._on_crossing = on_crossing
        self._guard = guard
        self._progress = progress
        self._progress_at = 0.0
        self._settled_s = -1.0
        self._instant_s = -1.0
        self._turns: dict[str, int] = {}

    def at(self, t_s: float, phase: Phase, actor: str, call: Callable[[], None]) -> None:
        """Let ``call`` run at ``t_s`` in a phase, in the place that sorts by ``actor``."""
        assert t_s >= self._now, "the past cannot be changed"
        self._push(t_s, phase, Turn(self, actor, call))

    def schedule(
        self, event: simpy.Event, priority: int = Phase.SETTLE, delay: SimTime = 0
    ) -> None:
        """Schedule an event of SimPy in the phase that equals its priority."""
        self._push(self._now + delay, priority, event)

    def _push(self, t_s: float, phase: int, event: simpy.Event) -> None:
        key = (int(phase), getattr(event, "actor", ""))
        # SimPy compares the entries and never looks at the second one.
        heappush(self._queue, (t_s, key, next(self._eid), event))  # type: ignore[misc]

    def step(self) -> None:
        """Bring the data plane up to the next event, then run it (or a crossing before it)."""
        if self._queue:
            self._settle(self._queue[0][0])
            entry = self._queue[0]
            if self._now != self._instant_s or entry[0] != self._instant_s:
                self._instant_s = float(entry[0])
                self._turns.clear()
            self._count(getattr(entry[3], "actor", ""))
        super().step()
        if self._guard is not None:
            self._guard()

    def run_to(self, horizon_s: float) -> None:
        """Run all events before ``horizon_s`` and leave the data plane at ``horizon_s``."""
        self.horizon_s = horizon_s
        self.run(until=horizon_s)

    def _settle(self, t_s: float) -> None:
        """Advance the data plane to ``t_s`` or the first crossings; schedule what it reports."""
        if t_s <= self._settled_s:
            return
        until_s = t_s
        while (crossing := self.plane.advance(until_s)) is not None:
            # Go no further, but take all crossings of this instant: they run in order of rank.
            until_s = min(until_s, crossing.t_s)
            # The plane's grid may overshoot an event by a rounding error.
            self.at(
                min(max(crossing.t_s, self._now), t_s),
                Phase.SETTLE,
                f"watch {self.rank(crossing.watch):06d}",
                _Crossed(self._on_crossing, crossing),
            )
        if until_s == t_s:
            self._settled_s = t_s
        if self._progress is not None and perf_counter() >= self._progress_at:
            self._progress_at = perf_counter() + PROGRESS_EVERY_S
            self._progress(float(self._now), self.horizon_s)

    def _count(self, actor: str) -> None:
        """Count the events of an actor at this time.

        Raises
        ------
        InvariantError
            If there are more than :data:`INSTANT_EVENTS_MAX`.
        """
        n = self._turns[actor] = self._turns.get(actor, 0) + 1
        if n > INSTANT_EVENTS_MAX:
            raise zero_delay(actor, self._instant_s)


class _Crossed:
    """A call with its crossing."""

    __slots__ = ("_call", "_crossing")

    def __init__(self, call: Callable[[Crossing], None], crossing: Crossing) -> None:
        self._call = call
        self._crossing = crossing

    def __call__(self) -> None:
        self._call(self._crossing)


def zero_delay(actor: str, t_s: float) -> InvariantError:
    """Return the error for an actor that acts without end in no time."""
    return InvariantError(
        f"{actor or 'an unnamed event'!r} acted more than {INSTANT_EVENTS_MAX} times at "
        f"{t_s:g} s: a loop that takes no time"
    )


def check_balance(totals: dict[str, np.ndarray]) -> None:
    """Raise unless first = ok + failed + in flight holds on every edge.

    Raises
    ------
    InvariantError
        Naming the worst edge.
    """
    first = totals["first"]
    gap = abs(first - totals["ok"] - totals["failed"] - totals["in_flight"])
    bad = gap > CONSERVATION_FRAC * (1.0 + abs(first))
    if bad.any():
        edge = int((gap / (1.0 + abs(first))).argmax())
        msg = f"first tries of edge {edge} are not conserved: {gap[edge]:g} of {first[edge]:g}"
        raise InvariantError(msg)
