"""The published envelope is what the committed results say."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("envelope_report")
    sys.modules.pop("envelope_report", None)


@pytest.fixture
def results(report):
    return json.loads(report.RESULTS.read_text(encoding="utf-8"))


def test_the_tables_of_validation_are_current(report, results):
    assert report.section(results) in report.VALIDATION.read_text(encoding="utf-8")


def test_the_set_is_large_enough(results):
    names = [name.split("-")[0] for name in results]
    assert names.count("pool") >= 200
    assert names.count("graph") >= 50


def test_inside_the_region_of_validity_the_final_state_is_the_same(report, results):
    inside = [case for case in results.values() if report.is_inside(case)]
    assert len(inside) >= 50
    assert sum(report.same_end(case) for case in inside) >= 0.97 * len(inside)


def test_what_is_inside_was_not_chosen_by_the_result(report, results):
    """Concerns are those of the program today, from the inputs alone."""
    cases = importlib.import_module("envelope_cases")
    measured = importlib.import_module("envelope")
    pools, graphs = cases.designed_pools(200), cases.designed_graphs(50)
    named = {f"pool-{i}": c for i, c in enumerate(pools)}
    named |= {f"graph-{i}": c for i, c in enumerate(graphs)}
    assert set(named) == set(results)
    for name, case in named.items():
        assert measured.described(case)["concerns"] == results[name]["concerns"]


def test_a_wrong_final_state_is_counted(report, results):
    case = json.loads(json.dumps(next(iter(results.values()))))
    case["success"] = {"flow": 1.0, "fine": 1.0, "requests": [0.0, 0.0, 0.0, 1.0, 1.0]}
    assert not report.same_end(case)
    assert report.split_vote(case)
    case["success"]["flow"] = 0.0
    assert report.same_end(case)
