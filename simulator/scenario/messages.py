"""What pydantic found, in the words of this project: lower case, value quoted, cure last."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from simulator.errors import QuantityError
from simulator.scenario.codes import Code
from simulator.scenario.nodes import kind_of, nearest, quote
from simulator.scenario.region import ID_PATTERN
from simulator.units import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic_core import ErrorDetails


class Wording(NamedTuple):
    """A code, what is wrong and what to write instead."""

    code: Code
    message: str
    hint: str = ""


def word(error: ErrorDetails, known: Sequence[str] = ()) -> Wording:
    """Put one error into words.

    Parameters
    ----------
    error : ErrorDetails
        As pydantic reports it.
    known : Sequence[str]
        Keys that the mapping around it may have.
    """
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown_key(str(error["loc"][-1]), known)
    if kind == "missing":
        return Wording(Code.MISSING_KEY, f"required key {str(error['loc'][-1])!r} is missing")
    handler = _HANDLERS.get(kind)
    if handler is not None:
        return handler(error["input"], error.get("ctx", {}))
    for prefix, expected in _EXPECTED.items():
        if kind.startswith(prefix):
            return _expected(error["input"], expected, kind)
    text = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return Wording(Code.INVALID, text[:1].lower() + text[1:])


def _unknown_key(key: str, known: Sequence[str]) -> Wording:
    return Wording(Code.UNKNOWN_KEY, f"unknown key {quote(key)}", nearest(key, known))


_EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a mapping (key: value)",
    "mapping": "a mapping (key: value)",
    "model": "a mapping (key: value)",
    "none": "nothing",
}

_YES_NO = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def _expected(value: object, expected: str, kind: str) -> Wording:
    hint = ""
    if kind.startswith("bool") and isinstance(value, str):
        meant = _YES_NO.get(value.lower())
        hint = f"write {meant}" if meant else ""
    elif kind.startswith("string") and value is None:
        hint = "write '' for an empty text"
    elif kind.startswith("string") and isinstance(value, bool | int | float):
        hint = f"put it in quotes: '{str(value).lower()}'"
    elif kind.startswith(("tuple", "list", "set")) and isinstance(value, dict):
        hint = "begin each item with '- '"
    elif kind.startswith(("tuple", "list", "set")) and isinstance(value, str):
        hint = f"write [{value}]"
    elif kind.startswith(("int", "float")) and isinstance(value, str):
        hint = "write the number without quotes or unit" if re.search(r"\d", value) else ""
    return Wording(Code.WRONG_TYPE, f"expected {expected}, got {kind_of(value)}", hint)


def _quantity(_value: object, context: Mapping[str, object]) -> Wording:
    return Wording(Code.QUANTITY, str(context["reason"]), str(context["hint"]))


def _bound(words: str, key: str) -> Callable[[object, Mapping[str, object]], Wording]:
    def handler(value: object, context: Mapping[str, object]) -> Wording:
        limit = float(str(context[key]))
        shown = format_duration(limit) if limit and _is_duration(value) else f"{limit:g}"
        return Wording(Code.OUT_OF_RANGE, f"{_number(value)} is out of range", f"{words} {shown}")

    return handler


def _is_duration(value: object) -> bool:
    """Tell whether a value is a time with its unit, so that its limit is one too."""
    if not isinstance(value, str):
        return False
    try:
        parse_duration(value)
    except QuantityError:
        return False
    return True


def _number(value: object) -> str:
    return repr(value) if isinstance(value, int | float) else quote(value)


def _choice(value: object, context: Mapping[str, object]) -> Wording:
    choices = re.findall(r"'([^']*)'", str(context["expected"])) or [str(context["expected"])]
    listed = choices[0] if len(choices) == 1 else ", ".join(choices)
    hint = nearest(value, choices) if isinstance(value, str) else ""
    if not hint.startswith("did you mean"):
        hint = f"write {listed}" if len(choices) == 1 else f"one of: {listed}"
    shown = quote(value) if isinstance(value, str) else kind_of(value)
    return Wording(Code.NOT_A_CHOICE, f"{shown} is not a choice here", hint)


def _tag_unknown(_value: object, context: Mapping[str, object]) -> Wording:
    field, tag = str(context["discriminator"]).strip("'"), context["tag"]
    choices = re.findall(r"'([^']*)'", str(context["expected_tags"]))
    return Wording(Code.UNKNOWN_KIND, f"unknown {field} {quote(tag)}", nearest(tag, choices))


def _tag_missing(_value: object, context: Mapping[str, object]) -> Wording:
    field = str(context["discriminator"]).strip("'")
    return Wording(Code.MISSING_KEY, f"required key {field!r} is missing")


def _pattern(value: object, context: Mapping[str, object]) -> Wording:
    if context["pattern"] == ID_PATTERN:
        hint = "lower-case letters, digits and '-', beginning with a letter or a digit"
        return Wording(Code.BAD_ID, f"{quote(value)} is not a valid id", hint)
    return Wording(Code.INVALID, f"{quote(value)} does not have the form {context['pattern']}")


def _too_short(_value: object, context: Mapping[str, object]) -> Wording:
    least, has = int(str(context["min_length"])), context.get("actual_length")
    items = "item" if least == 1 else "items"
    return Wording(Code.LENGTH, f"needs at least {least} {items}, has {has}")


def _too_long(_value: object, context: Mapping[str, object]) -> Wording:
    return Wording(Code.LENGTH, f"takes at most {context['max_length']} items, has more")


def _string_short(value: object, context: Mapping[str, object]) -> Wording:
    return Wording(
        Code.LENGTH, f"{quote(value)} is shorter than {context['min_length']} characters"
    )


def _string_long(value: object, context: Mapping[str, object]) -> Wording:
    most = context["max_length"]
    return Wording(Code.LENGTH, f"{quote(value)} is longer than {most} characters")


def _not_finite(value: object, _context: Mapping[str, object]) -> Wording:
    return Wording(Code.OUT_OF_RANGE, f"{value!r} is not a finite number")


_HANDLERS: dict[str, Callable[[object, Mapping[str, object]], Wording]] = {
    "quantity": _quantity,
    "greater_than_equal": _bound("it must be at least", "ge"),
    "greater_than": _bound("it must be more than", "gt"),
    "less_than_equal": _bound("it must be at most", "le"),
    "less_than": _bound("it must be less than", "lt"),
    "literal_error": _choice,
    "enum": _choice,
    "union_tag_invalid": _tag_unknown,
    "union_tag_not_found": _tag_missing,
    "string_pattern_mismatch": _pattern,
    "too_short": _too_short,
    "too_long": _too_long,
    "string_too_short": _string_short,
    "string_too_long": _string_long,
    "finite_number": _not_finite,
}
