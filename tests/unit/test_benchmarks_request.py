"""The benchmark of the request fidelity runs, and counts what it says it counts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_request_benchmark(tmp_path, subprocess_env):
    target = tmp_path / "request.json"
    command = [sys.executable, str(FOLDER / "request.py"), "--rounds", "1", "--no-compile"]
    done = subprocess.run(
        [*command, "--json", str(target)],
        check=True,
        capture_output=True,
        text=True,
        env=subprocess_env,
    )
    rates = json.loads(target.read_text())["rates"]
    assert "| case |" in done.stdout
    assert all(rate > 0.0 for rate in rates.values())
    assert {"W1, ours", "W2, ours", "circuit breaker", "rate limit"} <= set(rates)
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    assert "times the cost of C" in done.stdout
