"""Measure what the step costs in accuracy; prints the tables of MODEL.md (ten seconds).

``D*`` is the shortest outage from which a pool (1,000/s, timeout 1 s, 3 retries, FIFO, zombies)
does not come back by itself: the most sensitive number of the model.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from worlds import one_pool

from simulator.flow import layout
from simulator.flow.plane import FlowPlane

FULL_RPS = 1000.0
LOADS = (0.3, 0.5, 0.7, 0.9)
SHARES = (0.01, 0.05, 0.1, 0.2)
STEPS = (10, 20, 40, 80)
FINEST = 320


def set_rate(plane: FlowPlane, rate_rps: float) -> None:
    plane.set_capacity(0, rate_rps=rate_rps, workers=1e6, units=100.0)


def after_outage(load: float, outage_s: float, service_s: float, *, adaptive: bool) -> float:
    """Return the success share 55 to 60 s after an outage."""
    plane = FlowPlane(one_pool(service_s=service_s), sample_period_s=1.0, adaptive=adaptive)
    plane.set_demand(0, load * FULL_RPS)
    plane.advance(20.0)
    set_rate(plane, 0.0)
    plane.advance(20.0 + outage_s)
    set_rate(plane, FULL_RPS)
    plane.advance(80.0 + outage_s)
    rows = plane.samples()[2][-5:, 0]
    return float(rows[:, 1].sum() / rows[:, 0].sum())


def tipping_s(load: float, service_s: float, *, steps: int, adaptive: bool = False) -> float:
    """Find D* by bisection."""
    layout.STEPS_PER_TIMEOUT = steps
    low, high = 0.0, 4.0
    while high - low > 0.1 / steps:
        middle = 0.5 * (low + high)
        if after_outage(load, middle, service_s, adaptive=adaptive) < 0.5:
            high = middle
        else:
            low = middle
    layout.STEPS_PER_TIMEOUT = 20
    return 0.5 * (low + high)


def shed_run(to_rps: float, *, adaptive: bool) -> tuple[float, float, int]:
    """Return (recovery time, lost first tries, pool-steps) after shedding from a full queue."""
    plane = FlowPlane(one_pool(queue=5000.0), sample_period_s=1.0, adaptive=adaptive)
    plane.set_demand(0, 700.0)
    plane.advance(10.0)
    set_rate(plane, 0.0)
    plane.advance(15.0)
    set_rate(plane, FULL_RPS)
    plane.advance(60.0)
    plane.set_demand(0, to_rps)
    plane.advance(600.0)
    rows = plane.samples()[2][:, 0]
    good = rows[60:, 1] >= 0.9 * rows[60:, 0]
    recovery = next(float(i) for i in range(len(good) - 10) if good[i : i + 10].all())
    return recovery, float(plane.totals()["failed"][0]), plane.steps


def step_table() -> list[dict[str, Any]]:
    """D* by service time, load and steps per timeout."""
    rows = []
    for share in SHARES:
        for load in LOADS:
            exact = tipping_s(load, share, steps=FINEST)
            found = {n: tipping_s(load, share, steps=n) for n in STEPS}
            sleepy = tipping_s(load, share, steps=20, adaptive=True)
            errors = {n: d / exact - 1.0 for n, d in found.items()}
            rows.append(
                {"s_over_t": share, "load": load, "exact_s": exact, "errors": errors}
                | {"adaptive": sleepy / found[20] - 1.0}
            )
    return rows


def sleep_table() -> list[dict[str, Any]]:
    """Recovery time and lost first tries, with and without sleeping pools."""
    rows = []
    for to_rps in (100.0, 150.0, 200.0, 225.0, 240.0):
        fine, sleepy = (shed_run(to_rps, adaptive=adaptive) for adaptive in (False, True))
        rows.append(
            {
                "shed_to_rps": to_rps,
                "recovery_s": (fine[0], sleepy[0]),
                "lost": (fine[1], sleepy[1]),
                "pool_steps": (fine[2], sleepy[2]),
            }
        )
    return rows


def show(steps: list[dict[str, Any]], sleeps: list[dict[str, Any]]) -> None:
    head = " | ".join(f"T/{n}" for n in STEPS)
    print(f"| s/T | load | D* at T/{FINEST} | {head} | sleeping, at T/20 |")
    print("|---" * (4 + len(STEPS)) + "|")
    for row in steps:
        errors = " | ".join(f"{100 * row['errors'][n]:+.1f} %" for n in STEPS)
        print(
            f"| {row['s_over_t']} | {row['load']} | {row['exact_s']:.3f} s | {errors} "
            f"| {100 * row['adaptive']:+.2f} % |"
        )
    for n in STEPS:
        worst = max(abs(row["errors"][n]) for row in steps)
        mean = float(np.mean([abs(row["errors"][n]) for row in steps]))
        print(f"T/{n}: worst {100 * worst:.1f} %, mean {100 * mean:.1f} %")
    print()
    print(
        "| shed to | recovery, fine | sleeping | lost first tries, fine | sleeping | pool-steps |"
    )
    print("|---" * 6 + "|")
    for row in sleeps:
        (fine_s, sleepy_s), (fine, sleepy) = row["recovery_s"], row["lost"]
        print(
            f"| {row['shed_to_rps']:.0f}/s | {fine_s:.0f} s | {sleepy_s:.0f} s | {fine:,.0f} "
            f"| {100 * (sleepy / fine - 1):+.3f} % | {row['pool_steps'][0]:,} → "
            f"{row['pool_steps'][1]:,} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="also write the numbers to this file")
    options = parser.parse_args()
    steps, sleeps = step_table(), sleep_table()
    show(steps, sleeps)
    if options.json:
        text = json.dumps({"steps": steps, "sleeps": sleeps}, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
