"""Templates and fleets: pools written once and laid out many times.

A template is part of a pool; a pool or fleet that says ``template: name`` is laid over it. A fleet
is ``count`` copies of a pool, ``<id>-0001`` and so on, each with its own dependencies. A pool or
dependency written out under the name of a copy changes that copy.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from simulator.scenario.codes import Code
from simulator.scenario.merge import merge
from simulator.scenario.nodes import Node, Problems, kind_of, nearest
from simulator.scenario.region import Fleet
from simulator.scenario.typed import validate_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.scenario.nodes import Mark

POOLS_MAX = 20_000
DIGITS_MIN = 4


def copy_ids(fleet_id: str, count: int) -> list[str]:
    """Return the names of a fleet's copies."""
    width = max(DIGITS_MIN, len(str(count)))
    return [f"{fleet_id}-{number:0{width}d}" for number in range(1, count + 1)]


class RegionExpander:
    """Lays out the templates and fleets of one region.

    Parameters
    ----------
    region : Node
        The region, fleets and templates in it.
    problems : Problems
        Takes what is wrong.
    path : str
        Path of the region in the document (``region.``, or empty in a region file).
    """

    def __init__(self, region: Node, problems: Problems, path: str = "") -> None:
        self._region = region
        self._problems = problems
        self._path = path
        self._templates = self._mapping("templates")
        self._zones = region.list_of("zones")
        self._fleets: dict[str, list[str]] = {}

    def expand(self) -> Node:
        """Return the region with every pool and dependency written out."""
        keys = dict(self._region.mapping())
        keys.pop("templates", None)
        fleets = list(self._valid_fleets(keys.pop("fleets", None)))
        pools, dependencies = keys.get("pools"), keys.get("dependencies")
        made_pools: list[Node] = []
        made_edges: list[Node] = []
        for fleet, place in fleets:
            made_pools += self._copies(fleet, place)
            made_edges += self._edges(fleet, place)
        keys_at = self._region.mark
        if pools is not None or made_pools:
            written = self._with_templates(pools, "pools")
            keys["pools"] = self._laid_over(made_pools, written, "pools", keys_at)
        if made_edges:
            keys["dependencies"] = self._laid_over(
                made_edges, dependencies, "dependencies", keys_at
            )
        return Node(keys, self._region.mark, self._region.key)

    def _mapping(self, key: str) -> dict[str, Node]:
        node = self._region.mapping().get(key)
        if node is None:
            return {}
        if not isinstance(node.value, dict):
            self._wrong(node, key, f"expected a mapping of names to pools, got {kind_of(node)}")
            return {}
        for name, template in node.value.items():
            if not isinstance(template.value, dict):
                self._wrong(
                    template, f"{key}.{name}", f"expected a mapping, got {kind_of(template)}"
                )
            for word in ("id", "template"):
                if word in template.mapping():
                    at = template.mapping()[word]
                    self._problems.add(
                        Code.UNKNOWN_KEY,
                        at.key or at.mark,
                        f"a template has no key {word!r}",
                        path=f"{self._path}{key}.{name}.{word}",
                        hint="remove it",
                    )
        return {name: t for name, t in node.value.items() if isinstance(t.value, dict)}

    def _wrong(self, node: Node, path: str, message: str, code: Code = Code.WRONG_TYPE) -> None:
        self._problems.add(code, node.mark, message, path=self._path + path)

    def _with_templates(self, pools: Node | None, path: str) -> Node | None:
        if pools is None or not isinstance(pools.value, list):
            return pools
        items = [self._over_template(item, f"{path}.{n}") for n, item in enumerate(pools.value)]
        return Node(items, pools.mark, pools.key)

    def _over_template(self, pool: Node, path: str) -> Node:
        """Lay a pool or fleet over the template that it names."""
        name = pool.mapping().get("template")
        if name is None:
            return pool
        keys = {key: child for key, child in pool.mapping().items() if key != "template"}
        rest = Node(keys, pool.mark, pool.key)
        template = self._templates.get(str(name.value))
        if template is None:
            self._problems.add(
                Code.UNKNOWN_TEMPLATE,
                name.mark,
                f"there is no template {name.value!r}",
                path=f"{self._path}{path}.template",
                hint=nearest(name.value, self._templates),
            )
            template = self._stand_in(str(name.value))
        merged = merge(template, rest, self._problems, path=f"{self._path}{path}")
        return Node(merged.value, pool.mark, pool.key)

    def _stand_in(self, name: str) -> Node:
        """Return the template that was meant, so that its keys are not called missing as well."""
        near = get_close_matches(name, self._templates, n=1)
        return self._templates[near[0]] if near else Node({}, self._region.mark)

    # ------------------------------------------------------------------ fleets

    def _valid_fleets(self, fleets: Node | None) -> Iterator[tuple[Node, str]]:
        """Yield the fleets that can be laid out; the others are reported."""
        if fleets is None:
            return
        if not isinstance(fleets.value, list):
            self._wrong(fleets, "fleets", f"expected a list of fleets, got {kind_of(fleets)}")
            return
        good: list[tuple[Node, str]] = []
        for number, item in enumerate(fleets.value):
            place = f"fleets.{item.text('id') or number}"
            fleet = validate_part(Fleet, item, self._problems, path=self._path + place)
            if fleet is None:
                continue
            if fleet.id in self._fleets:
                at = item.mapping()["id"]
                self._wrong(at, place, f"fleet {fleet.id!r} is there twice", Code.DUPLICATE_ID)
                continue
            self._fleets[fleet.id] = copy_ids(fleet.id, fleet.count)
            good.append((item, place))
        total = sum(len(copies) for copies in self._fleets.values())
        if total > POOLS_MAX:
            message = f"fleets of {total:,} pools; at most {POOLS_MAX:,}"
            self._wrong(fleets, "fleets", message, Code.FLEET)
            return
        yield from good

    def _copies(self, fleet: Node, place: str) -> list[Node]:
        keys = fleet.mapping()
        body = keys.get("pool") or Node({}, fleet.mark)
        if "id" in body.mapping():
            at = body.mapping()["id"]
            self._wrong(at, f"{place}.pool.id", "copies get their ids from the fleet", Code.FLEET)
        if "template" in keys:
            body = Node({**body.mapping(), "template": keys["template"]}, body.mark, body.key)
        body = Node(self._over_template(body, place).value, fleet.mark)
        in_turn = fleet.text("placement") == "zones_in_turn"
        return [
            self._copy(body, name, keys["id"].mark, number if in_turn else None)
            for number, name in enumerate(self._fleets[str(keys["id"].value)])
        ]

    def _copy(self, body: Node, name: str, at: Mark, turn: int | None) -> Node:
        pool = {"id": Node(name, at), **{k: v for k, v in body.mapping().items() if k != "id"}}
        if turn is not None and self._zones:
            zone = self._zones[turn % len(self._zones)]
            pool["zones"] = Node({str(zone.value): Node("100%", at)}, at, at)
        return Node(pool, body.mark)

    def _edges(self, fleet: Node, place: str) -> Iterator[Node]:
        """Yield the dependencies of all copies."""
        keys = fleet.mapping()
        copies = self._fleets[str(keys["id"].value)]
        for section, far, near in (("calls", "to", "from"), ("called_by", "from", "to")):
            for number, edge in enumerate(fleet.list_of(section)):
                other = edge.mapping().get(far)
                if other is None or near in edge.mapping():
                    message = f"an item of {section!r} has {far!r} and not {near!r}"
                    self._wrong(edge, f"{place}.{section}.{number}", message, Code.FLEET)
                    continue
                at = keys["id"].mark
                others = self._fleets.get(str(other.value), [])
                for turn, name in enumerate(copies):
                    ends = {near: Node(name, at), far: other}
                    if others:
                        ends[far] = Node(others[turn % len(others)], other.mark)
                    yield Node({"from": ends["from"], "to": ends["to"], **_rest(edge)}, edge.mark)

    def _laid_over(self, made: list[Node], written: Node | None, key: str, at: Mark) -> Node:
        """Lay what is written out over what the fleets made."""
        if not made:
            assert written is not None
            return written
        base = Node(made, at)
        if written is None:
            return base
        if not isinstance(written.value, list):
            return written
        return (
            merge(base, written, self._problems, path=self._path + key) if written.value else base
        )


def _rest(edge: Node) -> dict[str, Node]:
    return {key: child for key, child in edge.mapping().items() if key not in {"from", "to"}}
