"""The figure of the four cells: goodput against load, up and down, with the loop and without.

Readable in grey: lines differ by dash pattern, single requests by filled and open marks.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Cell", "Sweep", "hysteresis_png", "make_hysteresis_figure"]

# Okabe and Ito's colours, as in the figure of a run.
_BLUE: Final = "#0072B2"
_RED: Final = "#D55E00"
_GREY: Final = "#777777"
_BAND: Final = "#f1ece2"
_HEADROOM: Final = 1.2
_LABELS: Final = (
    "with the loop, upwards",
    "upwards, request by request",
    "with the loop, downwards",
    "downwards, request by request",
    "without the loop, both ways",
    "before the trigger",
)
"""In the order of the legend, which is filled column by column."""


@dataclass(frozen=True)
class Sweep:
    """Goodput at rest, while load over capacity rises step by step and then sinks again.

    Both as shares of the capacity, so that the diagonal is a service that answers everything.
    """

    load: np.ndarray
    """(n,) offered load over capacity, ascending."""
    up: np.ndarray
    """(n,) goodput over capacity on the way up."""
    down: np.ndarray
    """(n,) the same on the way down, in the order of ``load``."""


@dataclass(frozen=True)
class Cell:
    """One panel."""

    title: str
    swept: str
    """What the x axis says: what was changed to get the ratio."""
    loop: Sweep
    """Flow, with the sustaining loop."""
    no_loop: Sweep
    """Flow, without it."""
    fold_low: float
    """Theory: load over capacity below which the bad state cannot sustain itself."""
    fold_high: float
    """Theory: load over capacity at which the good state ends."""
    formula: str
    """``fold_low`` as a formula, in mathtext."""
    requests: Sweep | None = None
    """Request by request, with the sustaining loop."""
    normal: float | None = None
    """Load over capacity of the scenario before its trigger."""


def hysteresis_png(cells: Sequence[Cell], *, dpi: int = 150) -> bytes:
    """Return the figure as PNG; the same sweeps give the same bytes."""
    sink = io.BytesIO()
    figure = make_hysteresis_figure(cells)
    figure.savefig(sink, format="png", dpi=dpi, metadata={"Software": None})
    return sink.getvalue()


def make_hysteresis_figure(cells: Sequence[Cell]) -> Figure:
    """Draw one panel per cell, two in a row."""
    from matplotlib.figure import Figure

    rows = -(-len(cells) // 2)
    figure = Figure(figsize=(10.0, 0.9 + 3.5 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for axes, cell, letter in zip(panels, cells, "abcdefgh", strict=False):
        _draw(axes, cell)
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=11)
        axes.set_title(cell.title, fontsize=10)
    for axes in panels[len(cells) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("goodput / capacity")
    handles, labels = panels[0].get_legend_handles_labels()
    found = dict(zip(labels, handles, strict=True))
    there = [label for label in _LABELS if label in found]
    figure.legend(
        [found[label] for label in there],
        there,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=9,
        handlelength=3.2,
        columnspacing=2.5,
    )
    return figure


def _draw(axes: Axes, cell: Cell) -> None:
    low, high = cell.fold_low, cell.fold_high
    edge = float(cell.loop.load[-1])
    axes.axvspan(low, high, color=_BAND, zorder=0)
    for fold in (low, high):
        axes.axvline(fold, color=_GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    axes.plot([0.0, edge], [0.0, edge], color="#cccccc", linewidth=0.8, zorder=1)
    if cell.normal is not None:
        axes.plot(
            [cell.normal], [cell.normal], marker="*", color="black", markersize=11,
            linestyle="none", zorder=6, label=_LABELS[5],
        )  # fmt: skip
    _lines(axes, cell)
    if cell.requests is not None:
        _marks(axes, cell.requests)
    _arrows(axes, cell)
    _words(axes, cell, edge)
    axes.set_xlim(0.0, edge)
    axes.set_ylim(-0.04, _HEADROOM)
    axes.set_xlabel(cell.swept)
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _lines(axes: Axes, cell: Cell) -> None:
    loop, free = cell.loop, cell.no_loop
    axes.plot(loop.load, loop.up, color=_BLUE, linewidth=1.8, zorder=4, label=_LABELS[0])
    axes.plot(
        loop.load, loop.down, color=_RED, linewidth=1.8, linestyle=(0, (6, 2)), zorder=4,
        label=_LABELS[2],
    )  # fmt: skip
    # Without the loop the two ways coincide; both are drawn, so that it shows if they do not.
    for way, label in ((free.up, _LABELS[4]), (free.down, None)):
        axes.plot(
            free.load, way, color="black", linewidth=1.1, linestyle=(0, (1.2, 1.6)), zorder=5,
            label=label,
        )  # fmt: skip


def _marks(axes: Axes, sweep: Sweep) -> None:
    axes.plot(
        sweep.load, sweep.up, color=_BLUE, marker="o", markersize=4.6, linestyle="none", zorder=5,
        label=_LABELS[1],
    )  # fmt: skip
    axes.plot(
        sweep.load, sweep.down, color=_RED, marker="s", markersize=5.6, markerfacecolor="none",
        linestyle="none", zorder=5, label=_LABELS[3],
    )  # fmt: skip


def _arrows(axes: Axes, cell: Cell) -> None:
    """Say on the two jumps which way they go."""
    for way, colour, mark in ((cell.loop.up, _BLUE, "v"), (cell.loop.down, _RED, "^")):
        jump = int(np.argmax(np.abs(np.diff(way))))
        x = 0.5 * float(cell.loop.load[jump] + cell.loop.load[jump + 1])
        y = 0.5 * float(way[jump] + way[jump + 1])
        axes.plot([x], [y], color=colour, marker=mark, markersize=9, linestyle="none", zorder=6)


def _words(axes: Axes, cell: Cell, edge: float) -> None:
    """Name the three regions above and the folds beside their lines."""
    top = _HEADROOM - 0.035
    for x, word in (
        (0.5 * cell.fold_low, "stable"),
        (0.5 * (cell.fold_low + cell.fold_high), "vulnerable"),
        (0.5 * (cell.fold_high + edge), "overload"),
    ):
        axes.text(
            x, top, word, ha="center", va="top", fontsize=8.5, style="italic", color="#444444"
        )
    axes.annotate(
        f"{cell.formula} = {cell.fold_low:.3f}",
        xy=(cell.fold_low, 0.0),
        xytext=(6, 12),
        textcoords="offset points",
        ha="left",
        fontsize=9,
    )
