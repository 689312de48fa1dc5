"""``simulator run``: exit codes, output for people and machines, and what it saves."""

import json
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.report.rundir import open_run
from tests.handmade import SMALL


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def last(capsys):
    def run(*args):
        code = main(list(args))
        return code, capsys.readouterr()

    return run


def test_a_run_reports_and_saves(here, last):
    code, said = last("run", "small.yaml")
    assert code == 0, said.err
    for part in ("Verdict", "Recovery:", "Blast radius", "What mattered"):
        assert part in said.out
    path = Path("runs/small-crash-seed0-1")
    assert f"Saved in {path}" in said.out
    assert f"simulator explain {path}" in said.out
    run = open_run(path)
    assert (run.complete, run.seed) == (True, 0)
    names = {p.name for p in path.iterdir()}
    assert names == {
        "manifest.json", "scenario.yaml", "events.parquet", "pools.parquet", "services.parquet",
        "metrics.json", "figure.png",
    }  # fmt: skip
    assert run.metrics["digest"] == run.manifest["digest"]
    assert run.metrics["baseline"] == "control run"
    judged = [(e["passed"], e["over_seeds"]) for e in run.metrics["expectations"]]
    assert judged == [(True, False), (True, True), (True, False)]


def test_text_in_a_pipe_is_plain_and_fits(here, last):
    _, said = last("run", "small.yaml")
    assert "\x1b" not in said.out
    assert "\r" not in said.out
    assert said.err == ""
    lines = said.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(line != line.rstrip() for line in lines)


def test_the_same_seed_gives_the_same_answer_and_another_folder(here, last):
    answers = []
    for _ in range(2):
        code, said = last("run", "small.yaml", "--seed", "3", "--json")
        assert code == 0
        answers.append(json.loads(said.out))
    for answer in answers:
        answer.pop("wall_s")
    assert answers[0] == answers[1]
    assert sorted(p.name for p in Path("runs").iterdir()) == [
        "small-crash-seed3-1",
        "small-crash-seed3-2",
    ]


def test_json_is_one_object_with_the_promised_keys(here, last):
    code, said = last("run", "small.yaml", "--json", "--out", "there")
    assert code == 0
    answer = json.loads(said.out)
    assert {
        "scenario", "seed", "recovered", "ttr_s", "ttr_from_impact_s", "phases_s", "blast_radius",
        "lost_first_tries", "cascade_depth", "peak_amplification", "actions_refused", "digest",
        "wall_s",
    } <= set(answer)  # fmt: skip
    assert {"customers_frac", "services_frac", "zones_frac"} <= set(answer["blast_radius"])
    assert answer["recovered"] is True
    assert answer["ttr_s"] > 0
    assert open_run("there").manifest["digest"] == answer["digest"]


def test_a_censored_run_has_null_and_fails_its_claim(here, last):
    change = "horizon=45min"
    code, said = last("run", "small.yaml", "--json", "--set", change)
    answer = json.loads(said.out)
    assert (code, answer["recovered"], answer["ttr_s"]) == (1, False, None)
    assert answer["censored_at_s"] == 25 * 60.0
    code, said = last("run", "small.yaml", "--quiet", "--set", change)
    assert code == 1
    assert "FAIL  recovered is true" in said.out
    assert "ttr_s" not in said.out


def test_a_quantile_cannot_be_broken_by_one_run(here, last):
    code, said = last(
        "run", "small.yaml", "--set", "expectations=[{metric: ttr_s, quantile: 0.5, at_most: 1s}]"
    )
    assert code == 0, said.err
    assert "one run cannot judge a quantile" in " ".join(said.out.split())


def test_quiet_says_where_and_no_more(here, last):
    code, said = last("run", "small.yaml", "--quiet")
    assert code == 0
    assert said.out.startswith("Saved in runs/small-crash-seed0-1")
    assert said.out.count("\n") == 1


