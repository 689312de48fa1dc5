"""What a document declares, as far as it can be understood: the view that checks share.

Checks read the tree and not the validated types, so that a wrong number in one place does not hide
a wrong name in another: everything is reported at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.errors import RegistryError
from simulator.registry import config_of
from simulator.scenario.nodes import Mark, Node, Problems, item_name
from simulator.scenario.typed import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from simulator.scenario.codes import Code


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a list, with its path in the document."""

    path: str
    node: Node

    @property
    def id(self) -> str:
        """Its id, or an empty text."""
        return self.node.text("id") or ""

    def names(self, key: str) -> Iterator[tuple[str, Node]]:
        """Yield the text under a key with its node, if there is one."""
        child = self.node.mapping().get(key)
        if child is not None and isinstance(child.value, str):
            yield child.value, child


@dataclass(frozen=True, slots=True)
class DeclaredMechanism(Item):
    """A mechanism with its section and, if its kind is known, the model of its configuration."""

    section: str = ""
    config: type[BaseModel] | None = None


@dataclass(frozen=True)
class Declared:
    """A scenario or a region.

    Parameters
    ----------
    root : Node
        The scenario; empty for a region on its own.
    region : Node
        The region; empty if there is none.
    prefix : str
        What goes before paths inside the region: ``region.`` or nothing.
    """

    root: Node
    region: Node
    prefix: str = ""
    problems: Problems = field(default_factory=Problems)

    @classmethod
    def of_scenario(cls, root: Node) -> Declared:
        """Return the view of a whole scenario."""
        return cls(root, root.mapping().get("region") or _NOTHING, "region.")

    @classmethod
    def of_region(cls, region: Node) -> Declared:
        """Return the view of a region on its own."""
        return cls(_NOTHING, region)

    def in_region(self, section: str) -> list[Item]:
        """Return the items of one list of the region."""
        return _items(self.region, section, self.prefix)

    def ids(self, section: str) -> frozenset[str]:
        """Return the ids in one list of the region."""
        return frozenset(item.id for item in self.in_region(section))

    @property
    def zones(self) -> frozenset[str]:
        """Ids of the zones."""
        return frozenset(str(zone.value) for zone in self.region.list_of("zones"))

    @property
    def alarms(self) -> list[Item]:
        """The alarms of the telemetry."""
        telemetry = self.root.mapping().get("telemetry") or _NOTHING
        return _items(telemetry, "alarms", "telemetry.")

    def mechanisms(self) -> list[DeclaredMechanism]:
        """Return all mechanisms of all sections."""
        found = []
        for section, family in SECTIONS.items():
            for item in _items(self.root, section, ""):
                try:
                    config = config_of(family, item.node.text("kind") or "")
                except RegistryError:
                    config = None
                found.append(DeclaredMechanism(item.path, item.node, section, config))
        return found

    def at(self, *steps: str) -> Node | None:
        """Return the node under a path from the root."""
        node: Node | None = self.root
        for step in steps:
            node = node.mapping().get(step) if node is not None else None
        return node

    def note(self, code: Code, node: Node, path: str, message: str, hint: str = "") -> None:
        """Note a problem at a value."""
        self.problems.add(code, node.mark, message, path=path, hint=hint)

    def note_key(self, code: Code, node: Node, path: str, message: str, hint: str = "") -> None:
        """Note a problem at the key of a value."""
        self.problems.add(code, node.key or node.mark, message, path=path, hint=hint)


_NOTHING = Node({}, Mark(""))


def _items(holder: Node, section: str, prefix: str) -> list[Item]:
    return [
        Item(f"{prefix}{section}.{item_name(node) or number}", node)
        for number, node in enumerate(holder.list_of(section))
    ]
