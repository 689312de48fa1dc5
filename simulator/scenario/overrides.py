"""Changes from the command line: ``--set path=value``, applied before anything is validated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.scenario.codes import Code
from simulator.scenario.nodes import Mark, Node, Problems, item_name, kind_of, nearest, quote
from simulator.scenario.yaml_reader import is_octal, parse_text, scalar

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE = "--set"
LISTS = frozenset(
    {
        "alarms",
        "automation",
        "control_planes",
        "dependencies",
        "faults",
        "fleets",
        "guardrails",
        "healing",
        "people",
        "pools",
        "services",
    }
)
"""Keys whose values are lists of named items."""


@dataclass(frozen=True, slots=True)
class Override:
    """One change: the steps of a path, and the new value."""

    steps: tuple[str, ...]
    value: Node
    mark: Mark
    """Place of the path."""

    @property
    def path(self) -> str:
        """The path as it was written."""
        return ".".join(self.steps)

    @property
    def before_expansion(self) -> bool:
        """True for changes of templates and fleets, which must be made before they are laid out."""
        steps = self.steps[1:] if self.steps[0] == "region" else self.steps
        return bool(steps) and (steps[0] in {"fleets", "templates"} or steps[-1] == "template")

    @property
    def names_region(self) -> bool:
        """True if another region file is asked for."""
        whole = self.steps == ("region",) and isinstance(self.value.value, str)
        return whole or self.steps == ("region", "file")


def parse_overrides(texts: Iterable[str], problems: Problems) -> list[Override]:
    """Read overrides; the line of a problem is the number of the override, counted from 1."""
    found = (_parse(text, Mark(FILE, n, 1), problems) for n, text in enumerate(texts, start=1))
    return [override for override in found if override is not None]


def _parse(text: str, mark: Mark, problems: Problems) -> Override | None:
    path, sign, value = text.partition("=")
    steps = tuple(path.strip().split("."))
    if not sign or not all(steps):
        problems.add(
            Code.OVERRIDE_SYNTAX,
            mark,
            f"cannot read {quote(text)}",
            hint="write path=value, e.g. demand.shape.factor=1.2",
        )
        return None
    at = Mark(FILE, mark.line, len(path) + 2)
    node = _value(value.strip(), at, path, problems)
    return None if node is None else Override(steps, node, mark)


def _value(text: str, at: Mark, path: str, problems: Problems) -> Node | None:
    """Read a value: YAML in brackets or quotes, else one plain scalar (which may hold ``: ``)."""
    if not text.startswith(("[", "{", '"', "'")):
        if is_octal(text):
            problems.add(Code.YAML_OCTAL, at, f"{text} is not a clear number", path=path)
        return Node(scalar(text) if text else "", at, at)
    found = Problems()
    node = parse_text(text, FILE, found)
    for problem in found:
        problems.add(Code(problem.code), at, problem.message, path=path, hint=problem.hint)
    return None if node is None else _placed(node, at)


def _placed(node: Node, at: Mark) -> Node:
    """Give every value of an override the place of the override."""
    value = node.value
    if isinstance(value, dict):
        return Node({key: _placed(child, at) for key, child in value.items()}, at, at)
    if isinstance(value, list):
        return Node([_placed(child, at) for child in value], at, at)
    return Node(value, at, at)


def apply_override(root: Node, override: Override, problems: Problems) -> Node:
    """Return the tree with one change made; unchanged, and a problem, if the path leads nowhere."""
    return _Setter(override, problems).put(root, 0)


class _Setter:
    """Walks down the path of one override and builds the changed tree on the way back."""

    def __init__(self, override: Override, problems: Problems) -> None:
        self._override = override
        self._problems = problems

    def put(self, node: Node, depth: int) -> Node:
        """Return ``node`` with the value put under the steps from ``depth`` on."""
        steps = self._override.steps
        if depth == len(steps):
            return Node(self._override.value.value, self._override.value.mark, node.key)
        if isinstance(node.value, dict):
            return self._into_mapping(node, node.value, depth)
        if isinstance(node.value, list):
            return self._into_list(node, node.value, depth)
        return self._nowhere(node, depth, f"{kind_of(node)} has no {steps[depth]!r}")

    def _into_mapping(self, node: Node, keys: dict[str, Node], depth: int) -> Node:
        step = self._override.steps[depth]
        last = depth == len(self._override.steps) - 1
        if step not in keys and step in LISTS and not last:
            name = self._override.steps[depth + 1]
            return self._nowhere(node, depth, f"there is no {name!r}: {step!r} is empty")
        at = self._override.mark
        child = keys.get(step) or Node({}, at, at)
        return Node({**keys, step: self.put(child, depth + 1)}, node.mark, node.key)

    def _into_list(self, node: Node, items: list[Node], depth: int) -> Node:
        step = self._override.steps[depth]
        names = [item_name(item) for item in items]
        if step in names:
            index = names.index(step)
        elif step.isascii() and step.isdigit() and int(step) < len(items):
            index = int(step)
        else:
            known = [name for name in names if name is not None]
            hint = nearest(step, known) or f"items are numbered 0 to {len(items) - 1}"
            return self._nowhere(node, depth, f"there is no {step!r}", hint)
        changed = [*items[:index], self.put(items[index], depth + 1), *items[index + 1 :]]
        return Node(changed, node.mark, node.key)

    def _nowhere(self, node: Node, depth: int, message: str, hint: str = "") -> Node:
        path = ".".join(self._override.steps[: depth + 1])
        self._problems.add(Code.OVERRIDE_PATH, self._override.mark, message, path=path, hint=hint)
        return node
