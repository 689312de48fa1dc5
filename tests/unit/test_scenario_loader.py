"""Loading: region, extends, overrides, templates, fleets, demand, mechanisms, dump, hash."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import pytest
from pydantic import BeforeValidator, ConfigDict, model_validator

from simulator.errors import ScenarioError, UnknownKindError
from simulator.scenario import (
    Region,
    Scenario,
    dump_region,
    dump_scenario,
    load_any,
    load_region,
    load_scenario,
    parse_region,
    parse_scenario,
    scenario_hash,
)
from simulator.scenario.references import PoolRef
from simulator.scenario.region import Spec
from simulator.scenario.schema import Constant, Csv
from simulator.units import Duration

REGION = """
id: small
zones: [a, b]
basis: {"*": assumption}
templates:
  std: {units: 4, concurrency: 8, service_time: 20ms}
pools:
  - {id: edge, units: 10, concurrency: 8, service_time: 5ms}
  - {id: db, template: std}
dependencies:
  - {from: edge, to: db, timeout: 500ms, retry: {retries_max: 2}}
services:
  - {id: api, entry: edge, first_tries: 300/s, customers: 50%, timeout: 3s}
control_planes:
  - {id: capacity, pool: db, operations: {add: {}, remove: {work: 2}}}
"""
FLEETS = """
fleets:
  - id: cell
    count: 3
    template: std
    pool: {units: 2}
    placement: zones_in_turn
    calls: [{to: db, timeout: 1s}, {to: store, timeout: 1s}]
    called_by: [{from: edge, timeout: 2s, calls: 0.3}]
  - {id: store, count: 2, template: std}
"""
SCENARIO = """
id: s
title: A scenario
claim: it ends well
horizon: 13h
region: region.yaml
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("region.yaml", REGION)
    write("s.yaml", SCENARIO)
    return tmp_path


def write(name, text):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")


def pool(loaded, name):
    region = loaded.region if isinstance(loaded, Scenario) else loaded
    return next(pool for pool in region.pools if pool.id == name)


def edges(region):
    return {(d.caller, d.callee) for d in region.dependencies}


def problems(call, *args, **kwargs):
    with pytest.raises(ScenarioError) as caught:
        call(*args, **kwargs)
    return caught.value.problems


# ------------------------------------------------------------------------------- region


def test_region_by_path_in_part_and_inline_is_the_same(folder):
    write("part.yaml", SCENARIO.replace("region: region.yaml", "region: {file: region.yaml}"))
    inline = "region:" + REGION.replace("\n", "\n  ")
    write("inline.yaml", SCENARIO.replace("region: region.yaml", inline))
    first = load_scenario("s.yaml")
    assert load_scenario("part.yaml") == load_scenario("inline.yaml") == first
    assert first.horizon == 46_800.0
    assert first.region == load_region("region.yaml")
    assert pool(first, "db").units == 4


def test_region_with_changes(folder):
    change = """region:
  file: region.yaml
  title: Changed
  templates: {std: {units: 5}}
  pools: [{id: edge, units: 9}, {id: cache, template: std}]
  dependencies:
    - {from: edge, to: db, retry: {retries_max: 1}}
    - {from: edge, to: cache, timeout: 1s}
  control_planes: [{id: capacity, drop: true}]
"""
    loaded = load_scenario_text(change)
    assert (pool(loaded, "edge").units, pool(loaded, "db").units) == (9, 5)
    assert loaded.region.title == "Changed"
    retries = {(d.callee, d.timeout, d.retry.retries_max) for d in loaded.region.dependencies}
    assert retries == {("db", 0.5, 1), ("cache", 1.0, 0)}
    assert loaded.region.control_planes == ()


def load_scenario_text(region):
    write("changed.yaml", SCENARIO.replace("region: region.yaml\n", region))
    return load_scenario("changed.yaml")


