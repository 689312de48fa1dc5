"""The benchmarks run and compare like with like; how long anything takes is not asserted."""

import importlib
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from simulator.flow.plane import FlowPlane
from simulator.model import ASYNCHRONOUS, DEADLINE_AWARE, LIFO, OPTIONAL, PER_FIRST_TRY, PER_SUCCESS
from tests.parity.worlds import E, P, build, capacity, demand, tell

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if "argparse" in path.read_text("utf-8"))


@pytest.fixture(scope="module")
def bench():
    """Import benchmarks/kernel.py as the script that it is."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("kernel")
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("kernel", "worlds"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def library(bench, tmp_path_factory):
    library = bench.build_c(tmp_path_factory.mktemp("c"))
    if library is None:
        pytest.skip("no C compiler")
    return library


class Stepped(FlowPlane):
    """A plane that is advanced finely, by the kernel or in C, over its crossings."""

    def __init__(self, way):
        super().__init__(REGION, sample_period_s=1e9, adaptive=False)
        self._way = way

    def advance(self, until_s):
        ctl = self.arrays.ctl[0]
        ctl["read_cross"] = 0
        while not self._way(self, int(until_s / self.tick_s + 1e-6)):
            ctl["read_cross"] = ctl["n_cross"]


REGION = build(
    {
        "a": P(room=3000.0),
        "b": P(rate=900.0, discipline=LIFO),
        "c": P(late=DEADLINE_AWARE, s=0.05),
        "d": P(deterministic=True, rate=1500.0),
        "e": P(room=50.0, rate=300.0),
    },
    [
        E("a", timeout=2.0, retries=2, backoff=0.1, exponential=True),
        E("b", "a", timeout=1.0, retries=2, backoff=0.2, jitter=True),
        E("c", "a", timeout=1.0, retries=1, budget=PER_FIRST_TRY),
        E("d", "b", timeout=0.5, retries=3, budget=PER_SUCCESS, calls=1.5),
        E("d", "c", timeout=1.0, kind=OPTIONAL),
        E("e", "d", timeout=1.0, retries=1, kind=ASYNCHRONOUS),
    ],
)
SCRIPT = [
    demand(0.0, 5, 600.0),
    (0.0, "watch_edge", {"edge": 5, "below": 0.9}),
    (0.0, "watch_pool", {"pool": 1, "below": 0.9}),
    capacity(10.0, 3, 0.0, workers=100.0),
    capacity(14.0, 3, 1500.0, workers=100.0),
    (30.0, "set_admission", {"edge": 5, "frac": 0.3}),
    (40.0, "set_admission", {"edge": 5, "frac": 1.0}),
]


def test_c_and_the_kernel_are_the_same_model(bench, library):
    ours, theirs = Stepped(bench.advance_by_kernel), Stepped(partial(bench.advance_by_c, library))
    start_s = 0.0
    for end_s in (5.0, 12.0, 25.0, 35.0, 60.0):
        for plane in (ours, theirs):
            tell(plane, [change for change in SCRIPT if start_s <= change[0] < end_s], end_s)
        assert ours.steps == theirs.steps > 0
        assert bench.difference(ours, theirs) <= 1e-9
        start_s = end_s
    np.testing.assert_array_equal(ours.arrays.cross, theirs.arrays.cross)
    assert ours.arrays.ctl["n_cross"][0] >= 2
    assert (ours.arrays.edges["failed"] > 0.0).sum() >= 3


def test_a_difference_is_seen(bench):
    one, two = Stepped(None), Stepped(None)
    assert bench.difference(one, two) == 0.0
    two.arrays.edges["ok"][0] += 1e-6
    assert bench.difference(one, two) == pytest.approx(1e-6)


def test_without_a_compiler_the_comparison_is_left_out(bench, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(bench, "STEPS", 100)
    assert bench.build_c(Path()) is None
    rows = bench.measure(None, [10], 1)
    bench.show({"sizes": rows, "compile": {}, "compiler": False})
    assert "no C compiler" in capsys.readouterr().out


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_explain_themselves(name, subprocess_env):
    done = subprocess.run(
        [sys.executable, str(FOLDER / name), "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=subprocess_env,
        cwd=FOLDER.parent,
    )
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout
