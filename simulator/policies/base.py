"""What the policies have in common: closed settings that become a row of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from simulator.registry import register

Side = Literal["edge", "pool"]
Number = int | float

SLICES = 10
"""Rolling windows are kept as so many slices, the oldest of which expires as a whole; the present
slice is one of them."""


class Policy(BaseModel):
    """Settings of a policy: frozen, closed, documented by attribute docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )

    side: ClassVar[Side]
    """Whether callers (edges) or callees (pools) have it."""
    columns: ClassVar[Mapping[str, Number]]
    """Columns of the table of that side: name → value where the policy is absent. Whole numbers
    make int64 columns, others float64."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        raise NotImplementedError


_P = TypeVar("_P", bound=type[Policy])


def policy(kind: str) -> Callable[[_P], _P]:
    """Register a policy under its kind; its settings are the class itself."""

    def decorate(cls: _P) -> _P:
        setattr(cls, "Config", cls)  # noqa: B010 - where the registry looks for settings
        return register("policy", kind)(cls)

    return decorate


def slice_of(now_s: float, window_s: float) -> int:
    """Return the number of the present slice of a rolling window."""
    return int(now_s * SLICES / window_s)
