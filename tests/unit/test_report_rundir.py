"""The run folder: what is written is whole, what is damaged is refused."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import RunDirectoryError, UsageError
from simulator.report.rundir import MANIFEST, create_run, free_path, open_run
from tests.handmade import outage

ROOT = Path(__file__).parents[2]
FACTS: dict[str, Any] = {"scenario_yaml": "id: x\n", "scenario_hash": "ab" * 32, "seed": 2**70}


def write(path, *, finish=True):
    folder = create_run(path, **FACTS, argv=("run", "x"))
    t = outage()
    for name in ("events", "pools", "services"):
        folder.write_table(name, getattr(t, name))
    folder.write_json("metrics.json", {"ttr_s": 1.5})
    if finish:
        folder.finish("complete", digest=t.digest)
    return path


def edit(path, **changes):
    manifest = json.loads((path / MANIFEST).read_text())
    manifest |= changes
    (path / MANIFEST).write_text(json.dumps(manifest))


def test_what_was_written_is_read(tmp_path):
    run = open_run(write(tmp_path / "runs" / "one"))
    t = outage()
    assert (run.complete, run.status, run.seed) == (True, "complete", 2**70)
    assert run.manifest["seed"] == str(2**70)
    assert run.manifest["digest"] == t.digest
    assert run.manifest["scenario"] == "id: x\n"
    assert {"simulator", "python", "numpy", "simpy"} <= set(run.manifest["versions"])
    assert run.metrics == {"ttr_s": 1.5}
    assert tuple(run.records) == t.records
    assert np.array_equal(run.pools["queue"], t.pools["queue"])
    assert list(run.services["service"].unique()) == ["read", "write"]
    assert (tmp_path / "runs" / "one" / "scenario.yaml").read_text() == "id: x\n"


def test_the_same_run_gives_the_same_bytes(tmp_path):
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes(), file.name


def test_nothing_is_left_beside_the_files(tmp_path):
    write(tmp_path / "one")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one"]
    assert not list((tmp_path / "one").glob("*.tmp"))


def test_a_run_is_never_written_over(tmp_path):
    path = write(tmp_path / "one")
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    with pytest.raises(UsageError, match="never written over"):
        create_run(path, **FACTS)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="exists already"):
        create_run(tmp_path / "file", **FACTS)
    assert before == {p.name: p.read_bytes() for p in path.iterdir()}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "one"]


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "one").mkdir()
    assert open_run(write(tmp_path / "one")).complete


def test_free_path_counts_up(tmp_path):
    assert free_path(tmp_path, "a-seed0").name == "a-seed0-1"
    (tmp_path / "a-seed0-1").mkdir()
    assert free_path(tmp_path, "a-seed0").name == "a-seed0-2"


def test_a_folder_that_says_running_is_incomplete(tmp_path):
    run = open_run(write(tmp_path / "one", finish=False))
    assert not run.complete
    assert run.status == "running"
    (tmp_path / "one" / "metrics.json").unlink()
    with pytest.raises(RunDirectoryError, match=r"metrics\.json is missing \(status: running"):
        _ = run.metrics


def test_an_interrupted_run_is_checked_but_not_complete(tmp_path):
    folder = create_run(tmp_path / "one", **FACTS)
    folder.write_table("events", outage().events)
    folder.finish("interrupted")
    run = open_run(tmp_path / "one")
    assert (run.status, run.complete) == ("interrupted", False)
    assert len(run.records) == len(outage().records)


@pytest.mark.parametrize("name", ["events.parquet", "metrics.json", "scenario.yaml"])
@pytest.mark.parametrize("how", ["truncate", "flip", "append", "remove", "empty"])
def test_damage_is_found_and_named(tmp_path, name, how):
    path = write(tmp_path / "one")
    file = path / name
    content = bytearray(file.read_bytes())
    if how == "remove":
        file.unlink()
    else:
        middle = len(content) // 2
        flipped = bytes([*content[:middle], content[middle] ^ 1, *content[middle + 1 :]])
        damaged = {
            "truncate": content[:-1],
            "flip": flipped,
            "append": content + b"x",
            "empty": b"",
        }
        file.write_bytes(bytes(damaged[how]))
    with pytest.raises(RunDirectoryError, match=name.replace(".", r"\.")):
        open_run(path)


def test_all_damage_is_named_at_once(tmp_path):
    path = write(tmp_path / "one")
    (path / "events.parquet").unlink()
    (path / "pools.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunDirectoryError) as caught:
        open_run(path)
    assert "events.parquet is missing" in str(caught.value)
    assert "pools.parquet was changed" in str(caught.value)


def test_a_truncated_table_of_an_unfinished_run_is_named(tmp_path):
    path = write(tmp_path / "one", finish=False)
    content = (path / "pools.parquet").read_bytes()
    (path / "pools.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(RunDirectoryError, match=r"pools\.parquet cannot be read as Parquet"):
        _ = open_run(path).pools


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema": 1e999}',
        b'{"schema": 2}',
    ],
    ids=["empty", "half", "list", "null", "no text", "deep", "infinite", "newer"],
)
def test_a_nonsense_manifest_is_refused(tmp_path, content):
    path = write(tmp_path / "one")
    (path / MANIFEST).write_bytes(content)
    with pytest.raises(RunDirectoryError):
        open_run(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "finished"},
        {"status": None},
        {"seed": 7},
        {"seed": "-1"},
        {"scenario": None},
        {"files": None},
        {"files": {"events.parquet": {}}},
        {"files": {"events.parquet": "ab"}},
        {"files": {"../../etc/passwd": {"sha256": "ab"}}},
    ],
    ids=str,
)
def test_a_manifest_that_lacks_something_is_refused(tmp_path, changes):
    path = write(tmp_path / "one")
    edit(path, **changes)
    with pytest.raises(RunDirectoryError):
        open_run(path)


def test_what_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(RunDirectoryError, match="no such run folder"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(RunDirectoryError, match="no run folder"):
        open_run(tmp_path)
    path = write(tmp_path / "one")
    with pytest.raises(RunDirectoryError, match="no such run folder"):
        open_run(path / "metrics.json")


WRITER = """
import sys
from pathlib import Path
from typing import Any
from simulator.report.rundir import create_run
from tests.handmade import outage

t = outage()
tables = {name: getattr(t, name) for name in ("events", "pools", "services")}
print("ready", flush=True)
for n in range(10**6):
    folder = create_run(Path(sys.argv[1]) / str(n), scenario_yaml="x", scenario_hash="y", seed=n)
    for name, table in tables.items():
        folder.write_table(name, table)
    folder.finish()
"""


@pytest.mark.parametrize("after_ms", [3, 11, 37])
def test_kill_minus_nine_leaves_whole_or_marked_folders(tmp_path, subprocess_env, after_ms):
    env = {**subprocess_env, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, env=env
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        while not any(tmp_path.iterdir()):
            time.sleep(0.001)
        time.sleep(after_ms / 1000)
        child.kill()
    folders = [p for p in tmp_path.iterdir() if not p.name.endswith(".tmp")]
    runs = [open_run(p) for p in folders]
    # Whoever was at work when it ended is marked; all others are whole.
    assert sum(not run.complete for run in runs) <= 1
    for run in runs:
        if run.complete:
            assert len(run.records) == len(outage().records)
            assert len(run.pools) == 240
