"""The figure of a pool's chain: where it drifts, and which states it has at which load.

Readable in grey: lines differ by dash pattern, states by filled and open marks.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.analytic.drift import balanced_load, drift_at, rest_lines
from simulator.analytic.solve import stuck_queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulator.analytic.chain import PoolChain
    from simulator.analytic.summary import Analysis

__all__ = ["drift_png", "make_drift_figure"]

# Okabe and Ito's colours, as in the figure of a run.
_BLUE, _RED, _GREEN, _PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
_GREY: Final = "#9a9a9a"
_GRID: Final = 61
_POINTS: Final = 2_000
_HEADROOM: Final = 1.18


def drift_png(analysis: Analysis, *, dpi: int = 150) -> bytes:
    """Return the figure as PNG; the same chain gives the same bytes."""
    sink = io.BytesIO()
    make_drift_figure(analysis).savefig(sink, format="png", dpi=dpi, metadata={"Software": None})
    return sink.getvalue()


def make_drift_figure(analysis: Analysis) -> Figure:
    """Draw the drift over queue and orbit, and the equilibria against the load.

    Parameters
    ----------
    analysis : Analysis
        Of a chain with retries.
    """
    from matplotlib.figure import Figure

    assert analysis.chain.retries, "without retries there is no orbit to draw"
    figure = Figure(figsize=(10.0, 4.9), layout="constrained")
    field, branches = figure.subplots(1, 2, width_ratios=(1.12, 1.0))
    _draw_field(field, analysis)
    _draw_branches(branches, analysis)
    for axes, letter in ((field, "a"), (branches, "b")):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=11)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    _legend(figure, (field, branches))
    figure.suptitle(_title(analysis.chain), fontsize=11)
    return figure


def _title(chain: PoolChain) -> str:
    back = f", backoff {chain.backoff_s:g} s" if chain.backoff_s else ""
    servers = "1 server" if chain.servers == 1 else f"{chain.servers:,} servers"
    return (
        f"{servers}, capacity {chain.capacity_rps:g}/s, timeout {chain.timeout_s:g}"
        f" s, {chain.retries} retries{back}, waiting room {chain.room:,}"
    )


def _places(chain: PoolChain) -> np.ndarray:
    """Return queue lengths, dense at the last place of the room, where curves are steep."""
    last = chain.queue_max - 1.0
    wall = last + 1.0 - np.geomspace(1.0, 1e-3, 200)
    return np.unique(np.concatenate((np.linspace(0.0, last, _POINTS), wall)))


def _draw_field(axes: Axes, analysis: Analysis) -> None:
    """Draw streamlines, the two rest lines, equilibria and the zombie line."""
    chain = analysis.chain
    top = _HEADROOM * max(
        [chain.orbit_when_all_fail] + [state.orbit for state in analysis.equilibria]
    )
    queue = np.linspace(0.0, chain.queue_max, _GRID)
    orbit = np.linspace(0.0, top, _GRID)
    across, up = drift_at(chain, *np.meshgrid(queue, orbit))
    axes.streamplot(
        queue, orbit, across, up, color=_GREY, linewidth=0.6, arrowsize=0.7, density=1.25, zorder=1
    )
    places = _places(chain)
    of_queue, of_orbit = rest_lines(chain, places)
    seen = (of_queue >= 0.0) & (of_queue <= 2.0 * top)
    axes.plot(places[seen], of_queue[seen], color=_BLUE, linewidth=1.8, label="queue at rest")
    axes.plot(
        places, of_orbit, color=_RED, linewidth=1.8, linestyle=(0, (6, 2)), label="orbit at rest"
    )
    _mark_line(axes, chain)
    _mark_states(axes, [(s.queue, s.orbit, s.stable) for s in analysis.equilibria])
    axes.set_xlim(-0.02 * chain.queue_max, 1.03 * chain.queue_max)
    axes.set_ylim(-0.02 * top, top)
    axes.set_xlabel("attempts in the pool (waiting and in service)")
    axes.set_ylabel("first tries in orbit")
    axes.set_title(f"drift at {chain.first_tries_rps:g} first tries/s", fontsize=9.5)


def _mark_line(axes: Axes, chain: PoolChain, *, across: bool = False) -> None:
    """Draw the zombie line, if it is inside the room."""
    line = chain.servers + chain.zombie_line
    if stuck_queue(chain) > chain.queue_max:
        return
    draw = axes.axhline if across else axes.axvline
    draw(line, color="black", linewidth=1.0, linestyle=(0, (1, 2)), zorder=2, label="zombie line")


def _mark_states(axes: Axes, states: list[tuple[float, float, bool]]) -> None:
    """Draw equilibria: filled if stable, open if not."""
    for stable, face, name in ((True, "black", "stable"), (False, "white", "unstable")):
        here = [(x, y) for x, y, s in states if s is stable]
        if here:
            axes.scatter(
                [x for x, _ in here],
                [y for _, y in here],
                s=46,
                facecolor=face,
                edgecolor="black",
                linewidth=1.3,
                zorder=5,
                clip_on=False,
                label=f"{name} equilibrium",
            )


def _draw_branches(axes: Axes, analysis: Analysis) -> None:
    """Draw the queue at equilibrium against the load, with both folds."""
    chain = analysis.chain
    places = _places(chain)
    load = balanced_load(chain, places)
    rising = np.append(np.diff(load) > 0.0, True)
    limit = max(1.15 * chain.capacity_rps, 1.1 * chain.first_tries_rps)
    for stable, dash, name in (
        (True, "-", "stable branch"),
        (False, (0, (4, 2)), "unstable branch"),
    ):
        shown = np.where((rising == stable) & (load <= limit), load, np.nan)
        axes.plot(shown, places, color=_GREEN, linewidth=2.0, linestyle=dash, label=name)
    _mark_line(axes, chain, across=True)
    _mark_loads(axes, analysis)
    lam = chain.first_tries_rps
    _mark_states(axes, [(lam, s.queue, s.stable) for s in analysis.equilibria])
    axes.set_xlim(0.0, limit)
    axes.set_ylim(-0.02 * chain.queue_max, 1.03 * chain.queue_max)
    axes.set_xlabel("first tries per second")
    axes.set_ylabel("attempts in the pool at equilibrium")
    axes.set_title("states at each load", fontsize=9.5)


def _mark_loads(axes: Axes, analysis: Analysis) -> None:
    """Write the loads at which states end beside thin lines."""
    marks: list[tuple[float, str, str]] = []
    if analysis.folds is not None:
        marks.append((analysis.folds.lower_rps, "λ* = {}", "left"))
        marks.append((analysis.folds.upper_rps, "λ$_{{up}}$ = {}", "left"))
    if analysis.upper_noisy_rps is not None:
        marks.append((analysis.upper_noisy_rps, "with noise\n{}", "right"))
    for load, text, side in marks:
        axes.axvline(load, color=_PURPLE, linewidth=1.0, linestyle=(0, (5, 1.5, 1, 1.5)), zorder=1)
        axes.annotate(
            text.format(f"{load:.3g}"),
            xy=(load, 0.72),
            xycoords=axes.get_xaxis_transform(),
            xytext=(4 if side == "left" else -4, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=8.5,
        )
    axes.axvline(analysis.chain.first_tries_rps, color="#555555", linewidth=0.8, zorder=0)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Write one legend for both panels below them; what is in both stands once."""
    known: dict[str, Artist] = {}
    for axes in panels:
        for artist, name in zip(*axes.get_legend_handles_labels(), strict=True):
            known.setdefault(name, artist)
    figure.legend(
        list(known.values()),
        list(known),
        loc="outside lower center",
        ncols=4,
        fontsize=8.5,
        frameon=False,
        handlelength=3.0,
        columnspacing=2.0,
    )