def test_paths_are_relative_to_the_file_that_has_them(folder):
    write("regions/deep/r.yaml", "extends: ../../region.yaml\nid: deep\n")
    write("base/s.yaml", SCENARIO.replace("region.yaml", "../regions/deep/r.yaml"))
    write("top/t.yaml", "extends: ../base/s.yaml\nid: t\nregion: {pools: [{id: db, units: 7}]}\n")
    loaded = load_scenario("top/t.yaml")
    assert (loaded.id, loaded.region.id) == ("t", "deep")
    assert pool(loaded, "db").units == 7


def test_overlay_may_take_another_region(folder):
    write("other.yaml", REGION.replace("id: small", "id: other"))
    change = "region: {file: region.yaml, pools: [{id: edge, units: 1}]}"
    write("base.yaml", SCENARIO.replace("region: region.yaml", change))
    write("t.yaml", "extends: base.yaml\nregion: other.yaml\n")
    loaded = load_scenario("t.yaml")
    assert (loaded.region.id, pool(loaded, "edge").units) == ("other", 10)


def test_load_any(folder):
    assert isinstance(load_any("region.yaml"), Region)
    assert isinstance(load_any("s.yaml"), Scenario)


def test_a_region_is_no_scenario(folder):
    [problem] = problems(load_scenario, "region.yaml")
    assert (problem.code, problem.line) == ("S111", 2)
    assert problem.hint == "scenarios name their region by 'region: region.yaml'"
    [problem] = problems(load_region, "s.yaml")
    assert problem.message == "this file describes a scenario, and a region is needed"


def test_hints_know_the_keys_that_only_files_have(folder):
    write("region.yaml", REGION.replace("{id: db, template", "{id: db, tempalte"))
    assert [p.hint for p in problems(load_scenario, "s.yaml") if p.code == "S202"] == [
        "did you mean 'template'?"
    ]
    write("region.yaml", REGION.replace("templates:", "tempaltes:"))
    assert "did you mean 'templates'?" in [p.hint for p in problems(load_scenario, "s.yaml")]


def test_problems_of_all_files_are_reported_with_their_places(folder):
    write("region.yaml", REGION.replace("units: 10", "units: -1"))
    write("s.yaml", SCENARIO.replace("13h", "13"))
    found = problems(load_scenario, "s.yaml")
    places = [(p.file, p.line, p.column, p.path) for p in found]
    assert places == [
        ("region.yaml", 8, 23, "region.pools.edge.units"),
        ("s.yaml", 5, 10, "horizon"),
    ]


# ------------------------------------------------------------------------------- overrides


def test_overrides_address_items_by_id_and_number(folder):
    loaded = load_scenario(
        "s.yaml",
        overrides=[
            "demand.shape.factor=1.2",
            "region.pools.edge.units=40",
            "region.pools.1.units=2k",
            "region.dependencies.edge->db.timeout=2s",
            "region.services.api.customers=25%",
            "horizon=1h30m",
            "title=a: b",
            "claim=",
        ],
    )
    assert loaded.demand.shape == Constant(factor=1.2)
    assert (pool(loaded, "edge").units, pool(loaded, "db").units) == (40, 2000)
    assert loaded.region.dependencies[0].timeout == 2.0
    assert loaded.region.services[0].customers == 0.25
    assert (loaded.horizon, loaded.title, loaded.claim) == (5400.0, "a: b", "")


def test_overrides_reach_templates_fleets_and_copies(folder):
    write("region.yaml", REGION + FLEETS)
    changes = ["region.templates.std.units=6", "region.fleets.cell.count=5"]
    changes += ["region.pools.cell-0002.units=1"]
    loaded = load_scenario("s.yaml", overrides=changes)
    assert (pool(loaded, "db").units, pool(loaded, "cell-0002").units) == (6, 1)
    assert pool(loaded, "cell-0005").units == 2


def test_override_of_the_region_is_relative_to_the_working_directory(folder):
    write("sub/s.yaml", SCENARIO.replace("region.yaml", "../region.yaml"))
    write("other.yaml", REGION.replace("id: small", "id: other"))
    assert load_scenario("sub/s.yaml", overrides=["region=other.yaml"]).region.id == "other"


