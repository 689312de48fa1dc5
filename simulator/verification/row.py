"""What a check against theory states, and the rule by which it passes.

The rule was fixed before any row was measured. A reading passes when

* its error is within the row's tolerance,
* ``|z| < 4`` with ``z = (|observed - theory| - bias) / SE``, where chance is involved at all,
* ``SE <= tolerance / 4``: a test too weak to notice an error of the size of its tolerance fails.

``bias`` is what the *formula* leaves out (a fluid limit of a finite system, a step of a grid); a
row that has one says where it comes from. It never exceeds the tolerance.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

Z_MAX = 4.0
"""Largest distance from theory, in standard errors."""
POWER = 4.0
"""The tolerance must be at least this many standard errors."""

Fidelity = Literal["formula", "flow", "request", "direct"]
"""What is held against theory: a closed form of ours against the printed number, the two data
planes, or another part of the program (or a small model of its own) simulated directly."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One number beside what theory says of it."""

    quantity: str
    theory: float
    observed: float
    tolerance: float
    """Largest error, absolute, in the unit of both."""
    se: float = 0.0
    """Standard error of ``observed``; 0 where nothing is random."""
    n: int = 1
    """Replicates (or independent batches) behind ``observed``."""
    bias: float = 0.0
    """Known error of the formula, absolute."""
    unit: str = ""

    @property
    def error(self) -> float:
        """Absolute error; infinite if nothing finite was observed."""
        gap = abs(self.observed - self.theory)
        return gap if math.isfinite(gap) else math.inf

    @property
    def z(self) -> float | None:
        """Distance from theory in standard errors; None where nothing is random."""
        if self.se <= 0.0:
            return None
        return max(0.0, self.error - self.bias) / self.se

    @property
    def faults(self) -> tuple[str, ...]:
        """Return why the reading does not pass."""
        found = []
        if not self.error <= self.tolerance:
            found.append("error above tolerance")
        if self.z is not None and not self.z < Z_MAX:
            found.append(f"|z| not below {Z_MAX:g}")
        if not self.se <= self.tolerance / POWER:
            found.append(f"SE above tolerance/{POWER:g}")
        if not self.bias <= self.tolerance:
            found.append("bias above tolerance")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether the rule holds."""
        return not self.faults


def within(relative: float, theory: float) -> float:
    """Return a relative tolerance as an absolute one."""
    return relative * abs(theory)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A deliberate error that must turn its row red."""

    name: str
    """What was done wrong, in a few words: ``one retry too few``."""
    patch: Callable[[], AbstractContextManager[Any]]
    """Makes the error, and takes it back on leaving."""
    fidelity: Fidelity
    """Where the row must notice it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A statement of theory and the way to hold the program against it."""

    id: str
    claim: str
    formula: str
    source: str
    """Reference with the number of the equation, table or section."""
    inputs: str
    fidelities: tuple[Fidelity, ...]
    measure: Callable[[Fidelity], Iterable[Reading]]
    """Readings in one fidelity, with fixed seeds."""
    mutants: tuple[Mutant, ...]
    slow: frozenset[Fidelity] = frozenset()
    """Fidelities that take more than a few seconds: left out of the quick set."""
    note: str = ""
    """What the reader must know: assumptions, origin of a bias, why a fidelity is missing."""


@contextmanager
def replaced(owner: object, name: str, new: object) -> Iterator[None]:
    """Replace an attribute for a while: how a mutant is made."""
    old = getattr(owner, name)
    setattr(owner, name, new)
    try:
        yield
    finally:
        setattr(owner, name, old)
