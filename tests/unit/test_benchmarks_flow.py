"""The benchmarks of the flow run, and what they compare is equal."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(script, target, *options, env):
    command = [sys.executable, str(FOLDER / script), *options, "--json", str(target)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return json.loads(target.read_text()), done.stdout


def test_kernel_and_c_do_the_same(tmp_path, subprocess_env):
    options = ("--sizes", "12", "--rounds", "1", "--no-compile")
    results, text = run("kernel.py", tmp_path / "kernel.json", *options, env=subprocess_env)
    (row,) = results["sizes"]
    assert "| pools | edges |" in text
    assert row["pools"] == 12
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    # Overloaded pools make rounding grow; 1e-9 of the largest counters is what is asked for.
    assert row["difference"] <= 1e-9
    assert row["ratio"] > 0.1


def test_step_control_prints_the_tables_of_the_model(tmp_path, subprocess_env):
    results, text = run("step_control.py", tmp_path / "steps.json", env=subprocess_env)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) == 6 + sum(len(rows) for rows in results.values())
    worst = max(abs(row["errors"]["20"]) for row in results["steps"])
    assert worst < 0.06
    assert max(abs(row["adaptive"]) for row in results["steps"]) < 0.02
    for row in results["sleeps"]:
        fine, sleepy = row["lost"]
        assert sleepy == pytest.approx(fine, rel=0.01)
    for row in results["regions"]:
        fine, sleepy = row["lost"]
        assert sleepy == pytest.approx(fine, rel=0.01)
        assert row["success_off"][1] < 0.01
