"""From files to one tree: ``extends`` and ``region`` followed, templates and fleets still in it."""

from __future__ import annotations

import os
from pathlib import Path

from simulator.scenario.codes import Code
from simulator.scenario.merge import merge
from simulator.scenario.nodes import Node, Problems, kind_of, quote
from simulator.scenario.overrides import FILE as SET
from simulator.scenario.yaml_reader import parse_text, read_file

REGION_KEYS = frozenset(
    {"zones", "pools", "services", "dependencies", "control_planes", "fleets", "templates"}
)

SCENARIO_KEYS = frozenset({"region", "horizon", "claim"})


class Resolver:
    """Reads documents with everything that they build on.

    Parameters
    ----------
    problems : Problems
        Takes what is wrong.
    texts : dict[str, str], optional
        Documents that are not read from disk, by name.
    """

    def __init__(self, problems: Problems, texts: dict[str, str] | None = None) -> None:
        self._problems = problems
        self._texts = texts or {}
        self.files: list[str] = []
        """Names of the files read, in order."""

    def document(
        self,
        name: str,
        *,
        asked: Node | None = None,
        asked_path: str = "",
        trail: tuple[str, ...] = (),
    ) -> Node | None:
        """Return a document laid over everything that it extends; None if that cannot be had."""
        if name in self._texts:
            root = parse_text(self._texts[name], name, self._problems)
        else:
            self.files.append(name)
            root = read_file(name, self._problems, asked=asked, asked_path=asked_path)
        if root is None:
            return None
        if not isinstance(root.value, dict):
            message = f"a scenario or region file is a mapping (key: value), not {kind_of(root)}"
            self._problems.add(Code.NOT_A_MAPPING, root.mark, message)
            return None
        keys = dict(root.value)
        extends = keys.pop("extends", None)
        if extends is None:
            return root
        top = Node(keys, root.mark, root.key)
        trail = (*trail, name)
        below = self._referenced(extends, "extends", trail)
        if below is None:
            return None
        return merge(_region_as_mapping(below, top), top, self._problems)

    def _referenced(self, reference: Node, path: str, trail: tuple[str, ...]) -> Node | None:
        """Return the document that a value names."""
        name = self.path_of(reference, path)
        if name is None:
            return None
        seen = [os.path.realpath(step) for step in trail]
        if os.path.realpath(name) in seen:
            chain = " -> ".join((*trail, name))
            self._problems.add(
                Code.EXTENDS_CYCLE,
                reference.mark,
                f"files extend each other in a circle: {chain}",
                path=path,
                hint="one of them must stand alone",
            )
            return None
        return self.document(name, asked=reference, asked_path=path, trail=trail)

    def path_of(self, reference: Node, path: str) -> str | None:
        """Return the path that a value names, relative to the file in which it was written.

        A value from the command line is relative to the working directory.
        """
        value = reference.value
        if not isinstance(value, str) or not value.strip() or "\x00" in value:
            self._problems.add(
                Code.FILE_REFERENCE,
                reference.mark,
                f"expected the path of a file, got {kind_of(reference)}",
                path=path,
            )
            return None
        if Path(value).is_absolute() and reference.mark.file != SET:
            self._problems.add(
                Code.FILE_REFERENCE,
                reference.mark,
                f"path {quote(value)} is absolute",
                path=path,
                hint="write it relative to this file, so that the scenario can be moved",
            )
            return None
        # "--set" has no folder: what it names is relative to the working directory.
        return os.path.normpath(Path(reference.mark.file).parent / value)

    def with_region(self, root: Node) -> Node:
        """Return a scenario with its region read in and changed as the scenario asks."""
        region = root.mapping().get("region")
        if region is None:
            return root
        changes: dict[str, Node] = {}
        reference: Node | None = region
        if isinstance(region.value, dict):
            changes = dict(region.value)
            reference = changes.pop("file", None)
            if reference is None:
                return root
        below = self._referenced(reference, "region", ()) if reference is not None else None
        if below is not None and reference is not None and below.mapping().keys() & SCENARIO_KEYS:
            message = f"{quote(reference.value)} is a scenario and not a region"
            self._problems.add(Code.WRONG_FORM, reference.mark, message, path="region")
            below = None
        keys = dict(root.mapping())
        if below is None:
            del keys["region"]
            keys[BROKEN] = region
        else:
            top = Node(changes, region.mark, region.key)
            keys["region"] = merge(below, top, self._problems, path="region")
        return Node(keys, root.mark, root.key)


BROKEN = "\x00broken"
"""Key of a scenario whose region cannot be read, so that it is not called missing as well."""


def _region_as_mapping(below: Node, top: Node) -> Node:
    """Write ``region: x`` as ``region: {file: x}`` where an overlay changes the region."""
    region, change = below.mapping().get("region"), top.mapping().get("region")
    if region is None or change is None:
        return below
    if isinstance(region.value, dict) or not isinstance(change.value, dict):
        return below
    wrapped = Node({"file": region}, region.mark, region.key)
    return Node({**below.mapping(), "region": wrapped}, below.mark, below.key)


def is_region(root: Node) -> bool:
    """Tell whether a document describes a region and not a scenario."""
    keys = root.mapping().keys()
    return bool(keys & REGION_KEYS) and not keys & SCENARIO_KEYS
