"""Overlays: what a tree laid over another leaves."""

from typing import Any

from simulator.scenario.codes import Code
from simulator.scenario.merge import merge, refuse_leftover_drops
from simulator.scenario.nodes import Problems
from simulator.scenario.yaml_reader import parse_text


def tree(text, name="f") -> Any:
    """Parse good text; any, because a tree has no type that a test could know."""
    problems = Problems()
    node = parse_text(text, name, problems)
    assert not problems, list(problems)
    return node


def laid(base, *tops) -> Any:
    problems = Problems()
    node = tree(base, "base")
    for number, top in enumerate(tops):
        node = merge(node, tree(top, f"top{number}"), problems)
    assert not problems, list(problems)
    return node


def test_mappings_merge_and_scalars_replace():
    assert laid("{a: 1, b: {c: 2, d: 3}}", "{b: {c: 9}, e: 4}").plain() == {
        "a": 1,
        "b": {"c": 9, "d": 3},
        "e": 4,
    }


def test_named_items_merge_in_the_order_of_the_base():
    base = "[{id: a, x: 1}, {id: b, x: 2}, {id: c, x: 3}]"
    assert laid(base, "[{id: d}, {id: c, x: 9}, {id: a, y: 7}]").plain() == [
        {"id": "a", "x": 1, "y": 7},
        {"id": "b", "x": 2},
        {"id": "c", "x": 9},
        {"id": "d"},
    ]


def test_dependencies_merge_by_their_ends():
    base = "[{from: a, to: b, calls: 1}, {from: b, to: a, calls: 2}]"
    assert laid(base, "[{from: b, to: a, calls: 5}]").plain()[1]["calls"] == 5


def test_drop_removes():
    assert laid("[{id: a}, {id: b}]", "[{id: a, drop: true}]").plain() == [{"id": "b"}]


def test_dropped_items_may_come_back():
    left = laid("[{id: a, x: 1}]", "[{id: a, drop: true}, {id: b}]", "[{id: a, y: 2}]")
    assert left.plain() == [{"id": "b"}, {"id": "a", "y": 2}]


def test_lists_without_names_and_empty_lists_replace():
    assert laid(
        "{t: [a, b], e: [{metric: x}], f: [{id: a}]}", "{t: [c], e: [], f: []}"
    ).plain() == {
        "t": ["c"],
        "e": [],
        "f": [],
    }


def test_other_types_replace():
    assert laid("{a: {b: 1}, c: 2}", "{a: 3, c: {d: 4}}").plain() == {"a": 3, "c": {"d": 4}}


def test_two_items_of_one_name_in_the_overlay_stay_two():
    merged = laid("[{id: a, x: 1}]", "[{id: a, x: 2}, {id: a, x: 3}]").plain()
    assert merged == [{"id": "a", "x": 2}, {"id": "a", "x": 3}]


def test_values_keep_their_file():
    root = laid("{a: {b: 1, c: 2}}", "{a: {c: 3}}")
    assert root.child("a").child("b").mark.file == "base"
    assert root.child("a").child("c").mark.file == "top0"


def test_nothing_is_changed_in_place():
    base, top = tree("[{id: a}]"), tree("[{id: a, x: 1}]")
    merge(base, top, Problems())
    assert base.plain() == [{"id": "a"}]
    assert top.plain() == [{"id": "a", "x": 1}]


def test_items_without_names_are_refused():
    problems = Problems()
    merged = merge(tree("[{id: a}]"), tree("[{x: 1}, 3]"), problems)
    assert merged.plain() == [{"id": "a"}]
    assert [problem.code for problem in problems] == [Code.ITEM_WITHOUT_NAME] * 2


def test_drops_that_drop_nothing_are_reported_and_removed():
    problems = Problems()
    root = tree("{p: {q: [{id: a}, {id: b, drop: true}, {id: c, drop: 1}]}}")
    left = refuse_leftover_drops(root, [("p", "q"), ("no", "where")], problems)
    assert left.plain() == {"p": {"q": [{"id": "a"}]}}
    assert [problem.path for problem in problems] == ["p.q.b", "p.q.c"]
    assert {problem.code for problem in problems} == {Code.NOTHING_TO_DROP}
