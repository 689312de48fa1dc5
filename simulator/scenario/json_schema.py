"""JSON Schema (2020-12) of scenario and region files, for editors and other programs.

It describes *files*, not the models behind them: mechanisms are flat and closed per kind, a region
may be a path, an overlay may leave out what it does not change, pools may come from templates and
fleets. What a schema cannot say (names that exist, sums, order) is left to ``simulator validate``.

Every object has two forms. The *part* knows all keys and demands only the name of the item; the
complete form adds the keys that are required. Where a file may build on another one, or on a
template or fleet, the part is enough.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from simulator.registry import REGISTRY, config_of
from simulator.scenario.region import Fleet, Region
from simulator.scenario.resolve import REGION_KEYS, SCENARIO_KEYS
from simulator.scenario.schema import Scenario
from simulator.scenario.typed import SECTIONS

if TYPE_CHECKING:
    from pydantic import BaseModel

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MODELINE: Final = "# yaml-language-server: $schema="
_REF: Final = "#/$defs/"
_DROP: Final[Schema] = {"const": True, "description": "Remove this item of the file below."}
_TEMPLATE: Final[Schema] = {
    "type": "string",
    "description": "Template of the region on which this pool is laid.",
}
_EXTENDS: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "description": "Path of the file over which this one is laid, relative to this file.",
}
_FILE: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "description": "Path of the region file, relative to this file.",
}
_SCHEMA_KEY: Final[Schema] = {"const": 1, "description": "Version of the file format."}


def file_schema() -> Schema:
    """Return the schema of a scenario or region file, with all registered mechanisms."""
    return _Builder().build()


class _Builder:
    """Collects definitions from the models and writes the forms of files around them."""

    def __init__(self) -> None:
        self._kinds = {
            section: [(entry.kind, entry.summary) for entry in REGISTRY.entries(family)]
            for section, family in SECTIONS.items()
        }
        configs = {
            (section, kind): config_of(SECTIONS[section], kind)
            for section, kinds in self._kinds.items()
            for kind, _ in kinds
        }
        models: list[type[BaseModel]] = [Scenario, Region, Fleet, *configs.values()]
        refs, top = models_json_schema([(model, "validation") for model in models])
        self._defs: Schema = _tidy(top["$defs"])
        self._scenario = self._defs.pop(_name(refs[Scenario, "validation"]))
        self._region = self._defs.pop(_name(refs[Region, "validation"]))
        self._fleet = self._defs.pop(_name(refs[Fleet, "validation"]))
        self._configs = {
            key: self._defs.pop(_name(refs[model, "validation"])) for key, model in configs.items()
        }
        self._defs = {name: d for name, d in self._defs.items() if name != "Mechanism"}
        self._parts: set[str] = set()

    def build(self) -> Schema:
        """Return the whole schema."""
        self._add_mechanisms()
        self._add_region()
        self._add_scenario()
        region_file = {
            "anyOf": [{"required": [key]} for key in sorted(REGION_KEYS)],
            "not": {"anyOf": [{"required": [key]} for key in sorted(SCENARIO_KEYS)]},
        }
        return {
            "$schema": DIALECT,
            "title": "Scenario or region file",
            "description": "A region file serves many scenarios; a scenario file makes one claim.",
            "type": "object",
            "if": region_file,
            "then": _ref("RegionFile"),
            "else": _ref("ScenarioFile"),
            "$defs": dict(sorted(self._used().items())),
        }

    # -------------------------------------------------------------- mechanisms

    def _add_mechanisms(self) -> None:
        for (section, kind), config in self._configs.items():
            summary = next(text for k, text in self._kinds[section] if k == kind)
            flat = deepcopy(config)
            own = {
                "id": {"$ref": _REF + "Id"},
                "kind": {"const": kind, "description": summary},
            }
            flat["properties"] = {**own, **flat.get("properties", {})}
            flat["required"] = ["id", "kind", *flat.get("required", [])]
            flat["title"], flat["description"] = f"{SECTIONS[section]} {kind}", summary
            self._defs[f"{section}.{kind}"] = flat
        pools = self._defs["Pool"]["properties"]
        self._defs["Id"] = {**pools["id"], "description": "Name: lower case, digits and '-'."}

    def _mechanisms(self, section: str, *, part: bool) -> Schema:
        names = [f"{section}.{kind}" for kind, _ in self._kinds[section]]
        if part:
            # Without its kind an item may fit several.
            items: Schema = {"anyOf": [self._part(name) for name in names]}
        else:
            items = {"oneOf": [_ref(name) for name in names]}
        return {"type": "array", "items": items if names else False}

    # -------------------------------------------------------------- files

    def _add_region(self) -> None:
        """Define ``Region`` (complete), ``Region.part`` and ``RegionFile``."""
        whole = self._region["properties"]
        part = {key: self._partial(schema) for key, schema in whole.items()}
        pool = self._defs[self._part("Pool")["$ref"].removeprefix(_REF)]
        pool["properties"]["template"] = _TEMPLATE
        template = {**deepcopy(pool), "required": []}
        template["properties"] = {
            k: v for k, v in pool["properties"].items() if k not in {"id", "template", "drop"}
        }
        self._defs["Template"] = template
        fleet = {**self._fleet, "properties": {**self._fleet["properties"]}}
        fleet["properties"]["template"] = _TEMPLATE
        fleet["properties"]["pool"] = {**deepcopy(template)}
        fleet["properties"]["pool"]["properties"]["template"] = _TEMPLATE
        self._defs["Fleet"] = fleet
        extra: Schema = {
            "templates": {
                "type": "object",
                "additionalProperties": _ref("Template"),
                "description": "Parts of pools by name, for 'template'.",
            },
            "fleets": {
                "type": "array",
                "items": self._part("Fleet"),
                "description": "Many alike pools, made from one template each.",
            },
        }
        self._defs["Region.part"] = _object({**part, **extra}, [])
        needed = {"required": [k for k in self._region["required"] if k != "pools"]}
        self._defs["Region"] = {
            "title": "Region",
            "description": self._region["description"],
            "allOf": [
                _ref("Region.part"),
                needed,
                {"anyOf": [{"required": ["pools"]}, {"required": ["fleets"]}]},
                {
                    "if": {"not": {"required": ["fleets"]}},
                    "then": {"properties": {"pools": self._complete("Pool", but="template")}},
                },
                {
                    "if": {"not": {"required": ["fleets"]}},
                    "then": {"properties": {"dependencies": self._complete("Dependency")}},
                },
                {"properties": {"services": self._complete("Service")}},
                {"properties": {"control_planes": self._complete("ControlPlane")}},
                {"properties": {"fleets": {"items": {"required": self._fleet["required"]}}}},
            ],
        }
        overlay = deepcopy(self._defs["Region.part"])
        overlay["properties"]["extends"] = _EXTENDS
        self._defs["Region.overlay"] = overlay
        self._defs["RegionFile"] = _if_extends("Region.overlay", "Region")

    def _add_scenario(self) -> None:
        """Define ``Scenario`` (complete), ``Scenario.part`` and ``ScenarioFile``."""
        whole = dict(self._scenario["properties"])
        part = {key: self._partial(schema) for key, schema in whole.items()}
        for section in SECTIONS:
            text = {"description": f"Mechanisms of the family {SECTIONS[section]!r}."}
            whole[section] = {**self._mechanisms(section, part=False), **text}
            part[section] = {**self._mechanisms(section, part=True), **text}
        change = deepcopy(self._defs["Region.part"])
        change["properties"]["file"] = _FILE
        self._defs["Region.change"] = {**change, "required": ["file"]}
        self._defs["Region.change.part"] = change
        whole["region"] = _string_or(
            {
                "if": {"type": "object", "required": ["file"]},
                "then": _ref("Region.change"),
                "else": _ref("Region"),
            }
        )
        part["region"] = _string_or(_ref("Region.change.part"))
        part["extends"] = _EXTENDS
        self._defs["Scenario"] = {**self._scenario, "properties": whole}
        self._defs["Scenario.overlay"] = _object(part, ["extends"])
        self._defs["ScenarioFile"] = _if_extends("Scenario.overlay", "Scenario")

    def _complete(self, name: str, but: str = "") -> Schema:
        """Return a list whose items have the required keys, but for those with the key `but`."""
        required = {"required": self._defs[name]["required"]}
        if but:
            return {"items": {"if": {"required": [but]}, "then": {}, "else": required}}
        return {"items": required}

    # -------------------------------------------------------------- parts

    def _part(self, name: str) -> Schema:
        """Define the part of a definition and refer to it."""
        part_name = f"{name}.part"
        if part_name not in self._defs:
            self._defs[part_name] = {}  # definitions may refer to themselves
            self._defs[part_name] = self._partial_object(self._defs[name])
        return _ref(part_name)

    def _partial_object(self, schema: Schema) -> Schema:
        properties = {k: self._partial(v) for k, v in schema.get("properties", {}).items()}
        names = _item_names(schema)
        if names:
            properties["drop"] = _DROP
        return {**schema, "properties": properties, "required": names}

    def _partial(self, schema: Schema) -> Schema:
        """Return the form of a value of which an overlay may give only a part."""
        if "$ref" in schema:
            name = _name(schema)
            if self._defs.get(name, {}).get("type") != "object":
                return schema
            return {**schema, **self._part(name)}
        if schema.get("type") == "array":
            target = self._defs.get(_name(schema.get("items", {})), {})
            if _item_names(target):
                return {**schema, "items": self._partial(schema["items"])}
            return schema  # items without names are replaced as a whole
        for union in ("anyOf", "oneOf"):
            if union in schema and any("$ref" in member for member in schema[union]):
                rest = {k: v for k, v in schema.items() if k != union}
                return {**rest, "anyOf": [self._partial(member) for member in schema[union]]}
        return schema

    def _used(self) -> Schema:
        """Return the definitions that the files refer to."""
        used: Schema = {}
        open_names = ["RegionFile", "ScenarioFile"]
        while open_names:
            name = open_names.pop()
            if name not in used:
                used[name] = self._defs[name]
                open_names += _refs_in(used[name])
        return used


def _tidy(schema: Any) -> Any:  # noqa: ANN401 - any tree
    """Remove what pydantic adds for other readers: titles of fields, OpenAPI's discriminator."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value) for key, value in schema.items() if key != "discriminator"}
    for name, field in tidy.get("properties", {}).items():
        if name == "schema":
            tidy["properties"][name] = _SCHEMA_KEY
        else:
            field.pop("title", None)
    if isinstance(tidy.get("description"), str):
        tidy["description"] = " ".join(tidy["description"].split())
    return tidy


