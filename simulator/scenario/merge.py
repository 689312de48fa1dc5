"""Overlays: a tree laid over another.

Mappings merge key by key. Lists whose items have names (``id``, or ``from`` and ``to``) merge item
by item, in the order of the base, new items last; ``drop: true`` removes an item. Every other
value replaces what is below it, and so does an empty list. Each value keeps its own place.

Overlays are applied from the base upwards. Where all of them have values of the same type under
the same path, no ``drop`` and no empty list, the grouping does not matter (merging is
associative).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.scenario.codes import Code
from simulator.scenario.nodes import Node, Problems, item_name, path_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.scenario.nodes import Loc


def merge(base: Node, top: Node, problems: Problems, *, path: str = "") -> Node:
    """Return ``top`` laid over ``base``; neither is changed."""
    if isinstance(base.value, dict) and isinstance(top.value, dict):
        return _merge_mappings(base, top, problems, path)
    if _has_names(base) and isinstance(top.value, list) and top.value:
        return _merge_lists(base, top, problems, path)
    return top


def _merge_mappings(base: Node, top: Node, problems: Problems, path: str) -> Node:
    merged = dict(base.mapping())
    for key, child in top.mapping().items():
        below = merged.get(key)
        inner = f"{path}.{key}" if path else key
        merged[key] = child if below is None else merge(below, child, problems, path=inner)
    return Node(merged, top.mark, top.key)


def _has_names(node: Node) -> bool:
    items = node.items()
    return bool(items) and all(item_name(item) is not None for item in items)


def _merge_lists(base: Node, top: Node, problems: Problems, path: str) -> Node:
    items: list[Node | None] = list(base.items())
    slots: dict[str | None, int] = {}
    for index, item in enumerate(base.items()):
        slots.setdefault(item_name(item), index)
    for number, item in enumerate(top.items()):
        name = item_name(item)
        if name is None:
            problems.add(
                Code.ITEM_WITHOUT_NAME,
                item.mark,
                "an item that changes a list by name needs an 'id' (dependencies: 'from' and 'to')",
                path=f"{path}.{number}",
            )
            continue
        slot = slots.pop(name, None)
        if slot is None:
            items.append(item)
        elif wants_drop(item):
            items[slot] = None
        else:
            below = items[slot]
            assert below is not None
            items[slot] = merge(below, item, problems, path=f"{path}.{name}")
    return Node([item for item in items if item is not None], top.mark, top.key)


def wants_drop(item: Node) -> bool:
    """Tell whether an item of a list says ``drop: true``."""
    drop = item.mapping().get("drop")
    return drop is not None and drop.value is True


def refuse_leftover_drops(root: Node, places: Sequence[Loc], problems: Problems) -> Node:
    """Report and remove items that say ``drop`` although there was nothing to drop.

    Parameters
    ----------
    root : Node
        The merged document.
    places : Sequence[Loc]
        Paths of its lists.
    problems : Problems
        Takes what is wrong.
    """
    for place in places:
        node: Node | None = root
        for step in place:
            node = node.child(step) if node is not None else None
        if node is None or not any("drop" in item.mapping() for item in node.items()):
            continue
        kept = []
        for number, item in enumerate(node.items()):
            drop = item.mapping().get("drop")
            if drop is None:
                kept.append(item)
                continue
            if drop.value is True:
                message, hint = f"there is no {item_name(item)!r} to drop", ""
            else:
                message, hint = "'drop' takes the word true", "or leave it out"
            path = path_text(root, (*place, number))
            problems.add(Code.NOTHING_TO_DROP, item.mark, message, path=path, hint=hint)
        root = replace_at(root, place, Node(kept, node.mark, node.key))
    return root


def replace_at(root: Node, place: Loc, new: Node) -> Node:
    """Return the tree with another node at a place that exists; the old tree is not changed."""
    if not place:
        return new
    step, rest = place[0], place[1:]
    child = root.child(step)
    assert child is not None, place
    changed = replace_at(child, rest, new)
    if isinstance(root.value, dict):
        return Node({**root.value, str(step): changed}, root.mark, root.key)
    items = list(root.items())
    items[items.index(child) if isinstance(step, str) else step] = changed
    return Node(list(items), root.mark, root.key)
