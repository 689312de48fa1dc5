"""Watched success shares, as in the flow (E16)."""

from __future__ import annotations

from dataclasses import dataclass

HYSTERESIS = 0.1
"""A watched share has risen again when it is this part of the way from threshold to 1 above it."""


@dataclass(slots=True)
class Watch:
    """A smoothed success share and the threshold it is watched against."""

    share: float = 1.0
    below: float = -1.0
    is_below: bool = False
    ok: int = 0
    """Ended well since the last tick."""
    bad: int = 0
    """Ended badly since the last tick."""

    def count(self, *, ok: bool) -> None:
        """Something ended."""
        if ok:
            self.ok += 1
        else:
            self.bad += 1

    def learn(self, weight: float) -> None:
        """E16: move the share towards that of the tick."""
        if self.ok + self.bad:
            self.share += weight * (self.ok / (self.ok + self.bad) - self.share)
        self.ok = self.bad = 0

    def crossed(self) -> bool:
        """E16: whether the share has changed sides, with hysteresis on the way up."""
        if self.below < 0.0:
            return False
        before = self.is_below
        above = self.below + HYSTERESIS * (1.0 - self.below)
        self.is_below = self.share < (above if before else self.below)
        return self.is_below != before
