"""The waiting line of a pool of the twin: who is next (R5; simulator/policies/discipline.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.policies.discipline import CODEL, PRIORITY, codel_age, serves_youngest

if TYPE_CHECKING:
    from simulator.request.reference.edge import Attempt


@dataclass(slots=True)
class Line:
    """Attempts that wait, oldest first; the dead stay among them with ``late_work: zombie``."""

    discipline: int
    lifo_above: float
    interval_s: float
    target_s: float
    attempts: list[Attempt] = field(default_factory=list)
    empty_s: float = 0.0
    """When nobody waited the last time."""

    def __len__(self) -> int:
        return len(self.attempts)

    def join(self, attempt: Attempt, now_s: float) -> None:
        """Wait."""
        if not self.attempts:
            self.empty_s = now_s
        self.attempts.append(attempt)

    def leave(self, attempt: Attempt) -> None:
        """Wait no more, if it does."""
        if attempt in self.attempts:
            self.attempts.remove(attempt)

    def take(self) -> Attempt:
        """Return who is next, out of the line."""
        if self.discipline == PRIORITY:
            # Of the most important class, the first: the oldest.
            nxt = min(self.attempts, key=lambda attempt: attempt.priority)
            self.attempts.remove(nxt)
            return nxt
        youngest = serves_youngest(self.discipline, float(len(self.attempts)), self.lifo_above)
        return self.attempts.pop(-1 if youngest else 0)

    def is_too_old(self, attempt: Attempt, now_s: float) -> bool:
        """Whether CoDel drops an attempt whose turn has come."""
        if self.discipline != CODEL:
            return False
        oldest_s = codel_age(now_s, self.empty_s, self.interval_s, self.target_s)
        return now_s - attempt.arrived_s > oldest_s

    def dead(self) -> int:
        """Count those whose callers have given up."""
        return sum(not attempt.is_live for attempt in self.attempts)
