"""Quantities: numbers that carry their unit in the file and are plain SI floats in the program.

=============  ==========================  ==================  =====================
type           in the file                 in the program      name suffix
=============  ==========================  ==================  =====================
`Duration`     ``250ms`` ``13h`` ``1h30m``  seconds             ``_s``
`Rate`         ``20k/s`` ``5/min``          per second          ``_rps``
`Fraction`     ``5%`` ``0.05``              0 to 1              ``_frac``
`Count`        ``300`` ``2k``               whole number        ``_count``
`Multiplier`   ``2.5`` ``3x`` ``150%``      factor, 0 or more   ``_factor``
=============  ==========================  ==================  =====================

A duration or a rate without a unit is refused (0 excepted): ``30`` in a file could be seconds or
milliseconds, and the reader cannot know. Arithmetic on the text is decimal and rounded once, so
that what ``format_...`` writes is read back as exactly the same float.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from difflib import get_close_matches
from typing import Annotated, Final, NoReturn, TypeVar

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from simulator.errors import QuantityError

__all__ = [
    "COUNT_MAX",
    "DURATION_S_MAX",
    "DURATION_S_MIN",
    "MULTIPLIER_MAX",
    "RATE_RPS_MAX",
    "RATE_RPS_MIN",
    "Count",
    "Duration",
    "Fraction",
    "Multiplier",
    "Rate",
    "format_count",
    "format_duration",
    "format_fraction",
    "format_multiplier",
    "format_rate",
    "parse_count",
    "parse_duration",
    "parse_fraction",
    "parse_multiplier",
    "parse_rate",
]

# Bounds are assumptions: wide enough for any region, narrow enough to catch a wrong unit.
DURATION_S_MIN: Final = 1e-9
DURATION_S_MAX: Final = 100 * 365 * 86_400.0
RATE_RPS_MIN: Final = 1e-12
RATE_RPS_MAX: Final = 1e12
MULTIPLIER_MAX: Final = 1e9
COUNT_MAX: Final = 10**15

_TEXT_LENGTH_MAX = 64
_PERCENT_MAX = 100
_EXACT = Context(prec=100)
_T = TypeVar("_T")

_SECONDS_OF = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "sec": Decimal(1),
    "m": Decimal(60),
    "min": Decimal(60),
    "h": Decimal(3600),
    "hr": Decimal(3600),
    "d": Decimal(86_400),
    "w": Decimal(604_800),
}
_SCALE_OF = {"": Decimal(1), "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9}

_SCALE_LETTERS = frozenset("kmg")

_NUMBER = r"(?:\d+(?:\.\d+)?)"
_PART = re.compile(rf"({_NUMBER})\s*([A-Za-zµ]*)\s*", re.ASCII)
_RATE = re.compile(rf"({_NUMBER})([A-Za-z]*)(?:\s+([A-Za-z]+))?\s*/\s*([A-Za-zµ]+)", re.ASCII)
_SCALED = re.compile(rf"({_NUMBER})([A-Za-z]*)", re.ASCII)
_PERCENT = re.compile(rf"({_NUMBER})\s*%", re.ASCII)
_TIMES = re.compile(rf"({_NUMBER})\s*x", re.ASCII)

_TIME_UNITS = "ns|us|µs|ms|s|sec|min|m|hr|h|d|w"
_DURATION_PATTERN = rf"^\d+(\.\d+)?\s*({_TIME_UNITS})(\s*\d+(\.\d+)?\s*({_TIME_UNITS}))*$"
_RATE_PATTERN = rf"^\d+(\.\d+)?[kMG]?(\s+[A-Za-z]+)?\s*/\s*({_TIME_UNITS})$"


@dataclass(frozen=True, slots=True)
class _Quantity:
    """Name and example of a quantity, for messages with one form."""

    name: str
    example: str

    def refuse(self, reason: str, hint: str = "") -> NoReturn:
        """Raise the error for this quantity, with a cure."""
        raise QuantityError(self.name, reason, hint or f"write e.g. {self.example}")

    def text(self, value: object) -> str:
        """Return `value` if it is text of sane length."""
        if not isinstance(value, str):
            self.refuse(f"expected a {self.name}, got {_shown(value)}")
        text = value.strip()
        if not text:
            self.refuse(f"empty {self.name}")
        if len(text) > _TEXT_LENGTH_MAX:
            self.refuse(f"{self.name} is longer than {_TEXT_LENGTH_MAX} characters")
        if text.startswith("-"):
            self.refuse(f"{self.name} {value!r} is negative")
        return text

    def refuse_at(self, value: str, position: int) -> NoReturn:
        """Raise the error for text that stops making sense at `position`, counted from 0."""
        self.refuse(f"cannot read {self.name} {value!r} at character {position + 1}")

    def bounded(self, value: float, shown: object, low: float, high: float) -> float:
        """Return `value` if it is 0 or within ``low`` to ``high``."""
        if not math.isfinite(value):
            self.refuse(f"{self.name} {shown!r} is not a finite number")
        if value < 0:
            self.refuse(f"{self.name} {shown!r} is negative")
        if value == 0:
            return 0.0
        if value > high:
            self.refuse(f"{self.name} {shown!r} is too large")
        if value < low:
            self.refuse(f"{self.name} {shown!r} is too small")
        return value

    def zero_only(self, value: float, cures: str) -> float:
        """Refuse a bare number, which has no unit; 0 needs none."""
        number = _as_float(value)
        if self.bounded(number, number, 0.0, math.inf) == 0:
            return 0.0
        self.refuse(f"{self.name} {value!r} has no unit", cures)


_DURATION = _Quantity("duration", "'250ms', '90s', '1h30m' or '13h'")
_RATE_Q = _Quantity("rate", "'20k/s', '200 req/s' or '5/min'")
_FRACTION = _Quantity("fraction", "'5%' or 0.05")
_COUNT = _Quantity("count", "300 or '2k'")
_MULTIPLIER = _Quantity("multiplier", "2.5, '3x' or '150%'")


def _shown(value: object) -> str:
    """Return how a value of the wrong type appears in a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"a boolean ({str(value).lower()})"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return repr(value)


