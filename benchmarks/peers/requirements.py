"""What the comparison has to show, and whether it does."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from answers import outside
from workloads import W2

if TYPE_CHECKING:
    from collections.abc import Callable

    from measure import Results

FLOW_SLACK = 0.05
"""Flow's goodput may leave the band of the request runs by this share of the demand."""


@dataclass(frozen=True)
class Verdict:
    """One requirement; ``holds`` is None when it could not be measured."""

    what: str
    measured: str
    holds: bool | None

    @property
    def word(self) -> str:
        """The verdict in words."""
        return {True: "holds", False: "DOES NOT HOLD", None: "not measured"}[self.holds]


def faster(
    results: Results, workload: str, pair: tuple[str, str], least: float, what: str
) -> Verdict:
    """Require that one program is at least ``least`` times as fast as another."""
    ratio = results.ratio(workload, *pair)
    if ratio is None:
        return Verdict(what, "-", None)
    if workload == "W2" and len({results.horizon_s((workload, name)) for name in pair}) > 1:
        # The backlog grows with time, and with it what a request costs some programs.
        return Verdict(what, "over different simulated times", None)
    measured = f"{ratio:,.0f}×" if ratio >= 10.0 else f"{ratio:.2g}×"
    return Verdict(what, measured, ratio >= least)


def same_outcome(results: Results, flow: str, what: str) -> Verdict:
    """Require that flow and request fidelity tell the same story, with retries and without."""
    parts, holds = [], True
    for label, of in (("with retries", results.runs), ("without", results.checks)):
        one, many = of.get(("W2", flow), []), of.get(("W2", "request"), [])
        if not one or len(many) < 2:
            return Verdict(what, "-", None)
        ours, theirs = one[0]["goodput"][:-1], [run["goodput"][:-1] for run in many]
        seconds = outside(ours, theirs, FLOW_SLACK * W2.rate)
        ends = [statistics.fmean(goodput[-10:]) for goodput in (ours, *theirs)]
        same_end = max(ends) - min(ends) < FLOW_SLACK * W2.rate
        mean = statistics.fmean(map(sum, theirs))
        said = f"{label}: end {'equal' if same_end else 'DIFFERS'}, answered "
        said += f"{sum(ours) / mean - 1.0:+.1%}, "
        said += f"{len(ours) - len(seconds)} of {len(ours)} s in the band"
        if seconds:
            said += f" (not {', '.join(map(str, seconds))})"
        parts.append(said)
        holds &= same_end and not seconds
    return Verdict(what, "; ".join(parts), holds)


def verdicts(results: Results) -> list[Verdict]:
    """Judge all requirements."""
    third = 1.0 / 3.0
    checks: list[Callable[[], Verdict]] = [
        lambda: faster(results, "W1", ("request", "simpy"), 60.0,
                       "W1: request fidelity ≥ 60 × SimPy by hand"),
        lambda: faster(results, "W2", ("request", "simpy"), 100.0,
                       "W2: request fidelity ≥ 100 × SimPy by hand"),
        lambda: faster(results, "W1", ("request", "c"), third,
                       "W1: request fidelity ≥ ⅓ of the C loop"),
        lambda: faster(results, "W2", ("request", "c"), third,
                       "W2: request fidelity ≥ ⅓ of the C loop"),
        lambda: faster(results, "W2", ("flow", "request"), 100.0,
                       "W2: flow fidelity ≥ 100 × request fidelity"),
        lambda: same_outcome(results, "flow", "W2: flow tells what request tells"),
        lambda: faster(results, "W2", ("flow-entry", "request"), 100.0,
                       "W2 without the balancer: flow fidelity ≥ 100 × request fidelity"),
        lambda: same_outcome(results, "flow-entry",
                             "W2 without the balancer: flow tells what request tells"),
    ]  # fmt: skip
    return [check() for check in checks]
