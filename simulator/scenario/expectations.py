"""Check of expectations: they speak of something that is measured, and they can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulator.errors import QuantityError
from simulator.scenario.codes import Code
from simulator.scenario.metrics_names import (
    KNOWN_METRICS,
    POOL_METRIC,
    SERVICE_METRIC,
    TRUTHS,
    is_duration,
    is_fraction,
)
from simulator.scenario.nodes import kind_of, nearest, quote
from simulator.units import parse_duration, parse_fraction

if TYPE_CHECKING:
    from simulator.scenario.declared import Declared
    from simulator.scenario.nodes import Node

LIMITS: Final = ("at_least", "at_most", "equals")


def expectations_can_fail(doc: Declared) -> None:
    """Every expectation names a metric and a limit that it can be compared with."""
    for number, item in enumerate(doc.root.list_of("expectations")):
        path = f"expectations.{number}"
        metric = item.text("metric")
        keys = item.mapping()
        limits = {key: keys[key] for key in LIMITS if key in keys and keys[key].value is not None}
        if not limits and isinstance(item.value, dict):
            message = "the expectation has no limit and cannot fail"
            hint = "give at_least, at_most or equals"
            doc.note(Code.EXPECTATION, item, path, message, hint)
        if metric is None or not _known_metric(doc, metric, keys["metric"], f"{path}.metric"):
            continue
        values = {key: _limit(doc, metric, limits[key], f"{path}.{key}") for key in limits}
        low, high = values.get("at_least"), values.get("at_most")
        if low is not None and high is not None and low > high:
            message = (
                f"at_least {limits['at_least'].value} is above at_most {limits['at_most'].value}"
            )
            doc.note(Code.EXPECTATION, item, path, message, "no value satisfies both")


def _known_metric(doc: Declared, metric: str, node: Node, path: str) -> bool:
    """Tell whether a metric exists, and note it if not."""
    head, dot, name = metric.partition(".")
    for prefix, section in ((POOL_METRIC, "pools"), (SERVICE_METRIC, "services")):
        if head != prefix:
            continue
        if name in doc.ids(section):
            return True
        what = section.removesuffix("s")
        message = f"there is no {what} {quote(name)}" if dot else f"{head!r} needs a {what}"
        hint = nearest(name, doc.ids(section)) if dot else f"write {head}.<id of a {what}>"
        doc.note(Code.DANGLING if dot else Code.UNKNOWN_METRIC, node, path, message, hint)
        return False
    if metric in KNOWN_METRICS:
        return True
    known = [*KNOWN_METRICS, POOL_METRIC, SERVICE_METRIC]
    hint = nearest(metric, known)
    doc.note(Code.UNKNOWN_METRIC, node, path, f"unknown metric {quote(metric)}", hint)
    return False


def _limit(doc: Declared, metric: str, node: Node, path: str) -> float | None:
    """Return a limit as a number; a problem and None if it cannot be compared with the metric."""
    value = node.value
    wrong: tuple[str, str] | None = None
    if metric in TRUTHS:
        if not isinstance(value, bool) or not path.endswith("equals"):
            message = f"{metric!r} is true or false, and cannot be compared with {kind_of(node)}"
            wrong = message, "write equals: true or equals: false"
    elif isinstance(value, str):
        try:
            return _quantity(metric, value)
        except QuantityError as error:
            wrong = error.reason, error.hint
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    else:
        wrong = f"{metric!r} is a number, and this is {kind_of(node)}", ""
    if wrong is not None:
        doc.note(Code.EXPECTATION, node, path, *wrong)
    return None


def _quantity(metric: str, text: str) -> float:
    """Read a quantity as the metric's kind demands."""
    if is_duration(metric):
        return parse_duration(text)
    if is_fraction(metric):
        return parse_fraction(text)
    reason = f"{metric!r} is a plain number, and this is {quote(text)}"
    raise QuantityError(metric, reason, "write the number without quotes or unit")
