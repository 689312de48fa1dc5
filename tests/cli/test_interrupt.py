"""Ctrl-C, kill and closed pipes: what is there is saved, and the folder says what it is."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.report.rundir import open_run
from tests.handmade import SMALL

# A noisy region never sleeps: this takes long enough to be interrupted on any machine.
LONG = SMALL.replace("horizon: 2h", "horizon: 300d").replace(
    "faults:", "demand: {stochastic: true}\nfaults:"
)
CODE = "import sys; from simulator.cli import main; sys.exit(main())"
# The same, but it says when an hour has been simulated.
TELLING = """
import sys
import simulator.engine as engine
from simulator.cli import main

simulate, said = engine.simulate, []

def telling(spec, *, seed, progress, **options):
    def tell(t_s, end_s):
        if t_s > 3600.0 and not said:
            said.append(print("an hour has passed", flush=True))
        progress(t_s, end_s)
    return simulate(spec, seed=seed, progress=tell, **options)

engine.simulate = telling
sys.exit(main())
"""


@contextlib.contextmanager
def started(folder, env, *args, code=CODE):
    """Start the program in a folder; end it afterwards."""
    (folder / "long.yaml").write_text(LONG)
    command = [sys.executable, "-c", code, *args]
    child = subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def wait_for(path, child):
    for _ in range(3000):
        if path.exists():
            return
        assert child.poll() is None, child.communicate()
        time.sleep(0.01)
    pytest.fail(f"{path} did not appear")


def test_ctrl_c_saves_what_there_is(tmp_path, subprocess_env):
    args = ("run", "long.yaml", "--out", "out")
    with started(tmp_path, subprocess_env, *args, code=TELLING) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "an hour has passed\n"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "interrupted; what there is was saved in out" in err
    assert "Traceback" not in err
    run = open_run(tmp_path / "out")
    assert (run.status, run.complete) == ("interrupted", False)
    assert (tmp_path / "out" / "events.parquet").exists()
    assert len(run.pools) > 0


def test_ctrl_c_in_check_is_quiet(tmp_path, subprocess_env):
    args = ("check", "long.yaml", "--seeds", "2", "--jobs", "2")
    with started(tmp_path, subprocess_env, *args) as child:
        time.sleep(4.0)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("after_s", [0.0, 0.5, 2.0])
def test_kill_minus_nine_leaves_a_folder_that_says_running(tmp_path, subprocess_env, after_s):
    with started(tmp_path, subprocess_env, "run", "long.yaml", "--out", "out") as child:
        wait_for(tmp_path / "out" / "manifest.json", child)
        time.sleep(after_s)
        child.kill()
        child.communicate()
    run = open_run(tmp_path / "out")
    assert (run.status, run.complete) == ("running", False)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["seed"] == "0"


def test_a_reader_that_stops_reading_ends_it_quietly(subprocess_env):
    read, write = os.pipe()
    os.close(read)
    child = subprocess.run(
        [sys.executable, "-c", CODE, "list"],
        stdout=write,
        stderr=subprocess.PIPE,
        env=subprocess_env,
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )
    os.close(write)
    assert child.returncode == 141
    assert child.stderr == b""
