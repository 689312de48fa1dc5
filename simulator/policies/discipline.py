"""Queue discipline: which waiting attempt is served next.

Equation: ``fifo`` the oldest; ``lifo`` the youngest; ``adaptive_lifo`` the oldest while at most
``lifo_above`` attempts wait, else the youngest; ``priority`` the most important class (the edge's
``priority``, 0 first), in it the oldest; ``codel`` the oldest whose age is at most M: if the
queue was empty at some time in the last ``interval`` then M = ``interval``, else M = ``target``;
older ones are dropped when their turn comes (they fail at once, as rejected; dead ones just go).
The queue was last empty when an attempt joined it that found nobody waiting. MODEL.md E12, R5;
F8.

Source: Maurer, Fail at Scale, ACM Queue 13(8), 2015 (adaptive LIFO, CoDel as a queue timeout: M =
5 ms, N = 100 ms); Nichols and Jacobson, Controlling Queue Delay, ACM Queue 10(5), 2012.

Defaults:

* ``kind`` fifo: neutral.
* ``lifo_above`` 0: source, Maurer (LIFO as soon as a queue forms).
* ``interval`` 100ms, ``target`` 5ms: source, Maurer.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.policies.base import Number, Policy, policy
from simulator.units import Count, Duration

FIFO, LIFO, ADAPTIVE_LIFO, PRIORITY, CODEL = range(5)
KINDS = {
    "fifo": FIFO,
    "lifo": LIFO,
    "adaptive_lifo": ADAPTIVE_LIFO,
    "priority": PRIORITY,
    "codel": CODEL,
}


@policy("discipline")
class Discipline(Policy):
    """Choose which waiting attempt is served next."""

    side: ClassVar = "pool"
    columns: ClassVar = {"lifo_above": 0.0, "codel_interval": 0.1, "codel_target": 0.005}

    kind: Literal["fifo", "lifo", "adaptive_lifo", "priority", "codel"] = "fifo"
    """Rule of the queue; ``discipline: lifo`` is short for ``{kind: lifo}``."""
    lifo_above: Count = 0
    """Waiting attempts above which ``adaptive_lifo`` serves the youngest."""
    interval: Annotated[Duration, Field(gt=0)] = "100ms"  # type: ignore[assignment]
    """``codel``: longest wait while the queue empties now and then."""
    target: Annotated[Duration, Field(gt=0)] = "5ms"  # type: ignore[assignment]
    """``codel``: longest wait while it does not."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {
            "lifo_above": float(self.lifo_above),
            "codel_interval": self.interval,
            "codel_target": self.target,
        }


def codel_age(now_s: float, empty_s: float, interval_s: float, target_s: float) -> float:
    """Return the largest age (s) that is served; ``empty_s``: when the queue was last empty."""
    return interval_s if now_s - empty_s <= interval_s else target_s


def serves_youngest(discipline: int, waiting: float, lifo_above: float) -> bool:
    """Tell whether the youngest is next."""
    return discipline == LIFO or (discipline == ADAPTIVE_LIFO and waiting > lifo_above)
