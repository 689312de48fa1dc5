"""The figure of one run: what customers got, what was there to serve them, and the milestones.

Readable in grey: lines differ by dash pattern and marker, milestones by a numbered label.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from simulator.metrics.expectations import show_duration
from simulator.metrics.result import MILESTONES, PHASES
from simulator.trace import EDGE_COLUMNS, POOL_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulator.metrics import Metrics
    from simulator.trace import Trace

__all__ = ["figure_png", "make_figure"]

WORST_MAX: Final = 4
"""Lines per panel: more cannot be told apart in grey."""
POINTS_MAX: Final = 1_500
LABEL_GAP_FRAC: Final = 0.032
"""Milestones nearer than this share of the axis get their labels moved apart."""

# Okabe and Ito's colours, safe for the colour-blind; dashes and markers say the same again.
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_DASHES: Final[tuple[Any, ...]] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)))
_MARKERS: Final = ("o", "s", "^", "D")
_HATCHES: Final = ("", "///", "...", "xxx", "\\\\\\", "++")
_GREYS: Final = ("#444444", "#777777", "#999999", "#bbbbbb", "#d0d0d0", "#e8e8e8")
_UNITS: Final = ((2 * 3600.0, 60.0, "min"), (np.inf, 3600.0, "h"))


def figure_png(trace: Trace, metrics: Metrics, *, dpi: int = 130) -> bytes:
    """Return the figure as PNG; the same run gives the same bytes."""
    figure = make_figure(trace, metrics)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=dpi, metadata={"Software": None})
    return sink.getvalue()


def make_figure(trace: Trace, metrics: Metrics) -> Figure:
    """Draw the figure. Time counts from the trigger (from the start, if there was none)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 7.2), layout="constrained")
    rows = figure.subplots(3, 1, sharex=True, height_ratios=(3.0, 3.0, 1.15))
    goodput, capacity, phases = rows
    zero_s = metrics.trigger_s or 0.0
    span_s = float(trace.end_s)
    scale_s, unit = next((s, u) for limit, s, u in _UNITS if span_s <= limit)
    t = (trace.sample_t_s - zero_s) / scale_s
    _goodput_panel(goodput, trace, metrics, t)
    _capacity_panel(capacity, trace, metrics, t)
    _phase_panel(phases, metrics, scale_s)
    phases.set_xlim(*_window(trace, metrics, scale_s))
    _mark_milestones((goodput, capacity), metrics, scale_s)
    origin = "the trigger" if metrics.trigger_s is not None else "the start"
    phases.set_xlabel(f"time since {origin} ({unit})")
    title = f"{trace.scenario.title}\n{trace.scenario.id}, seed {trace.seed}"
    figure.suptitle(title, fontsize=11)
    return figure


def _window(trace: Trace, metrics: Metrics, scale_s: float) -> tuple[float, float]:
    """Return the part of the time axis worth showing: to a while after recovery."""
    zero_s = metrics.trigger_s or 0.0
    end_s = trace.end_s - zero_s
    if metrics.ttr_s:
        end_s = min(end_s, 1.25 * metrics.ttr_s + 600.0)
    return max(-zero_s, -0.08 * end_s) / scale_s, end_s / scale_s


def _worst(badness: np.ndarray, names: Sequence[str]) -> list[int]:
    """Return the indices of the worst columns; ties by name."""
    order = sorted(range(len(names)), key=lambda k: (-badness[k], names[k]))
    return order[:WORST_MAX]


