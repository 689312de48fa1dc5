"""W1 and W2 in this simulator at request fidelity: every attempt is an event."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

from regions import play_retry_storm, region, retry_storm
from workloads import W1, Task, run

from simulator.request.plane import RequestPlane
from simulator.sampling import Streams

if TYPE_CHECKING:
    from simulator.model import Topology

world = cache(region)
storm = cache(retry_storm)


def plane_of(topology: Topology, task: Task) -> RequestPlane:
    rng = Streams(task.seed).stream("benchmark", "requests")
    return RequestPlane(topology, sample_period_s=1.0, rng=rng, guards=False)


def w1(task: Task) -> dict[str, object]:
    topology = world("open_queue")
    plane, client = plane_of(topology, task), topology.service_edge("client")
    plane.set_demand(client, W1.rate)
    plane.advance(task.horizon_s)
    edge = plane.arrays.edges[client]
    return {
        "first": int(edge["first"]),
        "mean_wait_s": float(edge["latency_sum"] / edge["ok"]) - W1.service_s,
        "wait_from_sojourn": True,
    }


def w2(task: Task) -> dict[str, object]:
    topology = storm(task.retries)
    return play_retry_storm(plane_of(topology, task), topology, task)


def warm_up() -> None:
    """Read the regions and load the compiled kernel, as an import would."""
    w1(Task(seed=0, horizon_s=1.0, retries=0))
    for retries in (0, 3):
        w2(Task(seed=0, horizon_s=1.0, retries=retries))


if __name__ == "__main__":
    warm_up()
    run({"w1": w1, "w2": w2}[sys.argv[1]], sys.argv[2:])
