"""Laws of scenario files: nothing but ScenarioError, text survives, overlays associate."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import ScenarioError
from simulator.scenario import dump_scenario, parse_region, parse_scenario, scenario_hash
from simulator.scenario.dump import _write
from simulator.scenario.merge import merge
from simulator.scenario.nodes import Mark, Problems
from simulator.scenario.overrides import apply_override, parse_overrides
from simulator.scenario.yaml_reader import parse_text

GOOD = """
id: s
title: A scenario
claim: it ends well
horizon: 13h
demand: {shape: {kind: step, steps: [{at: 1h, factor: 2}]}}
region:
  id: small
  zones: [a, b]
  basis: {"*": assumption}
  templates: {std: {units: 4, concurrency: 8, service_time: 20ms}}
  pools:
    - {id: edge, units: 10, concurrency: 8, service_time: 5ms}
    - {id: db, template: std}
  fleets: [{id: cell, count: 3, template: std, calls: [{to: db, timeout: 1s}]}]
  dependencies:
    - {from: edge, to: db, timeout: 500ms, retry: {retries_max: 2}}
  services:
    - {id: api, entry: edge, first_tries: 300/s, customers: 50%, timeout: 3s}
faults: [{id: f, kind: crash, pools: [db], at: 5min, count: 2}]
trigger: [f]
expectations: [{metric: ttr_s, at_most: 1h}]
"""


def tree_of(text) -> Any:
    """Parse good text; any, because a tree has no type that a test could know."""
    problems = Problems()
    root = parse_text(text, "f", problems)
    assert list(problems) == []
    return root


def loads_or_says_why(load, *args, **kwargs):
    """Call a loader; everything but a ScenarioError is a bug."""
    try:
        load(*args, **kwargs)
    except ScenarioError as error:
        for problem in error.problems:
            assert problem.message
            assert problem.code.startswith("S")
            assert problem.line >= 1
            assert "\n" not in str(problem)


# ------------------------------------------------------------------------------- nonsense

yamlish = st.text(
    alphabet=st.sampled_from(list("abz01.:-,?!&*#|>%@'\"{}[]<~ \n\t\\ü\x00\x07\ud800=$")),
    max_size=60,
)


@given(yamlish | st.text(max_size=40))
def test_any_text_loads_or_says_why(text):
    loads_or_says_why(parse_scenario, text)
    loads_or_says_why(parse_region, text)


@given(st.data())
def test_any_damage_to_a_good_file_loads_or_says_why(data):
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(len(GOOD), start + 30)))
    loads_or_says_why(parse_scenario, GOOD[:start] + data.draw(yamlish) + GOOD[end:])


KEYS = """id title claim horizon region file pools fleets templates template zones units calls from
to kind demand shape services telemetry alarms faults healing people trigger expectations metric
drop extends basis operations count pool called_by retry budget"""
keys = st.sampled_from(KEYS.split())
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["edge", "db", "crash", "1s", "5%", "3/s", "*", "", "csv", "step", "a"])
    | st.text(max_size=5)
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=25,
)


@given(st.dictionaries(keys, trees, max_size=10))
def test_any_tree_loads_or_says_why(tree):
    # JSON is YAML, but for what has no place in text.
    loads_or_says_why(parse_scenario, json.dumps(tree))
    loads_or_says_why(parse_region, json.dumps(tree))


@given(st.data())
def test_any_value_in_any_place_loads_or_says_why(data):
    """Replace one value of a good file by a random tree."""
    root = tree_of(GOOD).plain()
    holder: Any = root
    while True:
        steps = sorted(holder) if isinstance(holder, dict) else range(len(holder))
        step = data.draw(st.sampled_from(steps))
        leaf = not isinstance(holder[step], dict | list) or not holder[step]
        if leaf or data.draw(st.booleans()):
            break
        holder = holder[step]
    holder[step] = data.draw(trees)
    loads_or_says_why(parse_scenario, json.dumps(root))


@given(st.lists(st.text(max_size=30) | st.builds("{}={}".format, yamlish, yamlish), max_size=3))
def test_any_override_loads_or_says_why(overrides):
    loads_or_says_why(parse_scenario, GOOD, overrides=overrides)


paths = st.lists(keys | st.sampled_from(["edge", "0", "7", "edge->db"]), min_size=1, max_size=5)


@given(paths, trees)
def test_any_path_of_an_override_loads_or_says_why(steps, tree):
    loads_or_says_why(parse_scenario, GOOD, overrides=[f"{'.'.join(steps)}={json.dumps(tree)}"])


# ------------------------------------------------------------------------------- text


SURPRISES = ["no", "on", "1e3", "012", "0x1f", ".inf", ".nan", "~", "null", "12:30", "<<", "a: b"]
words = st.text(max_size=20) | st.sampled_from([*SURPRISES, "- a", "#", "?"])
printable = words.filter(lambda s: not any("\ud800" <= c <= "\udfff" for c in s))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | printable
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(printable, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(printable, values, min_size=1, max_size=4))
def test_what_is_written_is_read(data):
    assert tree_of(_write(data)).plain() == data


@given(
    title=printable,
    claim=printable,
    horizon=st.floats(1e-6, 3e7),
    factor=st.floats(0, 1e6),
    customers=st.floats(0, 1),
    rate=st.floats(1e-9, 1e9),
)
def test_dump_and_load_is_the_identity(title, claim, horizon, factor, customers, rate):
    loaded = parse_scenario(GOOD)
    service = loaded.region.services[0].model_copy(
        update={"customers": customers, "first_tries": rate}
    )
    changed = loaded.model_copy(
        update={
            "title": title,
            "claim": claim,
            "horizon": horizon + 4000.0,
            "demand": loaded.demand.model_copy(
                update={"shape": loaded.demand.shape.model_copy(update={"factor": factor})}
            ),
            "region": loaded.region.model_copy(update={"services": (service,)}),
        }
    )
    again = parse_scenario(dump_scenario(changed))
    assert again == changed
    assert scenario_hash(again) == scenario_hash(changed)


@pytest.mark.parametrize("loader", [yaml.CSafeLoader, yaml.SafeLoader])
@given(data=st.dictionaries(printable, values, min_size=1, max_size=4))
def test_other_readers_agree_on_what_is_written(loader, data):
    assert yaml.load(_write(data), Loader=loader) == data  # noqa: S506 - both are safe loaders


# ------------------------------------------------------------------------------- overlays


def node(data):
    return tree_of(json.dumps(data))


def typed_trees(depth=2):
    """Draw trees that have the same type under the same path: the condition of the law."""
    keys = {"n": st.integers(0, 9), "m": st.integers(0, 9), "words": st.lists(names, min_size=1)}
    if depth:
        inner = typed_trees(depth - 1)
        keys["map"] = inner
        keys["items"] = st.dictionaries(names, inner, min_size=1).map(
            lambda found: [{"id": name, **tree} for name, tree in found.items()]
        )
    return st.fixed_dictionaries({}, optional=keys).map(lambda tree: tree or {"n": 0})


names = st.sampled_from("abc")


@given(typed_trees(), typed_trees(), typed_trees())
def test_overlays_associate(a, b, c):
    problems = Problems()
    left = merge(merge(node(a), node(b), problems), node(c), problems)
    right = merge(node(a), merge(node(b), node(c), problems), problems)
    assert left.plain() == right.plain()
    assert not problems


@given(typed_trees())
def test_an_overlay_of_itself_changes_nothing(a):
    assert merge(node(a), node(a), Problems()).plain() == a


@given(typed_trees(), typed_trees())
def test_an_overlay_wins_where_it_speaks(a, b):
    merged: Any = merge(node(a), node(b), Problems()).plain()
    assert set(merged) == set(a) | set(b)
    for key, value in b.items():
        if key in {"n", "m", "words"}:
            assert merged[key] == value


# ------------------------------------------------------------------------------- places


@given(typed_trees(), st.booleans())
def test_places_point_at_the_values(tree, flow):
    text = yaml.safe_dump(tree, default_flow_style=flow, width=20)
    lines = text.splitlines()

    def check(place):
        here = lines[place.mark.line - 1][place.mark.column - 1 :]
        if isinstance(place.value, dict):
            for name, child in place.value.items():
                key = lines[child.key.line - 1][child.key.column - 1 :]
                assert key.lstrip("? ").startswith(name)
                check(child)
        elif isinstance(place.value, list):
            assert here[:1] in {"-", "["}
            for child in place.value:
                check(child)
        else:
            assert here.lstrip("'\"").startswith(str(place.value))

    check(tree_of(text))


@given(typed_trees(), st.integers(0, 99))
def test_an_override_changes_its_place_and_nothing_else(tree, number):
    problems = Problems()
    [change] = parse_overrides([f"new.inner={number}"], problems)
    before = node(tree)
    after: Any = apply_override(before, change, problems)
    assert not problems
    assert after.plain() == {**tree, "new": {"inner": number}}
    assert before.plain() == tree
    assert after.child("new").child("inner").mark == Mark("--set", 1, 11)
