"""``simulator verify``: which rows, what is printed and written, and the exit code."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import simulator.cli.verify as verb
from simulator.cli import main
from simulator.verification import catalogue, evidence, runner
from simulator.verification.row import Mutant, Reading, Row, replaced


class Model:
    """A small world that rows are about."""

    value = 2.0


def measure(_fidelity):
    yield Reading("value", 2.0, Model.value, 0.1, unit="s")
    yield Reading("by chance", 1.0, 1.05, 0.2, se=0.02, n=10)


def row(name, *, wrong=False, mutant=5.0, slow=frozenset()):
    def off(_fidelity):
        yield Reading("off", 1.0, 3.0, 0.5)

    return Row(
        id=name,
        claim=f"claim of {name}",
        formula="x = 2 | y",
        source="Nobody 1900, eq. 1",
        inputs="x = 1",
        fidelities=("formula", "direct"),
        measure=off if wrong else measure,
        mutants=(Mutant("another value", lambda: replaced(Model, "value", mutant), "direct"),),
        slow=slow,
        note="a note",
    )


@pytest.fixture
def rows(monkeypatch):
    """Put rows of this test in place of the catalogue's."""

    def put(*given):
        for module in (catalogue, runner, evidence):
            monkeypatch.setattr(module, "rows", lambda: given)

    put(row("A1"), row("A2", slow=frozenset({"direct"})))
    return put


def test_rows_that_hold(rows, capsys):
    assert main(["verify"]) == 0
    text = capsys.readouterr().out
    assert "A1  claim of A1" in text
    assert "x = 2 | y  [Nobody 1900, eq. 1]" in text
    assert "2 s" in text
    assert text.endswith("2 of 2 rows hold\n")
    assert "note: a note" not in text


def test_a_row_that_does_not_hold(rows, capsys):
    rows(row("A1"), row("B1", wrong=True))
    assert main(["verify"]) == 1
    text = capsys.readouterr().out
    assert "formula, off: error above tolerance" in text
    assert "note: a note" in text
    assert text.endswith("1 of 2 rows hold; not: B1\n")


def test_a_row_that_cannot_be_measured_does_not_hold_and_hides_nothing(rows, capsys):
    def broken(_fidelity):
        yield Reading("fine", 1.0, 1.0, 0.1)
        msg = "no such thing"
        raise ValueError(msg)

    bad = Row(**{**{f: getattr(row("B1"), f) for f in Row.__slots__}, "measure": broken})
    rows(bad, row("C1"))
    assert main(["verify"]) == 1
    text = capsys.readouterr().out
    assert "formula: ValueError: no such thing" in text
    assert text.endswith("1 of 2 rows hold; not: B1\n")


