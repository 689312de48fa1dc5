"""`simulator validate`: what it says about good files, JSON, exit codes."""

import json
from pathlib import Path

import pytest

from simulator.cli import main

PARTS = Path(__file__).parent / "errors" / "parts"


@pytest.fixture
def here(monkeypatch):
    monkeypatch.chdir(PARTS)


def run(capsys, *words):
    code = main(["validate", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_good_scenario_with_counts(here, capsys):
    code, out, err = run(capsys, "good.yaml")
    assert (code, err) == (0, "")
    text = "good.yaml: OK, scenario s with 3 pools, 1 dependency, 1 service, 0 mechanisms\n"
    assert out == text


def test_good_region(here, capsys):
    code, out, _ = run(capsys, "region.yaml")
    assert code == 0
    assert out == "region.yaml: OK, region small with 3 pools, 1 dependency, 1 service\n"


def test_one_bad_file_among_good_ones(here, capsys):
    code, out, _ = run(capsys, "good.yaml", "cycle-a.yaml", "base.yaml")
    assert code == 2
    lines = out.splitlines()
    assert lines[0].startswith("good.yaml: OK")
    assert lines[1].startswith("cycle-b.yaml:1:10: ")
    assert lines[2] == "cycle-a.yaml: 1 problem"
    assert lines[3].startswith("base.yaml: OK, scenario s with")


def test_override_changes_what_is_checked(here, capsys):
    code, out, _ = run(capsys, "good.yaml", "--set", "region.pools.edge.units=0")
    assert code == 2
    assert out.startswith("--set:1:25: region.pools.edge.units: 0 is out of range")
    assert run(capsys, "good.yaml", "--set", "region.pools.edge.units=40")[0] == 0


def test_json_of_a_good_file(here, capsys):
    code, out, _ = run(capsys, "good.yaml", "--json")
    assert code == 0
    [result] = json.loads(out)["files"]
    assert result["kind"] == "scenario"
    assert result["id"] == "s"
    assert result["problems"] == []
    assert result["counts"] == {"pools": 3, "dependencies": 1, "services": 1, "mechanisms": 0}
    assert len(result["sha256"]) == 64


def test_json_of_a_bad_file(here, capsys):
    code, out, _ = run(capsys, "broken-region.yaml", "--json")
    assert code == 2
    [problem] = json.loads(out)["files"][0]["problems"]
    assert problem["file"] == "broken-region.yaml"
    assert (problem["line"], problem["column"]) == (5, 23)
    assert problem["path"] == "pools.edge.units"
    assert problem["code"] == "S206"
    assert problem["text"].startswith("broken-region.yaml:5:23: pools.edge.units: ")


def test_shipped_scenario_by_its_id(capsys):
    code, out, _ = run(capsys, "runaway-capacity-removal")
    assert code == 0
    assert out.startswith("runaway-capacity-removal: OK, scenario runaway-capacity-removal with")


def test_no_file_is_a_usage_error(capsys):
    code, _, err = run(capsys)
    assert code == 2
    assert "FILE" in err
