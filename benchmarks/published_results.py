"""Measure what others published of single services, in the scenarios of scenarios/published.

Prints the table of VALIDATION.md, one row per published figure: what the source says, what the flow
gives, and what single requests give.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator import load_scenario
from simulator.engine import simulate
from simulator.sampling import Streams
from simulator.trace import EDGE_COLUMNS, POOL_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.dataplane import Fidelity
    from simulator.trace import Trace

FOLDER: Final = Path(__file__).parents[1] / "scenarios" / "published"
CACHE: Final = "region.dependencies.web->database.cache"
FIDELITIES: Final[tuple[Fidelity, ...]] = ("flow", "request")
SETTLED_S: Final = 600.0
STAGE_S: Final = 240.0
STAGES_RPS: Final = (220, 260, 220, 180, 140)


def run(name: str, fidelity: Fidelity, *changes: str, seed: int = 1) -> Trace:
    """Simulate a published scenario."""
    scenario = load_scenario(FOLDER / f"{name}.yaml", overrides=changes)
    return simulate(scenario, seed=seed, fidelity=fidelity)


def mean(
    trace: Trace, column: str, start_s: float = 0.0, end_s: float = math.inf, pool: str = ""
) -> float:
    """Return the mean of a column of the service, or of a pool, over (start, end]."""
    rows = (trace.sample_t_s > start_s) & (trace.sample_t_s <= end_s)
    if not pool:
        return float(trace.service_series[rows, 0, EDGE_COLUMNS.index(column)].mean())
    place = trace.pool_ids.index(pool)
    return float(trace.pool_series[rows, place, POOL_COLUMNS.index(column)].mean())


def attempts_per_call(trace: Trace, start_s: float, end_s: float = math.inf) -> float:
    """Return the attempts per first try of the service."""
    return mean(trace, "attempts_rps", start_s, end_s) / mean(trace, "first_rps", start_s, end_s)


def success_share(trace: Trace, start_s: float) -> float:
    """Return the share of first tries that succeeded."""
    return mean(trace, "ok_rps", start_s) / mean(trace, "first_rps", start_s)


# ------------------------------------------------------------------------------------- measures


def threads_handled(fidelity: Fidelity) -> float:
    """Return the share of requests that find a thread, once the swing has died down."""
    trace = run("sre-bimodal-latency", fidelity)
    return mean(trace, "served_rps", 2400.0, pool="front-end") / 1000.0


def growth_three_attempts(fidelity: Fidelity) -> float:
    """Return attempts per first try with three attempts per request."""
    return attempts_per_call(run("sre-retry-three-attempts", fidelity), SETTLED_S)


def growth_client_budget(fidelity: Fidelity) -> float:
    """Return attempts per first try with the budget per client."""
    return attempts_per_call(run("sre-retry-client-budget", fidelity), SETTLED_S)


def growth_by_backoff(fidelity: Fidelity) -> float:
    """Return attempts per first try with a long backoff over those without any."""
    name, start_s = "brooker-backoff-open-system", 1800.0
    at_once = ("backoff_base=0s", "jitter=none", "backoff=fixed")
    changes = [f"region.services.web.retry.{change}" for change in at_once]
    deferred, immediate = run(name, fidelity), run(name, fidelity, *changes)
    return attempts_per_call(deferred, start_s) / attempts_per_call(immediate, start_s)


def queries_without_cache(fidelity: Fidelity) -> float:
    """Return queries with the lost cache over those with the full one."""
    name = "hotos21-cache-lost"
    lost, full = run(name, fidelity), run(name, fidelity, f"{CACHE}.hit_start=90%")
    one, other = (mean(t, "offered_rps", SETTLED_S, pool="database") for t in (lost, full))
    return one / other


def queries_kept(fidelity: Fidelity) -> float:
    """Return queries at the end of the two hours over those after ten minutes: 1 is no refill."""
    lost = run("hotos21-cache-lost", fidelity)
    early, late = (
        mean(lost, "offered_rps", t_s, t_s + SETTLED_S, pool="database") for t_s in (600.0, 6600.0)
    )
    return late / early


def refilled_s(fidelity: Fidelity) -> float:
    """Return when the cache of the control scenario carries the load again."""
    trace = run("hotos21-cache-lost-without-loop", fidelity, "telemetry.sample_period=1s")
    offered = trace.pool_series[:, trace.pool_ids.index("database"), 0]
    return float(trace.sample_t_s[np.argmax(offered[5:] < 300.0) + 5])


def refilled_by_formula_s(
    first_rps: float = 1000.0, capacity_rps: float = 300.0, hit: float = 0.9, keys: float = 20e3
) -> float:
    """Return the same by integrating dh/dt of F15 with a database that answers C per second."""
    end = 1.0 - capacity_rps / first_rps
    return keys / (hit * capacity_rps) * (end + (1.0 - hit) * math.log(hit / (hit - end)))


def queue_growth(fidelity: Fidelity) -> list[float]:
    """Return by how much the queue grows per second in each stage of the GC experiment."""
    trace = run("osdi22-garbage-collection", fidelity)

    def queue(t_s: float) -> float:
        return mean(trace, "queue", t_s - 15.0, t_s, pool="jvm")

    ends = [STAGE_S * (stage + 1) for stage in range(len(STAGES_RPS))]
    return [(queue(end) - queue(end - 180.0)) / 180.0 for end in ends]


def calls_of_clients(clients: int, fidelity: Fidelity = "flow") -> tuple[float, float]:
    """Return attempts per call in the first ten seconds, and after ten minutes."""
    change = f"region.services.calls.clients={clients}"
    trace = run("brooker-retry-many-clients", fidelity, change)
    return attempts_per_call(trace, 0.0, 10.0), attempts_per_call(trace, SETTLED_S)


def restated(
    clients: int,
    rng: np.random.Generator,
    total_rps: float = 1000.0,
    seconds: float = 10.0,
    fails: float = 0.5,
) -> float:
    """Return attempts per call by Brooker's rules, told in our own words, client by client."""
    attempts = calls = 0
    for _ in range(clients):
        bucket = 5.0
        for _ in range(rng.poisson(total_rps / clients * seconds)):
            bucket = min(5.0, bucket + 0.1)
            calls += 1
            attempts += 1
            for _ in range(3):
                if rng.random() >= fails or bucket < 1.0:
                    break
                bucket -= 1.0
                attempts += 1
    return attempts / calls