def test_a_saved_scenario_can_be_run_again(here, last):
    last("run", "small.yaml", "--out", "one", "--set", "region.pools.front.units=44")
    last("run", "one/scenario.yaml", "--out", "two")
    one, two = open_run("one"), open_run("two")
    assert one.manifest["digest"] == two.manifest["digest"]
    assert one.manifest["scenario_sha256"] == two.manifest["scenario_sha256"]


def test_an_existing_folder_is_not_written_over(here, last):
    (here / "out").mkdir()
    (here / "out" / "mine").write_text("x")
    code, said = last("run", "small.yaml", "--out", "out")
    assert code == 2
    assert "error: out exists already" in said.err
    assert [p.name for p in (here / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("out", ["small.yaml/x", "/proc/x", "."])
def test_a_folder_that_cannot_be_made_is_wrong_input(here, last, monkeypatch, out):
    if out == ".":
        (here / "empty").mkdir()
        monkeypatch.chdir(here / "empty")
    code, said = last("run", str(here / "small.yaml"), "--out", out)
    assert code == 2
    assert f"error: {out}: cannot be written: " in said.err
    assert "Traceback" not in said.err


def test_an_empty_folder_name_is_refused(here, last):
    code, said = last("run", "small.yaml", "--out", "")
    assert code == 2
    assert "the path is empty" in said.err


def test_a_disk_that_is_full_is_no_bug(here, last, monkeypatch):
    from simulator.report import rundir

    whole = rundir._write_whole

    def full(path, content):
        if path.suffix == ".parquet":
            raise OSError(28, "No space left on device")
        whole(path, content)

    monkeypatch.setattr(rundir, "_write_whole", full)
    code, said = last("run", "small.yaml")
    assert code == 2
    assert "cannot be written: No space left on device" in said.err


def test_saved_tables_know_their_units(here, last):
    last("run", "small.yaml", "--out", "there", "--quiet")
    run = open_run("there")
    assert run.pools.attrs["units"]["queue"] == "attempts"
    assert run.services.attrs["units"]["in_flight"] == "first tries"
    assert run.events.attrs["units"] == {"t_s": "s"}


def test_wrong_input_is_located(here, last):
    (here / "bad.yaml").write_text(
        SMALL.replace("units: 40", "units: many").replace("horizon", "hirozon")
    )
    code, said = last("run", "bad.yaml")
    assert code == 2
    lines = said.err.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("error: bad.yaml:") for line in lines)
    assert not (here / "runs").exists()


def test_an_unknown_scenario_gets_a_hint(here, last):
    (here / "scenarios").mkdir()
    (here / "scenarios" / "retry-storm.yaml").write_text(SMALL)
    code, said = last("run", "retry-strom")
    assert code == 2
    assert "did you mean 'retry-storm'?" in said.err


def test_a_shipped_scenario_is_found_by_its_id(here, last):
    (here / "scenarios").mkdir()
    (here / "small.yaml").rename(here / "scenarios" / "small-crash.yaml")
    code, said = last("run", "small-crash", "--quiet")
    assert code == 0, said.err


def test_a_bug_of_ours_says_how_to_repeat_it(here, last, monkeypatch):
    from simulator import metrics

    def broken(*_args):
        msg = "wrong by one"
        raise AssertionError(msg)

    monkeypatch.setattr(metrics, "compute_metrics", broken)
    code, said = last("run", "small.yaml", "--seed", "5", "--set", "title='a b'")
    assert code == 3
    assert "This is a bug of simulator" in said.err
    assert said.err.splitlines()[-1] == (
        """To repeat it: simulator run small.yaml --set 'title='"'"'a b'"'"'' --seed 5"""
    )
    assert not open_run("runs/small-crash-seed5-1").complete


def test_a_scenario_without_a_trigger_runs_without_a_control_run(here, last):
    code, said = last("run", "small.yaml", "--json", "--set", "trigger=[]", "--set", "faults=[]",
                      "--set", "expectations=[]")  # fmt: skip
    assert code == 0, said.err
    answer = json.loads(said.out)
    assert answer["baseline"] == "state before the trigger"
    assert answer["impacted"] is False
