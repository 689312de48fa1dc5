"""``simulator explain``."""

from pathlib import Path

import pytest

from simulator.cli import main
from tests.handmade import SMALL


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    (folder / "small.yaml").write_text(SMALL)
    assert main(["run", str(folder / "small.yaml"), "--quiet", "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_the_tree_leads_from_the_trigger_to_the_service(saved, capsys):
    assert main(["explain", str(saved)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Causes"
    assert lines[1] == "0:00:00  crash: crash 80.0% front"
    assert any("service api falls below its SLO" in line for line in lines)
    assert "Recovery" in lines
    assert any("alarm: api-low" in line for line in lines)
    assert "after the trigger" in lines[-1]
    assert max(map(len, lines)) <= 100
    assert not any("\x1b" in line or line != line.rstrip() for line in lines)


def test_a_damaged_folder_is_refused(saved, capsys, tmp_path):
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "events.parquet").write_bytes(b"PAR1 nothing PAR1")
    assert main(["explain", str(tmp_path)]) == 2
    assert "events.parquet was changed or damaged" in capsys.readouterr().err


def test_an_unfinished_run_is_explained_as_far_as_it_goes(saved, capsys, tmp_path):
    manifest = (saved / "manifest.json").read_text().replace('"complete"', '"running"')
    (tmp_path / "manifest.json").write_text(manifest)
    (tmp_path / "events.parquet").write_bytes((saved / "events.parquet").read_bytes())
    assert main(["explain", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "is not complete (status: running)" in said.err
    assert "service api falls below its SLO" in said.out


def test_a_folder_that_is_no_run_is_refused(capsys, tmp_path):
    assert main(["explain", str(tmp_path)]) == 2
    assert "so this is no run folder" in capsys.readouterr().err
    assert main(["explain", str(Path(tmp_path) / "nowhere")]) == 2
    assert "no such run folder" in capsys.readouterr().err
