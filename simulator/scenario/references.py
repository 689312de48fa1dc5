"""Types for configuration fields that name something in the scenario.

A mechanism that names a pool writes ``pool: PoolRef``; the loader then reports a name that names
nothing, with the nearest one, and editors learn it from the JSON Schema (``x-refers-to``). An
empty text (the usual default for "all" or "none") refers to nothing and is not checked.

==================  ===========================================================================
`PoolRef`           id of a pool
`ServiceRef`        id of a service
`ZoneRef`           id of a zone
`ControlPlaneRef`   id of a control plane, or ``break-glass``
`ActorRef`          id of a healing loop, an automation or a person
`MechanismRef`      id of any mechanism of the scenario
`SelectorRef`       a pool id, a pattern such as ``cell-*`` that fits at least one, or ``*``
==================  ===========================================================================

They work inside lists, tuples, mappings (keys and values), ``| None`` and nested models. A field of
another type refers by ``Field(json_schema_extra={"refers_to": "pool"})``; a field with one of the
names in `BY_NAME` refers without any of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import GetJsonSchemaHandler
    from pydantic.fields import FieldInfo
    from pydantic_core import CoreSchema

    from simulator.scenario.nodes import Loc

RefKind = Literal["pool", "service", "zone", "control_plane", "actor", "mechanism", "selector"]

BY_NAME: Final[Mapping[str, RefKind]] = MappingProxyType(
    {
        "control_plane": "control_plane",
        "exempt": "actor",
        "pool": "pool",
        "pools": "selector",
        "service": "service",
        "services": "service",
        "via": "control_plane",
        "zone": "zone",
        "zones": "zone",
    }
)
"""What fields refer to that say nothing themselves."""

BREAK_GLASS: Final = "break-glass"
"""Name of the path that needs no control plane."""


@dataclass(frozen=True, slots=True)
class RefersTo:
    """Metadata of a text that names something."""

    kind: RefKind

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Tell readers of the JSON Schema what is named."""
        schema = handler(core_schema)
        schema["x-refers-to"] = self.kind
        return schema


PoolRef = Annotated[str, RefersTo("pool")]
ServiceRef = Annotated[str, RefersTo("service")]
ZoneRef = Annotated[str, RefersTo("zone")]
ControlPlaneRef = Annotated[str, RefersTo("control_plane")]
ActorRef = Annotated[str, RefersTo("actor")]
MechanismRef = Annotated[str, RefersTo("mechanism")]
SelectorRef = Annotated[
    str, Field(pattern=r"^[a-z0-9*][a-z0-9*-]*$", max_length=64), RefersTo("selector")
]


def references(model: type[BaseModel], value: object) -> Iterator[tuple[Loc, RefKind, str]]:
    """Yield every name in a configuration: its path, what it names, and the name itself.

    Parameters
    ----------
    model : type[BaseModel]
        The model of the configuration.
    value : object
        The configuration as plain data, valid or not; what does not fit is passed over.
    """
    if not isinstance(value, dict):
        return
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key not in value:
            continue
        kind = _kind_of_field(name, field)
        if kind is None:
            yield from _inside(field.annotation, value[key], (key,))
        else:
            yield from _all_texts(kind, value[key], (key,))


def _kind_of_field(name: str, field: FieldInfo) -> RefKind | None:
    """Return what a field names as a whole."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "refers_to" in extra:
        return extra["refers_to"]  # type: ignore[return-value]
    return _kind_in(field.metadata) or BY_NAME.get(name)


def _kind_in(metadata: Iterable[object]) -> RefKind | None:
    return next((item.kind for item in metadata if isinstance(item, RefersTo)), None)


def _all_texts(kind: RefKind, value: object, at: Loc) -> Iterator[tuple[Loc, RefKind, str]]:
    """Yield the texts in a value that names things as a whole."""
    if isinstance(value, str):
        if value:
            yield at, kind, value
    elif isinstance(value, dict):
        for key in value:
            yield (*at, key), kind, key
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _all_texts(kind, item, (*at, number))


def _inside(annotation: object, value: object, at: Loc) -> Iterator[tuple[Loc, RefKind, str]]:
    """Follow an annotation and its value to the names in them."""
    origin, args = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for loc, kind, name in references(annotation, value):
            yield (*at, *loc), kind, name
    elif origin is Annotated:
        found = _kind_in(args[1:])
        texts = _inside(args[0], value, at) if found is None else _all_texts(found, value, at)
        yield from texts
    elif origin in {Union, UnionType}:
        for member in args:
            yield from _inside(member, value, at)
    else:
        yield from _in_items(args, value, at)


def _in_items(args: tuple[Any, ...], value: object, at: Loc) -> Iterator[tuple[Loc, RefKind, str]]:
    """Follow the items of a list or mapping."""
    if isinstance(value, dict) and len(args) > 1:
        for key, item in value.items():
            yield from _inside(args[0], key, (*at, key))
            yield from _inside(args[1], item, (*at, key))
    elif isinstance(value, list) and args:
        inner = [arg for arg in args if arg is not Ellipsis]
        for number, item in enumerate(value):
            yield from _inside(inner[min(number, len(inner) - 1)], item, (*at, number))