def _as_float(number: float) -> float:
    """Return a number as float; whole numbers beyond its range are infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _decimal(number: float) -> Decimal:
    """Return the shortest decimal that stands for this float."""
    return Decimal(repr(number))


def _plain(number: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _nearest(word: str, known: dict[str, Decimal]) -> str:
    """Return a hint that names the units, the nearest one first."""
    lower = {unit.lower(): unit for unit in known if unit}
    near = lower.get(word.lower()) or next(iter(get_close_matches(word, known, 1, 0.5)), "")
    units = ", ".join(unit for unit in known if unit)
    return f"did you mean {near!r}? known: {units}" if near else f"known: {units}"


# ------------------------------------------------------------------------------- duration


def parse_duration(value: object) -> float:
    """Read a duration.

    Parameters
    ----------
    value : object
        ``"250ms"``, ``"13h"``, ``"1h30m"`` or the number 0.

    Returns
    -------
    float
        Seconds; 0, or within `DURATION_S_MIN` to `DURATION_S_MAX`.

    Raises
    ------
    QuantityError
        If `value` has no unit, is negative, not finite, out of range or not a duration.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _DURATION.zero_only(value, f"write '{value}s' or '{value}ms'")
    text = _DURATION.text(value)
    if text == "0":
        return 0.0
    total, position, last = Decimal(0), 0, Decimal("Infinity")
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            _DURATION.refuse_at(text, position)
        seconds = _time_unit(_DURATION, text, part)
        if seconds >= last:
            reason = (
                f"duration {text!r}: units go from large to small (character {part.start() + 1})"
            )
            _DURATION.refuse(reason)
        total = _EXACT.add(total, _EXACT.multiply(Decimal(part[1]), seconds))
        position, last = part.end(), seconds
    return _DURATION.bounded(float(total), text, DURATION_S_MIN, DURATION_S_MAX)


def _time_unit(quantity: _Quantity, text: str, part: re.Match[str]) -> Decimal:
    """Return the seconds of the unit in the last group of `part`."""
    group = part.re.groups
    unit = part[group]
    if not unit:
        quantity.refuse(f"{quantity.name} {text!r} has no unit after {part[1]!r}")
    if unit not in _SECONDS_OF:
        reason = (
            f"{quantity.name} {text!r}: unknown unit {unit!r} at character {part.start(group) + 1}"
        )
        quantity.refuse(reason, _nearest(unit, _SECONDS_OF))
    return _SECONDS_OF[unit]


def format_duration(duration_s: float) -> str:
    """Write a duration so that `parse_duration` reads exactly the same value.

    Examples
    --------
    >>> [format_duration(x) for x in (0.0, 0.25, 90.5, 5400.0, 46_800.0)]
    ['0s', '250ms', '90.5s', '1h30m', '13h']
    """
    if duration_s == 0:
        return "0s"
    exact = _decimal(duration_s)
    if exact == exact.to_integral_value():
        return _whole_seconds(int(exact))
    for unit in ("s", "ms", "us"):
        amount = _EXACT.divide(exact, _SECONDS_OF[unit])
        if amount >= 1:
            return _plain(amount) + unit
    return _plain(_EXACT.divide(exact, _SECONDS_OF["ns"])) + "ns"


def _whole_seconds(duration_s: int) -> str:
    """Write whole seconds as days, hours, minutes and seconds."""
    text, rest = "", duration_s
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        amount, rest = divmod(rest, size)
        if amount:
            text += f"{amount}{unit}"
    return text


