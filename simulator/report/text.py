"""The report of one run for a terminal, as rich renderables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simulator.metrics.expectations import show_duration
from simulator.metrics.result import PHASES
from simulator.report.story import describe, five_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from simulator.metrics import Metrics, Verdict
    from simulator.trace import Trace

__all__ = [
    "blast_table",
    "clock",
    "counted",
    "records_table",
    "run_report",
    "timeline",
    "verdict_table",
]

BAR_WIDTH: Final = 46
_INDENT: Final = (0, 0, 0, 2)


def counted(n: int, what: str) -> str:
    """Return e.g. ``1 seed`` or ``2 seeds``."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def clock(t_s: float) -> str:
    """Return a time of the run as ``h:mm:ss``."""
    hours, rest = divmod(round(t_s), 3600)
    return f"{hours:d}:{rest // 60:02d}:{rest % 60:02d}"


def run_report(
    trace: Trace, metrics: Metrics, verdicts: Sequence[Verdict]
) -> Iterable[RenderableType]:
    """Yield the parts of the report, each with its heading."""
    scenario = trace.scenario
    yield Text(scenario.title, style="bold")
    yield Text(f"{scenario.id}, seed {trace.seed}, {clock(trace.end_s)} h simulated", style="dim")
    yield Text()
    yield Text(f"Claim: {' '.join(scenario.claim.split())}")
    yield Text()
    yield _titled("Verdict", verdict_table(verdicts))
    yield _titled(_recovery_title(metrics), timeline(metrics))
    yield _titled("Blast radius (difference to the control run)", blast_table(metrics))
    if trace.latency_series is not None:
        yield _titled("Latency of answered requests", latency_table(trace))
    yield _titled("What mattered", records_table(trace, metrics))
    if trace.provenance.get("concerns") or trace.provenance.get("requests_of"):
        yield _titled("Fidelity", fidelity_notes(trace))


def fidelity_notes(trace: Trace) -> RenderableType:
    """Say which pools were simulated how, and where the flow is not to be trusted."""
    n, by_request = len(trace.pool_ids), trace.provenance.get("requests_of", ())
    parts: list[RenderableType] = []
    if by_request:
        what = "all pools" if len(by_request) == n else ", ".join(by_request)
        parts.append(Text(f"request by request: {what}"))
    concerns = trace.provenance.get("concerns", ())
    if concerns:
        pools = len({pool for pool, _ in concerns})
        parts.append(
            Text(
                f"Warning: flows are outside their region of validity at {pools} of {n} pools "
                "(--fidelity auto simulates these request by request):",
                style="yellow",
            )
        )
        table = _plain_table()
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for pool, reason in concerns:
            _row(table, Text(pool), reason, "")
        parts.append(table)
    return Group(*parts)


def latency_table(trace: Trace) -> RenderableType:
    """Return the median over samples, and the worst sample, of the percentiles by service."""
    assert trace.latency_series is not None
    table = _plain_table()
    for _ in range(3):
        table.add_column(overflow="fold")
    for i, service in enumerate(trace.service_ids):
        series = trace.latency_series[:, i]
        if np.isfinite(series).any():
            usual, worst = np.nanmedian(series, axis=0), np.nanmax(series, axis=0)
            _row(
                table,
                Text(service),
                f"p50 {usual[0]:.3g} s   p99 {usual[2]:.3g} s",
                f"worst sample: p50 {worst[0]:.3g} s   p99 {worst[2]:.3g} s",
            )
    return table


def _titled(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, style="bold"), Padding(body, _INDENT), Text())


def verdict_table(verdicts: Sequence[Verdict]) -> RenderableType:
    """Return one line per expectation; quantiles are marked, one seed cannot judge them."""
    if not verdicts:
        return Text("the scenario states no expectations")
    table = _plain_table()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for verdict in verdicts:
        mark, note = _judged(verdict)
        value = f"{_over(verdict)} {verdict.shown_value}{note}"
        _row(table, mark, verdict.statement, value)
    if not any(verdict.over_seeds for verdict in verdicts):
        return table
    note = "–  one run cannot judge a quantile: simulator check runs many seeds"
    return Group(table, Text(note, style="dim"))


def _over(verdict: Verdict) -> str:
    """Return what the value is: this run's, the worst one, or the quantile."""
    if verdict.over_seeds:
        return "here:"
    if verdict.expectation.quantile is not None:
        return f"over {counted(verdict.runs, 'seed')}:"
    if verdict.runs == 1:
        return "here:"
    broken = (
        f"{verdict.failed_runs} of {verdict.runs} runs broke it; " if verdict.failed_runs else ""
    )
    return f"{broken}worst:"


