"""The figure of a chain shows its equilibria, its folds and the zombie line, where they are."""

from typing import Any

import numpy as np
import pytest

from simulator.analytic.chain import PoolChain
from simulator.analytic.summary import Analysis, analyse
from simulator.report.drift_figure import drift_png, make_drift_figure

POOL: dict[str, Any] = {
    "first_tries_rps": 6.0,
    "servers": 1,
    "service_s": 0.1,
    "room": 40,
    "timeout_s": 2.0,
    "retries": 2,
    "backoff_s": 0.2,
}


def found(**changes: Any) -> Analysis:
    return analyse(PoolChain(**(POOL | changes)))


@pytest.fixture(scope="module")
def analysis():
    return found()


def marks(axes):
    return {
        collection.get_label(): np.asarray(collection.get_offsets())
        for collection in axes.collections
        if "equilibrium" in str(collection.get_label())
    }


def upright(axes):
    """Return the places of lines that go from bottom to top."""
    return [
        float(line.get_xdata()[0])
        for line in axes.lines
        if len(line.get_xdata()) == 2 and line.get_xdata()[0] == line.get_xdata()[1]
    ]


def test_equilibria_are_marked_in_both_panels(analysis):
    field, branches = make_drift_figure(analysis).axes
    good, between, bad = analysis.equilibria
    here = marks(field)
    assert here["stable equilibrium"] == pytest.approx(
        np.array([[good.queue, good.orbit], [bad.queue, bad.orbit]])
    )
    assert here["unstable equilibrium"] == pytest.approx(np.array([[between.queue, between.orbit]]))
    assert marks(branches)["unstable equilibrium"] == pytest.approx(
        np.array([[6.0, between.queue]])
    )


def test_folds_and_zombie_line_are_where_they_are(analysis):
    field, branches = make_drift_figure(analysis).axes
    assert upright(field) == pytest.approx([1 + 19.0])
    folds = analysis.folds
    expected = [folds.lower_rps, folds.upper_rps, analysis.upper_noisy_rps, 6.0]
    assert upright(branches) == pytest.approx(expected)


def test_rest_lines_cross_at_the_equilibria(analysis):
    field = make_drift_figure(analysis).axes[0]
    lines = {line.get_label(): line for line in field.lines}
    queue, orbit = lines["queue at rest"], lines["orbit at rest"]
    for state in analysis.equilibria[:2]:
        for line in (queue, orbit):
            at = np.interp(state.queue, *np.asarray(line.get_data(), dtype=np.float64))
            assert at == pytest.approx(state.orbit, abs=0.3)


def test_legend_names_everything_once(analysis):
    figure = make_drift_figure(analysis)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(names) == len(set(names)) == 7
    assert "zombie line" in names


def test_one_state_alone_has_no_fold_lines():
    alone = found(room=0)
    branches = make_drift_figure(alone).axes[1]
    assert upright(branches) == [6.0]


def test_the_same_chain_gives_the_same_bytes(analysis):
    assert drift_png(analysis, dpi=50) == drift_png(analysis, dpi=50)
