"""``simulator check``: verdicts over seeds, JUnit, baseline."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from simulator.cli import main
from tests.handmade import SMALL

NOISY = SMALL.replace("faults:", "demand: {stochastic: true}\nfaults:")


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*args):
    return main(["check", *args, "--jobs", "1"])


def test_a_claim_that_holds(here, capsys):
    assert check("small.yaml", "--seeds", "2") == 0
    text = capsys.readouterr().out
    assert "small.yaml  (2 seeds" in text
    assert "pass  recovered is true" in text
    assert "over 2 seeds:" in text
    assert "recovered 2 of 2" in text
    assert text.endswith("1 of 1 scenario holds\n")


def test_a_claim_that_fails(here, capsys):
    (here / "late.yaml").write_text(SMALL.replace("horizon: 2h", "horizon: 45min"))
    assert check("small.yaml", "late.yaml", "--seeds", "1", "--junit", "report.xml") == 1
    text = capsys.readouterr().out
    assert "FAIL  recovered is true" in text
    assert "not reached" in text
    assert text.endswith("1 of 2 scenarios hold; failed: late.yaml\n")
    suites = ET.parse("report.xml").getroot()  # noqa: S314 - our own file
    assert [s.get("failures") for s in suites] == ["0", "2"]
    assert suites[1][0].find("failure") is not None


def test_processes_change_nothing(here, capsys):
    (here / "noisy.yaml").write_text(NOISY)
    args = ["--seeds", "2", "--update-baseline", "--reason", "first"]
    assert main(["check", "noisy.yaml", *args, "--jobs", "1", "--baseline", "one.json"]) == 0
    assert main(["check", "noisy.yaml", *args, "--jobs", "2", "--baseline", "two.json"]) == 0
    capsys.readouterr()
    assert Path("one.json").read_text() == Path("two.json").read_text()


def test_the_baseline_is_kept_and_compared(here, capsys):
    base = ["--baseline", "base.json", "--seeds", "1"]
    assert check("small.yaml", *base, "--update-baseline", "--reason", "first") == 0
    kept = json.loads(Path("base.json").read_text())["scenarios"]["small-crash"]
    assert kept["reason"] == "first"
    assert kept["seeds"] == [1]
    assert kept["ttr_s"][0] > 0
    assert check("small.yaml", *base) == 0
    assert "pass  against the baseline" in capsys.readouterr().out
    # A run that recovered then and does not now fails the gate.
    (here / "small.yaml").write_text(SMALL.replace("repair_after: 20min", "repair_after: 90min"))
    assert check("small.yaml", *base) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "FAIL against the baseline" in text
    assert "recovered 1 → 0 of 1; the scenario has changed since" in text


def test_an_update_keeps_the_other_scenarios(here):
    (here / "other.yaml").write_text(SMALL.replace("id: small-crash", "id: other"))
    update = ["--baseline", "b.json", "--seeds", "1", "--update-baseline", "--reason", "r"]
    assert check("small.yaml", *update) == 0
    assert check("other.yaml", *update) == 0
    assert sorted(json.loads(Path("b.json").read_text())["scenarios"]) == ["other", "small-crash"]


def test_a_scenario_that_the_baseline_does_not_know_is_noted(here, capsys):
    Path("b.json").write_text('{"schema": 1, "scenarios": {}}')
    assert check("small.yaml", "--baseline", "b.json", "--seeds", "1") == 0
    assert "does not know small-crash" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "make it with --update-baseline"), ("{", "is not JSON"), ("[]", "is no baseline"),
     ('{"schema": 9, "scenarios": {}}', "is no baseline")],
)  # fmt: skip
def test_a_baseline_that_cannot_be_used(here, capsys, content, said):
    if content is not None:
        Path("b.json").write_text(content)
    assert check("small.yaml", "--baseline", "b.json") == 2
    assert said in capsys.readouterr().err


def test_an_update_needs_a_reason(here, capsys):
    assert check("small.yaml", "--update-baseline") == 2
    assert "needs --reason" in capsys.readouterr().err
    assert not Path("benchmarks").exists()


def test_problems_of_all_files_are_told_before_anything_runs(here, capsys):
    for name in ("a", "b"):
        (here / f"{name}.yaml").write_text(SMALL.replace("units: 40", "units: many"))
    assert check("a.yaml", "b.yaml", "small.yaml") == 2
    err = capsys.readouterr().err
    assert "error: a.yaml:" in err
    assert "error: b.yaml:" in err


def test_runs_without_impact_are_counted(here, capsys):
    (here / "calm.yaml").write_text(SMALL.replace("frac: 80%", "frac: 2%"))
    assert check("calm.yaml", "--seeds", "2") == 1
    assert "not impacted in 2 of 2" in " ".join(capsys.readouterr().out.split())
    assert check("small.yaml", "--seeds", "1") == 0
    assert "not impacted" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--junit", "none/j.xml"], "error: none/j.xml: cannot be written: No such file"),
        (["--junit", ""], "the path is empty"),
        (["--update-baseline", "--reason", "r", "--baseline", "small.yaml/b.json"],
         "error: small.yaml/b.json: cannot be written: Not a directory"),
        (["--update-baseline", "--reason", "r", "--baseline", ""], "the path is empty"),
    ],
)  # fmt: skip
def test_an_output_that_cannot_be_written_is_told_before_the_runs(
    here, capsys, monkeypatch, args, said
):
    from simulator.cli import batch

    monkeypatch.setattr(batch, "run_tasks", None)
    assert check("small.yaml", *args) == 2
    assert said in capsys.readouterr().err
    assert [p.name for p in here.iterdir()] == ["small.yaml"]


def test_without_names_the_shipped_scenarios_are_checked(here, capsys):
    (here / "scenarios").mkdir()
    (here / "small.yaml").rename(here / "scenarios" / "small-crash.yaml")
    assert check("--seeds", "1") == 0
    assert "small-crash  (1 seed, " in capsys.readouterr().out
