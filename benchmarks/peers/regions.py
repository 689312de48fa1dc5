"""The two workloads as regions of the simulator, and W2's cut, the same for both fidelities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workloads import W2, Task

from simulator.model import Topology, build_topology
from simulator.scenario.loader import load_region

if TYPE_CHECKING:
    from simulator.contract import DataPlane

HERE = Path(__file__).parent
AMPLE = 1e7
"""Workers of the application: a request that waits for the database does not hold a slot."""


def region(name: str, *overrides: str) -> Topology:
    """Compile a region file of this folder."""
    return build_topology(load_region(HERE / f"{name}.yaml", overrides=overrides))


def retry_storm(retries: int, *overrides: str) -> Topology:
    """W2 as a region."""
    return region("retry_storm", f"services.client.retry.retries_max={retries}", *overrides)


def play_retry_storm(plane: DataPlane, topology: Topology, task: Task) -> dict[str, object]:
    """Demand, cut, repair; the answer of W2."""
    app, client = topology.pool("application"), topology.service_edge("client")
    plane.set_demand(client, W2.rate)
    for until_s, slots in ((W2.cut_from_s, W2.cut_slots), (W2.cut_to_s, W2.app_slots)):
        if until_s < task.horizon_s:
            plane.advance(until_s)
            plane.set_capacity(app, rate_rps=slots / W2.app_s, workers=AMPLE, units=float(slots))
    plane.advance(task.horizon_s)
    goodput = plane.samples()[2][:, client, 1]
    totals = {name: float(values[client]) for name, values in plane.totals().items()}
    return {
        "first": totals["first"],
        "attempts": totals["attempts"],
        "failed": totals["failed"],
        # Samples are means over seconds, so rates are counts; the last one is the end itself.
        "goodput": [*(round(x, 6) for x in goodput.tolist()), 0],
    }
