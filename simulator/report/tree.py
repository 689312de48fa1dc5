"""The cascade as a tree of causes, with repeats collapsed.

A node stands for all records of one kind, actor and subject behind one and the same parent node:
forty removals by a script are one line. Lifecycle records of units are left out; what they caused
hangs on what changed the units. Only what led to an impairment is shown, and the refusals.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from simulator.metrics.facts import data_of
from simulator.report.story import describe, impairments_behind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simulator.trace import TraceRecord

__all__ = ["CauseNode", "cause_forest", "recovery_records"]

_SEEN_THROUGH: Final = frozenset({"unit"})
_SHOWN: Final = frozenset({"impaired", "refusal"})
DEPTH_MAX: Final = 40


@dataclass(slots=True)
class CauseNode:
    """One line of the tree."""

    records: tuple[TraceRecord, ...]
    children: list[CauseNode] = field(default_factory=list)

    @property
    def first(self) -> TraceRecord:
        """The first of the records."""
        return self.records[0]

    @property
    def is_impairment(self) -> bool:
        """Whether it says that a pool or service fell ill."""
        return self.first.kind == "impaired"

    @property
    def text(self) -> str:
        """What happened, and how often."""
        n = len(self.records)
        if self.first.kind == "operation":
            return _operations(self.records)
        times = f"  (× {n})" if n > 1 else ""
        return describe(self.first) + times


def _operations(records: tuple[TraceRecord, ...]) -> str:
    """Return e.g. ``cleanup: remove 480 units of edge × 40 operations``."""
    first, n = records[0], len(records)
    if n == 1:
        return describe(first)
    verb = str(data_of(first).get("verb", "")) or "operation"
    units = sum(int(data_of(r).get("count", 0)) for r in records)
    what = f"{units} units of {first.subject}" if units else first.subject
    actor = f"{first.actor}: " if first.actor else ""
    return f"{actor}{verb} {what} × {n} operations"


def cause_forest(records: Sequence[TraceRecord], root: int = -1) -> list[CauseNode]:
    """Return the trees of causes of all impairments, the one of record `root` first."""
    harmed = impairments_behind(records)
    led_to = impairments_behind(records, _SHOWN)
    parents = _parents(records)

    def matters(r: TraceRecord) -> bool:
        return r.kind in _SHOWN or r.id == root or led_to.get(r.id, 0) > 0

    # An operation that was repeated is shown with all its repetitions.
    repeated = {(_key(r), parents[r.id]) for r in records if r.kind == "operation" and matters(r)}
    shown = [
        r
        for r in records
        if r.kind not in _SEEN_THROUGH and (matters(r) or (_key(r), parents[r.id]) in repeated)
    ]
    known = {r.id for r in shown}
    children: dict[int, list[TraceRecord]] = defaultdict(list)
    tops: list[TraceRecord] = []
    for r in shown:
        if r.id == root or parents[r.id] not in known:
            tops.append(r)
        else:
            children[parents[r.id]].append(r)
    # What only led to refusals is worth a line below the trigger, not a tree of its own.
    tops = [r for r in tops if r.kind == "impaired" or r.id == root or harmed.get(r.id, 0) > 0]
    forest = _grouped(tops, children, frozenset(), 0)
    return sorted(forest, key=lambda n: (all(r.id != root for r in n.records), n.first.t_s))


def _parents(records: Iterable[TraceRecord]) -> dict[int, int]:
    """Return for each record the nearest cause that is shown (-1: none)."""
    parents: dict[int, int] = {}
    through: dict[int, int] = {-1: -1}
    for r in records:
        cause = r.cause if r.cause < r.id else -1
        parents[r.id] = through.get(cause, -1)
        through[r.id] = parents[r.id] if r.kind in _SEEN_THROUGH else r.id
    return parents


def _grouped(
    records: Iterable[TraceRecord],
    children: dict[int, list[TraceRecord]],
    above: frozenset[tuple[str, ...]],
    depth: int,
) -> list[CauseNode]:
    """Group records into nodes and go down; what is ill above is not shown again below."""
    groups: dict[tuple[str, ...], list[TraceRecord]] = defaultdict(list)
    for r in records:
        groups[_key(r)].append(r)
    nodes = []
    for key, group in groups.items():
        if key in above or depth > DEPTH_MAX:
            continue
        node = CauseNode(tuple(group))
        below = [child for r in group for child in children[r.id]]
        node.children = _grouped(below, children, above | {key}, depth + 1)
        nodes.append(node)
    return sorted(nodes, key=lambda n: (n.first.t_s, n.first.id))


def _key(record: TraceRecord) -> tuple[str, ...]:
    verb = str(data_of(record).get("verb", data_of(record).get("what", "")))
    if record.kind == "impaired":
        return (record.kind, record.subject, verb)
    return (record.kind, record.actor, record.subject, verb)


def recovery_records(records: Sequence[TraceRecord], since_s: float) -> list[TraceRecord]:
    """Return how it ended: first alarm and page, milestones, throttles, services that came back."""
    chosen: list[TraceRecord] = []
    met: set[str] = set()
    back: dict[str, TraceRecord] = {}
    for r in records:
        if r.t_s < since_s:
            continue
        first_signal = r.kind in {"alarm", "page"} and r.kind not in met
        throttle = r.kind == "operation" and data_of(r).get("verb") == "throttle"
        if first_signal or throttle or r.kind == "milestone":
            met.add(r.kind)
            chosen.append(r)
        elif r.kind in {"restored", "impaired"} and data_of(r)["what"] == "service":
            back.pop(r.subject, None)
            if r.kind == "restored":
                back[r.subject] = r
    return sorted([*chosen, *back.values()], key=lambda r: (r.t_s, r.id))
