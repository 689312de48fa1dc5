"""All rows: every module of this package that has ``ROWS`` contributes them, in order of id."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from typing import TYPE_CHECKING

import simulator.verification

if TYPE_CHECKING:
    from simulator.verification.row import Row


def rows() -> tuple[Row, ...]:
    """Return all rows, sorted by id, numbers in it as numbers; ids are unique."""
    found: dict[str, Row] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(simulator.verification.__path__)):
        for row in getattr(import_module(f"simulator.verification.{module}"), "ROWS", ()):
            if row.id in found:
                msg = f"verification row {row.id} is there twice"
                raise ValueError(msg)
            found[row.id] = row
    return tuple(found[name] for name in sorted(found, key=_natural))


def _natural(name: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))
