"""Load scenario and region files: resolve, change, expand, validate, check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from simulator.errors import ScenarioError
from simulator.scenario.checks import check
from simulator.scenario.codes import Code
from simulator.scenario.declared import Declared
from simulator.scenario.demand import complete_demand
from simulator.scenario.fleets import RegionExpander
from simulator.scenario.merge import refuse_leftover_drops
from simulator.scenario.nodes import Node, Problems
from simulator.scenario.overrides import apply_override, parse_overrides
from simulator.scenario.region import Region
from simulator.scenario.resolve import BROKEN, SCENARIO_KEYS, Resolver, is_region
from simulator.scenario.schema import Scenario
from simulator.scenario.typed import SECTIONS, mechanisms, refuse_non_finite, validate_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simulator.scenario.nodes import Loc

PARTS_OF_ITEM = 2
"""Steps that lead from a region to an item of one of its lists: key and number."""

_REGION_LISTS: tuple[Loc, ...] = (("pools",), ("dependencies",), ("services",), ("control_planes",))
_SCENARIO_LISTS: tuple[Loc, ...] = (
    *((section,) for section in SECTIONS),
    ("telemetry", "alarms"),
    *(("region", *place) for place in _REGION_LISTS),
)


def load_scenario(path: str | os.PathLike[str], *, overrides: Iterable[str] = ()) -> Scenario:
    """Load and check a scenario file.

    Parameters
    ----------
    path : str | os.PathLike[str]
        The file.
    overrides : Iterable[str]
        Changes ``path=value``, applied before validation; items of lists are addressed by id
        (dependencies by ``from->to``) or number: ``region.pools.edge.units=40``. A file that an
        override names is relative to the working directory.

    Returns
    -------
    Scenario
        Self-contained: nothing in it refers to another file.

    Raises
    ------
    ScenarioError
        With every problem of all files involved.
    """
    return _scenario(Resolver(problems := Problems()), os.fspath(path), overrides, problems)


def parse_scenario(text: str, *, name: str = "<text>", overrides: Iterable[str] = ()) -> Scenario:
    """Load a scenario from text; paths in it are relative to the working directory."""
    problems = Problems()
    return _scenario(Resolver(problems, {name: text}), name, overrides, problems)


def load_region(path: str | os.PathLike[str], *, overrides: Iterable[str] = ()) -> Region:
    """Load and check a region file; paths of overrides begin inside the region.

    Raises
    ------
    ScenarioError
        With every problem of all files involved.
    """
    return _region(Resolver(problems := Problems()), os.fspath(path), overrides, problems)


def parse_region(text: str, *, name: str = "<text>") -> Region:
    """Load a region from text."""
    problems = Problems()
    return _region(Resolver(problems, {name: text}), name, (), problems)


def load_any(path: str | os.PathLike[str], *, overrides: Iterable[str] = ()) -> Scenario | Region:
    """Load a scenario or a region file, whichever it is."""
    problems = Problems()
    resolver = Resolver(problems)
    root = resolver.document(os.fspath(path))
    if root is None:
        raise ScenarioError(problems)
    if is_region(root):
        return _finish_region(root, overrides, problems)
    return _finish_scenario(resolver, root, overrides, problems)


def _scenario(
    resolver: Resolver, name: str, overrides: Iterable[str], problems: Problems
) -> Scenario:
    root = resolver.document(name)
    if root is None:
        raise ScenarioError(problems)
    if is_region(root):
        _refuse_form(root, problems, "a region", "a scenario")
    return _finish_scenario(resolver, root, overrides, problems)


def _refuse_form(root: Node, problems: Problems, this: str, wanted: str) -> NoReturn:
    message = f"this file describes {this}, and {wanted} is needed"
    hint = f"scenarios name their region by 'region: {Path(root.mark.file).name}'"
    problems.add(Code.WRONG_FORM, root.mark, message, hint=hint if wanted == "a scenario" else "")
    raise ScenarioError(problems)


def _region(resolver: Resolver, name: str, overrides: Iterable[str], problems: Problems) -> Region:
    root = resolver.document(name)
    if root is None:
        raise ScenarioError(problems)
    if root.mapping().keys() & SCENARIO_KEYS:
        _refuse_form(root, problems, "a scenario", "a region")
    return _finish_region(root, overrides, problems)


def _finish_scenario(
    resolver: Resolver, root: Node, overrides: Iterable[str], problems: Problems
) -> Scenario:
    changes = parse_overrides(overrides, problems)
    for change in (c for c in changes if c.names_region):
        root = apply_override(root, change, problems)
    root = resolver.with_region(root)
    rest = [c for c in changes if not c.names_region]
    for change in (c for c in rest if c.before_expansion):
        root = apply_override(root, change, problems)
    region = root.mapping().get("region")
    if region is not None:
        region = RegionExpander(region, problems, "region.").expand()
        root = Node({**root.mapping(), "region": region}, root.mark, root.key)
    for change in (c for c in rest if not c.before_expansion):
        root = apply_override(root, change, problems)
    root = complete_demand(root, resolver, problems)
    root = refuse_leftover_drops(root, _SCENARIO_LISTS, problems)
    return validate_scenario(root, problems)


def _finish_region(root: Node, overrides: Iterable[str], problems: Problems) -> Region:
    changes = parse_overrides(overrides, problems)
    for change in (c for c in changes if c.before_expansion):
        root = apply_override(root, change, problems)
    root = RegionExpander(root, problems).expand()
    for change in (c for c in changes if not c.before_expansion):
        root = apply_override(root, change, problems)
    root = refuse_leftover_drops(root, _REGION_LISTS, problems)
    return validate_region(root, problems)


def _scenario_keys(loc: Loc) -> Sequence[str]:
    """Return the keys of a scenario file that its declared types do not have."""
    if not loc:
        return ("extends", *SECTIONS)
    if loc == ("region",):
        return ("file", "fleets", "templates")
    return _region_keys(loc[1:]) if loc[0] == "region" else ()


def _region_keys(loc: Loc) -> Sequence[str]:
    """Return the keys of a region file that its declared types do not have."""
    if not loc:
        return ("extends", "fleets", "templates")
    return ("template",) if len(loc) == PARTS_OF_ITEM and loc[0] == "pools" else ()


def validate_region(root: Node, problems: Problems) -> Region:
    """Validate the tree of a whole region and check what its types cannot say."""
    whole = not problems
    region = validate_part(Region, root, problems, extra=_region_keys)
    refuse_non_finite(root, problems)
    if whole:
        check(Declared.of_region(root), problems)
    if problems or region is None:
        raise ScenarioError(problems)
    return region


def validate_scenario(root: Node, problems: Problems) -> Scenario:
    """Validate the tree of a whole scenario and check what its types cannot say.

    The checks need the whole tree: where a part could not be read or laid out, names would seem to
    be missing that are not.
    """
    whole = not problems
    keys = dict(root.mapping())
    broken = keys.pop(BROKEN, None)
    root = Node(keys, root.mark, root.key)
    built = {section: mechanisms(root, section, problems) for section in SECTIONS}
    rest = {key: child for key, child in keys.items() if key not in SECTIONS}
    skip = ("region",) if broken is not None else ()
    scenario = validate_part(
        Scenario, Node(rest, root.mark), problems, extra=_scenario_keys, skip=skip
    )
    refuse_non_finite(root, problems)
    if whole:
        check(Declared.of_scenario(root), problems)
    if problems or scenario is None:
        raise ScenarioError(problems)
    return scenario.model_copy(update={s: tuple(built[s] or ()) for s in SECTIONS})
