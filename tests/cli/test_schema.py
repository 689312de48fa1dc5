"""The JSON Schema of scenario files: current, valid, and true of every shipped file."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from simulator.cli import main
from simulator.scenario.json_schema import MODELINE, file_schema
from simulator.scenario.nodes import Problems
from simulator.scenario.yaml_reader import parse_text, read_file

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "scenarios" / "schema.json"
SHIPPED = sorted((ROOT / "scenarios").glob("**/*.yaml"))
ERRORS = Path(__file__).parent / "errors"


@pytest.fixture(scope="module")
def schema():
    return file_schema()


@pytest.fixture(scope="module")
def validator(schema):
    return Draft202012Validator(schema)


def plain(text):
    problems = Problems()
    node = parse_text(text, "text", problems)
    assert node is not None
    assert not problems
    return node.plain()


def test_committed_copy_is_current(schema):
    cure = "run: simulator schema --out scenarios/schema.json"
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == schema, cure


def test_schema_is_valid(schema):
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere(schema):
    names = set(re.findall(r'"\$ref": "#/\$defs/([^"]+)"', json.dumps(schema)))
    assert names == set(schema["$defs"])


def test_verb_writes_text_or_file(tmp_path, capsys, schema):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema
    assert main(["schema", "--out", str(tmp_path / "x.json")]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "x.json").read_bytes() == COMMITTED.read_bytes()


@pytest.mark.parametrize("out", ["none/x.json", ""])
def test_a_file_that_cannot_be_written_is_wrong_input(tmp_path, monkeypatch, capsys, out):
    monkeypatch.chdir(tmp_path)
    assert main(["schema", "--out", out]) == 2
    err = capsys.readouterr().err
    assert ("cannot be written: No such file" if out else "the path is empty") in err


def test_there_are_shipped_files():
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_file_fits(path, validator):
    problems = Problems()
    node = read_file(path, problems)
    assert node is not None
    assert not problems
    errors = validator.iter_errors(node.plain())
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_file_has_a_modeline_for_editors(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(MODELINE)
    assert (path.parent / first.removeprefix(MODELINE)).resolve() == COMMITTED.resolve()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_file_has_no_problem(path, capsys):
    assert main(["validate", str(path)]) == 0, capsys.readouterr().out


REGION = """
id: r
zones: [a]
services: [{id: api, entry: edge, first_tries: 3/s, customers: 50%, timeout: 3s}]
"""
HEAD = "{id: s, title: t, claim: c, horizon: 2h, region: r.yaml"
POOL = "pools: [{id: edge, units: 1, concurrency: 8, service_time: 5ms}]"

GOOD = {
    "region": REGION + POOL,
    "pool of a template": REGION + "templates: {t: {units: 3}}\npools: [{id: edge, template: t}]",
    "fleet": REGION + "fleets: [{id: edge, count: 3, pool: {units: 3}}]\npools: [{id: edge-0001}]",
    "overlay of a region": "extends: x.yaml\npools: [{id: edge, drop: true}]",
    "scenario": HEAD + "}",
    "region in part": HEAD.replace("r.yaml", "{file: r.yaml, pools: [{id: edge, units: 2}]}") + "}",
    "constant demand": HEAD + ", demand: {shape: {factor: 1.2}}}",
    "mechanism": HEAD + ", faults: [{id: f, kind: crash, pools: [db], at: 5min, count: 2}]}",
    "overlay": "{extends: x.yaml, faults: [{id: f, count: 3}, {id: g, drop: true}]}",
    "overlay of a dependency": "{extends: x.yaml, "
    "region: {dependencies: [{from: a, to: b, timeout: 3s}]}}",
}
BAD = {
    "unknown key": HEAD + ", horizn: 2h}",
    "missing key": "{id: s, title: t, claim: c, region: r.yaml}",
    "missing key of a region": REGION,
    "missing key of a pool": REGION + "pools: [{id: edge, units: 1}]",
    "number without unit": HEAD.replace("2h", "7200") + "}",
    "unknown kind": HEAD + ", faults: [{id: f, kind: crush, at: 5min}]}",
    "unknown key of a mechanism": HEAD
    + ", faults: [{id: f, kind: crash, pools: [db], at: 5min, count: 2, x: 1}]}",
    "missing key of a mechanism": HEAD + ", faults: [{id: f, kind: crash, pools: [db], count: 2}]}",
    "unknown key in an overlay": "{extends: x.yaml, faults: [{id: f, cuont: 3}]}",
    "item of an overlay without id": "{extends: x.yaml, faults: [{count: 3}]}",
    "list": "[1, 2]",
    "bad id": HEAD.replace("id: s", "id: My S") + "}",
}


@pytest.mark.parametrize("name", GOOD)
def test_good_forms_fit(name, validator):
    assert [error.message for error in validator.iter_errors(plain(GOOD[name]))] == []


@pytest.mark.parametrize("name", BAD)
def test_bad_forms_do_not_fit(name, validator):
    assert not validator.is_valid(plain(BAD[name]))


def test_good_parts_fit(validator):
    for name in ("good.yaml", "region.yaml", "base.yaml"):
        assert validator.is_valid(plain((ERRORS / "parts" / name).read_text(encoding="utf-8")))
