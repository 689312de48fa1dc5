"""Were the scenario's expectations met? For one run, and over many seeds.

Values that a run did not reach (``ttr_s`` of a run that had not recovered, a milestone that nobody
marked) count as infinity: longer than any limit. They are never dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.errors import UsageError
from simulator.scenario.metrics_names import TRUTHS, is_duration, is_fraction
from simulator.units import parse_duration, parse_fraction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.metrics.result import Metrics
    from simulator.scenario.schema import Expectation

__all__ = [
    "Verdict",
    "evaluate",
    "evaluate_over",
    "metric_value",
    "quantile",
    "show_duration",
    "show_value",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Answer to one expectation."""

    expectation: Expectation
    value: float
    """The metric of the run, or its quantile, or the worst over the seeds; may be infinite."""
    passed: bool
    runs: int = 1
    failed_runs: int = 0
    """Runs that broke it (0 where a quantile is judged)."""
    over_seeds: bool = False
    """It speaks of many seeds and this is one run: an indication, not a judgement."""

    @property
    def statement(self) -> str:
        """The expectation in words: ``median of ttr_s is at least 11h``."""
        e = self.expectation
        name = e.metric if e.quantile is None else f"{_quantile_name(e.quantile)} of {e.metric}"
        limits = (("at least ", e.at_least), ("at most ", e.at_most), ("", e.equals))
        said = [f"{word}{_shown_limit(e.metric, x)}" for word, x in limits if x is not None]
        return f"{name} is {' and '.join(said)}"

    @property
    def shown_value(self) -> str:
        """The value with its unit."""
        return show_value(self.expectation.metric, self.value)


def metric_value(metrics: Metrics, name: str) -> float:
    """Return a metric by its name in expectations, e.g. ``blast_radius.customers_frac``.

    Raises
    ------
    UsageError
        If there is no such metric.
    """
    value: object = metrics
    for part in name.split("."):
        if isinstance(value, dict):
            known = part in value
            value = value.get(part)
        else:
            known = hasattr(value, part)
            value = getattr(value, part, None)
        if not known:
            msg = f"unknown metric {name!r}"
            raise UsageError(msg)
    if value is None:
        return math.inf
    if not isinstance(value, int | float):
        msg = f"metric {name!r} is not a number"
        raise UsageError(msg)
    return float(value)


def _limit(metric: str, raw: float | str | bool) -> float:  # noqa: FBT001 - a value, not a switch
    """Return a limit of an expectation as a number."""
    if not isinstance(raw, str):
        return float(raw)
    if is_duration(metric):
        return parse_duration(raw)
    return parse_fraction(raw) if raw.endswith("%") else float(raw)


def _holds(expectation: Expectation, value: float) -> bool:
    e = expectation
    if e.at_least is not None and not value >= _limit(e.metric, e.at_least):
        return False
    if e.at_most is not None and not value <= _limit(e.metric, e.at_most):
        return False
    if e.equals is None:
        return True
    limit = _limit(e.metric, e.equals)
    return value == limit or math.isclose(value, limit, rel_tol=1e-9, abs_tol=1e-12)


def evaluate(expectation: Expectation, metrics: Metrics) -> Verdict:
    """Judge one run. An expectation on a quantile is judged as if this run were the quantile."""
    value = metric_value(metrics, expectation.metric)
    passed = _holds(expectation, value)
    over_seeds = expectation.quantile is not None
    return Verdict(expectation, value, passed, failed_runs=int(not passed), over_seeds=over_seeds)


def evaluate_over(expectation: Expectation, values: Sequence[float]) -> Verdict:
    """Judge the values of a metric over seeds.

    With a quantile, that quantile must hold; without, every run must. The value shown is then
    the worst one: the farthest on the wrong side of the limit, or the nearest to it.
    """
    if not values:
        msg = "no runs to judge"
        raise UsageError(msg)
    if expectation.quantile is not None:
        value = quantile(values, expectation.quantile)
        return Verdict(expectation, value, _holds(expectation, value), len(values))
    broken = [v for v in values if not _holds(expectation, v)]
    worst = min if expectation.at_least is not None else max
    value = worst(broken or values)
    return Verdict(expectation, value, not broken, len(values), len(broken))


def quantile(values: Sequence[float], q: float) -> float:
    """Return the smallest value that at least the share `q` of the values does not exceed.

    An order statistic: no interpolation, which would be undefined next to infinity.
    """
    ordered = sorted(values)
    return ordered[max(math.ceil(q * len(ordered) - 1e-9) - 1, 0)]


def _quantile_name(q: float) -> str:
    return "median" if q == 0.5 else f"p{100 * q:g}"  # noqa: PLR2004 - the median's definition


def _shown_limit(metric: str, raw: float | str | bool) -> str:  # noqa: FBT001 - a value, not a switch
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, str):
        return raw
    return f"{100 * raw:g}%" if is_fraction(metric) else f"{raw:g}"


def show_value(metric: str, value: float) -> str:
    """Return the value of a metric as a person would write it."""
    if metric in TRUTHS:
        return "true" if value else "false"
    if math.isinf(value):
        return "not reached" if is_duration(metric) else "infinite"
    if is_duration(metric):
        return show_duration(value)
    if is_fraction(metric):
        return f"{value:.1%}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"  # noqa: PLR2004 - 4 digits


def show_duration(duration_s: float) -> str:
    """Return a duration in its two largest units: ``11h 02min``, ``4min 10s``, ``12.5s``."""
    if duration_s < 0:
        return "−" + show_duration(-duration_s)
    if duration_s < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{duration_s:.3g}s"
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, day_hours = divmod(hours, 24)
    if days >= 2:  # noqa: PLR2004 - one day is read more easily as hours
        return f"{days}d {day_hours:02d}h"
    return f"{hours}h {minutes:02d}min" if hours else f"{minutes}min {seconds:02d}s"