def _judged(verdict: Verdict) -> tuple[Text, str]:
    if verdict.over_seeds:
        word = "within" if verdict.passed else "outside"
        return Text(" –", style="dim"), f" ({word})"
    if verdict.passed:
        return Text("pass", style="green"), ""
    return Text("FAIL", style="bold red"), ""


def _recovery_title(metrics: Metrics) -> str:
    if not metrics.impacted:
        return "Recovery: no service fell below its SLO because of the trigger"
    if metrics.ttr_s is None:
        return f"Recovery: not within {show_duration(metrics.censored_at_s or 0.0)}"
    since = "the trigger" if metrics.trigger_s is not None else "the impact"
    again = f", after {counted(metrics.relapses, 'relapse')}" if metrics.relapses else ""
    return f"Recovery: {show_duration(metrics.ttr_s)} from {since}{again}"


def timeline(metrics: Metrics) -> RenderableType:
    """Return the phases of recovery as bars over the time since the trigger."""
    total_s = metrics.ttr_s or metrics.censored_at_s or 0.0
    if not metrics.impacted or total_s <= 0.0:
        return Text("nothing to recover from")
    table = _plain_table()
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    impact_s = metrics.milestones_s["impact"] or 0.0
    _row(table, "impact begins", _bar(impact_s, impact_s, total_s), "", _at(impact_s))
    end_s = 0.0
    for phase, milestone in PHASES.items():
        length_s = metrics.phases_s[phase]
        if length_s is None:
            continue
        start_s, end_s = end_s, end_s + length_s
        name = f"{milestone} {_at(end_s)}"
        _row(table, phase, _bar(start_s, end_s, total_s), show_duration(length_s), name)
    if metrics.ttr_s is None:
        rest = _bar(end_s, total_s, total_s, "░")
        _row(table, "still down", rest, show_duration(total_s - end_s), f"end {_at(total_s)}")
    absent = [m for p, m in PHASES.items() if metrics.phases_s[p] is None and m != "recovered"]
    if not absent:
        return table
    return Group(table, Text(f"Nobody marked: {', '.join(absent)}", style="dim"))


def _at(t_s: float) -> str:
    return f"at {clock(t_s)}"


def _bar(start_s: float, end_s: float, total_s: float, mark: str = "█") -> Text:
    left = min(int(BAR_WIDTH * start_s / total_s), BAR_WIDTH - 1)
    right = max(math.ceil(BAR_WIDTH * end_s / total_s), left + 1)
    if end_s == start_s:
        mark, right = "▏", left + 1
    return Text(" " * left + mark * (right - left) + " " * (BAR_WIDTH - right))


def blast_table(metrics: Metrics) -> RenderableType:
    """Return the blast radius: the region in one column of numbers, then each service hit."""
    blast = metrics.blast_radius
    table = _plain_table()
    for justify in ("left", "right", "left"):
        table.add_column(justify=justify, overflow="fold")
    _row(table, "customers", f"{blast.customers_frac:.1%}", "")
    _row(table, "services", f"{blast.services_frac:.0%}", _names(blast.services))
    _row(table, "zones", f"{blast.zones_frac:.0%}", _names(blast.zones))
    _row(table, "pools hit directly", f"{blast.direct_frac:.0%}", _names(blast.direct_pools))
    _row(table, "pools by cascade", f"{blast.cascaded_frac:.0%}", _names(blast.cascaded_pools))
    lost = f"{metrics.lost_first_tries:,.0f}"
    _row(table, "first tries lost", lost, "tries that failed, less those of the control run")
    if metrics.error_budget_min is not None:
        budget = f"{metrics.error_budget_min:,.0f} min"
        _row(table, "error budget used", budget, "of the worst service")
    _row(table, "cascade depth", str(metrics.cascade_depth), "on the longest chain of causes")
    _row(table, "order of failure", "", _chain(metrics.cascade_order))
    _row(table, "peak amplification", f"{metrics.peak_amplification:.1f}×", "load over control")
    _row(table, "actions refused", str(metrics.actions_refused), _refusals(metrics.refused_by))
    return table


def _names(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _chain(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, then {len(names) - most} more"


def _refusals(refused_by: dict[str, int]) -> str:
    return ", ".join(f"{n} by {name}" for name, n in refused_by.items())


def records_table(trace: Trace, metrics: Metrics) -> RenderableType:
    """Return the few records that mattered; times count from the trigger."""
    zero_s = metrics.trigger_s or 0.0
    table = _plain_table()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for chapter in five_records(trace, metrics):
        _row(table, clock(chapter.record.t_s - zero_s), chapter.role, describe(chapter.record))
    if table.row_count == 0:
        return Text("nothing: the trigger never acted")
    return table


def _row(table: Table, *cells: str | Text) -> None:
    """Add a row; brackets in names and texts are no markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def _plain_table() -> Table:
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
