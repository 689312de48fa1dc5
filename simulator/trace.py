"""Records of a run, each with its cause, and the digest over them.

A :class:`Trace` is the result of one run: records (what happened, why), time series per pool and
per service edge (what it did to the traffic) and provenance. It is never changed after the run.
"""

from __future__ import annotations

import hashlib
import html
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pandas as pd

    from simulator.scenario.schema import Scenario

POOL_COLUMNS = (
    "offered_rps",
    "served_rps",
    "success_frac",
    "queue",
    "dead",
    "capacity_rps",
    "blocked",
    "units",
)
"""Sampled per pool. ``offered_rps`` counts attempts, ``dead`` waiting attempts that nobody waits
for, ``blocked`` workers held by calls in flight, ``units`` units in service or warming."""

EDGE_COLUMNS = ("first_rps", "ok_rps", "failed_rps", "attempts_rps", "in_flight")
"""Sampled per service: first tries, first tries answered in time, first tries given up,
attempts (mean rates since the last sample), first tries still open."""


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """One thing that happened. ``cause`` is the id of the record that brought it about (-1: none).

    Kinds: ``fault``, ``script``, ``operation`` (executed), ``refusal`` (by a guardrail),
    ``failure`` (operation failed, timed out, throttled), ``unit`` (lifecycle), ``impaired`` and
    ``restored`` (a pool's or service's success crossed its threshold), ``alarm``, ``page``,
    ``milestone``, ``loop`` (a healing loop decided), ``demand``, ``limit`` (a ``*_MAX`` was hit).
    """

    id: int
    t_s: float
    kind: str
    subject: str
    """Pool, service or actor that the record is about."""
    actor: str = ""
    cause: int = -1
    text: str = ""
    data: tuple[tuple[str, Any], ...] = field(default=())


class Log:
    """The records of a run in progress; append only.

    Parameters
    ----------
    clock : callable
        Returns the present simulated time (s).
    """

    __slots__ = ("_clock", "records")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.records: list[TraceRecord] = []

    def write(
        self,
        kind: str,
        subject: str,
        *,
        actor: str = "",
        cause: int = -1,
        text: str = "",
        data: dict[str, Any] | None = None,
    ) -> int:
        """Append a record of the present time and return its id."""
        n = len(self.records)
        assert cause < n, "a cause comes before its effect"
        items = () if data is None else tuple(data.items())
        self.records.append(
            TraceRecord(n, float(self._clock()), kind, subject, actor, cause, text, items)
        )
        return n


@dataclass(frozen=True)
class Trace:
    """Result of one run."""

    scenario: Scenario
    seed: int
    records: tuple[TraceRecord, ...]
    sample_t_s: np.ndarray
    """(n_samples,) float64: end of each sampling interval."""
    pool_series: np.ndarray
    """(n_samples, n_pools, len(POOL_COLUMNS)) float64."""
    service_series: np.ndarray
    """(n_samples, n_services, len(EDGE_COLUMNS)) float64."""
    pool_ids: tuple[str, ...]
    service_ids: tuple[str, ...]
    end_s: float
    provenance: dict[str, Any] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    """Sums over the run: first tries, succeeded, failed, in flight at the end."""

    @property
    def digest(self) -> str:
        """SHA-256 over records and series; provenance and the scenario's text are not in it."""
        h = hashlib.sha256()
        for r in self.records:
            h.update(
                json.dumps(
                    [r.id, r.t_s.hex(), r.kind, r.subject, r.actor, r.cause, r.text, r.data],
                    sort_keys=True,
                ).encode()
            )
        for array in (self.sample_t_s, self.pool_series, self.service_series):
            h.update(str(array.shape).encode())
            h.update(array.tobytes())
        return h.hexdigest()

    def _repr_html_(self) -> str:
        """Return a short table for notebooks."""
        kinds: dict[str, int] = {}
        for r in self.records:
            kinds[r.kind] = kinds.get(r.kind, 0) + 1
        facts = {
            "scenario": f"{self.scenario.id}: {self.scenario.title}",
            "seed": str(self.seed),
            "simulated": f"{self.end_s / 3600:.1f} h, {len(self.sample_t_s)} samples",
            "pools, services": f"{len(self.pool_ids)}, {len(self.service_ids)}",
            "records": ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "none",
            "digest": self.digest[:16],
        }
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in facts.items()
        )
        return f"<table>{rows}</table>"

    @property
    def events(self) -> pd.DataFrame:
        """One row per record: id, t_s, kind, subject, actor, cause, text, data (JSON)."""
        import pandas as pd

        rows = [
            (r.id, r.t_s, r.kind, r.subject, r.actor, r.cause, r.text, json.dumps(dict(r.data)))
            for r in self.records
        ]
        return pd.DataFrame(
            rows, columns=["id", "t_s", "kind", "subject", "actor", "cause", "text", "data"]
        )

    @property
    def pools(self) -> pd.DataFrame:
        """One row per sample and pool: t_s, pool, then :data:`POOL_COLUMNS`."""
        return _long(self.sample_t_s, self.pool_ids, self.pool_series, "pool", POOL_COLUMNS)

    @property
    def services(self) -> pd.DataFrame:
        """One row per sample and service: t_s, service, then :data:`EDGE_COLUMNS`."""
        return _long(
            self.sample_t_s, self.service_ids, self.service_series, "service", EDGE_COLUMNS
        )


def _long(
    t_s: np.ndarray, ids: tuple[str, ...], series: np.ndarray, name: str, columns: tuple[str, ...]
) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    frame: dict[str, Any] = {
        "t_s": np.repeat(t_s, len(ids)),
        name: pd.Categorical(np.tile(np.arange(len(ids)), len(t_s)), range(len(ids))),
    }
    frame[name] = frame[name].rename_categories(list(ids))
    for k, column in enumerate(columns):
        frame[column] = series[:, :, k].reshape(-1)
    return pd.DataFrame(frame)