# ------------------------------------------------------------------------------- rate


def parse_rate(value: object) -> float:
    """Read a rate.

    Parameters
    ----------
    value : object
        ``"20k/s"``, ``"200 req/s"``, ``"5/min"``, ``"1.5M/s"`` or the number 0. The word between
        number and slash is for the reader and has no meaning.

    Returns
    -------
    float
        Per second; 0, or within `RATE_RPS_MIN` to `RATE_RPS_MAX`.

    Raises
    ------
    QuantityError
        If `value` has no unit of time, is negative, not finite, out of range or not a rate.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _RATE_Q.zero_only(value, f"write '{value}/s' or '{value}/min'")
    text = _RATE_Q.text(value)
    if text == "0":
        return 0.0
    found = _RATE.fullmatch(text)
    if found is None:
        if "/" not in text:
            _RATE_Q.refuse(f"rate {text!r} has no unit of time")
        longest = _RATE.match(text)
        _RATE_Q.refuse_at(text, longest.end() if longest else _digits(text))
    if found[3] and found[3].lower() in _SCALE_LETTERS:
        near = found[3].lower().replace("m", "M").replace("g", "G")
        where = f"{found[3]!r} at character {found.start(3) + 1}"
        _RATE_Q.refuse(
            f"rate {text!r}: {where} stands apart from the number",
            f"write '{found[1]}{near}/{found[4]}'",
        )
    scale = _scale(_RATE_Q, text, found)
    amount = _EXACT.multiply(Decimal(found[1]), scale)
    per_second = _EXACT.divide(amount, _time_unit(_RATE_Q, text, found))
    return _RATE_Q.bounded(float(per_second), text, RATE_RPS_MIN, RATE_RPS_MAX)


def _digits(text: str) -> int:
    """Return the position of the first character that is not part of a leading number."""
    leading = re.match(_NUMBER, text, re.ASCII)
    return leading.end() if leading else 0


def _scale(quantity: _Quantity, text: str, found: re.Match[str]) -> Decimal:
    """Return the factor of the suffix in group 2 of `found` (k, M, G or none)."""
    suffix = found[2]
    if suffix not in _SCALE_OF:
        reason = (
            f"{quantity.name} {text!r}: unknown suffix {suffix!r} at character {found.start(2) + 1}"
        )
        hint = _nearest(suffix, _SCALE_OF)
        if quantity is _RATE_Q and len(suffix) > 1:
            hint = f"put a space before the word: '{found[1]} {suffix}/{found[4]}'"
        quantity.refuse(reason, hint)
    return _SCALE_OF[suffix]


def format_rate(rate_rps: float) -> str:
    """Write a rate so that `parse_rate` reads exactly the same value.

    Examples
    --------
    >>> [format_rate(x) for x in (0.0, 20_000.0, 5 / 60, 1_500_000.0, 0.1)]
    ['0/s', '20k/s', '5/min', '1.5M/s', '0.1/s']
    """
    if rate_rps == 0:
        return "0/s"
    plain = _scaled(_decimal(rate_rps)) + "/s"
    candidates = [plain]
    for unit in ("min", "h", "d"):
        amount = _decimal(float(f"{rate_rps * float(_SECONDS_OF[unit]):.12g}"))
        text = f"{_scaled(amount)}/{unit}"
        if len(text) <= _TEXT_LENGTH_MAX and _reads_as(parse_rate, text, rate_rps):
            candidates.append(text)
    return min(candidates, key=len)


def _scaled(number: Decimal) -> str:
    """Write a number with k, M or G where that is shorter."""
    texts = [_plain(number)]
    texts += [
        _plain(_EXACT.divide(number, scale)) + suffix
        for suffix, scale in _SCALE_OF.items()
        if suffix and number >= scale
    ]
    return min(texts, key=len)


def _reads_as(parse: Callable[[object], float], text: str, value: float) -> bool:
    try:
        return parse(text) == value
    except QuantityError:
        return False


# ------------------------------------------------------------------------------- fraction


def parse_fraction(value: object) -> float:
    """Read a fraction: ``"5%"`` or 0.05.

    Raises
    ------
    QuantityError
        If `value` is not within 0 to 1, or not a fraction.
    """
    share = _number_or(_FRACTION, value, (_PERCENT, Decimal(100)))
    if math.isfinite(share) and share > 1:
        hint = "" if isinstance(value, str) or share > _PERCENT_MAX else f"did you mean '{value}%'?"
        _FRACTION.refuse(f"fraction {value!r} is more than 1 (100%)", hint)
    return _FRACTION.bounded(share, value, 0.0, 1.0)


def format_fraction(share_frac: float) -> str | float:
    """Write a fraction in percent where that is short, else as the number itself."""
    text = _plain(_EXACT.multiply(_decimal(share_frac), Decimal(100))) + "%"
    return text if len(text) <= len("12.345678%") else share_frac


def _number_or(
    quantity: _Quantity, value: object, *forms: tuple[re.Pattern[str], Decimal]
) -> float:
    """Read a bare number, or text of one of the `forms` (pattern, divisor)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _as_float(value)
    text = quantity.text(value)
    for pattern, divisor in forms:
        found = pattern.fullmatch(text)
        if found:
            return float(_EXACT.divide(Decimal(found[1]), divisor))
    quantity.refuse_at(text, _digits(text))


