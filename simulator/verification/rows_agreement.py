"""The flow against requests: the same story in both fidelities, second by second."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from simulator.verification import bench
from simulator.verification.bench import C, capacity, chances, demand, outage
from simulator.verification.row import Mutant, Reading, Row, replaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.verification.bench import Change
    from simulator.verification.row import Fidelity

REPLICATES = 20
LONG_TAIL = "outage of 5 s at 200/s"
MORE_REPLICATES = 300
"""Below the threshold the way back takes its time, and runs differ: see the standard error."""
NEGLIGIBLE = 0.01
"""Losses below this share of first tries are compared with this share."""
END_S = 80.0
QUEUE, FIRST, OK, LOST, ATTEMPTS = 0, 1, 2, 3, 4
"""Columns of a story."""

HALF = 0.5
"""Success share between the good state and the bad one."""
RETRIES = 3


class Retries:
    """Retries in each fidelity; the same, unless a mutant says otherwise."""

    flow = RETRIES
    request = RETRIES


STORIES: dict[str, list[Change]] = {
    "outage of 5 s at 700/s": outage(700.0, 5.0),
    "outage of 0.8 s at 700/s": outage(700.0, 0.8),
    "60 % of C for 20 s at 700/s": [
        demand(0.0, 700.0),
        capacity(20.0, 0.6 * C, workers=60.0),
        capacity(40.0, C),
    ],
    "1500/s for 3 s, then 400/s": [demand(0.0, 400.0), demand(20.0, 1500.0), demand(23.0, 400.0)],
    LONG_TAIL: outage(200.0, 5.0),
}
"""What happens to a pool with K = 5000 whose clients retry three times after 50 ms."""


def story(fidelity: Fidelity, script: list[Change], chance: str = "1") -> np.ndarray:
    """Return (80, 5) seconds: queue; first tries, successes, losses and attempts per second."""
    topology = bench.one_pool(getattr(Retries, fidelity), "50ms", of=bench.room(5000))
    plane = bench.play(bench.open_plane(fidelity, topology, chance=chance), script, END_S)
    return np.column_stack((bench.pool_rows(plane)[:, 3], bench.edge_rows(plane)[:, :4]))


def _distance(flow: np.ndarray, requests: np.ndarray) -> float:
    """Return the root mean square difference as a share of the largest value."""
    return math.sqrt(float(np.mean((requests - flow) ** 2))) / max(1.0, float(requests.max()))


def _jackknife(
    measure: Callable[[np.ndarray, np.ndarray], float], flow: np.ndarray, runs: np.ndarray
) -> tuple[float, float]:
    """Return a statistic of the mean of the runs, and its standard error."""
    n = len(runs)
    without = [measure(flow, np.delete(runs, i, axis=0).mean(axis=0)) for i in range(n)]
    se = math.sqrt((n - 1) * float(np.var(without)))
    return measure(flow, runs.mean(axis=0)), se


def _agreement(fidelity: Fidelity) -> Iterator[Reading]:
    for name, script in STORIES.items():
        flow = story("flow", script)
        n = MORE_REPLICATES if name == LONG_TAIL else REPLICATES
        runs = np.array([story(fidelity, script, c) for c in chances(f"V47 {name}", n=n)])
        for what, column in (("queue", QUEUE), ("attempts", ATTEMPTS)):
            gap, se = _jackknife(_distance, flow[:, column], runs[:, :, column])
            yield Reading(f"{what}, {name}", 0.0, gap, 0.05, se=se, n=n, bias=0.05)
        lost = runs[:, :, LOST].sum(axis=1)
        scale = max(float(lost.mean()), NEGLIGIBLE * float(flow[:, FIRST].sum()))
        gaps = list((float(flow[:, LOST].sum()) - lost) / scale)
        yield bench.averaged(f"lost, {name}", 0.0, gaps, 0.05, bias=0.05)
        final = [float(run[-10:, OK].sum() / run[-10:, FIRST].sum() > HALF) for run in runs]
        state = float(flow[-10:, OK].sum() / flow[-10:, FIRST].sum() > HALF)
        yield bench.averaged(f"good state at the end, {name}", state, final, 0.2)


V47 = Row(
    id="V47",
    claim="the flow tells the same story as requests, second by second, and ends in the same state",
    formula="|mean of runs - flow|: root mean square over the largest value, and lost in all",
    source="derived; a cohort fluid and a request-level program of their own agree to 2 % (queue), "
    "4 % (attempts) and 4 % (lost)",
    inputs="C = 1000/s, T = 1 s, r = 3, backoff 50 ms, K = 5000, 80 s; five triggers, 20 runs each "
    "(the last: 300)",
    fidelities=("request",),
    measure=_agreement,
    mutants=(
        Mutant(
            "the flow has one retry less", lambda: replaced(Retries, "flow", RETRIES - 1), "request"
        ),
    ),
    slow=frozenset({"request"}),
    note="Theory is the flow. It differs from requests by noise and steps, so this is a bound and "
    "not an equality: the bias is the tolerance. Standard errors by the jackknife.",
)


ROWS = (V47,)
