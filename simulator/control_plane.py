"""Operations: what stands between an actor's wish and its effect. Decisions only, no clock.

An operation passes, in this order::

    guardrails     sorted by id; each may allow, clip, defer, refuse or halt
    rate limit     token bucket; empty: throttled
    slots          operations in progress at once; FIFO; times out while it waits
    serving pool   the operation's requests queue there, are rejected, late or answered
    guardrails     once more: what they allowed may have been used up by others since
    effect         after the time that the operation itself takes

The engine keeps the time between these steps. Break-glass access skips all of them: it needs no
control plane, and the guardrails of a control plane do not see it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from simulator.contract import Outlook
    from simulator.mechanism import Action, Guardrail, Verdict
    from simulator.scenario.region import ControlPlane, Operation
    from simulator.state import SystemState

CALL_S: Final = 0.1
"""Time in which a control plane answers a call at the least, even one that it refuses
(assumption: a round trip with authentication)."""
DEFERRALS_MAX: Final = 1_000
"""An operation deferred more often than this is refused."""
QUEUED_MAX: Final = 10_000
"""Operations that wait for a slot of one control plane; further ones are throttled."""

Fate = Literal["done", "rejected", "timed_out", "failed"]


class TokenBucket:
    """Rate limit with a burst; starts full.

    Parameters
    ----------
    rate_rps : float
        Tokens per second.
    burst : float
        Size of the bucket.
    """

    __slots__ = ("burst", "last_s", "rate_rps", "tokens")

    def __init__(self, rate_rps: float, burst: float) -> None:
        self.rate_rps = rate_rps
        self.burst = burst
        self.tokens = burst
        self.last_s = 0.0

    def take(self, now_s: float) -> bool:
        """Take one token if there is one."""
        self.tokens = min(self.burst, self.tokens + (now_s - self.last_s) * self.rate_rps)
        self.last_s = now_s
        # Rounding must not turn a token that has just accrued into a throttled operation.
        if self.tokens < 1.0 - 1e-9:
            return False
        self.tokens = max(0.0, self.tokens - 1.0)
        return True


class FleetInventory:
    """What the control plane knows about its fleet (a :class:`simulator.mechanism.Inventory`).

    The control plane's own books are true and current; stale inventories are a defect of scripts.
    """

    __slots__ = ("_clock", "_pools", "_state", "_zones")

    def __init__(self, state: SystemState, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self._pools = state.pool_index
        self._zones = state.zone_index

    @property
    def now_s(self) -> float:
        """Present time."""
        return self._clock()

    def declared(self, pool: str, zone: str = "") -> int:
        """Units that the region file declares."""
        return self._count(self._state.declared, pool, zone)

    def in_service(self, pool: str, zone: str = "") -> int:
        """Units in service or warming."""
        counts = self._state.counts
        return self._count(counts["in_service"], pool, zone) + self._count(
            counts["warming"], pool, zone
        )

    def on_order(self, pool: str, zone: str = "") -> int:
        """Units provisioning."""
        return self._count(self._state.counts["provisioning"], pool, zone)

    def removed_since(self, t_s: float, pool: str = "", verbs: Collection[str] = ()) -> int:
        """Units removed since ``t_s`` by operations of ``verbs`` (empty: all pools, all verbs)."""
        wanted = self._pools[pool] if pool else None
        total = 0
        for removal in reversed(self._state.removals):
            if removal.t_s < t_s:
                break
            if wanted in {None, removal.pool} and (not verbs or removal.verb in verbs):
                total += removal.units
        return total

    def serves_control_plane(self, pool: str) -> bool:
        """Whether operators need this pool to act."""
        return self._state.specs[self._pools[pool]].serves_control_plane

    def _count(self, table: list[list[int]], pool: str, zone: str) -> int:
        row = table[self._pools[pool]]
        return row[self._zones[zone]] if zone else sum(row)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one guardrail did to an action."""

    guardrail: str
    verdict: Verdict
    asked: int
    """Units before the ruling."""


def judge(
    action: Action,
    guardrails: Iterable[tuple[str, Guardrail]],
    inventory: FleetInventory,
) -> tuple[Action, list[Ruling]]:
    """Put an action before all guardrails in turn.

    Returns
    -------
    tuple[Action, list[Ruling]]
        The action with the count that is left, and every ruling other than ``allow``. The last
        ruling ends the action if it defers, refuses or halts.
    """
    rulings: list[Ruling] = []
    for name, guardrail in guardrails:
        verdict = guardrail.judge(action, inventory)
        if verdict.decision == "allow":
            continue
        if verdict.decision != "clip":
            rulings.append(Ruling(name, verdict, action.count))
            break
        if verdict.count < action.count:
            rulings.append(Ruling(name, verdict, action.count))
            action = replace(action, count=max(0, verdict.count))
            if action.count == 0:
                # Nothing is left to be done.
                rulings[-1] = replace(rulings[-1], verdict=replace(verdict, decision="refuse"))
                break
    return action, rulings


def choose_plane(action: Action, planes: Sequence[ControlPlane]) -> ControlPlane | None:
    """Return the control plane that an action goes to: the one named, or the first by id."""
    for plane in sorted(planes, key=lambda c: c.id):
        if action.verb in plane.operations and action.via in {"", plane.id}:
            return plane
    return None


def requests_of(operation: Operation, count: int) -> float:
    """Return the requests that an operation on ``count`` units sends to the serving pool."""
    return operation.work + operation.work_per_unit * count


def decide_fate(outlook: Outlook, left_s: float, draws: tuple[float, float]) -> tuple[Fate, float]:
    """Decide what becomes of an operation's requests, and after which time that is known.

    Parameters
    ----------
    outlook : Outlook
        What one attempt on the control edge should expect now.
    left_s : float
        Time until the caller gives up (s).
    draws : tuple of float
        Uniform numbers of the two stages, acceptance and success. Both are drawn whatever
        happens, so that runs that share the stream stay aligned.
    """
    accepted, succeeded = draws[0] < outlook.accept_frac, draws[1] < outlook.success_frac
    if not accepted:
        return "rejected", CALL_S
    latency_s = max(CALL_S, outlook.latency_s)
    if math.isnan(latency_s) or latency_s > left_s:
        return "timed_out", max(0.0, left_s)
    return ("done" if succeeded else "failed"), latency_s
