"""The errors that this package raises on purpose.

::

    SimulatorError
    ├── ScenarioError          a scenario file is wrong; carries every Problem found
    ├── QuantityError          a number with a unit cannot be read (also a ValueError)
    ├── RegistryError
    │   ├── UnknownKindError   no mechanism of that kind (also a LookupError)
    │   ├── DuplicateKindError two classes claim one kind
    │   └── PluginError        an installed plug-in cannot be loaded
    ├── RunDirectoryError      a results folder is missing, damaged or of another version
    ├── UsageError             the command or the call makes no sense
    └── InvariantError         our bug: a law that must hold did not

``exit_code`` is what the command line returns: 2 = the input is wrong, 3 = the program is wrong.
An ``assert`` or an :class:`InvariantError` is a bug of ours; everything else is about input.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "DuplicateKindError",
    "InvariantError",
    "PluginError",
    "Problem",
    "QuantityError",
    "RegistryError",
    "RunDirectoryError",
    "ScenarioError",
    "SimulatorError",
    "UnknownKindError",
    "UsageError",
]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a file, and where.

    Parameters
    ----------
    file : str
        Name of the file as the user gave it.
    line, column : int
        Position, counted from 1; 0 where there is none.
    path : str
        Dotted path in the document (``faults.0.at``); empty for the whole document.
    code : str
        Stable name of the check, for machines (``unknown_key``).
    message : str
        What is wrong: lower case, value quoted.
    hint : str
        What to write instead; may be empty.
    """

    file: str
    line: int
    column: int
    path: str
    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Return ``file:line:column: path: message [code] (hint)``."""
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        path = f" {self.path}:" if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}:{path} {self.message} [{self.code}]{hint}"


class SimulatorError(Exception):
    """Base of every error raised on purpose."""

    exit_code: ClassVar[int] = 2


class ScenarioError(SimulatorError):
    """A scenario is wrong; all problems at once, in the order of the file.

    Parameters
    ----------
    problems : Iterable[Problem]
        At least one.
    """

    def __init__(self, problems: "Iterable[Problem]") -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems))
        assert self.problems, "a ScenarioError without a problem"
        super().__init__(self.problems)

    def __str__(self) -> str:
        """Return one line for each problem."""
        return "\n".join(str(problem) for problem in self.problems)


class QuantityError(SimulatorError, ValueError):
    """A quantity cannot be read.

    Parameters
    ----------
    quantity : str
        Name of the quantity (``duration``), used as a stable code.
    reason : str
        What is wrong with the value.
    hint : str
        What to write instead.
    """

    def __init__(self, quantity: str, reason: str, hint: str = "") -> None:
        super().__init__(quantity, reason, hint)
        self.quantity = quantity
        self.reason = reason
        self.hint = hint

    def __str__(self) -> str:
        """Return ``reason (hint)``."""
        return f"{self.reason} ({self.hint})" if self.hint else self.reason


class RegistryError(SimulatorError):
    """A mechanism cannot be registered or found."""


class UnknownKindError(RegistryError, LookupError):
    """No mechanism of this kind.

    Parameters
    ----------
    family, kind : str
        What was asked for.
    known : Sequence[str]
        What there is.
    nearest : str
        The most similar known name; empty if none is near.
    """

    def __init__(self, family: str, kind: str, known: "Sequence[str]", nearest: str = "") -> None:
        super().__init__(family, kind, tuple(known), nearest)
        self.family = family
        self.kind = kind
        self.known = tuple(known)
        self.nearest = nearest

    def __str__(self) -> str:
        """Return the message with the near miss and the known names."""
        near = f"did you mean {self.nearest!r}? " if self.nearest else ""
        return (
            f"unknown {self.family} {self.kind!r} ({near}known: {', '.join(self.known) or 'none'})"
        )


class DuplicateKindError(RegistryError):
    """Two classes claim the same kind."""


class PluginError(RegistryError):
    """An installed plug-in cannot be loaded."""


class RunDirectoryError(SimulatorError):
    """A results folder is missing, damaged or written by an incompatible version."""


class UsageError(SimulatorError):
    """A command or a call makes no sense as given."""


class InvariantError(SimulatorError):
    """A law that must hold did not: a bug of this program, never of the input."""

    exit_code: ClassVar[int] = 3
