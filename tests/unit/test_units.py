import json
import math
import re

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from simulator import units
from simulator.errors import QuantityError
from simulator.units import (
    Count,
    Duration,
    Fraction,
    Multiplier,
    Rate,
    format_duration,
    format_fraction,
    format_rate,
    parse_count,
    parse_duration,
    parse_fraction,
    parse_multiplier,
    parse_rate,
)


class Everything(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    duration: Duration
    rate: Rate
    fraction: Fraction
    count: Count
    multiplier: Multiplier


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("13h", 46_800.0),
        ("1h30m", 5400.0),
        ("1h 30 min", 5400.0),
        ("1.5 h", 5400.0),
        ("100ns", 1e-7),
        ("7us", 7e-6),
        ("7µs", 7e-6),
        ("2w", 1_209_600.0),
        ("1d", 86_400.0),
        (" 5 sec ", 5.0),
        ("0.1s", 0.1),
        ("0", 0.0),
        ("0s", 0.0),
        (0, 0.0),
        (0.0, 0.0),
    ],
)
def test_duration_reads(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (30, "duration 30 has no unit (write '30s' or '30ms')"),
        (0.5, "duration 0.5 has no unit (write '0.5s' or '0.5ms')"),
        ("30", "duration '30' has no unit after '30'"),
        ("1h30", "duration '1h30' has no unit after '30'"),
        ("13H", "duration '13H': unknown unit 'H' at character 3 (did you mean 'h'? known: ns, "),
        ("1e3s", "duration '1e3s': unknown unit 'e' at character 2"),
        ("1h x", "cannot read duration '1h x' at character 4"),
        ("30m1h", "duration '30m1h': units go from large to small (character 4)"),
        ("1m1m", "duration '1m1m': units go from large to small (character 3)"),
        ("-5s", "duration '-5s' is negative"),
        (-5, "duration -5.0 is negative"),
        (math.nan, "duration nan is not a finite number"),
        (math.inf, "duration inf is not a finite number"),
        (-math.inf, "duration -inf is not a finite number"),
        (10**400, "duration inf is not a finite number"),
        ("200000w", "duration '200000w' is too large"),
        ("0.0001ns", "duration '0.0001ns' is too small"),
        ("", "empty duration (write e.g. '250ms', '90s', '1h30m' or '13h')"),
        ("9" * 65, "duration is longer than 64 characters"),
        (True, "expected a duration, got a boolean (true)"),
        (None, "expected a duration, got nothing"),
        ([], "expected a duration, got a list"),
        ({}, "expected a duration, got a mapping"),
        ("٣s", "cannot read duration '٣s' at character 1"),
    ],
)
def test_duration_refuses(value, message):
    with pytest.raises(QuantityError, match="^" + re.escape(message)):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.25, "250ms"),
        (0.0015, "1.5ms"),
        (1e-7, "100ns"),
        (90.5, "90.5s"),
        (90.0, "1m30s"),
        (46_800.0, "13h"),
        (129_600.0, "1d12h"),
    ],
)
def test_duration_is_written_readably(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "per_second"),
    [
        ("20k/s", 20_000.0),
        ("200 req/s", 200.0),
        ("20k req/s", 20_000.0),
        ("5/min", 5 / 60),
        ("5 / min", 5 / 60),
        ("1.5M/s", 1.5e6),
        ("2G/s", 2e9),
        ("3/d", 3 / 86_400),
        ("0", 0.0),
        ("0/s", 0.0),
        (0, 0.0),
    ],
)
def test_rate_reads(text, per_second):
    assert parse_rate(text) == per_second


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (20, "rate 20 has no unit (write '20/s' or '20/min')"),
        ("20", "rate '20' has no unit of time"),
        ("20 rps", "rate '20 rps' has no unit of time"),
        ("1.5m/s", "rate '1.5m/s': unknown suffix 'm' at character 4 (did you mean 'M'?"),
        (
            "20 k/s",
            "rate '20 k/s': 'k' at character 4 stands apart from the number (write '20k/s')",
        ),
        (
            "20 m/s",
            "rate '20 m/s': 'm' at character 4 stands apart from the number (write '20M/s')",
        ),
        ("200req/s", "rate '200req/s': unknown suffix 'req' at character 4 (put a space before"),
        ("5/fortnight", "rate '5/fortnight': unknown unit 'fortnight' at character 3"),
        ("5/", "cannot read rate '5/' at character 2"),
        ("5/s!", "cannot read rate '5/s!' at character 4"),
        ("-5/s", "rate '-5/s' is negative"),
        ("9999G/s", "rate '9999G/s' is too large"),
        (math.inf, "rate inf is not a finite number"),
        (False, "expected a rate, got a boolean (false)"),
    ],
)
def test_rate_refuses(value, message):
    with pytest.raises(QuantityError, match="^" + re.escape(message)):
        parse_rate(value)


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(0.0, "0/s"), (20_000.0, "20k/s"), (5 / 60, "5/min"), (1.5e6, "1.5M/s"), (0.1, "0.1/s")],
)
def test_rate_is_written_readably(per_second, text):
    assert format_rate(per_second) == text


