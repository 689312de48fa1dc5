"""Which few records tell the story of a run, and which record led to which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from simulator.metrics.facts import data_of, trigger_record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from simulator.metrics.result import Metrics
    from simulator.trace import Trace, TraceRecord

__all__ = ["Chapter", "describe", "five_records", "impairments_behind"]


_ILLNESS: Final = {
    ("impaired", "service"): "service {} falls below its SLO",
    ("impaired", "pool"): "pool {} fails its callers",
    ("restored", "service"): "service {} is back at its SLO",
    ("restored", "pool"): "pool {} answers again",
}
CHAPTERS_MAX: Final = 5
_RULINGS: Final = {"clip": "cut down", "defer": "held back", "halt": "halted"}


@dataclass(frozen=True, slots=True)
class Chapter:
    """One record of the story, and the part that it plays."""

    role: str
    record: TraceRecord


def describe(record: TraceRecord) -> str:
    """Return one line on a record: who did what to what."""
    text = " ".join(record.text.split()) or record.kind
    if record.kind in {"impaired", "restored"}:
        return f"{_ILLNESS[record.kind, str(data_of(record)['what'])].format(record.subject)}"
    if record.kind == "refusal":
        asked = f"{data_of(record).get('verb', 'operation')} on {record.subject}"
        did = _RULINGS.get(str(data_of(record).get("decision")), "stopped")
        return f"{data_of(record).get('guardrail', 'a guardrail')} {did} {record.actor}: {asked}"
    if record.kind in {"alarm", "page"}:
        return f"{record.kind}: {record.actor or text}" + (f" ({text})" if record.actor else "")
    actor = f"{record.actor}: " if record.actor and record.actor != record.subject else ""
    spoken = record.subject in text.split() or record.kind in {"operation", "fault", "page"}
    return f"{actor}{text}" if spoken else f"{actor}{record.subject} {text}"


def five_records(trace: Trace, metrics: Metrics) -> tuple[Chapter, ...]:
    """Pick the records that mattered, in order of time; at most five, by rule.

    trigger
        The first record of the trigger.
    first service down
        The first record by which a service fell below its SLO after the trigger.
    widest effect
        The operation, fault or refusal since the trigger with the most impairments among the
        records that it led to (at least one); of equals the one with the largest count of units,
        then the first. Without one, the refusal of the largest request.
    mitigation
        The first milestone ``mitigated``; without one, the first milestone ``diagnosed``.
    recovery
        The last record by which a service came back, if the region recovered.

    Places that stay empty (nobody was harmed, or one record fills two) are filled in this order:
    the first alarm or page, the first refusal, the first pool down, and the first milestones
    ``acknowledged``, ``diagnosed`` and ``restored``.
    """
    first = trigger_record(trace)
    since_s = metrics.trigger_s or 0.0
    later = [r for r in trace.records if r.t_s >= since_s]
    down = [r for r in later if r.kind == "impaired" and data_of(r)["what"] == "service"]
    back = [r for r in later if r.kind == "restored" and data_of(r)["what"] == "service"]
    picks = [
        ("trigger", first),
        ("first service down", down[0] if down else None),
        ("widest effect", _widest(later, first)),
        ("mitigation", _milestone(later, "mitigated") or _milestone(later, "diagnosed")),
        ("recovery", back[-1] if back and metrics.recovered else None),
    ]
    chapters: dict[int, Chapter] = {}
    for role, record in [*picks, *_fillers(later)]:
        if record is not None and len(chapters) < CHAPTERS_MAX:
            chapters.setdefault(record.id, Chapter(role, record))
    return tuple(sorted(chapters.values(), key=lambda c: (c.record.t_s, c.record.id)))


def _fillers(later: list[TraceRecord]) -> list[tuple[str, TraceRecord | None]]:
    """Return the records that fill empty places, the most telling first."""

    def first(*kinds: str, what: str = "") -> TraceRecord | None:
        found = (r for r in later if r.kind in kinds)
        return next((r for r in found if not what or data_of(r).get("what") == what), None)

    return [
        ("first signal", first("alarm", "page")),
        ("first refusal", first("refusal")),
        ("first pool down", first("impaired", what="pool")),
        *((name, _milestone(later, name)) for name in ("acknowledged", "diagnosed", "restored")),
    ]


def _widest(records: list[TraceRecord], trigger: TraceRecord | None) -> TraceRecord | None:
    """Return the act with the most impairments behind it."""
    led_to = impairments_behind(records)
    others = [r for r in records if trigger is None or r.id != trigger.id]
    acts = [r for r in others if r.kind in {"operation", "fault"} and led_to.get(r.id, 0) > 0]
    if not acts:
        acts = [r for r in others if r.kind == "refusal"]
    return max(acts, key=lambda r: (led_to.get(r.id, 0), _count(r), -r.id), default=None)


def impairments_behind(
    records: Iterable[TraceRecord], kinds: Collection[str] = ("impaired",)
) -> dict[int, int]:
    """Return for each record the number of ``impaired`` (or other) records that it led to."""
    led_to: dict[int, int] = {}
    for r in sorted(records, key=lambda r: -r.id):
        own = led_to.get(r.id, 0) + (r.kind in kinds)
        if 0 <= r.cause < r.id and own:
            led_to[r.cause] = led_to.get(r.cause, 0) + own
    return led_to


def _count(record: TraceRecord) -> int:
    data = data_of(record)
    return int(data.get("asked", data.get("count", 0)))


def _milestone(records: list[TraceRecord], name: str) -> TraceRecord | None:
    return next(
        (r for r in records if r.kind == "milestone" and r.subject == name),
        None,
    )
