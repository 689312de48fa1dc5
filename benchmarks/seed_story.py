"""Measure one run of the seed story after another in one warm process, and where its time goes.

Per seed: wall and CPU time of ``simulate()``, the flow's pool-steps, events, and the part of the
time that the compiled kernel takes. Medians over some rounds, seeds interleaved::

    python benchmarks/seed_story.py
    python benchmarks/seed_story.py --seeds 1 2 3 --rounds 5 --json story.json

The kernel's part and the counts come from one more run of each seed, so that looking does not
disturb the times.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.scenario import Scenario

SCENARIO = Path(__file__).parents[1] / "scenarios" / "runaway-capacity-removal.yaml"
HORIZON = "30h"
KERNEL = ("advance", "touch_pool", "touch_edge", "settle_counters")
"""Compiled functions that the plane calls."""


def tell(text: str) -> None:
    """Overwrite the progress line; none when the output of errors is no terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


@contextmanager
def counted() -> Iterator[dict[str, float]]:
    """Count events and pool-steps, and time the kernel, of all runs inside."""
    from simulator.engine.simulation import Simulation
    from simulator.flow import kernel

    found = {"events": 0.0, "pool_steps": 0.0, "kernel_s": 0.0, "kernel_calls": 0.0}
    compiled = {name: getattr(kernel, name) for name in KERNEL}
    run_to, step = Simulation.run_to, Simulation.step

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def timed_call(*values: object) -> object:
            start = time.perf_counter()
            result = call(*values)
            found["kernel_s"] += time.perf_counter() - start
            found["kernel_calls"] += 1.0
            return result

        return timed_call

    def counting_step(self: Simulation) -> None:
        found["events"] += 1.0
        step(self)

    def counting_run(self: Simulation, horizon_s: float) -> None:
        run_to(self, horizon_s)
        found["pool_steps"] += getattr(self.plane, "steps", 0)

    for name, call in compiled.items():
        setattr(kernel, name, timed(call))
    Simulation.step, Simulation.run_to = counting_step, counting_run  # type: ignore[method-assign]
    try:
        yield found
    finally:
        for name, call in compiled.items():
            setattr(kernel, name, call)
        Simulation.step, Simulation.run_to = step, run_to  # type: ignore[method-assign]


def timed_run(scenario: Scenario, seed: int) -> tuple[float, float]:
    """Return (wall, CPU) seconds of one run."""
    from simulator import simulate

    wall, process = time.perf_counter(), time.process_time()
    simulate(scenario, seed=seed, guards=False)
    return time.perf_counter() - wall, time.process_time() - process


def looked_into(scenario: Scenario, seed: int) -> dict[str, float]:
    """Return counts, and the kernel's share of the time of this run."""
    with counted() as found:
        wall, _ = timed_run(scenario, seed)
    return found | {"kernel_share": found["kernel_s"] / wall}


def measure(scenario: Scenario, seeds: list[int], rounds: int) -> list[dict[str, float]]:
    tell("warming up")
    timed_run(scenario, seeds[0])
    times: dict[int, list[tuple[float, float]]] = {seed: [] for seed in seeds}
    for i in range(rounds):
        for seed in seeds:
            tell(f"round {i + 1} of {rounds}, seed {seed}")
            times[seed].append(timed_run(scenario, seed))
    rows = []
    for seed in seeds:
        tell(f"looking into seed {seed}")
        wall, process = np.median(np.array(times[seed]), axis=0)
        row = {"seed": seed, "wall_s": float(wall), "process_s": float(process)}
        rows.append(row | looked_into(scenario, seed))
    tell("")
    return rows


def show(rows: list[dict[str, float]]) -> None:
    print(f"{'seed':>4}{'wall s':>9}{'CPU s':>9}{'pool-steps':>13}{'events':>10}{'kernel':>9}")
    for row in rows:
        print(
            f"{row['seed']:>4}{row['wall_s']:>9.2f}{row['process_s']:>9.2f}"
            f"{row['pool_steps']:>13,.0f}{row['events']:>10,.0f}{row['kernel_share']:>9.0%}"
        )
    wall, process = (float(np.median([r[n] for r in rows])) for n in ("wall_s", "process_s"))
    print(f"median over seeds: {wall:.2f} s wall, {process:.2f} s CPU")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--horizon", default=HORIZON)
    parser.add_argument("--json", help="also write the numbers to this file")
    options = parser.parse_args()
    from simulator import load_scenario

    scenario = load_scenario(SCENARIO, overrides=(f"horizon={options.horizon}",))
    rows = measure(scenario, options.seeds, options.rounds)
    show(rows)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
