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

POOL_UNITS = {
    "offered_rps": "attempts/s",
    "served_rps": "attempts/s",
    "success_frac": "1",
    "queue": "attempts",
    "dead": "attempts",
    "capacity_rps": "attempts/s",
    "blocked": "workers",
    "units": "units",
}
"""Column sampled per pool → unit; :attr:`Trace.pools` says what each means."""

POOL_COLUMNS = tuple(POOL_UNITS)

EDGE_UNITS = {
    "first_rps": "first tries/s",
    "ok_rps": "first tries/s",
    "failed_rps": "first tries/s",
    "attempts_rps": "attempts/s",
    "in_flight": "first tries",
}
"""Column sampled per service → unit; :attr:`Trace.services` says what each means."""

EDGE_COLUMNS = tuple(EDGE_UNITS)


LATENCY_QUANTILES = {
    "latency_p50_s": 0.5,
    "latency_p95_s": 0.95,
    "latency_p99_s": 0.99,
    "latency_p999_s": 0.999,
}
"""Column of :attr:`Trace.services` → quantile of the latency of answered first tries."""


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
    latency_series: np.ndarray | None = None
    """(n_samples, n_services, len(LATENCY_QUANTILES)) seconds, NaN where nothing was answered or
    the service's entry is simulated as a flow; None where all of it is."""

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
        """One row per record, in order of time. Units are in ``attrs["units"]`` too.

        =========  ========  ======================================================
        column     unit      meaning
        =========  ========  ======================================================
        id         (number)  place among the records, from 0
        t_s        s         time from the start of the run
        kind       (text)    see :class:`TraceRecord`
        subject    (text)    pool, service or actor that the record is about
        actor      (text)    who did it; empty where nobody did
        cause      (number)  ``id`` of the record that brought it about (-1: none)
        text       (text)    for people
        data       (JSON)    for programs: one object, its keys depend on ``kind``
        =========  ========  ======================================================
        """
        import pandas as pd

        rows = [
            (r.id, r.t_s, r.kind, r.subject, r.actor, r.cause, r.text, json.dumps(dict(r.data)))
            for r in self.records
        ]
        names = ["id", "t_s", "kind", "subject", "actor", "cause", "text", "data"]
        frame = pd.DataFrame(rows, columns=names)
        frame.attrs["units"] = {"t_s": "s"}
        return frame

    @property
    def pools(self) -> pd.DataFrame:
        """One row per sample and pool. Units are in ``attrs["units"]`` too.

        ============  ==========  =============================================================
        column        unit        meaning
        ============  ==========  =============================================================
        t_s           s           end of the sampling interval, from the start of the run
        pool          (id)
        offered_rps   attempts/s  attempts that arrived, retries among them; mean
        served_rps    attempts/s  attempts that the pool worked off; mean
        success_frac  1           share of the ended attempts that were answered in time
        queue         attempts    waiting, the dead among them; at ``t_s``
        dead          attempts    waiting, although their callers have given up; at ``t_s``
        capacity_rps  attempts/s  what its units could work off if nobody else held them up;
                                  at ``t_s``
        blocked       workers     held by calls to other pools; at ``t_s``
        units         units       in service or warming; at ``t_s``
        ============  ==========  =============================================================

        Means are over the sampling interval that ends at ``t_s``.
        """
        own = (self.sample_t_s, self.pool_ids, self.pool_series)
        return _long(*own, name="pool", units=POOL_UNITS)

    @property
    def services(self) -> pd.DataFrame:
        """One row per sample and service. Units are in ``attrs["units"]`` too.

        ============  =============  ==========================================================
        column        unit           meaning
        ============  =============  ==========================================================
        t_s           s              end of the sampling interval, from the start of the run
        service       (id)
        first_rps     first tries/s  requests that customers made, without retries; mean
        ok_rps        first tries/s  answered in time, by whatever attempt; mean
        failed_rps    first tries/s  given up; mean
        attempts_rps  attempts/s     first tries and retries; mean
        in_flight     first tries    neither answered nor given up; at ``t_s``
        ============  =============  ==========================================================

        Means are over the sampling interval that ends at ``t_s``. In request fidelity there are
        also ``latency_p50_s``, ``latency_p95_s``, ``latency_p99_s`` and ``latency_p999_s``:
        percentiles (s), from first try to answer, of what was answered in the interval.
        """
        import numpy as np

        if self.latency_series is None:
            own = (self.sample_t_s, self.service_ids, self.service_series)
            return _long(*own, name="service", units=EDGE_UNITS)
        both = np.concatenate([self.service_series, self.latency_series], axis=2)
        units = EDGE_UNITS | dict.fromkeys(LATENCY_QUANTILES, "s")
        return _long(self.sample_t_s, self.service_ids, both, name="service", units=units)


def _long(
    t_s: np.ndarray, ids: tuple[str, ...], series: np.ndarray, *, name: str, units: dict[str, str]
) -> pd.DataFrame:
    """Return one row per sample and id."""
    import numpy as np
    import pandas as pd

    frame: dict[str, Any] = {
        "t_s": np.repeat(t_s, len(ids)),
        name: pd.Categorical(np.tile(np.arange(len(ids)), len(t_s)), range(len(ids))),
    }
    frame[name] = frame[name].rename_categories(list(ids))
    for k, column in enumerate(units):
        frame[column] = series[:, :, k].reshape(-1)
    table = pd.DataFrame(frame)
    table.attrs["units"] = {"t_s": "s", **units}
    return table
