"""Values that know where they were written, and the list of problems found in them."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from simulator.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from simulator.scenario.codes import Code

Scalar = str | int | float | bool | None
Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1, and are 0 where there is none."""

    file: str
    line: int = 0
    column: int = 0


@dataclass(slots=True)
class Node:
    """A value with its place; containers hold nodes.

    Trees may share nodes, because no function changes a tree: a change is a new tree.
    """

    value: Scalar | dict[str, Node] | list[Node]
    mark: Mark
    key: Mark | None = None
    """Place of the key that leads here (``None`` for list items and the root)."""

    def mapping(self) -> dict[str, Node]:
        """Return the children of a mapping; empty for everything else."""
        return self.value if isinstance(self.value, dict) else {}

    def items(self) -> list[Node]:
        """Return the children of a list; empty for everything else."""
        return self.value if isinstance(self.value, list) else []

    def list_of(self, key: str) -> list[Node]:
        """Return the items of the list under ``key``; empty if there is none."""
        child = self.mapping().get(key)
        return child.items() if child is not None else []

    def text(self, key: str) -> str | None:
        """Return the text under ``key``, if this is a mapping and that is text."""
        child = self.mapping().get(key)
        return child.value if child is not None and isinstance(child.value, str) else None

    def plain(self) -> object:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def copy(self) -> Node:
        """Return an equal tree that shares nothing with this one."""
        value = self.value
        if isinstance(value, dict):
            return Node({k: child.copy() for k, child in value.items()}, self.mark, self.key)
        if isinstance(value, list):
            return Node([child.copy() for child in value], self.mark, self.key)
        return Node(value, self.mark, self.key)

    def child(self, step: str | int) -> Node | None:
        """Return the child under a key, at an index or with a name; ``None`` if there is none."""
        if isinstance(self.value, dict):
            return self.value.get(str(step))
        if not isinstance(self.value, list):
            return None
        if isinstance(step, int):
            return self.value[step] if 0 <= step < len(self.value) else None
        return next((item for item in self.value if item_name(item) == step), None)


def item_name(node: Node) -> str | None:
    """Return the name by which an item of a list is known: its ``id``, or ``from->to``."""
    name = node.text("id")
    if name is not None:
        return name
    ends = node.text("from"), node.text("to")
    return f"{ends[0]}->{ends[1]}" if None not in ends else None


def kind_of(value: object) -> str:
    """Say what a value is, in words."""
    if isinstance(value, Node):
        value = value.value
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value!r}"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return quote(value)


def quote(value: object, *, limit: int = 60) -> str:
    """Return the value in quotes, shortened and on one line."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 4]}...{text[-1]}"


def nearest(name: object, known: Iterable[str]) -> str:
    """Return a hint with the most similar known name, or with all of them if they are few."""
    names = sorted(set(known))
    close = get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(names[:12])
    return f"known: {shown}, ... ({len(names)} in all)" if len(names) > 12 else f"known: {shown}"  # noqa: PLR2004


def _one_line(text: str) -> str:
    """Escape what would break the line, or control a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class Problems:
    """Collects what is wrong, so that everything can be reported at once."""

    def __init__(self) -> None:
        self._found: dict[tuple[object, ...], Problem] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    def add(self, code: Code, mark: Mark, message: str, *, path: str = "", hint: str = "") -> None:
        """Note a problem; the same one at the same place (copies of a fleet) counts once."""
        last = path.rpartition(".")[2]
        key = (mark, code, message, last)
        if key not in self._found:
            path, message, hint = _one_line(path), _one_line(message), _one_line(hint)
            self._found[key] = Problem(
                mark.file, mark.line, mark.column, path, str(code), message, hint
            )

    def take(self, more: Iterable[Problem]) -> None:
        """Take over problems that were found elsewhere."""
        for problem in more:
            self._found.setdefault((problem,), problem)


def path_text(root: Node, loc: Sequence[str | int]) -> str:
    """Return the dotted path of ``loc``, with the names of list items instead of their numbers."""
    parts: list[str] = []
    node: Node | None = root
    for step in loc:
        node = node.child(step) if node is not None else None
        name = item_name(node) if isinstance(step, int) and node is not None else None
        parts.append(str(step) if name is None else name)
    return ".".join(parts)
