"""What the types of a scenario cannot say: names that name something, sums, order, horizon.

Each check is a function with a name. It looks at a :class:`Declared` document and notes what is
wrong there. The legal extremes are legal: no trigger, total outage, dependencies in a circle.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from simulator.errors import QuantityError
from simulator.scenario.basis import numbers_have_a_basis
from simulator.scenario.codes import Code
from simulator.scenario.expectations import expectations_can_fail
from simulator.scenario.nodes import nearest, quote
from simulator.scenario.references import BREAK_GLASS, references
from simulator.units import parse_duration, parse_fraction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.scenario.declared import Declared, Item
    from simulator.scenario.nodes import Node, Problems
    from simulator.scenario.references import RefKind

SHARES_TOLERANCE: Final = 1e-6
MOMENTS: Final = ("at", "start", "starts_at")
"""Names of configuration fields that say when something happens."""


def _duration_s(node: Node | None) -> float | None:
    try:
        return None if node is None else parse_duration(node.value)
    except QuantityError:
        return None


@dataclass(frozen=True, slots=True)
class Names:
    """Names that there are, and the word for what they name."""

    what: str
    known: frozenset[str]


def _exists(doc: Declared, name: str, node: Node, path: str, names: Names) -> None:
    """Note a name that names nothing."""
    if name not in names.known:
        message = f"there is no {names.what} {quote(name)}"
        if "*" in name:
            message = f"no {names.what} fits {quote(name)}"
        hint = nearest(name, names.known) or "there is none"
        doc.note(Code.DANGLING, node, path, message, hint)


# ------------------------------------------------------------------------------- the region


def ids_are_unique(doc: Declared) -> None:
    """Check that pools, services, control planes, alarms and mechanisms have ids of their own."""
    lists: list[Sequence[Item]] = [
        doc.in_region("pools"),
        doc.in_region("services"),
        doc.in_region("control_planes"),
        doc.alarms,
        doc.mechanisms(),
    ]
    for items in lists:
        first: dict[str, Node] = {}
        for item in items:
            for name, node in item.names("id"):
                at = first.setdefault(name, node).mark
                if first[name] is not node:
                    hint = f"first in {at.file}, line {at.line}, column {at.column}"
                    message = f"id {name!r} is there twice"
                    doc.note(Code.DUPLICATE_ID, node, f"{item.path}.id", message, hint)


def dependencies_are_listed_once(doc: Declared) -> None:
    """Check that there is one entry for each dependency."""
    seen: set[str] = set()
    for item in doc.in_region("dependencies"):
        name = item.path.rpartition(".")[2]
        if name in seen:
            message = f"the dependency {name} is there twice"
            doc.note(Code.TWICE, item.node, item.path, message, "add up their 'calls'")
        seen.add(name)


def names_are_listed_once(doc: Declared) -> None:
    """Check that zones and triggers are named once."""
    lists = {
        f"{doc.prefix}zones": doc.region.list_of("zones"),
        "trigger": doc.root.list_of("trigger"),
    }
    for path, nodes in lists.items():
        seen: set[str] = set()
        for number, node in enumerate(nodes):
            if isinstance(node.value, str) and node.value in seen:
                message = f"{quote(node.value)} is there twice"
                doc.note(Code.TWICE, node, f"{path}.{number}", message)
            seen.add(str(node.value))


def no_pool_calls_itself(doc: Declared) -> None:
    """Check that a dependency has two different ends; longer circles are legal."""
    for item in doc.in_region("dependencies"):
        caller = item.node.text("from")
        if caller is not None and caller == item.node.text("to"):
            message = f"pool {caller!r} calls itself"
            hint = "put the work into its service_time"
            doc.note(Code.SELF_CALL, item.node, item.path, message, hint)


def dependencies_have_from_and_to(doc: Declared) -> None:
    """Check that files say ``from`` and ``to``, by which overlays find a dependency."""
    for item in doc.in_region("dependencies"):
        for key, right in (("caller", "from"), ("callee", "to")):
            node = item.node.mapping().get(key)
            if node is not None:
                path, message = f"{item.path}.{key}", f"unknown key {key!r}"
                doc.note_key(Code.UNKNOWN_KEY, node, path, message, f"did you mean {right!r}?")


def names_of_pools_exist(doc: Declared) -> None:
    """Check that dependencies, services and control planes name pools."""
    pools = Names("pool", doc.ids("pools"))
    for section, key in (
        ("dependencies", "from"),
        ("dependencies", "to"),
        ("services", "entry"),
        ("control_planes", "pool"),
    ):
        for item in doc.in_region(section):
            for name, node in item.names(key):
                _exists(doc, name, node, f"{item.path}.{key}", pools)


def names_of_zones_exist(doc: Declared) -> None:
    """Check that the shares of a pool are for zones of the region."""
    for item in doc.in_region("pools"):
        shares = item.node.mapping().get("zones")
        for zone, share in shares.mapping().items() if shares is not None else ():
            if zone not in doc.zones:
                path, message = f"{item.path}.zones.{zone}", f"there is no zone {quote(zone)}"
                doc.note_key(Code.DANGLING, share, path, message, nearest(zone, doc.zones))


def zone_shares_add_up(doc: Declared) -> None:
    """Check that the shares of a pool's zones sum to one."""
    for item in doc.in_region("pools"):
        shares = item.node.mapping().get("zones")
        if shares is None or not isinstance(shares.value, dict):
            continue
        try:
            total = sum(parse_fraction(share.value) for share in shares.value.values())
        except QuantityError:
            continue
        if abs(total - 1.0) > SHARES_TOLERANCE:
            message = f"the shares of the zones add up to {100 * total:.6g}%"
            hint = "they must add up to 100%; without 'zones' all zones have equal shares"
            doc.note(Code.ZONE_SHARES, shares, f"{item.path}.zones", message, hint)