@pytest.mark.parametrize(
    ("value", "share"),
    [("5%", 0.05), ("0.1 %", 0.001), (0.05, 0.05), (1, 1.0), (0, 0.0), ("100%", 1.0)],
)
def test_fraction_reads(value, share):
    assert parse_fraction(value) == share


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "fraction 5 is more than 1 (100%) (did you mean '5%'?)"),
        ("150%", "fraction '150%' is more than 1 (100%)"),
        (500, "fraction 500 is more than 1 (100%) (write e.g. '5%' or 0.05)"),
        (-0.1, "fraction -0.1 is negative"),
        ("0.05", "cannot read fraction '0.05' at character 5"),
        (math.nan, "fraction nan is not a finite number"),
        (True, "expected a fraction, got a boolean (true)"),
    ],
)
def test_fraction_refuses(value, message):
    with pytest.raises(QuantityError, match="^" + re.escape(message)):
        parse_fraction(value)


def test_fraction_is_written_in_percent_where_that_is_short():
    assert format_fraction(0.05) == "5%"
    assert format_fraction(1 / 3) == 1 / 3


@pytest.mark.parametrize(("value", "count"), [(300, 300), ("2k", 2000), ("1.5M", 1_500_000)])
def test_count_reads(value, count):
    read = parse_count(value)
    assert read == count
    assert type(read) is int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2.0, "count 2.0 is not written as a whole number"),
        ("1.0005k", "count '1.0005k' is not a whole number"),
        ("2K", "count '2K': unknown suffix 'K' at character 2 (did you mean 'k'?"),
        (-1, "count -1 is negative"),
        (10**16, "count is too large"),
        (True, "expected a count, got a boolean (true)"),
    ],
)
def test_count_refuses(value, message):
    with pytest.raises(QuantityError, match="^" + re.escape(message)):
        parse_count(value)


@pytest.mark.parametrize(("value", "factor"), [(2.5, 2.5), ("3x", 3.0), ("150%", 1.5), (0, 0.0)])
def test_multiplier_reads(value, factor):
    assert parse_multiplier(value) == factor


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "multiplier -1 is negative"),
        (math.inf, "multiplier inf is not a finite number"),
        ("3", "cannot read multiplier '3' at character 2"),
        (1e10, "multiplier 10000000000.0 is too large"),
    ],
)
def test_multiplier_refuses(value, message):
    with pytest.raises(QuantityError, match="^" + re.escape(message)):
        parse_multiplier(value)


def test_minus_zero_becomes_zero():
    assert math.copysign(1.0, parse_duration(-0.0)) == 1.0
    assert math.copysign(1.0, parse_multiplier(-0.0)) == 1.0


def test_model_reports_every_quantity_with_reason_and_hint():
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate(
            {"duration": 5, "rate": 5, "fraction": 5, "count": -5, "multiplier": -5}
        )
    errors = caught.value.errors(include_url=False)
    assert [error["loc"][0] for error in errors] == list(Everything.model_fields)
    assert {error["type"] for error in errors} == {"quantity"}
    assert [error["ctx"]["quantity"] for error in errors] == list(Everything.model_fields)
    assert errors[0]["msg"] == "duration 5 has no unit (write '5s' or '5ms')"
    assert errors[0]["ctx"]["reason"] == "duration 5 has no unit"
    assert errors[0]["ctx"]["hint"] == "write '5s' or '5ms'"


def test_model_round_trips_through_json():
    values = {"duration": "1h30m", "rate": "5/min", "fraction": 0.05, "count": "2k"}
    model = Everything.model_validate({**values, "multiplier": "3x"})
    text = model.model_dump_json()
    assert json.loads(text) == {
        "duration": "1h30m",
        "rate": "5/min",
        "fraction": "5%",
        "count": 2000,
        "multiplier": 3.0,
    }
    assert Everything.model_validate_json(text) == model
    # In Python the values are plain numbers.
    assert model.model_dump()["duration"] == 5400.0


@pytest.mark.parametrize("quantity", [Duration, Rate, Fraction, Count, Multiplier])
def test_json_schema_agrees_with_the_parser(quantity):
    adapter: TypeAdapter[float] = TypeAdapter(quantity)
    schema = adapter.json_schema()
    assert schema["examples"]
    validator = Draft202012Validator(schema)
    for example in schema["examples"]:
        assert validator.is_valid(example)
        adapter.validate_python(example)
    for wrong in ("", "x", "5 bananas", "-5s", "-5%", -1, None, True, "5;"):
        assert not validator.is_valid(wrong) or wrong is True, wrong
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_public_names_exist():
    for name in units.__all__:
        assert hasattr(units, name)
