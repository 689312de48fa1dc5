"""When the region was well again, and the milestones on the way.

*Recovered* is the first instant from which, up to the end of the run, every service is at its SLO
and no customer is throttled on purpose, and from which for at least :data:`HOLD_S` every backlog is
inside its band. A region that falls ill again later had therefore not recovered; how often that
happened is counted in ``relapses``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.metrics.facts import before_trigger
from simulator.metrics.result import MILESTONES, PHASES

if TYPE_CHECKING:
    from simulator.metrics.facts import Interval
    from simulator.metrics.series import Series
    from simulator.trace import Trace

__all__ = ["HOLD_S", "Recovery", "find_recovery", "milestones", "phases", "relapses"]

HOLD_S: Final = 600.0
"""Assumption: well for ten minutes is well. Long enough to see a retry storm or a restart loop
come back (their periods are minutes at most), short against recovery times of hours."""

BACKLOG_FACTOR: Final = 1.5
"""Assumption: a backlog up to one and a half times the control run's is inside its band; healthy
queues differ by that much when a few units more or less share the load."""

BACKLOG_ARRIVALS_S: Final = 1.0
"""Assumption: a backlog of less than the control run's arrivals in one second is none."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Times from the start of the run; None where it did not happen within the run."""

    drained_s: float | None
    """First sample from which every backlog stayed in its band."""
    recovered_s: float | None


def _outside_band(series: Series) -> np.ndarray:
    """Return (T,) bool: some pool's or service's backlog is outside its band."""
    queue = series.pool("queue") + series.pool("dead")
    base_queue = series.base_pool("queue") + series.base_pool("dead")
    arrivals = BACKLOG_ARRIVALS_S * series.base_pool("offered_rps")
    pools = queue > np.maximum(BACKLOG_FACTOR * base_queue, base_queue + arrivals)
    in_flight, base = series.service("in_flight"), series.base_service("in_flight")
    arrivals = BACKLOG_ARRIVALS_S * series.base_service("first_rps")
    services = in_flight > np.maximum(BACKLOG_FACTOR * base, base + arrivals)
    return np.asarray(pools.any(axis=1) | services.any(axis=1))


def find_recovery(
    series: Series, ill: tuple[Interval, ...], impact_s: float, end_s: float
) -> Recovery:
    """Find recovery after the impact at `impact_s`.

    Parameters
    ----------
    series : Series
        Samples with their comparison.
    ill : tuple of Interval
        Times in which a service was below its SLO or throttled, merged and sorted.
    impact_s, end_s : float
        Start of the impact, end of the run.
    """
    outside_t = series.t_s[_outside_band(series) & (series.t_s >= impact_s)]
    if any(item.open for item in ill):
        return Recovery(_inside_from(series, outside_t, impact_s), None)
    well_s = max((item.end_s for item in ill), default=impact_s)
    # The first time after `well_s` that starts a hold window without a sample outside the band.
    start_s: float | None = well_s
    for t_s in outside_t[outside_t >= well_s]:
        if start_s is not None and t_s > start_s + HOLD_S:
            break
        start_s = _next_sample(series, float(t_s))
    held = start_s is not None and start_s + HOLD_S <= end_s
    before = outside_t if not held or start_s is None else outside_t[outside_t < start_s]
    return Recovery(_inside_from(series, before, impact_s), start_s if held else None)


def _next_sample(series: Series, t_s: float) -> float | None:
    later = series.t_s[series.t_s > t_s]
    return float(later[0]) if len(later) else None


def _inside_from(series: Series, outside_t: np.ndarray, impact_s: float) -> float | None:
    """Return the first sample after the last one outside the band."""
    return impact_s if len(outside_t) == 0 else _next_sample(series, float(outside_t[-1]))


def relapses(ill: tuple[Interval, ...]) -> int:
    """Count the times that illness came back after the hold window without any."""
    return sum(b.start_s - a.end_s >= HOLD_S for a, b in pairwise(ill))


def _first_signal(trace: Trace, control: Trace | None, trigger_s: float | None) -> float | None:
    """Return the time of the first alarm or page since the trigger that the control run lacks."""
    known = {(r.kind, r.subject, r.t_s) for r in (control.records if control else ())}
    return next(
        (
            r.t_s
            for r in trace.records
            if r.kind in {"alarm", "page"}
            and not before_trigger(r.t_s, trigger_s)
            and (r.kind, r.subject, r.t_s) not in known
        ),
        None,
    )


def _mark(trace: Trace, name: str, trigger_s: float | None) -> float | None:
    """Return when a milestone was marked since the trigger: first, or last for ``restored``.

    Capacity may have to be restored several times before the region stays well.
    """
    times = [
        r.t_s
        for r in trace.records
        if r.kind == "milestone" and r.subject == name and not before_trigger(r.t_s, trigger_s)
    ]
    if not times:
        return None
    return times[-1] if name == "restored" else times[0]


def milestones(
    trace: Trace,
    control: Trace | None,
    trigger_s: float | None,
    impact_s: float | None,
    recovery: Recovery,
) -> dict[str, float | None]:
    """Return all milestones, from the start of the run.

    ``detected`` is the first alarm or page; it may come before the impact when capacity is
    watched, and without any impact. What people did is what they marked, impact or none;
    ``drained`` and ``recovered`` are measured.
    """
    found: dict[str, float | None] = dict.fromkeys(MILESTONES)
    found["trigger"] = trigger_s
    found["impact"] = impact_s
    found["detected"] = _first_signal(trace, control, trigger_s)
    for name in ("acknowledged", "diagnosed", "mitigated", "restored"):
        found[name] = _mark(trace, name, trigger_s)
    found["drained"] = recovery.drained_s
    found["recovered"] = recovery.recovered_s
    return found


def phases(from_trigger: dict[str, float | None]) -> dict[str, float | None]:
    """Return the length of each phase.

    A phase runs from the latest milestone before it to its own; it is None if its milestone did
    not happen. Milestones that people marked out of order, or after the region had recovered,
    are moved to the nearest possible time, so that the phases add up to the time to recovery.
    """
    recovered_s = from_trigger["recovered"]
    last_s = 0.0
    lengths: dict[str, float | None] = {}
    for phase, milestone in PHASES.items():
        t_s = from_trigger[milestone]
        if t_s is None:
            lengths[phase] = None
            continue
        t_s = max(t_s if recovered_s is None else min(t_s, recovered_s), last_s)
        lengths[phase], last_s = t_s - last_s, t_s
    return lengths
