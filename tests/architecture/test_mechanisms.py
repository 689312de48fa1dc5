"""Conformance: what every registered mechanism keeps, whoever wrote it."""

import pickle
import re
import sys
import typing
from collections.abc import Iterator
from types import UnionType
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from simulator.mechanism import ALLOW, Action, Fault, Guardrail, HealingLoop, Operator, Script
from simulator.registry import REGISTRY, Family
from tests.fakes import FakeInventory, FakeView, World, context

PROTOCOLS: dict[Family, type] = {
    "automation": Script,
    "fault": Fault,
    "guardrail": Guardrail,
    "healing": HealingLoop,
    "people": Operator,
}
PACE: dict[str, Any] = {"kind": "constant", "value": "1min"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "capacity_factor": {"pools": ["api"], "factor": 0.5, "at": "1h"},
    "crash": {"pools": ["api"], "frac": "10%", "at": "1h"},
    "slow_down": {"pools": ["api"], "factor": 2, "at": "1h"},
    "zone_loss": {"zone": "a", "at": "1h"},
    "host_manager_floor_lost": {"pools": ["api"], "frac_per_min": "1%", "floor_frac": "10%"},
    "runaway_removal": {
        "start": "1h",
        "target": ["api"],
        "goal_frac": "10%",
        "batch_units": 1,
        "pace": PACE,
    },
}
"""Settings of the kinds that need some; a new kind without defaults gets a line here."""

ENTRIES = [e for family in sorted(PROTOCOLS) for e in REGISTRY.entries(family)]
assert {e.family for e in ENTRIES} == set(PROTOCOLS), "a family without a kind tests nothing"

each = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.family}-{e.kind}")


def make(entry):
    config = REGISTRY.config_of(entry.family, entry.kind)
    return entry.cls("it", config.model_validate(EXAMPLES.get(entry.kind, {})), context())


def module_doc(entry):
    return sys.modules[entry.cls.__module__].__doc__ or ""


def fields(entry):
    return REGISTRY.config_of(entry.family, entry.kind).model_fields


@each
def test_keeps_its_protocol(entry):
    assert isinstance(make(entry), PROTOCOLS[entry.family])


@each
def test_has_a_summary_of_one_sentence(entry):
    assert re.fullmatch(r"[A-Z].{10,98}\.", entry.summary)
    assert module_doc(entry).splitlines()[0].endswith(".")


@each
def test_says_what_it_computes_and_where_that_comes_from(entry):
    text = module_doc(entry)
    assert re.search(r"^Equation: ", text, re.MULTILINE)
    assert re.search(r"^Source: ", text, re.MULTILINE)


@each
def test_every_default_has_a_provenance(entry):
    _, _, text = module_doc(entry).partition("\nDefaults:\n")
    items = re.findall(r"^\* (.*(?:\n  .*)*)", text, re.MULTILINE)
    said: dict[str, str] = {}
    for item in items:
        origin = re.search(r"\b(source|assumption|neutral|words of the sources)\b", item)
        assert origin, f"where does this come from: {item}"
        said |= dict.fromkeys(re.findall(r"``(\w+)``", item), origin[1])
    optional = {name for name, field in fields(entry).items() if not field.is_required()}
    assert optional <= set(said)


@each
def test_config_is_frozen_closed_and_documented(entry):
    config = REGISTRY.config_of(entry.family, entry.kind)
    assert config.__doc__
    assert not config.__doc__.startswith("!!!")
    for name, field in config.model_fields.items():
        assert field.description, f"{name} has no description"
        assert field.description.endswith("."), name
    example = EXAMPLES.get(entry.kind, {})
    with pytest.raises(ValidationError, match="Extra inputs"):
        config.model_validate({**example, "not_a_field": 1})
    made = config.model_validate(example)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, next(iter(config.model_fields)), None)
    assert config.model_validate_json(made.model_dump_json(by_alias=True)) == made


@each
def test_numbers_are_quantities(entry):
    for name, field in fields(entry).items():
        for part in parts(field.annotation):
            if part in {int, float}:
                kind: Any = typing.Annotated[part, *field.metadata]
                schema = TypeAdapter(kind).json_schema()
                assert "description" in schema, f"{name}: a bare number"


def parts(annotation: Any) -> Iterator[Any]:
    """Yield the plain types in an annotation."""
    origin = typing.get_origin(annotation)
    if origin in {typing.Union, UnionType}:
        for member in typing.get_args(annotation):
            yield from parts(member)
    elif origin is None:
        yield annotation


@each
def test_can_be_pickled_before_the_run(entry):
    again = pickle.loads(pickle.dumps(make(entry)))  # noqa: S301 - our own bytes
    assert type(again) is entry.cls
    assert again.id == "it"


@each
def test_same_view_same_answer(entry):
    """Two instances with the same chance do the same."""
    assert behaviour(make(entry)) == behaviour(make(entry))


def behaviour(it):
    if isinstance(it, HealingLoop):
        view = FakeView(failing={"api": 0.5}, load={"api": 0.9})
        return [it.decide(view) for _ in range(3)]
    if isinstance(it, Fault):
        return list(it.effects())
    if isinstance(it, Guardrail):
        return it.judge(Action("remove", "api", count=30), FakeInventory())
    world = World(success=lambda _: 0.5)
    world.run(it.run(), most=300)
    return world.asked, world.now_s, world.marks


@each
def test_a_well_region_is_left_alone(entry):
    """Neutral: nothing is wrong, so nothing is done."""
    it = make(entry)
    if entry.family == "healing":
        assert [it.decide(FakeView(now_s=60.0 * n)) for n in range(5)] == [[]] * 5
    elif entry.family == "people":
        world = World()
        world.run(it.run())
        assert world.asked == []
    elif entry.family == "guardrail":
        for verb in ("describe", "add", "throttle", "pause", "resume"):
            assert it.judge(Action(verb, "api", count=5), FakeInventory()) == ALLOW


POLICIES = REGISTRY.entries("policy")
assert POLICIES, "no policy: nothing is tested"
each_policy = pytest.mark.parametrize("entry", POLICIES, ids=lambda e: e.kind)


@each_policy
def test_a_policy_says_what_it_computes_and_where_that_comes_from(entry):
    test_has_a_summary_of_one_sentence(entry)
    test_says_what_it_computes_and_where_that_comes_from(entry)
    if "Defaults: none" not in module_doc(entry):
        test_every_default_has_a_provenance(entry)


@each_policy
def test_settings_of_a_policy_are_frozen_closed_and_documented(entry):
    config = REGISTRY.config_of("policy", entry.kind)
    for name, field in config.model_fields.items():
        assert (field.description or "").endswith("."), name
    with pytest.raises(ValidationError, match="Extra inputs"):
        config.model_validate({"not_a_field": 1})


@each_policy
def test_a_policy_is_a_file_of_its_own(entry):
    assert entry.cls.__module__ == f"simulator.policies.{entry.kind}"


def test_the_examples_are_of_known_kinds():
    assert set(EXAMPLES) <= {e.kind for e in ENTRIES}
    assert all(issubclass(REGISTRY.config_of(e.family, e.kind), BaseModel) for e in ENTRIES)
