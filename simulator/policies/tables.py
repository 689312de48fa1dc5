"""All policies of an edge or a pool as one row of numbers: what the compiled planes see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.policies.adaptive_throttling import AdaptiveThrottling
from simulator.policies.bulkhead import Bulkhead
from simulator.policies.cache import Cache
from simulator.policies.circuit_breaker import CircuitBreaker
from simulator.policies.concurrency_limit import ConcurrencyLimit
from simulator.policies.contention import Contention
from simulator.policies.deadline import Deadline
from simulator.policies.discipline import Discipline
from simulator.policies.fallback import Fallback
from simulator.policies.hedging import Hedging
from simulator.policies.load_shedding import LoadShedding
from simulator.policies.memory_pressure import MemoryPressure
from simulator.policies.rate_limit import RateLimit
from simulator.policies.rejection import Rejection
from simulator.policies.retry import Retry
from simulator.policies.service_time import ServiceTime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from simulator.policies.base import Number, Policy

EDGE_POLICIES: tuple[type[Policy], ...] = (
    Retry, Deadline, AdaptiveThrottling, CircuitBreaker, Bulkhead, Hedging, Fallback, Cache,
)  # fmt: skip
POOL_POLICIES: tuple[type[Policy], ...] = (
    ServiceTime, Discipline, RateLimit, ConcurrencyLimit, LoadShedding, Rejection, Contention,
    MemoryPressure,
)  # fmt: skip


def _columns(policies: Iterable[type[Policy]], own: Mapping[str, Number]) -> dict[str, Number]:
    columns = dict(own)
    for policy in policies:
        columns |= policy.columns
    return columns


def _dtype(columns: Mapping[str, Number]) -> np.dtype:
    kinds = {name: np.int64 if type(v) is int else np.float64 for name, v in columns.items()}
    return np.dtype(list(kinds.items()))


EDGE_COLUMNS = _columns(EDGE_POLICIES, {"special": 0, "clients": 1, "priority": 0})
"""``special``: 1 if anything but retries and their token buckets is there. ``clients``: callers
with a state of their own. ``priority``: class of the edge's attempts, 0 is the most important."""
POOL_COLUMNS = _columns(POOL_POLICIES, {"special": 0})
"""``special``: 1 if anything but service time, FIFO or LIFO is there."""
EDGE_DTYPE = _dtype(EDGE_COLUMNS)
POOL_DTYPE = _dtype(POOL_COLUMNS)

_PLAIN_EDGE = frozenset({"special", "clients", "priority", *Retry.columns})
_PLAIN_POOL = frozenset({"special", *ServiceTime.columns, *Discipline.columns})


def edge_table(rows: Sequence[Mapping[str, Number]]) -> np.ndarray:
    """Return the policies of edges, (E,) EDGE_DTYPE; absent columns are neutral."""
    return _table(EDGE_DTYPE, EDGE_COLUMNS, _PLAIN_EDGE, rows)


def pool_table(rows: Sequence[Mapping[str, Number]]) -> np.ndarray:
    """Return the policies of pools, (P,) POOL_DTYPE; absent columns are neutral."""
    return _table(POOL_DTYPE, POOL_COLUMNS, _PLAIN_POOL, rows)


def _table(
    dtype: np.dtype,
    columns: Mapping[str, Number],
    plain: frozenset[str],
    rows: Sequence[Mapping[str, Number]],
) -> np.ndarray:
    table = np.zeros(len(rows), dtype)
    for name, neutral in columns.items():
        table[name] = neutral
    for i, row in enumerate(rows):
        for name, value in row.items():
            table[name][i] = value
    return _flagged(table, columns, plain)


def _flagged(table: np.ndarray, columns: Mapping[str, Number], plain: frozenset[str]) -> np.ndarray:
    """Set ``special`` where a column that is not plain differs from neutral."""
    table["special"] = 0
    for name, neutral in columns.items():
        if name not in plain:
            table["special"] |= table[name] != neutral
    return table


def with_columns(table: np.ndarray, **columns: object) -> np.ndarray:
    """Return a copy of a table with columns replaced, by one value or by one for each row."""
    new = table.copy()
    for name, values in columns.items():
        new[name] = values
    if table.dtype == EDGE_DTYPE:
        return _flagged(new, EDGE_COLUMNS, _PLAIN_EDGE)
    return _flagged(new, POOL_COLUMNS, _PLAIN_POOL)


def row_of(policies: Iterable[Policy | None]) -> dict[str, Number]:
    """Return the numbers of several policies in one row; None is an absent policy."""
    row: dict[str, Number] = {}
    for policy in policies:
        if policy is not None:
            row |= policy.row()
    return row
