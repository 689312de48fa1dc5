"""How the time to recovery answers to single inputs of the seed story, each cut and raised by half.

Runs the scenario over seeds 1..N once as it is and once per input and direction, with the same
seeds (common random numbers), and prints the change of the median time to recovery::

    python benchmarks/sensitivity.py --seeds 20 --jobs 2

A run that does not recover within the horizon counts as infinity, so medians stay right.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from simulator import compute_metrics, load_scenario, simulate
from simulator.engine import control_run
from simulator.scenario import scenario_data
from simulator.units import parse_duration

SCENARIO = Path(__file__).parents[1] / "scenarios" / "runaway-capacity-removal.yaml"
INPUTS = {
    "time of one break-glass action": "people.on-call.break_glass_action.median",
    "time to get break-glass access": "people.on-call.break_glass_access.median",
    "time of one assessment cycle": "people.on-call.assessment.median",
    "evidence that a diagnosis needs": "people.on-call.evidence_needed.median",
    "yield of a blind cycle": "people.on-call.evidence_blind",
    "share of a pool restored per wave": "people.on-call.wave_frac",
    "wait between waves": "people.on-call.wave_check.median",
    "parallel streams of work": "people.on-call.responders",
    "response to a page": "people.on-call.page_response.median",
    "pause of the script": "automation.debug-script.pace.median",
    "size of the script's batch": "automation.debug-script.batch_frac",
    "boots at once": "region.control_planes.capacity.boots_at_once",
    "load": "demand.shape.factor",
}
"""Name → path in the scenario."""
FACTORS = (0.5, 1.5)


def value_at(data: object, path: str) -> float | str:
    """Return the value at a path; items of lists are named by their id."""
    for name in path.split("."):
        if isinstance(data, list):
            data = next(item for item in data if item["id"] == name)
        elif isinstance(data, dict):
            data = data[name]
    assert isinstance(data, float | int | str), path
    return data


def scaled(value: float | str, factor: float) -> str:
    """Return the text of ``value`` times ``factor``; whole numbers stay whole and positive."""
    if isinstance(value, int):
        return str(max(1, round(value * factor)))
    plain = re.fullmatch(r"([\d.]+)(%|x|)", str(value))
    if plain:
        return f"{float(plain[1]) * factor:g}{plain[2]}"
    return f"{parse_duration(value) * factor:g}s"


def ttr_s(job: tuple[int, tuple[str, ...]]) -> float:
    """Return the time to recovery of one run, infinity when it is censored."""
    seed, overrides = job
    scenario = load_scenario(SCENARIO, overrides=overrides)
    metrics = compute_metrics(simulate(scenario, seed=seed), control_run(scenario, seed=seed))
    return np.inf if metrics.ttr_s is None else float(metrics.ttr_s)


def main() -> None:
    """Print the table, most sensitive input first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    arms: dict[tuple[str, float], tuple[str, ...]] = {("as it is", 1.0): ()}
    data = scenario_data(load_scenario(SCENARIO))
    texts = {}
    for name, path in INPUTS.items():
        value = value_at(data, path)
        texts[name] = str(value)
        for factor in FACTORS:
            arms[name, factor] = (f"{path}={scaled(value, factor)}",)
    jobs = [(s, o) for o in arms.values() for s in range(1, args.seeds + 1)]
    with ProcessPoolExecutor(args.jobs) as pool:
        found = np.array(list(pool.map(ttr_s, jobs, chunksize=4))).reshape(len(arms), args.seeds)
    median = dict(zip(arms, np.median(found, axis=1) / 3600.0, strict=True))
    base = median["as it is", 1.0]
    rows = [(n, texts[n], *(median[n, f] - base for f in FACTORS)) for n in INPUTS]
    rows.sort(key=lambda r: -max(abs(r[2]), abs(r[3])))
    if args.json:
        json.dump({"median_h": base, "rows": rows}, sys.stdout, indent=1)
        return
    print(f"median time to recovery {base:.1f} h over {args.seeds} seeds\n")
    print(f"{'input':36}{'value':>10}{'-50 %':>10}{'+50 %':>10}   (change of the median, hours)")
    for name, value, low, high in rows:
        print(f"{name:36}{value:>10}{low:+10.1f}{high:+10.1f}")


if __name__ == "__main__":
    main()
