"""W1 in happysim with its own parts: Source, Server, Sink."""
# ruff: noqa: NPY002, TID251 - the package draws from the global generators

import random

import numpy as np
from happysimulator import ExponentialLatency, Instant, Server, Simulation, Sink, Source
from workloads import W1, Task, run


def once(task: Task) -> dict[str, object]:
    random.seed(task.seed)
    np.random.seed(task.seed)
    sink = Sink()
    server = Server(
        "server",
        concurrency=W1.servers,
        service_time=ExponentialLatency(W1.service_s),
        downstream=sink,
    )
    source = Source.poisson(rate=W1.rate, target=server)
    end = Instant.from_seconds(task.horizon_s)
    Simulation(sources=[source], entities=[server, sink], end_time=end).run()
    wait_s = sink.average_latency() - server.average_service_time
    return {"first": sink.events_received, "mean_wait_s": wait_s}


if __name__ == "__main__":
    run(once)