def test_override_of_a_list_and_of_nothing(folder):
    found = problems(load_scenario, "s.yaml", overrides=["trigger=[a]", "horizon=null"])
    assert [(p.file, p.line, p.path) for p in found] == [
        ("--set", 1, "trigger.0"),
        ("--set", 2, "horizon"),
    ]


def test_overrides_of_a_region_file(folder):
    assert pool(load_region("region.yaml", overrides=["pools.edge.units=3"]), "edge").units == 3


# ------------------------------------------------------------------------------- fleets


def test_fleets_are_laid_out(folder):
    region = parse_region(REGION + FLEETS)
    names = [p.id for p in region.pools]
    cells, stores = [f"cell-000{n}" for n in (1, 2, 3)], ["store-0001", "store-0002"]
    assert set(names) == {"edge", "db", *cells, *stores}
    assert [pool(region, name).zones for name in cells] == [{"a": 1.0}, {"b": 1.0}, {"a": 1.0}]
    assert pool(region, "store-0001").zones is None
    assert edges(region) == {
        ("edge", "db"),
        *((cell, "db") for cell in cells),
        *(("edge", cell) for cell in cells),
        ("cell-0001", "store-0001"),
        ("cell-0002", "store-0002"),
        ("cell-0003", "store-0001"),
    }


def test_what_is_written_out_changes_a_copy():
    text = (REGION + FLEETS).replace("pools:\n", "pools:\n  - {id: cell-0002, units: 9}\n", 1)
    change = "dependencies:\n  - {from: cell-0001, to: db, calls: 7}\n"
    region = parse_region(text.replace("dependencies:\n", change, 1))
    assert [pool(region, f"cell-000{n}").units for n in (1, 2, 3)] == [2, 9, 2]
    [edge] = [d for d in region.dependencies if (d.caller, d.callee) == ("cell-0001", "db")]
    assert (edge.calls, edge.timeout) == (7.0, 1.0)


def test_ids_of_copies_have_one_width():
    region = parse_region(REGION + "fleets: [{id: c, count: 10000, template: std}]")
    assert {len(p.id) for p in region.pools if p.id.startswith("c-")} == {len("c-00001")}


def test_large_region_loads_quickly():
    text = (REGION + FLEETS).replace("count: 3", "count: 2500").replace("count: 2,", "count: 500,")
    start = perf_counter()
    region = parse_region(text)
    assert len(region.pools) == 3002
    assert len(region.dependencies) == 7501
    assert perf_counter() - start < 5.0


# ------------------------------------------------------------------------------- demand


def test_csv_points_are_read_relative_to_the_scenario(folder):
    write("data/load.csv", "factor,note,t_s\n1,night,0\n2.5,day,3600\n\n")
    write("data/s.yaml", SCENARIO.replace("region.yaml", "../region.yaml") + CSV)
    shape = load_scenario("data/s.yaml").demand.shape
    assert isinstance(shape, Csv)
    assert shape.points == ((0.0, 1.0), (3600.0, 2.5))


CSV = "demand: {shape: {kind: csv, file: load.csv}, services: {api: {factor: 3}}}\n"


def test_shape_without_kind_is_constant(folder):
    write("load.csv", "t_s,factor\n0,1\n")
    loaded = parse_scenario(SCENARIO + CSV)
    assert loaded.demand.services["api"] == Constant(factor=3.0)


# ------------------------------------------------------------------------------- mechanisms


class FakeConfig(Spec):
    """A configuration with everything that is hard to validate strictly."""

    model_config = ConfigDict(populate_by_name=True)

    pool: PoolRef = ""
    at: Duration = 0.0
    names: tuple[str, ...] = ()
    upper: Annotated[tuple[str, ...], BeforeValidator(lambda v: [x.upper() for x in v])] = ()
    marks: frozenset[str] = frozenset()
    flag: bool = False
    count: int = 0

    @model_validator(mode="before")
    @classmethod
    def _take_all(cls, data):
        return data


