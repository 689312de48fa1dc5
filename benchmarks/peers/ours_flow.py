"""W2 in this simulator at flow fidelity: no request exists, only flows between pools.

``--without-balancer`` lets the clients reach the application at once.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

from regions import play_retry_storm, retry_storm
from workloads import Task, run

from simulator.flow.plane import FlowPlane

if TYPE_CHECKING:
    from simulator.model import Topology

DIRECT = "--without-balancer"


@cache
def topology(retries: int, *, direct: bool) -> Topology:
    return retry_storm(retries, *(["services.client.entry=application"] if direct else []))


def once(task: Task) -> dict[str, object]:
    world = topology(task.retries, direct=DIRECT in sys.argv)
    return play_retry_storm(FlowPlane(world, sample_period_s=1.0, guards=False), world, task)


def warm_up() -> None:
    """Read the region and load the compiled kernel, as an import would."""
    for retries in (0, 3):
        once(Task(seed=0, horizon_s=1.0, retries=retries))


if __name__ == "__main__":
    warm_up()
    run(once, [word for word in sys.argv[1:] if word != DIRECT])
