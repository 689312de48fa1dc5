"""YAML text becomes nodes with places, by the rules of YAML 1.2."""

import math
from typing import Any

import pytest

from simulator.scenario.codes import Code
from simulator.scenario.nodes import Mark, Problems, path_text
from simulator.scenario.yaml_reader import DEPTH_MAX, parse_documents, parse_text, read_file, scalar


def read(text) -> Any:
    """Parse good text; any, because a tree has no type that a test could know."""
    problems = Problems()
    node = parse_text(text, "f.yaml", problems)
    assert list(problems) == []
    return node


def codes(text):
    problems = Problems()
    parse_text(text, "f.yaml", problems)
    return [problem.code for problem in problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("0b11", "0b11"),
        ("-", "-"),
        (".", "."),
        ("5%", "5%"),
        ("1" * 401, "1" * 401),
        ("NO", "NO"),
        ("<<", "<<"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_nan():
    assert repr(scalar(".nan")) == "nan"


def test_quoted_scalars_are_text():
    assert read("a: '12'\nb: \"true\"\nc: |\n  5\nd: !!str 7").plain() == {
        "a": "12",
        "b": "true",
        "c": "5\n",
        "d": "7",
    }


def test_every_value_and_key_has_its_place():
    root = read("a: 1\nb:\n  - x: 2\n    y: [3, {z: 4}]\n")
    assert root.mark == Mark("f.yaml", 1, 1)
    assert root.child("a").mark == Mark("f.yaml", 1, 4)
    assert root.child("a").key == Mark("f.yaml", 1, 1)
    y = root.child("b").child(0).child("y")
    assert y.mark == Mark("f.yaml", 4, 8)
    assert y.child(1).child("z").mark == Mark("f.yaml", 4, 16)


def test_columns_count_characters():
    assert read("ü: {é: 1}").child("ü").child("é").mark.column == 8


def test_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfid: s\n")
    node = read_file(path, Problems())
    assert node is not None
    assert node.plain() == {"id": "s"}


def test_aliases_are_copies():
    root = read("a: &a {x: [1]}\nb: *a\nc: *a")
    assert root.child("b").plain() == root.child("c").plain() == {"x": [1]}
    assert root.child("b") is not root.child("a")
    assert root.child("b").child("x") is not root.child("a").child("x")


def test_alias_stands_at_its_own_place_and_its_parts_at_theirs():
    root = read("a: &a {x: 1}\nb: *a")
    assert root.child("b").mark == Mark("f.yaml", 2, 4)
    assert root.child("b").child("x").mark == Mark("f.yaml", 1, 11)


@pytest.mark.parametrize(
    "text",
    [
        "base: &b {a: 1, b: 2}\nchild: {<<: *b, a: 9}",
        "base: &b {a: 1, b: 2}\nchild: {a: 9, <<: *b}",
        "base: &b {a: 1, b: 2}\nchild: {<<: [{a: 9}, *b]}",
    ],
)
def test_merge_key_gives_way_to_keys_of_the_mapping(text):
    assert read(text).child("child").plain() == {"a": 9, "b": 2}


def test_quoted_merge_key_is_a_key():
    assert read("{'<<': 1}").plain() == {"<<": 1}


def test_first_of_two_equal_keys_stays_and_reading_goes_on():
    problems = Problems()
    node = parse_text("a: 1\na: {b: 2}\nc: !x 3", "f.yaml", problems)
    assert node is not None
    assert node.plain() == {"a": 1, "c": 3}
    assert [problem.code for problem in problems] == [Code.YAML_DUPLICATE_KEY, Code.YAML_TAG]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("? {a: 1}\n: 2", Code.YAML_KEY),
        ("&a a: 1\n*a : 2", Code.YAML_KEY),
        ("a: 007", Code.YAML_OCTAL),
        ("a: -012", Code.YAML_OCTAL),
        ("a: !!binary aGk=", Code.YAML_TAG),
        ("a: !!timestamp 2024-01-01", Code.YAML_TAG),
        ("", Code.FILE_EMPTY),
        ("--- ~", Code.FILE_EMPTY),
        ("a: 1\n...\n---\nb: 2", Code.YAML_DOCUMENTS),
        ("%YAML 3.0\n---\na: 1", Code.YAML_SYNTAX),
        ("a: \ud800", Code.YAML_SYNTAX),
    ],
)
def test_refusals(text, code):
    assert codes(text) == [code]


def test_depth_is_limited_through_aliases():
    step = DEPTH_MAX // 2
    chain = ["a0: &a0 " + "[" * step + "]" * step]
    chain += [f"a{n}: &a{n} " + "[" * step + f"*a{n - 1}" + "]" * step for n in range(1, 100)]
    assert codes("\n".join(chain)) == [Code.YAML_DEPTH]


def test_as_deep_as_allowed():
    text = "[" * DEPTH_MAX + "]" * DEPTH_MAX
    assert codes(text) == []


def test_several_documents_and_tags_for_importers():
    problems = Problems()
    documents = parse_documents("a: !reset 1\n---\n- 2\n", "f", problems, tags={"!reset"})
    assert [node.plain() for node in documents or ()] == [{"a": 1}, [2]]
    assert not problems


def test_anchors_do_not_reach_into_the_next_document():
    problems = Problems()
    assert parse_documents("a: &a 1\n---\nb: *a\n", "f", problems) is None
    assert [problem.code for problem in problems] == [Code.YAML_ALIAS]


def test_paths_name_items():
    root = read("pools: [{id: edge, units: 3}]\ndeps: [{from: a, to: b}, {x: 1}]")
    assert path_text(root, ("pools", 0, "units")) == "pools.edge.units"
    assert path_text(root, ("deps", 0)) == "deps.a->b"
    assert path_text(root, ("deps", 1, "x")) == "deps.1.x"


def test_children_by_name_and_number():
    root = read("[{id: a}, {id: b}]")
    assert root.child("b") is root.child(1)
    assert root.child(2) is None
    assert root.child("c") is None
    assert root.child(0).child("id").child("x") is None
