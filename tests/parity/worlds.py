"""Small regions written as arrays, and scripts of what happens to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.contract import Crossing, DataPlane
from simulator.flow.reference_pool import TINY
from simulator.model import CLIENT, CONTROL, FIFO, NO_BUDGET, REQUIRED, ZOMBIE, Topology
from simulator.policies import retry
from simulator.policies.base import Number, Policy
from simulator.policies.service_time import DETERMINISTIC, EXPONENTIAL
from simulator.policies.tables import edge_table, pool_table, row_of


@dataclass(frozen=True)
class P:
    """A pool: by default 100 units, 1,000/s in all, 0.1 s of service, unbounded FIFO queue."""

    units: int = 100
    rate: float = 1000.0
    workers: float = 100.0
    s: float = 0.1
    deterministic: bool = False
    room: float = np.inf
    discipline: int = FIFO
    late: int = ZOMBIE
    policies: tuple[Policy, ...] = ()

    @property
    def row(self) -> dict[str, Number]:
        """Columns of the table of policies."""
        kind = DETERMINISTIC if self.deterministic else EXPONENTIAL
        return {"service_kind": kind} | row_of(self.policies)


@dataclass(frozen=True)
class E:
    """An edge; without a caller it is a service's (or with ``kind=CONTROL`` an operation's)."""

    callee: str
    caller: str | None = None
    kind: int = CLIENT
    calls: float = 1.0
    timeout: float = 1.0
    retries: int = 0
    backoff: float = 0.0
    cap: float = 20.0
    exponential: bool = False
    jitter: bool = False
    budget: int = NO_BUDGET
    ratio: float = 0.1
    bucket: float = 100.0
    clients: int = 1
    priority: int = 0
    policies: tuple[Policy, ...] = ()

    @property
    def row(self) -> dict[str, Number]:
        """Columns of the table of policies; a policy overrides the fields of its kind."""
        own: dict[str, Number] = {
            "retries": self.retries,
            "backoff_base": self.backoff,
            "backoff_cap": self.cap,
            "growth": retry.EXPONENTIAL if self.exponential else retry.FIXED,
            "jitter": retry.FULL if self.jitter else retry.NONE,
            "budget": self.budget,
            "budget_ratio": self.ratio,
            "budget_bucket": self.bucket,
            "clients": self.clients,
            "priority": self.priority,
        }
        return own | row_of(self.policies)

    @property
    def what(self) -> int:
        """Kind, required unless it was said for an edge between pools."""
        return REQUIRED if self.caller is not None and self.kind == CLIENT else self.kind


def build(pools: dict[str, P], edges: Sequence[E]) -> Topology:
    """Compile, in the order that simulator.model promises."""
    ids = tuple(sorted(pools))
    rows = [pools[name] for name in ids]
    inner = sorted((e for e in edges if e.caller is not None), key=lambda e: (e.caller, e.callee))
    outer = [e for e in edges if e.caller is None and e.kind == CLIENT]
    control = [e for e in edges if e.kind == CONTROL]
    lines = [*inner, *outer, *control]

    def column(of: Sequence[Any], get: Callable[[Any], Any], kind: type) -> np.ndarray:
        return np.array([get(x) for x in of], dtype=kind)

    return Topology(
        pool_ids=ids,
        zone_ids=("z",),
        service_ids=tuple(f"s{i}" for i in range(len(outer))),
        control_plane_ids=tuple(f"c{i}" for i in range(len(control))),
        units=column(rows, lambda p: p.units, np.int64).reshape(-1, 1),
        unit_rate_rps=column(rows, lambda p: p.rate / p.units, float),
        concurrency=column(rows, lambda p: p.workers / p.units, float),
        service_s=column(rows, lambda p: p.s, float),
        queue_per_unit=column(rows, lambda p: p.room / p.units, float),
        discipline=column(rows, lambda p: p.discipline, np.int64),
        late_work=column(rows, lambda p: p.late, np.int64),
        edge_caller=column(
            lines, lambda e: -1 if e.caller is None else ids.index(e.caller), np.int64
        ),
        edge_callee=column(lines, lambda e: ids.index(e.callee), np.int64),
        edge_kind=column(lines, lambda e: e.what, np.int64),
        edge_calls=column(lines, lambda e: e.calls, float),
        edge_timeout_s=column(lines, lambda e: e.timeout, float),
        pool_policy=pool_table([p.row for p in rows]),
        edge_policy=edge_table([e.row for e in lines]),
        fidelity=np.zeros(len(rows), np.int64),
    )


Change = tuple[float, str, dict[str, Any]]
"""(time, name of the plane's method, its arguments)."""


def capacity(t_s: float, pool: int, rate: float, *, workers: float = 1e6) -> Change:
    """Set the rate of a pool; the units (and so the waiting room) stay at 100."""
    fields = {"pool": pool, "rate_rps": rate, "workers": workers, "units": 100.0}
    return t_s, "set_capacity", fields


def demand(t_s: float, edge: int, rate: float) -> Change:
    """Set the first tries of a service."""
    return t_s, "set_demand", {"edge": edge, "rate_rps": rate}


@dataclass
class Told:
    """A plane after a script, and the crossings on the way."""

    plane: Any
    crossings: list[Crossing] = field(default_factory=list)

    def to(self, until_s: float) -> None:
        """Advance, collecting crossings."""
        while (crossing := self.plane.advance(until_s)) is not None:
            self.crossings.append(crossing)


def tell(plane: DataPlane, script: Sequence[Change], end_s: float) -> Told:
    """Let a script happen to a plane."""
    told = Told(plane)
    for t_s, method, fields in sorted(script, key=lambda change: change[0]):
        told.to(t_s)
        getattr(plane, method)(**fields)
    told.to(end_s)
    return told


def outage(
    rate: float, *, start_s: float = 20.0, length_s: float = 5.0, full: float = 1000.0
) -> list[Change]:
    """Demand on edge 0 of pool 0, which serves nothing for a while."""
    return [
        demand(0.0, 0, rate),
        capacity(start_s, 0, 0.0),
        capacity(start_s + length_s, 0, full),
    ]


def success(plane: DataPlane, edge: int = 0, *, last: int = 20) -> float:
    """Share of first tries that succeeded in the last samples."""
    rows = plane.samples()[2][-last:, edge]
    return float(rows[:, 1].sum() / rows[:, 0].sum())


DUST = 10.0 * TINY
"""The kernel may carry this amount of rounding along; below it nothing is compared."""


def distance(a: DataPlane, b: DataPlane) -> float:
    """Return the largest difference of samples and totals, relative to the largest of a series.

    A series that stays below ``DUST / 1e-9`` requests counts as that large.
    """
    pairs = list(zip(a.samples(), b.samples(), strict=True))
    one, two = a.totals(), b.totals()
    pairs += [(one[name], two[name]) for name in one]
    worst = 0.0
    for x, y in pairs:
        assert x.shape == y.shape
        if x.size:
            scale = np.maximum(DUST / 1e-9, np.abs(y).max(axis=0) if y.ndim == 3 else np.abs(y))
            worst = max(worst, float((np.abs(x - y) / scale).max()))
    return worst