# ------------------------------------------------------------------------------- count


def parse_count(value: object) -> int:
    """Read a whole number: 300, ``"300"``, ``"2k"``.

    Raises
    ------
    QuantityError
        If `value` is not a whole number within 0 to `COUNT_MAX`.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        count = value
    elif isinstance(value, float):
        _COUNT.refuse(f"count {value!r} is not written as a whole number")
    else:
        text = _COUNT.text(value)
        found = _SCALED.fullmatch(text)
        if found is None:
            _COUNT.refuse_at(text, _digits(text))
        exact = _EXACT.multiply(Decimal(found[1]), _scale(_COUNT, text, found))
        if exact != exact.to_integral_value():
            _COUNT.refuse(f"count {text!r} is not a whole number")
        count = int(exact)
    if count < 0:
        _COUNT.refuse(f"count {value!r} is negative")
    if count > COUNT_MAX:
        _COUNT.refuse("count is too large")
    return count


def format_count(count: int) -> int:
    """Write a count: a whole number is its own text."""
    return count


# ------------------------------------------------------------------------------- multiplier


def parse_multiplier(value: object) -> float:
    """Read a factor: 2.5, ``"3x"``, ``"150%"``.

    Raises
    ------
    QuantityError
        If `value` is not a number within 0 to `MULTIPLIER_MAX`.
    """
    factor = _number_or(_MULTIPLIER, value, (_PERCENT, Decimal(100)), (_TIMES, Decimal(1)))
    return _MULTIPLIER.bounded(factor, value, 0.0, MULTIPLIER_MAX)


def format_multiplier(factor: float) -> float:
    """Write a factor: the number is its own text."""
    return factor


# ------------------------------------------------------------------------------- types


def _as_pydantic(error: QuantityError) -> PydanticCustomError:
    context = {"text": str(error), "reason": error.reason, "hint": error.hint}
    return PydanticCustomError("quantity", "{text}", {**context, "quantity": error.quantity})


def _validator(parse: Callable[[object], _T]) -> BeforeValidator:
    """Wrap a parser so that pydantic reports its message and hint unchanged.

    The error has type ``quantity`` and the context ``quantity``, ``reason`` and ``hint``.
    """

    def validate(value: object) -> _T:
        try:
            return parse(value)
        except QuantityError as error:
            raise _as_pydantic(error) from None

    return BeforeValidator(validate)


Duration = Annotated[
    float,
    _validator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": _DURATION_PATTERN}, {"const": 0}],
            "description": "Duration with its unit.",
            "examples": ["250ms", "30s", "5m", "1h30m", "13h"],
        }
    ),
]
"""Seconds in the program; text with a unit in files."""

Rate = Annotated[
    float,
    _validator(parse_rate),
    PlainSerializer(format_rate, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": _RATE_PATTERN}, {"const": 0}],
            "description": "Rate with its unit of time.",
            "examples": ["20k/s", "200 req/s", "5/min", "1.5M/s"],
        }
    ),
]
"""Per second in the program; text with a unit of time in files."""

Fraction = Annotated[
    float,
    _validator(parse_fraction),
    PlainSerializer(format_fraction, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$"},
            ],
            "description": "Fraction of a whole, 0 to 1.",
            "examples": ["5%", 0.05],
        }
    ),
]
"""0 to 1 in the program; percent or a number in files."""

Count = Annotated[
    int,
    _validator(parse_count),
    PlainSerializer(format_count, return_type=int, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": COUNT_MAX},
                {"type": "string", "pattern": r"^\d+(\.\d+)?[kMG]?$"},
            ],
            "description": "Whole number, 0 or more.",
            "examples": [300, "2k", "1.5M"],
        }
    ),
]
"""A whole number, 0 or more."""

Multiplier = Annotated[
    float,
    _validator(parse_multiplier),
    PlainSerializer(format_multiplier, return_type=float, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": MULTIPLIER_MAX},
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[x%]$"},
            ],
            "description": "Factor, 0 or more.",
            "examples": [2.5, "3x", "150%"],
        }
    ),
]
"""A factor, 0 or more."""
