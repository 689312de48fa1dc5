"""``simulator analyze``: numbers, figure, and clear errors."""

import json
import shlex

import pytest

from simulator.cli import main

SMALL = "--servers 1 --service-time 100ms --timeout 2s --retries 2 --room 40 --load 6/s"

POOL = """\
schema: 1
id: one-pool
title: One pool
claim: it is well
horizon: 1h
region:
  id: one
  zones: [a]
  basis: {"*": assumption}
  pools:
    - {id: front, units: 1, concurrency: 1, service_time: 100ms, queue_per_unit: 40}
  services:
    - id: api
      entry: front
      first_tries: 6/s
      customers: 100%
      timeout: 2s
      retry: {retries_max: 2, backoff: fixed, backoff_base: 0s, jitter: none}
telemetry:
  alarms:
    - {id: low, service: api, below: 95%}
expectations:
  - {metric: recovered, equals: true}
"""


def run(capsys, line):
    code = main(["analyze", *shlex.split(line)])
    return code, capsys.readouterr()


@pytest.fixture
def pool_file(tmp_path):
    file = tmp_path / "one.yaml"
    file.write_text(POOL, encoding="utf-8")
    return file


def test_table(capsys):
    code, said = run(capsys, SMALL)
    assert code == 0
    for words in ("lower fold", "3.334/s", "upper fold", "collapse", "escape", "relaxation"):
        assert words in said.out
    assert "Doubtful: escape: requests retry a fixed number of times" in said.out
    assert max(len(line) for line in said.out.splitlines()) <= 100


def test_json(capsys):
    code, said = run(capsys, f"{SMALL} --json")
    assert code == 0
    found = json.loads(said.out)
    assert found["folds"]["lower_rps"] == pytest.approx(10.0 / 3.0, rel=1e-3)
    assert found["zombie_line"] == pytest.approx(19.0)
    assert found["capacity_rps"] == pytest.approx(10.0)
    assert [state["stable"] for state in found["equilibria"]] == [True, False, True]
    assert 0.0 < found["good_state"]["waiting"] < 2.0
    assert found["escape_s"] > 0.0
    assert found["doubts"]


def test_what_cannot_be_known_is_null(capsys):
    _, said = run(capsys, "--servers 2 --service-time 100ms --room 10 --load 5/s --json")
    found = json.loads(said.out)
    assert found["folds"] is found["collapse_s"] is found["zombie_line"] is None
    assert found["parameters"]["timeout_s"] is None
    assert found["doubts"] == []
    assert found["stationary"]["success_frac"] == pytest.approx(1.0, abs=1e-3)


def test_room_below_the_zombie_line_is_told(capsys):
    code, said = run(capsys, SMALL.replace("--room 40", "--room 10"))
    assert code == 0
    assert "there is no backlog to be stuck in" in said.out


def test_states_too_far_apart_are_told(capsys):
    code, said = run(
        capsys,
        "--servers 1 --service-time 100ms --timeout 10s --retries 3 --room 200 --load 6/s",
    )
    assert code == 0
    assert "No stationary state is given" in said.out
    assert "over " in said.out


def test_scenario_and_parameters_say_the_same(capsys, pool_file):
    _, by_file = run(capsys, f"{pool_file} --json")
    _, by_words = run(capsys, f"{SMALL} --json")
    assert json.loads(by_file.out) == json.loads(by_words.out)
    _, other = run(capsys, f"{pool_file} --load 3/s --json")
    assert json.loads(other.out)["parameters"]["first_tries_rps"] == 3.0


def test_room_given_bounds_an_endless_queue(capsys, pool_file):
    endless = POOL.replace(", queue_per_unit: 40", "")
    pool_file.write_text(endless, encoding="utf-8")
    code, said = run(capsys, f"{pool_file} --json")
    assert code == 0
    found = json.loads(said.out)
    assert found["parameters"]["unbounded"] is True
    assert "unbounded queue" in found["stationary_missing"]
    assert found["stationary"] is None
    _, said = run(capsys, f"{pool_file} --room 40 --json")
    assert json.loads(said.out)["parameters"]["unbounded"] is False


def test_figure(capsys, tmp_path):
    file = tmp_path / "drift.png"
    code, said = run(capsys, f"{SMALL} --figure {file}")
    assert code == 0
    assert f"Drawn in {file}" in said.out.replace("\n", "")
    first = file.read_bytes()
    assert first.startswith(b"\x89PNG")
    run(capsys, f"{SMALL} --figure {file}")
    assert file.read_bytes() == first


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "without a scenario the chain also needs --load, --servers, --service-time, --room"),
        ("--load 5/s", "also needs --servers, --service-time, --room"),
        (SMALL.replace("6/s", "6"), "Invalid value for '--load': rate '6' has no unit of time"),
        (SMALL.replace("6/s", "0/s"), "first_tries_rps must be a number above 0"),
        (SMALL.replace("2s", "-2s"), "Invalid value for '--timeout'"),
        (SMALL.replace("2s", "0s"), "timeout_s must be above 0"),
        (SMALL.replace("100ms", "0s"), "service_s must be a number above 0"),
        (SMALL.replace("100ms", "never"), "service_s must be a number above 0, got inf"),
        (SMALL.replace("--servers 1", "--servers 0"), "0 is not in the range"),
        (SMALL.replace("--room 40", "--room x"), "'x' is not a valid integer"),
        (SMALL.replace("--retries 2", "--retries -1"), "-1 is not in the range"),
        (SMALL.replace("6/s", "6M/s"), "more than 250,000: simulate a pool of this size"),
        (SMALL.replace("--room 40", "--room 99999999"), "more than 250,000"),
        (f"{SMALL} --timeout never", "need a backoff_s above 0 to retry a rejection"),
        (f"{SMALL} --pool front", "--pool names a pool of a scenario"),
        (f"{SMALL} --figure ''", "the path is empty"),
        (f"{SMALL} --figure /nowhere/at/all.png", "cannot be written"),
        (f"{SMALL.replace('--retries 2', '--retries 0')} --figure x.png", "nothing to draw"),
        ("no-such-scenario", "no such scenario file or shipped scenario"),
        ("steady-day", "pools: say which one"),
        ("steady-day --pool edge-lb", "is no chain of one queue and one orbit"),
        ("steady-day --pool edgelb", "has no pool 'edgelb'"),
    ],
)
def test_nonsense_is_refused_with_the_reason(capsys, line, said):
    code, out = run(capsys, line)
    assert code == 2
    assert said in " ".join(out.err.split())
    assert out.out == ""
    assert "Traceback" not in out.err
