"""How far the flow is from requests, and from its own limit of small steps.

Every case of a designed set (:mod:`envelope_cases`) is simulated as a flow, as a flow with steps
fifty times finer, and request by request with several seeds. Writes
``benchmarks/envelope/results.json``; :mod:`envelope_report` makes the figure and the tables of
VALIDATION.md from that file.

The full set (200 pools, 50 graphs, 5 seeds) takes some 15 minutes on two cores; ``--quick`` a
tenth of it. Cases that are there already are kept: an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from envelope_cases import START_S, Graph, Pool, designed_graphs, designed_pools
from rich.progress import Progress

from simulator.flow import layout
from simulator.flow.plane import FlowPlane
from simulator.flow.validity import concerns
from simulator.model import FIFO, ZOMBIE
from simulator.request.plane import RequestPlane
from simulator.sampling import Streams

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).with_name("envelope") / "results.json"
SEEDS = 5
LAST = 15
"""Samples (1 s each) from whose success the final state is read."""
FINER = 50
BISECTIONS = 7
Case = Pool | Graph


def series(case: Case, plane: FlowPlane | RequestPlane) -> dict[str, np.ndarray]:
    """Return queue, attempts, goodput and first tries by second."""
    _, pools, edges = plane.samples()
    entry = case.entry if isinstance(case, Graph) else 0
    return {
        "queue": pools[:, :, 3].sum(axis=1),
        "attempts": edges[:, :, 3].sum(axis=1),
        "goodput": edges[:, entry, 1],
        "first": edges[:, entry, 0],
    }


def as_flow(case: Case, *, adaptive: bool = True) -> dict[str, np.ndarray]:
    """Simulate as a flow."""
    plane = FlowPlane(case.topology(), sample_period_s=1.0, adaptive=adaptive)
    case.play(plane)
    return series(case, plane)


def as_fine_flow(case: Case) -> dict[str, np.ndarray]:
    """Simulate as a flow with steps so much finer, without sleep."""
    usual = layout.STEPS_PER_TIMEOUT
    layout.STEPS_PER_TIMEOUT = FINER * usual
    try:
        return as_flow(case, adaptive=False)
    finally:
        layout.STEPS_PER_TIMEOUT = usual


def as_requests(case: Case, seed: int) -> dict[str, np.ndarray]:
    """Simulate request by request."""
    rng = Streams(seed).stream("envelope", "requests")
    plane = RequestPlane(case.topology(), sample_period_s=1.0, rng=rng)
    case.play(plane)
    return series(case, plane)


def success(run: dict[str, np.ndarray]) -> float:
    """Return the share of first tries answered at the end."""
    return float(run["goodput"][-LAST:].sum() / max(run["first"][-LAST:].sum(), 1.0))


def recovery_s(run: dict[str, np.ndarray], case: Case) -> float | None:
    """Return when, after the trigger's end, nine tenths are answered for five seconds."""
    start = int(np.ceil(START_S + case.length_s))
    good = run["goodput"][start:] >= 0.9 * run["first"][start:]
    for i in range(len(good) - 5):
        if good[i : i + 5].all():
            return float(i)
    return None


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the root mean square difference over the largest value (at least one)."""
    return float(np.sqrt(np.mean((one - other) ** 2)) / max(1.0, np.abs(other).max()))


def tipping_s(stuck: Callable[[float], bool], longest_s: float) -> float | None:
    """Find the shortest outage that leaves a stuck pool; None if there is none."""
    low, high = 0.0, longest_s
    if not stuck(high):
        return None
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if stuck(middle) else (middle, high)
    return 0.5 * (low + high)


def tipping_pair(case: Pool) -> tuple[float | None, float | None]:
    """Return the tipping duration of an outage as a flow and in requests (majority of seeds)."""

    def after(plane: FlowPlane | RequestPlane, length_s: float) -> bool:
        case.outage(plane, length_s)
        return success(series(case, plane)) < 0.5

    def flow(length_s: float) -> bool:
        return after(FlowPlane(case.topology(), sample_period_s=1.0), length_s)

    def requests(length_s: float) -> bool:
        votes = [
            after(
                RequestPlane(
                    case.topology(),
                    sample_period_s=1.0,
                    rng=Streams(seed).stream("envelope", "tipping"),
                ),
                length_s,
            )
            for seed in range(3)
        ]
        return sum(votes) >= 2

    return tipping_s(flow, 8.0), tipping_s(requests, 8.0)


def measure(case: Case) -> dict[str, Any]:
    """Return all that is said of one case."""
    flow, fine = as_flow(case), as_fine_flow(case)
    runs = [as_requests(case, seed) for seed in range(SEEDS)]
    mean = {name: np.mean([run[name] for run in runs], axis=0) for name in flow}
    one = np.mean([[distance(run[n], mean[n]) for n in MEASURES] for run in runs], axis=0)
    found = {
        "against_requests": {n: distance(flow[n], mean[n]) for n in MEASURES},
        "against_fine_steps": {n: distance(flow[n], fine[n]) for n in MEASURES},
        "one_seed_against_mean": dict(zip(MEASURES, one.tolist(), strict=True)),
        "success": {
            "flow": success(flow),
            "fine": success(fine),
            "requests": [success(run) for run in runs],
        },
        "recovery_s": {
            "flow": recovery_s(flow, case),
            "fine": recovery_s(fine, case),
            "requests": [recovery_s(run, case) for run in runs],
        },
    }
    if isinstance(case, Pool) and can_tip(case):
        found["tipping_s"] = dict(zip(("flow", "requests"), tipping_pair(case), strict=True))
    return found


MEASURES = ("queue", "attempts", "goodput")


def can_tip(case: Pool) -> bool:
    """Tell whether theory says that an outage can leave the pool stuck (F3, F4, F8)."""
    above = (case.retries + 1) * case.load > 1.1 and case.load < 0.95
    return above and case.discipline == FIFO and case.late == ZOMBIE and case.room > 1.5


def described(case: Case) -> dict[str, Any]:
    """Return the inputs of a case and why the flow may get it wrong."""
    topology = case.topology()
    if isinstance(case, Graph):
        first, names = case.first_rps, ("seed", "first_rps", "hit", "frac", "length_s")
    else:
        peak = 2.0 if case.trigger == "spike" else 1.0
        first, names = peak * case.load * case.rate, tuple(case.__dataclass_fields__)
    steady = case.first_rps if isinstance(case, Graph) else case.load * case.rate
    found = concerns(topology, np.array([steady]))
    inputs = {name: getattr(case, name) for name in names}
    return {"inputs": inputs, "peak_rps": first, "concerns": sorted({c.reason for c in found})}


def job(kind: str, index: int, count: int) -> tuple[str, dict[str, Any]]:
    """Measure one case of the set."""
    case: Case = (designed_pools if kind == "pool" else designed_graphs)(count)[index]
    return f"{kind}-{index}", described(case) | measure(case)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--pools", type=int, default=200)
    parser.add_argument("--graphs", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the cases")
    parser.add_argument("--json", action="store_true", help="print the results, too")
    args = parser.parse_args()
    if args.quick:
        args.pools, args.graphs = args.pools // 10, args.graphs // 10
    args.out.parent.mkdir(exist_ok=True)
    done = json.loads(args.out.read_text()) if args.out.exists() else {}
    todo = [("pool", i, args.pools) for i in range(args.pools)]
    todo += [("graph", i, args.graphs) for i in range(args.graphs)]
    todo = [task for task in todo if f"{task[0]}-{task[1]}" not in done]
    with ProcessPoolExecutor(args.jobs) as pool, Progress() as bar:
        tasks = [pool.submit(job, *task) for task in todo]
        for finished in bar.track(as_completed(tasks), total=len(tasks)):
            name, result = finished.result()
            done[name] = result
            args.out.write_text(json.dumps(dict(sorted(done.items())), indent=1) + "\n")
    print(json.dumps(done) if args.json else f"{len(done)} cases in {args.out}")


if __name__ == "__main__":
    main()
