"""Plain nodes -> declared types. Every error gets the place and the words of this project."""

from __future__ import annotations

import json
import math
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from simulator.errors import UnknownKindError
from simulator.registry import FAMILIES, config_of
from simulator.scenario.codes import Code
from simulator.scenario.messages import word
from simulator.scenario.nodes import Mark, Node, Problems, kind_of, nearest, path_text, quote
from simulator.scenario.region import Id
from simulator.scenario.schema import Mechanism

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from pydantic_core import ErrorDetails

    from simulator.registry import Family
    from simulator.scenario.nodes import Loc

    M = TypeVar("M", bound=BaseModel)

SECTIONS: dict[str, Family] = {
    "faults": "fault",
    "healing": "healing",
    "guardrails": "guardrail",
    "automation": "automation",
    "people": "people",
}
"""Sections of a scenario file that hold mechanisms, and the family of each."""

assert set(SECTIONS.values()) <= set(FAMILIES)

_SEQUENCE_ERRORS = frozenset({"tuple_type", "set_type", "frozen_set_type"})
_ID: TypeAdapter[str] = TypeAdapter(Id)


def validate_part(
    model: type[M],
    node: Node,
    problems: Problems,
    *,
    path: str = "",
    extra: Callable[[Loc], Sequence[str]] = lambda _loc: (),
    skip: Sequence[str] = (),
) -> M | None:
    """Validate a tree as a model; None, and every problem noted, if it is not one.

    Parameters
    ----------
    model : type[M]
        A closed model.
    node : Node
        The tree.
    problems : Problems
        Takes what is wrong.
    path : str
        Path of the tree in the document.
    extra : Callable[[Loc], Sequence[str]]
        Further keys that the user may have meant in the mapping at a place, for hints.
    skip : Sequence[str]
        Keys that are known to be wrong already.
    """
    data = node.plain()
    value, errors = _validate(model, data)
    for error in errors:
        if not (error["loc"] and error["loc"][0] in skip):
            _note(error, model, node, problems, path, extra)
    return value


def _validate(model: type[M], data: object) -> tuple[M | None, list[ErrorDetails]]:
    """Validate strictly: text is no number and no truth value.

    Strictness follows JSON, where a list is a tuple. A validator that runs before a field or
    model takes Python values out of JSON, and their lists are no longer tuples for pydantic; only
    then the lax mode decides what is left.
    """
    try:
        return model.model_validate_json(json.dumps(data), strict=True), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    real = [e for e in errors if not _is_artifact(e)]
    if real:
        return None, real
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _is_artifact(error: ErrorDetails) -> bool:
    return error["type"] in _SEQUENCE_ERRORS and isinstance(error["input"], list)


def _note(
    error: ErrorDetails,
    model: type[BaseModel],
    node: Node,
    problems: Problems,
    path: str,
    extra: Callable[[Loc], Sequence[str]],
) -> None:
    loc = _in_document(node, error)
    if error["type"].startswith("union_tag"):
        loc = (*loc, str(error["ctx"]["discriminator"]).strip("'"))
    holder = node
    for step in loc[:-1]:
        holder = holder.child(step) or holder
    target = holder.child(loc[-1]) if loc else node
    if error["type"] == "too_short" and target is not None and _is_long_enough(error, target):
        return
    if target is not None and "[key]" not in error["loc"] and len(loc) <= len(error["loc"]):
        error = {**error, "input": target.plain()}  # as written, not as read by a validator
    wording = word(error, [*keys_at(model, error["loc"][:-1]), *extra(loc[:-1])])
    inner = path_text(node, loc)
    full = ".".join(part for part in (path, inner) if part)
    at = _mark(error, holder, target)
    problems.add(wording.code, at, wording.message, path=full, hint=wording.hint)


def _is_long_enough(error: ErrorDetails, target: Node) -> bool:
    """Tell whether a list is called too short only because its items are wrong."""
    return len(target.items()) >= int(error["ctx"]["min_length"])


def _mark(error: ErrorDetails, holder: Node, target: Node | None) -> Mark:
    if target is None:
        return holder.mark
    if error["type"] == "extra_forbidden" or "[key]" in error["loc"]:
        return target.key or target.mark
    return target.mark


def _in_document(node: Node, error: ErrorDetails) -> Loc:
    """Return the steps of an error that lead through the document, without tags of unions."""
    steps: list[str | int] = []
    at: Node | None = node
    for number, step in enumerate(error["loc"]):
        last = number == len(error["loc"]) - 1
        if at is not None and _leads_on(at, step):
            steps.append(step)
            at = at.child(step)
        elif last and error["type"] == "missing":
            steps.append(step)
    return tuple(steps)


def _leads_on(node: Node, step: str | int) -> bool:
    if isinstance(node.value, dict):
        return step in node.value
    return isinstance(node.value, list) and isinstance(step, int) and step < len(node.value)


def keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys that a mapping may have, for near misses.

    Walks the type annotations along ``loc``; where a union leaves it open, all members count.
    """
    models = {model}
    for step in loc:
        if isinstance(step, int):
            continue
        found = {inner for m in models for inner in _step_into(m, step)}
        models = found or models
    names = (f.alias or name for m in models for name, f in m.model_fields.items())
    return sorted(set(names))


def _step_into(model: type[BaseModel], step: str) -> Iterator[type[BaseModel]]:
    for name, field in model.model_fields.items():
        if step in {name, field.alias}:
            yield from models_in(field.annotation)
            return
        if field.annotation is not None and name == "kind" and step in get_args(field.annotation):
            yield model


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that occur in a type annotation, not inside other models."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from models_in(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, UnionType, tuple, list, dict, set, frozenset}:
        for inner in get_args(annotation):
            yield from models_in(inner)


# ------------------------------------------------------------------------------- mechanisms


def mechanisms(root: Node, section: str, problems: Problems) -> list[Mechanism] | None:
    """Build the mechanisms of one section; None if one of them is wrong."""
    node = root.mapping().get(section)
    if node is None:
        return []
    if not isinstance(node.value, list):
        message = f"expected a list, got {kind_of(node)}"
        hint = "begin each item with '- '" if isinstance(node.value, dict) else ""
        problems.add(Code.WRONG_TYPE, node.mark, message, path=section, hint=hint)
        return None
    built = [
        mechanism(SECTIONS[section], item, problems, f"{section}.{item.text('id') or number}")
        for number, item in enumerate(node.value)
    ]
    good = [m for m in built if m is not None]
    return good if len(good) == len(built) else None


def mechanism(family: Family, item: Node, problems: Problems, path: str) -> Mechanism | None:
    """Build one mechanism from its flat form: ``id``, ``kind`` and the keys of its ``Config``."""
    if not isinstance(item.value, dict):
        message = f"expected a mapping with 'id' and 'kind', got {kind_of(item)}"
        problems.add(Code.WRONG_TYPE, item.mark, message, path=path)
        return None
    name = _word_at(item, "id", problems, path)
    kind = _word_at(item, "kind", problems, path)
    if name is not None:
        try:
            _ID.validate_python(name)
        except ValidationError as error:
            wording = word(error.errors(include_url=False)[0])
            at = item.value["id"].mark
            problems.add(wording.code, at, wording.message, path=f"{path}.id", hint=wording.hint)
            name = None
    if kind is None:
        return None
    try:
        model = config_of(family, kind)
    except UnknownKindError as error:
        _note_unknown_kind(error, item, problems, path)
        return None
    keys = {key: child for key, child in item.value.items() if key not in {"id", "kind"}}
    config = validate_part(model, Node(keys, item.mark), problems, path=path, extra=_mechanism_keys)
    if config is None or name is None:
        return None
    return Mechanism(family=family, kind=kind, id=name, config=config)  # type: ignore[arg-type]


def _mechanism_keys(loc: Loc) -> Sequence[str]:
    return () if loc else ("id", "kind")


def _word_at(item: Node, key: str, problems: Problems, path: str) -> str | None:
    child = item.mapping().get(key)
    if child is None:
        message = f"required key {key!r} is missing"
        problems.add(Code.MISSING_KEY, item.mark, message, path=f"{path}.{key}")
        return None
    if not isinstance(child.value, str):
        message = f"expected text, got {kind_of(child)}"
        problems.add(Code.WRONG_TYPE, child.mark, message, path=f"{path}.{key}")
        return None
    return child.value


def _note_unknown_kind(error: UnknownKindError, item: Node, problems: Problems, path: str) -> None:
    at = item.mapping()["kind"].mark
    hint = nearest(error.kind, error.known)
    for family in FAMILIES:
        if family != error.family and not hint.startswith("did you mean"):
            hint = _elsewhere(family, error.kind) or hint
    message = f"unknown kind {quote(error.kind)} of {error.family}"
    problems.add(Code.UNKNOWN_KIND, at, message, path=f"{path}.kind", hint=hint)


def _elsewhere(family: Family, kind: str) -> str:
    """Return a hint if another family has this kind."""
    from simulator.registry import kinds

    section = next((s for s, f in SECTIONS.items() if f == family), None)
    return f"it belongs under {section!r}" if section and kind in kinds(family) else ""


def refuse_non_finite(node: Node, problems: Problems, loc: tuple[str | int, ...] = ()) -> None:
    """Report every number that is not finite, where nothing was reported yet."""
    _Finite(node, problems).walk(node, loc)


class _Finite:
    def __init__(self, root: Node, problems: Problems) -> None:
        self._root = root
        self._problems = problems
        self._known = {Mark(p.file, p.line, p.column) for p in problems}

    def walk(self, node: Node, loc: tuple[str | int, ...]) -> None:
        value: Any = node.value
        if isinstance(value, dict):
            for key, child in value.items():
                self.walk(child, (*loc, key))
        elif isinstance(value, list):
            for number, child in enumerate(value):
                self.walk(child, (*loc, number))
        elif isinstance(value, float) and not math.isfinite(value) and node.mark not in self._known:
            path = path_text(self._root, loc)
            self._problems.add(
                Code.OUT_OF_RANGE, node.mark, f"{value!r} is not a finite number", path=path
            )
