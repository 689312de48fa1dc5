"""Measure the request fidelity: W1 and W2 against the C event loops, what policies cost, compiling.

W1 (open queue) and W2 (retry storm) are those of ``peers/workloads.py``; the C programs and the
regions are those of ``peers/``, too. All candidates run in turn, round by round; figures are
medians of first tries per second of CPU time. The policy rows are W1 with a policy that never
interferes: what remembering costs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

import c_loops  # noqa: E402 - lies in peers/
import ours_request  # noqa: E402 - as above
from workloads import HORIZON_S, W1, Task  # noqa: E402 - as above

from simulator.policies.tables import with_columns  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_RATIO = 3.0
"""Target: cost of a first try against the C program."""
EDGE_POLICIES: dict[str, dict[str, float]] = {
    "a thousand clients with a bucket each": {"clients": 1000, "budget": 2, "budget_bucket": 100.0},
    "adaptive throttling": {"throttling": 1},
    "circuit breaker": {"breaker": 1},
    "bulkhead": {"bulkhead": 100_000},
    "hedging after 100 ms": {"hedge": 1, "hedge_delay": 0.1},
    "deadline propagation": {"deadline": 1},
}
POOL_POLICIES: dict[str, dict[str, float]] = {
    "rate limit": {"rate_limit": 1, "limit_rate": 1e6, "limit_burst": 1e6},
    "adaptive concurrency limit": {
        "concurrency_limit": 1,
        "limit_max": 1e6,
        "limit_adaptive": 1,
    },
    "memory pressure": {"memory": 1, "memory_from": 1e8, "memory_full": 2e8, "memory_max": 2.0},
}


def with_policy(
    *, edge: dict[str, float] | None, pool: dict[str, float] | None
) -> dict[str, float]:
    """Run W1 with policies; return what was done and in what time."""
    topology = ours_request.world("open_queue")
    changed = {}
    if edge:
        changed["edge_policy"] = with_columns(topology.edge_policy, **edge)
    if pool:
        changed["pool_policy"] = with_columns(topology.pool_policy, **pool)
    fields = {name: getattr(topology, name) for name in topology.__dataclass_fields__}
    plane = ours_request.plane_of(type(topology)(**(fields | changed)), Task(1, HORIZON_S, 0))
    plane.set_demand(topology.service_edge("client"), W1.rate)
    start = time.process_time()
    plane.advance(HORIZON_S)
    return {"first": float(plane.totals()["first"][0]), "cpu_s": time.process_time() - start}


def timed(program: Callable[[Task], dict[str, object]], task: Task) -> dict[str, float]:
    """Run a program once."""
    start = time.process_time()
    answer = program(task)
    spent = time.process_time() - start
    return {"first": float(str(answer["first"])), "cpu_s": spent}


def compile_s() -> tuple[float, float]:
    """Return the time of the first advance in a new process: compiling, then from the cache."""
    code = (
        "import sys, time; sys.path[:0] = {path!r}\n"
        "import ours_request as o; from workloads import Task\n"
        "t = time.perf_counter(); o.w1(Task(0, 0.1, 0)); print(time.perf_counter() - t)"
    ).format(path=[str(HERE / "peers"), str(HERE.parent)])
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"NUMBA_CACHE_DIR": folder}
        first, again = (
            float(
                subprocess.run(  # noqa: S603 - this Python, our code
                    [sys.executable, "-c", code],
                    env=env,
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            )
            for _ in range(2)
        )
    return first, again


def candidates(*, with_c: bool, policies: bool) -> dict[str, Callable[[int], dict[str, float]]]:
    """Return what is measured, by name: functions of the round."""
    loads = {"W1": 0, "W2": 3, "W2 without retries": 0}
    every: dict[str, Callable[[int], dict[str, float]]] = {}
    for name, retries in loads.items():
        for side, module in (("ours", ours_request), *((("C", c_loops),) if with_c else ())):
            program = module.w1 if name == "W1" else module.w2
            every[f"{name}, {side}"] = partial(
                lambda program, retries, seed: timed(program, Task(seed, HORIZON_S, retries)),
                program,
                retries,
            )
    if policies:
        for name, columns in EDGE_POLICIES.items():
            every[name] = partial(lambda c, _: with_policy(edge=c, pool=None), columns)
        for name, columns in POOL_POLICIES.items():
            every[name] = partial(lambda c, _: with_policy(edge=None, pool=c), columns)
    return every


def measure(rounds: int, *, policies: bool = True) -> dict[str, float]:
    """Return medians of first tries per second of CPU time."""
    with_c = c_loops.compiler() is not None
    if with_c:
        c_loops.build()
    ours_request.warm_up()
    every = candidates(with_c=with_c, policies=policies)
    rates: dict[str, list[float]] = {name: [] for name in every}
    for seed in range(rounds):
        for name, run in every.items():
            result = run(seed)
            rates[name].append(result["first"] / result["cpu_s"])
    return {name: statistics.median(values) for name, values in rates.items()}


def report(rates: dict[str, float]) -> str:
    """Return the figures as a table."""
    plain = rates["W1, ours"]
    lines = ["| case | first tries/s of CPU | against |", "|---|---|---|"]
    for name, rate in rates.items():
        other = rates.get(name.replace("ours", "C")) if name.endswith("ours") else None
        against = f"C: {other / rate:.2f} times the cost" if other else ""
        if not name.startswith("W"):
            against = f"without it: {plain / rate:.2f} times the cost"
        lines.append(f"| {name} | {rate:,.0f} | {against} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-policies", action="store_true", help="W1 and W2 alone")
    parser.add_argument("--no-compile", action="store_true", help="do not measure compiling")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    rates = measure(options.rounds, policies=not options.no_policies)
    print(report(rates))
    results: dict[str, object] = {"rates": rates}
    if not options.no_compile:
        first, again = compile_s()
        results["first_call_s"] = {"compiled": first, "cached": again}
        print(f"\nFirst advance in a new process: {first:.1f} s, from the cache {again:.2f} s")
    ratios = [rates[f"{w}, C"] / rates[f"{w}, ours"] for w in ("W1", "W2") if f"{w}, C" in rates]
    if ratios:
        kept = "kept" if np.max(ratios) <= LARGEST_RATIO else "missed"
        print(f"Target of {LARGEST_RATIO:g} times the cost of C: {kept}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