def vulnerable(hit_max: float, fidelity: Fidelity = "flow") -> tuple[bool, ...]:
    """Return whether a cached service is well at five points around its vulnerable range.

    Full and a little below, then above what it carries; empty and below, then above what the
    database carries alone; empty and a little below what it carries full.
    """
    carried_rps, database_rps = 300.0 / (1.0 - hit_max), 300.0
    points = (
        (0.95 * carried_rps, hit_max),
        (1.05 * carried_rps, hit_max),
        (0.95 * database_rps, 0.0),
        (1.3 * database_rps, 0.0),
        (0.95 * carried_rps, 0.0),
    )

    def well(load_rps: float, hit_start: float) -> bool:
        trace = run(
            "hotos21-cache-lost",
            fidelity,
            f"region.services.web.first_tries={load_rps:.1f}/s",
            f"{CACHE}.hit_max={hit_max:.0%}",
            f"{CACHE}.hit_start={hit_start:.0%}",
        )
        return success_share(trace, trace.end_s - 900.0) > 0.99

    return tuple(well(*point) for point in points)


# ---------------------------------------------------------------------------------------- table


@dataclass(frozen=True)
class Row:
    """A published figure, and how to measure it."""

    what: str
    published: str
    measure: Callable[[Fidelity], float]
    digits: int = 3


def _stage(stage: int) -> Callable[[Fidelity], float]:
    return lambda fidelity: queue_growth(fidelity)[stage]


def _clients(clients: int, when: int) -> Callable[[Fidelity], float]:
    return lambda fidelity: calls_of_clients(clients, fidelity)[when]


def rows() -> Sequence[Row]:
    """Return all rows; what only a formula or a restatement gives is computed here."""
    rng = Streams(2022).stream("restated")
    rules = {n: np.mean([restated(n, rng) for _ in range(20)]) for n in (10, 100, 1000)}
    return (
        Row("hanging requests: share handled", "0.196", threads_handled),
        Row("three attempts: growth", "just below 3", growth_three_attempts),
        Row("budget of a tenth: growth", "1.1", growth_client_budget),
        Row("backoff: growth with over growth without", "nearly 1", growth_by_backoff),
        Row("lost cache: queries", "10 times", queries_without_cache),
        Row("lost cache: queries after two hours / after ten minutes", "no refill", queries_kept),
        Row("without loop: refilled (s)", f"F15: {refilled_by_formula_s():.0f}", refilled_s, 0),
        *(
            Row(
                f"GC experiment, stage {k + 1}, {load}/s: growth of queue (1/s)", said, _stage(k), 0
            )
            for k, (load, said) in enumerate(
                zip(STAGES_RPS, ("steady", "grows", "stays high", "", ""), strict=True)
            )
        ),
        *(
            Row(f"{n:,} clients: attempts per call in 10 s", f"{rule:.2f}", _clients(n, 0), 2)
            for n, rule in rules.items()
        ),
        Row("1,000 clients: attempts per call after 10 min", "", _clients(1000, 1), 2),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    found = [(row, [row.measure(fidelity) for fidelity in FIDELITIES]) for row in rows()]
    if options.json:
        print(
            json.dumps([{"what": r.what, "published": r.published, "found": v} for r, v in found])
        )
        return
    print("| what | published | flow | requests |")
    print("|---|---|---|---|")
    for row, values in found:
        cells = " | ".join(f"{round(value, row.digits) + 0.0:,.{row.digits}f}" for value in values)
        print(f"| {row.what} | {row.published or '–'} | {cells} |")


if __name__ == "__main__":
    main()
