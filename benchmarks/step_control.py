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
from worlds import layered, one_pool

from simulator.flow import layout
from simulator.flow.plane import FlowPlane
from simulator.sampling import Streams

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


def region_run(seed: int, *, adaptive: bool) -> tuple[np.ndarray, float, int]:
    """Cut three pools to a fifth for five minutes, later stop all traffic; 40 minutes in all.

    Returns the success share of all services by 10 s, lost first tries, pool-steps.
    """
    topology = layered(25, seed=seed, tight_frac=0.0)
    plane = FlowPlane(topology, sample_period_s=10.0, adaptive=adaptive)
    entries = np.flatnonzero(topology.edge_caller < 0)
    for t_s, rate_rps, share in (
        (0.0, 800.0, 1.0),
        (120.0, 800.0, 0.2),
        (420.0, 800.0, 1.0),
        (1200.0, 0.0, 1.0),
        (1500.0, 600.0, 1.0),
    ):
        plane.advance(t_s)
        for edge in entries:
            plane.set_demand(int(edge), rate_rps)
        for pool in Streams(seed).stream("hit").choice(25, 3, replace=False):
            rate, workers = topology.unit_rate_rps[pool], topology.concurrency[pool]
            full = 100.0 * share
            plane.set_capacity(int(pool), rate_rps=full * rate, workers=full * workers, units=full)
    plane.advance(2400.0)
    rows = plane.samples()[2][:, entries]
    first, ok = rows[:, :, 0].sum(axis=1), rows[:, :, 1].sum(axis=1)
    success = np.where(first > 1.0, np.minimum(1.0, ok / np.maximum(1.0, first)), 1.0)
    return success, 10.0 * float(rows[:, :, 2].sum()), plane.steps


def region_table() -> list[dict[str, Any]]:
    """Success and lost first tries of whole regions, with and without sleeping pools."""
    rows = []
    for seed in range(1, 7):
        fine, sleepy = (region_run(seed, adaptive=adaptive) for adaptive in (False, True))
        off = np.abs(fine[0] - sleepy[0])
        rows.append(
            {
                "seed": seed,
                "lowest": float(fine[0].min()),
                "last": (float(fine[0][-1]), float(sleepy[0][-1])),
                "success_off": (float(off.max()), float(off.mean())),
                "lost": (fine[1], sleepy[1]),
                "pool_steps": (fine[2], sleepy[2]),
            }
        )
    return rows


def show_regions(rows: list[dict[str, Any]]) -> None:
    print()
    print(
        "| region | success: lowest, last | sleeping: largest and mean difference "
        "| lost first tries, fine | sleeping | pool-steps |"
    )
    print("|---" * 6 + "|")
    for row in rows:
        (fine, sleepy), (largest, mean) = row["lost"], row["success_off"]
        print(
            f"| {row['seed']} | {row['lowest']:.2f}, {row['last'][0]:.2f} | {largest:.4f}, "
            f"{mean:.5f} | {fine:,.0f} | {100 * (sleepy / fine - 1):+.3f} % "
            f"| {row['pool_steps'][0]:,} → {row['pool_steps'][1]:,} |"
        )


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
    steps, sleeps, regions = step_table(), sleep_table(), region_table()
    show(steps, sleeps)
    show_regions(regions)
    if options.json:
        text = json.dumps({"steps": steps, "sleeps": sleeps, "regions": regions}, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
