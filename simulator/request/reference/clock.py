"""Time and chance of the twin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heappush
from typing import TYPE_CHECKING

import simpy
from simpy.events import NORMAL, URGENT

from simulator.request.streams import uniform

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock(simpy.Environment):
    """SimPy's loop, in order of (time, order of scheduling), gone through up to a given time."""

    def run_through(self, t_s: float) -> None:
        """R1: do every event up to and at ``t_s``.

        ``run`` would stop before the events at ``t_s``, and at a time that is rounded twice.
        """
        while self.peek() <= t_s:
            self.step()
        self._now = t_s

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Let ``call`` run once ``delay_s`` has passed."""
        self.at(self._now + delay_s, call)

    def at(self, t_s: float, call: Callable[[], None]) -> None:
        """Let ``call`` run at exactly ``t_s``: no delay is rounded on the way."""
        heappush(self._queue, (t_s, NORMAL, next(self._eid), Moment(self, call)))

    def turn(self) -> simpy.Event:
        """Return an event of this instant, behind what is to be done at this instant already.

        What follows from an event at the same instant comes in turn, and before any other event:
        calls, retries without delay, and the request that goes on after a call.
        """
        return Turn(self)


class Turn(simpy.Event):
    """An event that happens now."""

    def __init__(self, env: simpy.Environment) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, URGENT)


class Moment(simpy.Event):
    """An event at which something is called."""

    def __init__(self, env: simpy.Environment, call: Callable[[], None]) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        self.callbacks.append(lambda _: call())


class Outcome(simpy.Event):
    """Whether something ended well. Who waits for it goes on in the same step."""

    def settle(self, *, ok: bool) -> None:
        """Tell who waits."""
        assert not self.triggered, "an outcome comes once"
        self._ok, self._value = True, ok
        waiting, self.callbacks = self.callbacks, None  # type: ignore[assignment]
        for go_on in waiting:
            go_on(self)


@dataclass(slots=True)
class Chance:
    """A stream of uniform random numbers (R13)."""

    key: int
    drawn: int = 0

    def uniform(self) -> float:
        """Draw a number between 0 and 1."""
        u = uniform(self.key, self.drawn)
        self.drawn += 1
        return u

    def exponential(self) -> float:
        """Draw an exponential number of mean 1."""
        return -math.log(1.0 - self.uniform())

    def happens(self, probability: float) -> bool:
        """Draw whether something happens, unless it is certain."""
        if probability <= 0.0 or probability >= 1.0:
            return probability >= 1.0
        return self.uniform() < probability
