"""Check that every number says where it comes from.

A number in a file has a basis if its field is named in the ``basis`` of the item or of the region,
or if one of them has ``"*"`` for the rest. A value that equals the default needs none: the default
is documented where it is declared.
"""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from simulator.scenario.codes import Code
from simulator.scenario.nodes import nearest, quote
from simulator.scenario.region import ControlPlane, Dependency, Pool, Region, Service

if TYPE_CHECKING:
    from simulator.scenario.declared import Declared, Item
    from simulator.scenario.nodes import Node

REST: Final = "*"
MODELS: Final[dict[str, type[BaseModel]]] = {
    "pools": Pool,
    "dependencies": Dependency,
    "services": Service,
    "control_planes": ControlPlane,
}


@cache
def _fields(model: type[BaseModel]) -> dict[str, bool]:
    """Return the keys of a model, and whether numbers stand there."""
    return {
        field.alias or name: _has_number(field.annotation)
        for name, field in model.model_fields.items()
        if name != "basis"
    }


def _has_number(annotation: object) -> bool:
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            return any(_fields(annotation).values())
        return issubclass(annotation, int | float) and annotation is not bool
    if get_origin(annotation) is Annotated:
        return _has_number(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType, tuple, dict}:
        return any(_has_number(inner) for inner in get_args(annotation))
    return False


@cache
def _adapter(model: type[BaseModel], key: str) -> TypeAdapter[Any]:
    """Return what reads the value of one field."""
    name = next(n for n, field in model.model_fields.items() if key in {n, field.alias})
    field = model.model_fields[name]
    annotation: Any = field.annotation
    return TypeAdapter(Annotated[(annotation, *field.metadata)] if field.metadata else annotation)


def numbers_have_a_basis(doc: Declared) -> None:
    """Every number of the region says where it comes from, and every basis is for a field."""
    common = doc.region.mapping().get("basis")
    shared = common.mapping() if common is not None else {}
    every = {key for model in MODELS.values() for key in _fields(model)}
    _check_names(doc, shared, f"{doc.prefix}basis", every)
    for section, model in MODELS.items():
        for item in doc.in_region(section):
            own = item.node.mapping().get("basis")
            names = own.mapping() if own is not None else {}
            _check_names(doc, names, f"{item.path}.basis", set(_fields(model)))
            if REST not in names and REST not in shared:
                _check_numbers(doc, item, model, {*names, *shared})


def _check_names(doc: Declared, names: dict[str, Node], path: str, known: set[str]) -> None:
    for name, node in names.items():
        if name != REST and name.partition(".")[0] not in known:
            message = f"there is no field {quote(name)} that could have a basis"
            hint = nearest(name, [*known, REST])
            doc.note_key(Code.BASIS_FIELD, node, f"{path}.{name}", message, hint)
        elif isinstance(node.value, str) and not node.value.strip():
            message = "the basis is empty"
            hint = "name a source, or write assumption"
            doc.note(Code.NO_BASIS, node, f"{path}.{name}", message, hint)


def _check_numbers(doc: Declared, item: Item, model: type[BaseModel], have: set[str]) -> None:
    have = have | {name.partition(".")[0] for name in have}
    without = [
        key
        for key, numeric in _fields(model).items()
        if numeric and key in item.node.mapping() and key not in have
        if not _is_default(item.node.mapping()[key], model, key)
    ]
    if without:
        message = f"no basis for {', '.join(without)}"
        hint = "say in 'basis' where the number comes from, or write assumption"
        doc.note(Code.NO_BASIS, item.node, item.path, message, hint)


def _is_default(node: Node, model: type[BaseModel], key: str) -> bool:
    """Tell whether a value is the default of its field, or no value at all."""
    field = next(f for n, f in model.model_fields.items() if key in {n, f.alias})
    if field.is_required():
        return False
    adapter = _adapter(model, key)
    default = adapter.validate_python(field.get_default(call_default_factory=True))
    try:
        return bool(adapter.validate_python(node.plain()) == default)
    except ValidationError:
        return True


assert set(MODELS) <= set(Region.model_fields)
