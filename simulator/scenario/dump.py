"""A scenario as text that loads to an equal one, and its hash."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import rfc8785
import yaml

from simulator.scenario.nodes import Mark, Node
from simulator.scenario.typed import SECTIONS
from simulator.scenario.yaml_reader import scalar

if TYPE_CHECKING:
    from simulator.scenario.region import Region
    from simulator.scenario.schema import Scenario

_INTEGER_MAX = 2**53 - 1
"""Largest whole number that every reader of JSON keeps."""


def dump_scenario(scenario: Scenario) -> str:
    """Return a scenario as YAML: whole, with its region and all defaults, quantities with units.

    ``parse_scenario`` reads an equal scenario from it.
    """
    return _write(scenario_data(scenario))


def dump_region(region: Region) -> str:
    """Return a region as YAML, from which ``parse_region`` reads an equal region."""
    return _write(_file_form(region))


def scenario_data(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario in the form of a file: plain data, quantities with units."""
    return _flat(_file_form(scenario))


def scenario_hash(scenario: Scenario) -> str:
    """Return the SHA-256 of a scenario's canonical JSON (RFC 8785), in hexadecimal.

    Equal scenarios have equal hashes, however their files are written: comments, order of keys,
    overlays and units (``90s``, ``1m30s``) do not count; every value, text and title does.
    """
    data = _canonical(_flat(scenario.model_dump(mode="python", by_alias=True)))
    return hashlib.sha256(rfc8785.dumps(data)).hexdigest()


def node_of(data: object, mark: Mark) -> Node:
    """Return plain data as a tree, all of it at one place."""
    if isinstance(data, dict):
        return Node({str(key): node_of(value, mark) for key, value in data.items()}, mark, mark)
    if isinstance(data, list | tuple):
        return Node([node_of(value, mark) for value in data], mark, mark)
    assert data is None or isinstance(data, str | int | float | bool), data
    return Node(data, mark, mark)


def _file_form(model: Scenario | Region) -> dict[str, Any]:
    data = model.model_dump(mode="json", by_alias=True)
    return dict(_sorted_sets(data, model.model_dump(mode="python", by_alias=True)))


def _sorted_sets(data: Any, original: Any) -> Any:  # noqa: ANN401 - any tree
    """Sort what was a set, which has no order of its own."""
    if isinstance(original, set | frozenset):
        return sorted(data, key=repr)
    if isinstance(original, dict):
        return {key: _sorted_sets(data[str(key)], value) for key, value in original.items()}
    if isinstance(original, list | tuple):
        return [_sorted_sets(item, value) for item, value in zip(data, original, strict=True)]
    return data


def _flat(data: dict[str, Any]) -> dict[str, Any]:
    """Write mechanisms flat, as files do."""
    flat = dict(data)
    for section in SECTIONS:
        flat[section] = [
            {"id": item["id"], "kind": item["kind"], **item["config"]} for item in data[section]
        ]
    return flat


def _canonical(data: Any) -> Any:  # noqa: ANN401 - any tree
    """Return a tree that RFC 8785 can write."""
    if isinstance(data, dict):
        return {str(key): _canonical(value) for key, value in data.items()}
    if isinstance(data, set | frozenset):
        return sorted((_canonical(value) for value in data), key=repr)
    if isinstance(data, list | tuple):
        return [_canonical(value) for value in data]
    if isinstance(data, int) and not isinstance(data, bool) and abs(data) > _INTEGER_MAX:
        return str(data)
    return data


_BASE: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_BASE):  # type: ignore[misc, valid-type]
    """Quotes every text that YAML 1.1 or 1.2 would not read as text."""

    def ignore_aliases(self, data: object) -> bool:
        """Write equal values out, instead of anchors and aliases."""
        return True


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = isinstance(scalar(text), str) if text else False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else "'")


_Dumper.add_representer(str, _write_text)


def _write(data: dict[str, Any]) -> str:
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
