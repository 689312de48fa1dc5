"""What the comparison has to show, and whether it does."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from answers import outside
from workloads import W2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answers import Run
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


def same_outcome(flow: Sequence[Run], request: Sequence[Run], what: str) -> Verdict:
    """Require that flow fidelity tells what the runs at request fidelity tell."""
    if not flow or len(request) < 2:
        return Verdict(what, "-", None)
    ours, theirs = flow[0]["goodput"][:-1], [run["goodput"][:-1] for run in request]
    seconds = outside(ours, theirs, FLOW_SLACK * W2.rate)
    ends = [statistics.fmean(goodput[-10:]) for goodput in (ours, *theirs)]
    same_end = max(ends) - min(ends) < FLOW_SLACK * W2.rate
    answered = sum(ours) / statistics.fmean(map(sum, theirs)) - 1.0
    said = f"end {'equal' if same_end else 'DIFFERS'}, answered {answered:+.1%}, "
    said += f"{len(ours) - len(seconds)} of {len(ours)} s in the band"
    if seconds:
        said += f" (not {', '.join(map(str, seconds))})"
    return Verdict(what, said, same_end and not seconds)


def verdicts(results: Results) -> list[Verdict]:
    """Judge all requirements."""
    third = 1.0 / 3.0
    found = [
        faster(results, "W1", ("request", "simpy"), 60.0, "W1: request ≥ 60 × SimPy by hand"),
        faster(results, "W2", ("request", "simpy"), 100.0, "W2: request ≥ 100 × SimPy by hand"),
        faster(results, "W1", ("request", "c"), third, "W1: request ≥ ⅓ × C loop"),
        faster(results, "W2", ("request", "c"), third, "W2: request ≥ ⅓ × C loop"),
    ]
    for name, where in (("flow", "W2"), ("flow-entry", "W2 without the balancer")):
        found.append(
            faster(results, "W2", (name, "request"), 100.0, f"{where}: flow ≥ 100 × request")
        )
        for runs, how in ((results.runs, "retries"), (results.checks, "no retries")):
            flow, request = runs.get(("W2", name), []), runs.get(("W2", "request"), [])
            what = f"{where}, {how}: flow tells what request tells"
            found.append(same_outcome(flow, request, what))
    return found
