"""Names in configurations of mechanisms are found wherever they stand."""

from typing import Literal

from pydantic import BaseModel, Field

from simulator.scenario.references import (
    ActorRef,
    ControlPlaneRef,
    PoolRef,
    SelectorRef,
    ServiceRef,
    ZoneRef,
    references,
)


class Inner(BaseModel):
    kind: Literal["inner"] = "inner"
    callee: PoolRef


class Config(BaseModel):
    primary: PoolRef
    spare: PoolRef | None = None
    reads: tuple[ServiceRef, ...] = ()
    shares: dict[ZoneRef, float] = {}
    path: ControlPlaneRef = ""
    inner: Inner | None = None
    inners: list[Inner] = []
    scope: tuple[SelectorRef, ...] | None = None
    boss: str = Field(default="", json_schema_extra={"refers_to": "actor"})
    pair: tuple[PoolRef, ActorRef] | None = None
    aliased: PoolRef = Field(default="", alias="as")
    zone: str = ""
    title: str = ""


def found(value):
    return [(".".join(map(str, loc)), kind, name) for loc, kind, name in references(Config, value)]


def test_all_forms():
    value = {
        "primary": "a",
        "spare": "b",
        "reads": ["s", "t"],
        "shares": {"z": 0.5},
        "path": "cp",
        "inner": {"callee": "c"},
        "inners": [{"callee": "d"}],
        "scope": ["web-*"],
        "boss": "oncall",
        "pair": ["p", "q"],
        "as": "e",
        "zone": "by-name",
        "title": "free text",
    }
    assert found(value) == [
        ("primary", "pool", "a"),
        ("spare", "pool", "b"),
        ("reads.0", "service", "s"),
        ("reads.1", "service", "t"),
        ("shares.z", "zone", "z"),
        ("path", "control_plane", "cp"),
        ("inner.callee", "pool", "c"),
        ("inners.0.callee", "pool", "d"),
        ("scope.0", "selector", "web-*"),
        ("boss", "actor", "oncall"),
        ("pair.0", "pool", "p"),
        ("pair.1", "actor", "q"),
        ("as", "pool", "e"),
        ("zone", "zone", "by-name"),
    ]


def test_empty_missing_and_wrong_values_are_passed_over():
    assert found({"primary": "", "spare": None, "reads": 3, "shares": [], "inner": "x"}) == []
    assert found("nonsense") == []


def test_editors_learn_what_is_named():
    schema = Config.model_json_schema()
    assert schema["properties"]["primary"]["x-refers-to"] == "pool"