# ------------------------------------------------------------------------------- the scenario


def alarms_watch_one_thing(doc: Declared) -> None:
    """Check that an alarm watches one service or one pool, on one side of one limit."""
    for item in doc.alarms:
        keys = {key for key, node in item.node.mapping().items() if node.value is not None}
        for pair, what in ((("service", "pool"), "watches"), (("below", "above"), "has")):
            named = [key for key in pair if key in keys]
            if len(named) != 1:
                both = "both " if named else "neither "
                joint = " and " if named else " nor "
                message = f"the alarm {what} {both}{joint.join(repr(key) for key in pair)}"
                doc.note(Code.ALARM, item.node, item.path, message, "give one of them")
        for key, section in (("service", "services"), ("pool", "pools")):
            for name, node in item.names(key):
                _exists(doc, name, node, f"{item.path}.{key}", Names(key, doc.ids(section)))
        for metric, node in item.names("metric"):
            if metric in {"utilisation_frac", "units_frac"} and "service" in keys:
                message = f"a service has no {metric!r}"
                hint = "watch a pool, or the success_frac of the service"
                doc.note(Code.ALARM, node, f"{item.path}.metric", message, hint)


def names_in_the_scenario_exist(doc: Declared) -> None:
    """Check the carrier of telemetry, the services with a demand of their own, the triggers."""
    carrier = doc.at("telemetry", "carried_by")
    if carrier is not None and isinstance(carrier.value, str):
        pools = Names("pool", doc.ids("pools"))
        _exists(doc, carrier.value, carrier, "telemetry.carried_by", pools)
    shapes = doc.at("demand", "services")
    for name, shape in shapes.mapping().items() if shapes is not None else ():
        if name not in doc.ids("services"):
            hint = nearest(name, doc.ids("services"))
            message = f"there is no service {quote(name)}"
            doc.note_key(Code.DANGLING, shape, f"demand.services.{name}", message, hint)
    for number, node in enumerate(doc.root.list_of("trigger")):
        if isinstance(node.value, str):
            _check_trigger(doc, node.value, node, f"trigger.{number}")


def _check_trigger(doc: Declared, name: str, node: Node, path: str) -> None:
    sections = {item.id: item.section for item in doc.mechanisms()}
    can = [key for key, section in sections.items() if section in {"faults", "automation"}]
    if name in can:
        return
    if name in sections:
        message = f"{quote(name)} is of {sections[name]!r} and cannot be the trigger"
        doc.note(Code.DANGLING, node, path, message, "a trigger is a fault or an automation")
    else:
        message = f"there is no fault or automation {quote(name)}"
        hint = nearest(name, can) or "the scenario has neither"
        doc.note(Code.DANGLING, node, path, message, hint)


def mechanisms_name_what_exists(doc: Declared) -> None:
    """Check every name in the configuration of a mechanism."""
    sections = {item.id: item.section for item in doc.mechanisms()}
    actors = [k for k, section in sections.items() if section not in {"faults", "guardrails"}]
    pools = Names("pool", doc.ids("pools"))
    known: dict[RefKind, Names] = {
        "pool": pools,
        "service": Names("service", doc.ids("services")),
        "zone": Names("zone", doc.zones),
        "control_plane": Names("control plane", doc.ids("control_planes") | {BREAK_GLASS}),
        "actor": Names("healing loop, automation or person", frozenset(actors)),
        "mechanism": Names("mechanism", frozenset(sections)),
        "selector": pools,
    }
    for item in doc.mechanisms():
        if item.config is None:
            continue
        for loc, kind, name in references(item.config, item.node.plain()):
            node = item.node
            for step in loc:
                node = node.child(step) or node
            if kind != "selector" or not any(fnmatchcase(pool, name) for pool in pools.known):
                path = ".".join([item.path, *map(str, loc)])
                _exists(doc, name, node, path, known[kind])