def _name(schema: Schema) -> str:
    return str(schema.get("$ref", "")).removeprefix(_REF)


def _ref(name: str) -> Schema:
    return {"$ref": _REF + name}


def _refs_in(schema: Any) -> list[str]:  # noqa: ANN401 - any tree
    if isinstance(schema, list):
        return [name for item in schema for name in _refs_in(item)]
    if not isinstance(schema, dict):
        return []
    found = [_name(schema)] if isinstance(schema.get("$ref"), str) else []
    return found + [name for value in schema.values() for name in _refs_in(value)]


def _item_names(schema: Schema) -> list[str]:
    """Return the keys by which items of this form are merged."""
    properties = schema.get("properties", {})
    if "id" in properties:
        return ["id"]
    return ["from", "to"] if {"from", "to"} <= properties.keys() else []


def _object(properties: Schema, required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _string_or(schema: Schema) -> Schema:
    return {"if": {"type": "string"}, "then": _FILE, "else": schema}


def _if_extends(overlay: str, whole: str) -> Schema:
    return {"if": {"required": ["extends"]}, "then": _ref(overlay), "else": _ref(whole)}


def schema_text() -> str:
    """Return the schema as text, the same for the same mechanisms."""
    return json.dumps(file_schema(), indent=1, ensure_ascii=False) + "\n"