def test_a_selection(rows, capsys):
    assert main(["verify", "a2", "--fidelity", "formula", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [r["id"] for r in record["rows"]] == ["A2"]
    assert list(record["rows"][0]["fidelities"]) == ["formula"]
    assert main(["verify", "--quick", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [list(r["fidelities"]) for r in record["rows"]] == [["formula", "direct"], ["formula"]]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["A11"], "A11: no such row (did you mean 'A1'?)"),
        (["xyz"], "xyz: no such row (known: A1, A2)"),
        (["A1", "--fidelity", "request"], "no row is left by this selection (A1 has formula, dir"),
        (["A2", "--quick", "--fidelity", "direct"], "A2 has formula, direct (slow)"),
        (["--fidelity", "quick"], "'quick' is not one of"),
        (["--junit", "none/j.xml"], "none/j.xml: cannot be written"),
        (["--save", ""], "the path is empty"),
    ],
)
def test_wrong_use_is_told_before_anything_is_measured(
    rows, capsys, monkeypatch, tmp_path, args, said
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "run_task", None)
    assert main(["verify", *args]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_mutants_are_made_and_unnoticed_ones_fail(rows, capsys):
    assert main(["verify", "--mutants"]) == 0
    assert "mutant (direct) another value: noticed" in capsys.readouterr().out
    rows(row("A1", mutant=2.01))
    assert main(["verify", "--mutants"]) == 1
    text = capsys.readouterr().out
    assert "mutant (direct) another value: NOT NOTICED" in text
    assert main(["verify"]) == 0
    assert Model.value == 2.0


def test_files(rows, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rows(row("A1"), row("B1", wrong=True))
    page = Path("page.md")
    page.write_text(f"before\n{evidence.BEGIN}\nold\n{evidence.END}\nafter\n")
    args = ["--junit", "j.xml", "--save", "e.json", "--markdown", "page.md"]
    assert main(["verify", *args]) == 1
    suites = ET.parse("j.xml").getroot()  # noqa: S314 - our own file
    assert [s.get("name") for s in suites] == [
        "A1.formula", "A1.direct", "B1.formula", "B1.direct"
    ]  # fmt: skip
    assert [s.get("failures") for s in suites] == ["0", "0", "1", "1"]
    text = page.read_text()
    assert text.startswith(f"before\n{evidence.BEGIN}\n")
    assert text.endswith(f"{evidence.END}\nafter\n")
    assert "\nold\n" not in text
    assert text.count("**no**") == 4  # two cells of the summary, two readings
    assert "x = 2 \\| y" in text
    saved = json.loads(Path("e.json").read_text())
    assert [r["id"] for r in saved["rows"]] == ["A1", "B1"]


def test_saved_results_are_kept_beside_new_ones(rows, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "--fidelity", "formula", "--save", "e.json"]) == 0
    assert main(["verify", "A1", "--fidelity", "direct", "--mutants", "--save", "e.json"]) == 0
    saved = {r["id"]: r["fidelities"] for r in json.loads(Path("e.json").read_text())["rows"]}
    assert list(saved["A1"]) == ["formula", "direct"]
    assert saved["A1"]["direct"]["mutants"] == [{"name": "another value", "killed": True}]
    assert list(saved["A2"]) == ["formula"]
    rows(row("A1"))
    assert main(["verify", "A1", "--fidelity", "direct", "--save", "e.json"]) == 0
    (only,) = json.loads(Path("e.json").read_text())["rows"]
    assert list(only["fidelities"]) == ["formula", "direct"]
    assert only["fidelities"]["direct"]["mutants"], "mutants that were not asked for are kept"


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 99}'])
def test_a_file_that_is_no_evidence_is_refused_before_anything_is_measured(
    rows, capsys, monkeypatch, tmp_path, content
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "run_task", None)
    Path("e.json").write_text(content)
    assert main(["verify", "--save", "e.json"]) == 2
    assert "evidence" in capsys.readouterr().err
    assert Path("e.json").read_text() == content


def test_a_page_without_markers_is_refused_before_anything_is_measured(
    rows, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "run_task", None)
    Path("page.md").write_text("nothing")
    assert main(["verify", "--markdown", "page.md"]) == 2
    assert "markers" in capsys.readouterr().err
    assert main(["verify", "--markdown", "none.md"]) == 2
    assert not Path("none.md").exists()


def test_what_was_measured_before_an_interrupt_is_kept(rows, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    real = runner.run_task

    def stop_at_the_third(task):
        if (task.row_id, task.fidelity) == ("A2", "formula"):
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(runner, "run_task", stop_at_the_third)
    assert main(["verify", "--save", "e.json"]) == 130
    out, err = capsys.readouterr()
    assert "A1  claim of A1" in out
    assert "interrupted; 2 of 4 measurements were made" in err
    assert [r["id"] for r in json.loads(Path("e.json").read_text())["rows"]] == ["A1"]


def test_what_was_measured_before_a_bug_is_kept(rows, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    real = runner.run_task

    def break_at_the_third(task):
        if (task.row_id, task.fidelity) == ("A2", "formula"):
            msg = "no such thing"
            raise AttributeError(msg)
        return real(task)

    monkeypatch.setattr(runner, "run_task", break_at_the_third)
    assert main(["verify", "--save", "e.json"]) == 3
    assert "no such thing" in capsys.readouterr().err
    assert [r["id"] for r in json.loads(Path("e.json").read_text())["rows"]] == ["A1"]


def test_processes_change_nothing(capsys):
    args = ["verify", "V01", "V02", "V26", "--fidelity", "formula", "--json"]
    assert main([*args, "--jobs", "1"]) == 0
    one = capsys.readouterr().out
    assert main([*args, "--jobs", "2"]) == 0
    assert capsys.readouterr().out == one


TELLING = """
import sys
from simulator.cli import main
from simulator.verification import runner

run_tasks = runner.run_tasks

def telling(tasks, jobs):
    print("begun", flush=True)
    return run_tasks(tasks, jobs)

if __name__ == "__main__":
    runner.run_tasks = telling
    sys.exit(main(["verify", "V03", "V06", "--fidelity", "request", "--jobs", "2"]))
"""


def test_ctrl_c_ends_processes_quietly(tmp_path, subprocess_env):
    (tmp_path / "telling.py").write_text(TELLING)
    args = [sys.executable, "telling.py"]
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        args, cwd=tmp_path, env=subprocess_env, stdout=pipe, stderr=pipe, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    time.sleep(2.0)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "interrupted; 0 of 2 measurements were made" in err
    assert "Traceback" not in err


def test_fidelities_of_the_option_are_those_of_rows():
    from typing import get_args

    from simulator.verification.row import Fidelity

    option = next(p for p in verb.cmd.params if p.name == "fidelity")
    assert set(option.type.choices) == set(get_args(Fidelity))  # type: ignore[attr-defined]
