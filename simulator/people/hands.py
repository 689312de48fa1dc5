"""How people get something done: through a control plane while it answers, else by break-glass."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from numpy.random import Generator

from simulator.mechanism import BREAK_GLASS, Action, Outcome, Step, View, Wait, act, act_all, look
from simulator.sampling import Distribution

NO_ANSWER: Final = frozenset({"failed", "timed_out", "throttled"})
"""Outcomes after which an operation is tried again."""
RULED: Final = frozenset({"done", "refused", "halted"})
"""Outcomes that stand: done, or a guardrail said no, which break-glass must not get around."""

WAIT_S_MIN: Final = 1.0
"""Nothing that a person does takes less time."""


def lasting(time: Distribution, rng: Generator) -> Wait:
    """Draw a time and wait for it."""
    return Wait(max(time.sample(rng), WAIT_S_MIN))


@dataclass(frozen=True, slots=True)
class Habits:
    """How the team goes about operations."""

    streams: int
    """Operations worked on at once."""
    attempts: int
    """Tries through the control plane."""
    retry_wait: Distribution
    """Pause between two tries."""
    access: Distribution
    """Time to get break-glass access, once per incident."""
    glass: Distribution
    """Time of one action by break-glass."""


class Hands:
    """Carries out actions during one incident and remembers what works.

    Parameters
    ----------
    habits : Habits
        How operations are tried.
    rng : Generator
        The team's stream of chance.
    has_plane : bool
        Whether the region has a control plane at all.
    """

    def __init__(self, habits: Habits, rng: Generator, *, has_plane: bool) -> None:
        self._habits = habits
        self._rng = rng
        self._has_plane = has_plane
        self.plane_answers = has_plane
        """Whether the last operations through the control plane were answered."""
        self.glass_open = False

    def probe(self, pool: str) -> Step[bool]:
        """Describe a pool once through the control plane; return whether that worked."""
        if not self._has_plane:
            return False
        outcome: Outcome = yield from act(Action("describe", pool))
        self.plane_answers = outcome.status not in NO_ANSWER
        return outcome.ok

    def do(self, action: Action) -> Step[Outcome]:
        """Carry out one action."""
        return (yield from self.do_all([action]))[0]

    def do_all(self, actions: Sequence[Action]) -> Step[list[Outcome]]:
        """Carry out actions in parallel streams, whatever way works; outcomes in order."""
        outcomes = [Outcome("unavailable")] * len(actions)
        if self.plane_answers:
            yield from self._by_plane(actions, outcomes)
        left = [i for i, outcome in enumerate(outcomes) if outcome.status not in RULED]
        if left:
            answers = yield from self._by_glass([actions[i] for i in left])
            for i, outcome in zip(left, answers, strict=True):
                outcomes[i] = outcome
        return outcomes

    def units(self, pools: Sequence[str]) -> Step[dict[str, int]]:
        """Count units in service: ask the control plane, else look, else go and count."""
        seen: dict[str, int] = {}
        if self.plane_answers and pools:
            answers = yield from act_all((Action("describe", p) for p in pools), self._streams)
            seen = {p: o.count for p, o in zip(pools, answers, strict=True) if o.ok}
            self.plane_answers = any(o.status not in NO_ANSWER for o in answers)
        if len(seen) < len(pools):
            view: View = yield from look()
            for pool in pools if view.visible else ():
                units = view.units(pool)
                if units is not None:
                    seen.setdefault(pool, units)
        unseen = [pool for pool in pools if pool not in seen]
        if unseen:
            answers = yield from self._by_glass([Action("describe", p) for p in unseen])
            seen |= {p: o.count for p, o in zip(unseen, answers, strict=True) if o.ok}
        return seen

    @property
    def _streams(self) -> int:
        return self._habits.streams

    def _by_plane(self, actions: Sequence[Action], outcomes: list[Outcome]) -> Step[None]:
        """Try through the control plane, what was not answered several times."""
        todo = list(range(len(actions)))
        for attempt in range(self._habits.attempts):
            if attempt:
                yield lasting(self._habits.retry_wait, self._rng)
            answers = yield from act_all([actions[i] for i in todo], self._streams)
            for i, outcome in zip(todo, answers, strict=True):
                outcomes[i] = outcome
            todo = [i for i in todo if outcomes[i].status in NO_ANSWER]
            if not todo:
                return
        self.plane_answers = False

    def _by_glass(self, actions: Sequence[Action]) -> Step[list[Outcome]]:
        """Go around the control plane: access once, then time for every action."""
        if not self.glass_open:
            yield lasting(self._habits.access, self._rng)
            self.glass_open = True
        slow = [
            replace(
                action,
                via=BREAK_GLASS,
                takes_s=lasting(self._habits.glass, self._rng).seconds,
            )
            for action in actions
        ]
        return (yield from act_all(slow, self._streams))
