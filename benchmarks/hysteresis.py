"""Sweep the four cells of metastable failure up and down, and draw them.

For each scenario in scenarios/metastability the ratio of offered load to capacity is raised step by
step and lowered again, and at each step the goodput at rest is measured: in the flow, and, coarser,
request by request. Where the trigger is a load spike the load is changed, where it is a loss of
capacity the number of units in service. Theory: the bad state sustains itself above
C / (w_L · w_C), w_L = attempts per first try and w_C = factor on the work when all fail (Huang et
al., OSDI 2022, theorem 2; MODEL.md, F3); the good state ends at C.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from simulator import load_scenario
from simulator.flow.plane import FlowPlane
from simulator.model import build_topology
from simulator.report.hysteresis import Cell, Sweep, hysteresis_png
from simulator.request.plane import RequestPlane
from simulator.sampling import Streams

if TYPE_CHECKING:
    from simulator.contract import DataPlane
    from simulator.model import Topology

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "scenarios" / "metastability"
FIGURE: Final = ROOT / "notebooks" / "figures" / "metastability.png"
LOAD_MAX: Final = 1.2
PERIOD_S: Final = 10.0
WELL: Final = 0.5
"""More than this share of first tries answered is the good state."""

Swept = Literal["load", "capacity"]
NAMES: Final[dict[str, tuple[str, Swept]]] = {
    "load-spike-retries": ("load spike × retries", "load"),
    "load-spike-memory-pressure": ("load spike × memory pressure", "load"),
    "capacity-loss-retries": ("loss of capacity × retries", "capacity"),
    "capacity-loss-memory-pressure": ("loss of capacity × memory pressure", "capacity"),
}
AXES: Final[dict[Swept, str]] = {
    "load": "offered load / capacity (the load is changed)",
    "capacity": "offered load / capacity (the capacity is changed)",
}


@dataclass(frozen=True)
class Service:
    """The one service of a cell: where it enters, and what it can do as declared."""

    topology: Topology
    edge: int
    units: float
    workers: float
    capacity_rps: float
    load_rps: float


def service_of(name: str) -> Service:
    """Return the service of a scenario of scenarios/metastability."""
    region = load_scenario(FOLDER / f"{name}.yaml").region
    topology = build_topology(region)
    units = float(topology.units[0].sum())
    return Service(
        topology,
        topology.service_edge(region.services[0].id),
        units,
        units * float(topology.concurrency[0]),
        units * float(topology.unit_rate_rps[0]),
        region.services[0].first_tries,
    )


def set_ratio(plane: DataPlane, service: Service, ratio: float, swept: Swept) -> float:
    """Set offered load over capacity by one of the two, and return the capacity."""
    if swept == "load":
        plane.set_demand(service.edge, ratio * service.capacity_rps)
        return service.capacity_rps
    share = service.load_rps / (ratio * service.capacity_rps)
    rate_rps = share * service.capacity_rps
    workers, units = share * service.workers, share * service.units
    plane.set_capacity(0, rate_rps=rate_rps, workers=workers, units=units)
    return rate_rps


def sweep(
    plane: DataPlane, service: Service, loads: np.ndarray, swept: Swept, rest_s: float
) -> Sweep:
    """Raise the ratio through ``loads`` and lower it again, resting at each step.

    Goodput is the mean over the last half of each rest.
    """
    plane.set_demand(service.edge, service.load_rps)
    found = []
    for ratio in (*loads, *loads[::-1]):
        capacity_rps = set_ratio(plane, service, float(ratio), swept)
        until_s = plane.now_s + rest_s
        while plane.advance(until_s) is not None:
            pass
        rows = plane.samples()[2][-round(rest_s / 2.0 / PERIOD_S) :, service.edge]
        found.append(float(rows[:, 1].mean()) / capacity_rps)
    return Sweep(loads, np.array(found[: len(loads)]), np.array(found[: len(loads) - 1 : -1]))


def by_flow(name: str, swept: Swept, *, step: float, rest_s: float) -> Sweep:
    """Sweep a scenario in the flow."""
    service = service_of(name)
    plane = FlowPlane(service.topology, sample_period_s=PERIOD_S)
    return sweep(plane, service, steps(step), swept, rest_s)


def by_requests(name: str, swept: Swept, *, step: float, rest_s: float, seed: int) -> Sweep:
    """Sweep a scenario request by request."""
    service = service_of(name)
    rng = Streams(seed).stream("requests")
    plane = RequestPlane(service.topology, sample_period_s=PERIOD_S, rng=rng)
    return sweep(plane, service, steps(step), swept, rest_s)


def steps(step: float) -> np.ndarray:
    """Return the loads of a sweep."""
    return np.arange(1, round(LOAD_MAX / step) + 1) * step


def folds(name: str) -> tuple[float, float]:
    """Return by theory the loads over capacity at which bad and good state end."""
    service = service_of(name)
    topology = service.topology
    attempts = 1.0 + float(topology.edge_policy["retries"][service.edge])
    work = float(topology.pool_policy["memory_max"][0])
    return 1.0 / (attempts * work), 1.0


def measured(swept: Sweep) -> tuple[float, float]:
    """Return the last load that is well on the way down and on the way up."""
    down, up = (
        float(swept.load[way > WELL * swept.load].max(initial=0.0))
        for way in (swept.down, swept.up)
    )
    return down, up


def make_cell(name: str, options: argparse.Namespace) -> Cell:
    """Sweep one cell with its loop and without."""
    title, swept = NAMES[name]
    fine = {"step": options.step, "rest_s": options.rest}
    low, high = folds(name)
    attempts = name.endswith("retries")
    service = service_of(name)
    requests = None
    if options.request_step:
        requests = by_requests(
            name, swept, step=options.request_step, rest_s=options.request_rest, seed=options.seed
        )
    return Cell(
        title,
        AXES[swept],
        by_flow(name, swept, **fine),
        by_flow(f"{name}-without-loop", swept, **fine),
        low,
        high,
        r"$1/w_L$" if attempts else r"$1/w_C$",
        requests,
        service.load_rps / service.capacity_rps,
    )


def row_of(name: str, cell: Cell) -> dict[str, Any]:
    """Return what was found in one cell beside what theory says."""
    ways = {"flow": cell.loop, "requests": cell.requests, "without_loop": cell.no_loop}
    return {
        "cell": name,
        "theory": (cell.fold_low, cell.fold_high),
        **{way: measured(s) for way, s in ways.items() if s is not None},
    }


def main() -> None:
    """Sweep, print a table, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FIGURE, help="figure to write")
    parser.add_argument("--step", type=float, default=0.02, help="step of the flow")
    parser.add_argument("--request-step", type=float, default=0.05, help="by requests; 0: none")
    parser.add_argument("--rest", type=float, default=1800.0, help="seconds at each step")
    parser.add_argument("--request-rest", type=float, default=600.0, help="the same by requests")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    cells = {name: make_cell(name, options) for name in NAMES}
    rows = [row_of(name, cell) for name, cell in cells.items()]
    options.out.write_bytes(hysteresis_png(list(cells.values())))
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print("| cell | bad state ends: theory | flow | requests | good state ends: flow | requests |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        nothing = (float("nan"), float("nan"))
        flow, single = row["flow"], row.get("requests", nothing)
        print(
            f"| `{row['cell']}` | {row['theory'][0]:.3f} | {flow[0]:.2f} | {single[0]:.2f}"
            f" | {flow[1]:.2f} | {single[1]:.2f} |"
        )


if __name__ == "__main__":
    main()
