"""Reads the records of a trace: when it began, who was ill and for how long, what was done.

This module alone knows how records are written; the others work on its answers. Times are in
seconds from the start of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from simulator.trace import Trace, TraceRecord

__all__ = [
    "MITIGATION_VERB",
    "SLIVER_S",
    "Interval",
    "Subject",
    "attributable",
    "before_trigger",
    "data_of",
    "impairments",
    "merged",
    "subject_of",
    "throttles",
    "trigger_record",
]

TRIGGER_KINDS: Final = ("fault", "script")
MITIGATION_VERB: Final = "throttle"
"""The one emergency measure that customers feel while it lasts. Paused loops and scripts are not
counted: they harm nobody, and sensible people leave them paused for days."""

SLIVER_S: Final = 60.0
"""Assumption: where the control run is impaired too, a rest shorter than this is not an effect of
the trigger but a shift of the control run's own impairment."""


Subject = tuple[str, str]
"""``("pool", id)`` or ``("service", id)``."""


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """Time from `start_s` to `end_s`; still open at the end of the run when `open` is true."""

    start_s: float
    end_s: float
    open: bool = False
    record: int = -1
    """Id of the record that began it."""

    @property
    def length_s(self) -> float:
        """How long it lasted within the run."""
        return self.end_s - self.start_s


def data_of(record: TraceRecord) -> dict[str, Any]:
    """Return the data of a record as a dict."""
    return dict(record.data)


def trigger_record(trace: Trace) -> TraceRecord | None:
    """Return the first record of a trigger mechanism; None if it never acted."""
    ids = set(trace.scenario.trigger)
    return next(
        (
            r
            for r in trace.records
            if r.kind in TRIGGER_KINDS and (r.actor in ids or r.subject in ids)
        ),
        None,
    )


def before_trigger(t_s: float, trigger_s: float | None) -> bool:
    """Say whether a time lies before the trigger (never, when there is none)."""
    return trigger_s is not None and t_s < trigger_s


def subject_of(record: TraceRecord) -> Subject:
    """Return whether a record of illness is about a pool or a service, and its id.

    A pool and a service may have the same id.
    """
    return str(data_of(record)["what"]), record.subject


def impairments(trace: Trace) -> dict[Subject, tuple[Interval, ...]]:
    """Return when each pool and service was impaired, in order of first impairment."""
    found: dict[Subject, list[Interval]] = {}
    begun: dict[Subject, TraceRecord] = {}
    for r in trace.records:
        if r.kind not in {"impaired", "restored"}:
            continue
        who = subject_of(r)
        if r.kind == "impaired" and who not in begun:
            begun[who] = r
            found.setdefault(who, [])
        elif r.kind == "restored" and who in begun:
            first = begun.pop(who)
            found[who].append(Interval(first.t_s, r.t_s, record=first.id))
    for who, first in begun.items():
        end_s = max(trace.end_s, first.t_s)
        found[who].append(Interval(first.t_s, end_s, open=True, record=first.id))
    return {who: tuple(items) for who, items in found.items()}


def attributable(
    own: Iterable[Interval], control: Iterable[Interval], trigger_s: float | None
) -> tuple[Interval, ...]:
    """Return what of `own` lies after the trigger and outside the control run's intervals.

    An impairment that had begun before the trigger counts from the trigger on, unless the control
    run has it too.
    """
    other = sorted(control)
    rest = []
    for item in own:
        start_s = item.start_s if trigger_s is None else max(item.start_s, trigger_s)
        if start_s > item.end_s:
            continue
        pieces = list(_minus(start_s, item, other))
        whole = len(pieces) == 1 and pieces[0].length_s == item.length_s
        rest += [p for p in pieces if whole or p.open or p.length_s >= SLIVER_S]
    return tuple(rest)


def _minus(start_s: float, item: Interval, other: list[Interval]) -> Iterator[Interval]:
    """Cut the intervals `other` (sorted) out of ``[start_s, item.end_s]``."""
    for cut in other:
        if cut.end_s <= start_s or cut.start_s >= item.end_s:
            continue
        if cut.start_s > start_s:
            yield Interval(start_s, cut.start_s, record=item.record)
        start_s = cut.end_s
        if cut.open:
            return
    if start_s < item.end_s or item.open:
        yield Interval(start_s, item.end_s, item.open, item.record)


def merged(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return the union, in order of time."""
    union: list[Interval] = []
    for item in sorted(intervals):
        if union and item.start_s <= union[-1].end_s:
            last = union[-1]
            end_s = max(last.end_s, item.end_s)
            union[-1] = Interval(last.start_s, end_s, last.open or item.open, last.record)
        else:
            union.append(item)
    return tuple(union)


def throttles(trace: Trace) -> tuple[Interval, ...]:
    """Return when customers were throttled on purpose (emergency mitigation active)."""
    begun: dict[str, TraceRecord] = {}
    done: list[Interval] = []
    for r in trace.records:
        data = data_of(r)
        if r.kind != "operation" or data.get("verb") != MITIGATION_VERB:
            continue
        # Without a name it is about all services.
        names = [str(data["service"])] if data.get("service") else list(trace.service_ids)
        if float(data["factor"]) < 1.0:
            begun = dict.fromkeys(names, r) | begun
            continue
        lifted = [begun.pop(name) for name in names if name in begun]
        done += [Interval(first.t_s, r.t_s, record=first.id) for first in lifted]
    end_s = trace.end_s
    done += [Interval(r.t_s, max(end_s, r.t_s), open=True, record=r.id) for r in begun.values()]
    return merged(done)