def _line(axes: Axes, t: np.ndarray, y: np.ndarray, k: int, label: str) -> None:
    step = max(1, len(t) // POINTS_MAX)
    axes.plot(
        t[::step],
        y[::step],
        color=_COLOURS[k],
        linestyle=_DASHES[k],
        marker=_MARKERS[k],
        # Markers of different lines are set off against each other.
        markevery=(0.02 + 0.025 * k, 0.1),
        markersize=4.5,
        linewidth=1.6,
        label=label,
    )


def _goodput_panel(axes: Axes, trace: Trace, metrics: Metrics, t: np.ndarray) -> None:
    """Draw the share of first tries answered in time, worst services first."""
    ok = trace.service_series[:, :, EDGE_COLUMNS.index("ok_rps")]
    first = trace.service_series[:, :, EDGE_COLUMNS.index("first_rps")]
    share = np.divide(ok, first, out=np.ones_like(ok), where=first > 0.0)
    lost = np.array([s.lost_first_tries for s in metrics.services])
    chosen = _worst(lost, trace.service_ids)
    for place, k in enumerate(chosen):
        _line(axes, t, 100.0 * share[:, k], place, trace.service_ids[k])
    axes.set_ylabel("goodput\n(% of first tries)")
    axes.set_ylim(-4.0, max(105.0, min(140.0, 100.0 * float(share[:, chosen].max(initial=1.0)))))
    _finish(axes, _chosen(len(chosen), len(trace.service_ids), "services"))


def _capacity_panel(axes: Axes, trace: Trace, metrics: Metrics, t: np.ndarray) -> None:
    """Draw the capacity of the pools that lost most, as a share of what they began with."""
    capacity = trace.pool_series[:, :, POOL_COLUMNS.index("capacity_rps")]
    start = np.maximum(capacity[:1], 1e-12) if len(capacity) else np.ones((1, 0))
    share = capacity / start
    chosen = _worst(1.0 - share.min(axis=0, initial=1.0), trace.pool_ids)
    for place, k in enumerate(chosen):
        _line(axes, t, 100.0 * share[:, k], place, trace.pool_ids[k])
    axes.set_ylabel("capacity\n(% of the start)")
    axes.set_ylim(bottom=-4.0)
    _finish(axes, _chosen(len(chosen), len(trace.pool_ids), "pools"))


def _chosen(shown: int, there: int, what: str) -> str:
    return f"all {there} {what}" if shown == there else f"worst {shown} of {there} {what}"


def _finish(axes: Axes, title: str) -> None:
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        fontsize=8.5,
        title_fontsize=8.5,
        frameon=False,
        handlelength=3.6,
    )


def _mark_milestones(panels: Sequence[Axes], metrics: Metrics, scale_s: float) -> None:
    """Draw a thin line per milestone through the panels and write their names above, apart."""
    there = [(m, metrics.milestones_s[m]) for m in MILESTONES if m != "drained"]
    marks = sorted((t_s / scale_s, m) for m, t_s in there if t_s is not None)
    low, high = panels[0].get_xlim()
    spots = _spread([t for t, _ in marks], low, high)
    for (t, name), spot in zip(marks, spots, strict=True):
        for axes in panels:
            axes.axvline(t, color="#555555", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        panels[0].annotate(
            name,
            xy=(t, 1.0),
            xytext=(spot, 1.09),
            xycoords=panels[0].get_xaxis_transform(),
            textcoords=panels[0].get_xaxis_transform(),
            rotation=38,
            ha="left",
            va="bottom",
            rotation_mode="anchor",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": "#555555", "linewidth": 0.6},
            annotation_clip=False,
        )


def _spread(places: Sequence[float], low: float, high: float) -> list[float]:
    """Move sorted places apart by the label gap, keeping their order and staying in the axis."""
    gap = LABEL_GAP_FRAC * (high - low)
    spread: list[float] = []
    for place in places:
        spread.append(max(place, spread[-1] + gap) if spread else place)
    limit = high
    for k in reversed(range(len(spread))):
        spread[k] = min(spread[k], limit)
        limit = spread[k] - gap
    return spread


def _phase_panel(axes: Axes, metrics: Metrics, scale_s: float) -> None:
    """Draw the phases as hatched bars, one per row, with their lengths written beside them."""
    start_s = 0.0
    for k, phase in enumerate(PHASES):
        length_s = metrics.phases_s[phase]
        if length_s is None:
            continue
        axes.barh(
            k,
            length_s / scale_s,
            left=start_s / scale_s,
            height=0.8,
            color=_GREYS[k],
            edgecolor="black",
            hatch=_HATCHES[k],
            linewidth=0.6,
        )
        start_s += length_s
        axes.annotate(
            f" {show_duration(length_s)}",
            xy=(start_s / scale_s, k),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(PHASES)), list(PHASES), fontsize=8)
    axes.set_ylim(len(PHASES) - 0.4, -0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if metrics.ttr_s is None and metrics.impacted:
        still = metrics.censored_at_s or 0.0
        axes.annotate(
            f"not recovered after {show_duration(still)}",
            xy=(1.0, len(PHASES) - 1),
            xycoords=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=8.5,
        )