def nothing_happens_after_the_end(doc: Declared) -> None:
    """Check that faults, starts, changes of demand and the first sample lie before the horizon."""
    horizon_s = _duration_s(doc.at("horizon"))
    if not horizon_s:
        return
    moments: list[tuple[str, Node | None]] = [
        (f"{item.path}.{key}", item.node.mapping().get(key))
        for item in doc.mechanisms()
        for key in MOMENTS
    ]
    moments.append(("telemetry.sample_period", doc.at("telemetry", "sample_period")))
    for path, shape in _shapes(doc):
        moments.append((f"{path}.start", shape.mapping().get("start")))
        for number, step in enumerate(shape.list_of("steps")):
            moments.append((f"{path}.steps.{number}.at", step.mapping().get("at")))
    for path, node in moments:
        at_s = _duration_s(node)
        if node is not None and at_s is not None and at_s >= horizon_s:
            shown = (doc.at("horizon") or node).value
            message = f"{node.value} is not before the end of the run ({shown})"
            doc.note(Code.PAST_HORIZON, node, path, message, "move it, or lengthen the horizon")


def _shapes(doc: Declared) -> list[tuple[str, Node]]:
    shapes = [("demand.shape", doc.at("demand", "shape"))]
    services = doc.at("demand", "services")
    for name, shape in services.mapping().items() if services is not None else ():
        shapes.append((f"demand.services.{name}", shape))
    return [(path, shape) for path, shape in shapes if shape is not None]


def times_are_in_order(doc: Declared) -> None:
    """Check that steps of demand follow each other, and that a ramp ends after its start."""
    for path, shape in _shapes(doc):
        _check_ramp(doc, shape, path)
        last_s = -1.0
        for number, step in enumerate(shape.list_of("steps")):
            node = step.mapping().get("at")
            at_s = _duration_s(node)
            if node is None or at_s is None:
                continue
            if at_s <= last_s:
                message = f"{node.value} is not after the step before"
                doc.note(Code.ORDER, node, f"{path}.steps.{number}.at", message, "sort the steps")
            last_s = at_s


def _check_ramp(doc: Declared, shape: Node, path: str) -> None:
    end = shape.mapping().get("end")
    start_s, end_s = _duration_s(shape.mapping().get("start")), _duration_s(end)
    if end is not None and start_s is not None and end_s is not None and end_s <= start_s:
        message = f"the ramp ends at {end.value}, not after its start"
        doc.note(Code.ORDER, end, f"{path}.end", message)


def free_parameters_exist(doc: Declared) -> None:
    """Check that free parameters are paths into the scenario."""
    for number, node in enumerate(doc.root.list_of("free_parameters")):
        if not isinstance(node.value, str):
            continue
        at: Node | None = doc.root
        for step in node.value.split("."):
            at = (at.child(int(step) if step.isdigit() else step)) if at is not None else None
        if at is None:
            message = f"{quote(node.value)} leads to no value that is written in the scenario"
            hint = "write the path as for --set, e.g. people.oncall.skill"
            doc.note(Code.DANGLING, node, f"free_parameters.{number}", message, hint)


REGION_CHECKS: Final[tuple[Callable[[Declared], None], ...]] = (
    ids_are_unique,
    dependencies_are_listed_once,
    names_are_listed_once,
    no_pool_calls_itself,
    dependencies_have_from_and_to,
    names_of_pools_exist,
    names_of_zones_exist,
    zone_shares_add_up,
    numbers_have_a_basis,
)
SCENARIO_CHECKS: Final[tuple[Callable[[Declared], None], ...]] = (
    alarms_watch_one_thing,
    names_in_the_scenario_exist,
    mechanisms_name_what_exists,
    nothing_happens_after_the_end,
    times_are_in_order,
    free_parameters_exist,
    expectations_can_fail,
)


def check(doc: Declared, problems: Problems) -> None:
    """Run every check that fits a document; places that are wrong already are not checked."""
    known = {(p.file, p.line, p.column) for p in problems}
    checks = REGION_CHECKS + (SCENARIO_CHECKS if doc.root.mapping() else ())
    for one in checks:
        one(doc)
    problems.take(p for p in doc.problems if (p.file, p.line, p.column) not in known)