@pytest.fixture
def fake_kind(monkeypatch, folder):
    def config_of(family, kind):
        if kind != "fake":
            raise UnknownKindError(family, kind, ("fake",), "fake")
        return FakeConfig

    monkeypatch.setattr("simulator.scenario.typed.config_of", config_of)
    monkeypatch.setattr("simulator.scenario.declared.config_of", config_of)


def test_mechanisms_are_written_flat(fake_kind):
    text = (
        SCENARIO + "faults: [{id: f, kind: fake, pool: db, at: 5min, names: [b, a], flag: true}]\n"
    )
    [fault] = parse_scenario(text).faults
    assert (fault.family, fault.kind, fault.id) == ("fault", "fake", "f")
    plain = {"pool": "db", "at": "5min", "names": ("b", "a"), "flag": True}
    assert fault.config == FakeConfig.model_validate(plain)


def test_lists_behind_validators_are_tuples_all_the_same(fake_kind):
    [fault] = parse_scenario(SCENARIO + "faults: [{id: f, kind: fake, upper: [x, y]}]").faults
    assert fault.config.upper == ("X", "Y")


@pytest.mark.parametrize(
    "change", ["flag: 'yes'", "flag: no", "count: '3'", "count: 3.0", "names: a"]
)
def test_text_is_no_number_and_no_truth_value(fake_kind, change):
    found = problems(parse_scenario, SCENARIO + f"faults: [{{id: f, kind: fake, {change}}}]")
    assert [(p.code, p.path) for p in found] == [("S203", f"faults.f.{change.split(':')[0]}")]


def test_names_and_times_of_mechanisms_are_checked(fake_kind):
    found = problems(parse_scenario, SCENARIO + "healing: [{id: h, kind: fake, pool: bd, at: 14h}]")
    assert [(p.code, p.path) for p in found] == [
        ("S302", "healing.h.pool"),
        ("S304", "healing.h.at"),
    ]


def test_names_are_checked_although_a_number_is_wrong(fake_kind):
    found = problems(
        parse_scenario, SCENARIO + "faults: [{id: f, kind: fake, pool: x, count: a}]\ntrigger: [g]"
    )
    assert [p.code for p in found] == ["S302", "S203", "S302"]


# ------------------------------------------------------------------------------- dump and hash


def test_dump_loads_to_an_equal_scenario(fake_kind):
    write("region.yaml", REGION + FLEETS)
    write("load.csv", "t_s,factor\n0,1\n10.5,0.25\n")
    extra = """
faults: [{id: f, kind: fake, marks: [z, y, x], upper: [a], at: 90s}]
trigger: [f]
expectations: [{metric: ttr_s, at_most: 11h, quantile: 50%, why: "no: reason"}]
telemetry: {alarms: [{id: a, service: api, below: 0.9}]}
sources: [{ref: "https://example.org/#x", supports: '012'}]
"""
    loaded = parse_scenario(SCENARIO + CSV + extra)
    text = dump_scenario(loaded)
    again = parse_scenario(text)
    assert again == loaded
    assert dump_scenario(again) == text
    assert scenario_hash(again) == scenario_hash(loaded)
    assert "file: region.yaml" not in text
    assert "marks:\n  - x\n  - y\n  - z\n" in text


def test_dump_of_a_region(folder):
    region = load_region("region.yaml")
    assert parse_region(dump_region(region)) == region


def test_hash_is_of_the_meaning_and_not_of_the_writing(folder):
    first = scenario_hash(load_scenario("s.yaml"))
    assert len(first) == 64
    write("s.yaml", "# a comment\n" + SCENARIO.replace("13h", "780min"))
    assert scenario_hash(load_scenario("s.yaml")) == first
    assert scenario_hash(load_scenario("s.yaml", overrides=["horizon=12h"])) != first


def test_hash_is_fixed(folder):
    expected = scenario_hash(parse_scenario(dump_scenario(load_scenario("s.yaml"))))
    assert scenario_hash(load_scenario("s.yaml")) == expected
