"""W1 in AsyncFlow.

A step of an endpoint takes a constant time there, so exponential service is written as 500
endpoints, each with the mean of one of 500 equally likely slices of the distribution. Arrivals are
users times requests per minute: very many users who rarely ask are Poisson. Edges cannot be left
out; they take 1 µs each.
"""
# ruff: noqa: TID251 - a peer draws its own random numbers

import math
from itertools import pairwise

import numpy as np
import simpy
from asyncflow import AsyncFlow, SimulationRunner
from asyncflow.components import Client, Edge, Endpoint, Server
from asyncflow.settings import SimulationSettings
from asyncflow.workload import RqsGenerator
from workloads import W1, Task, run

SLICES = 500
USERS = 1e8
EDGE_S = 1e-6


def slice_means(mean_s: float, n: int) -> list[float]:
    """Mean of each of ``n`` equally likely slices of the exponential distribution, in seconds."""
    cuts = [-mean_s * math.log(1.0 - k / n) for k in range(n)] + [math.inf]

    def below(x: float) -> float:
        return -(x + mean_s) * math.exp(-x / mean_s) if x < math.inf else 0.0

    return [n * (below(b) - below(a)) for a, b in pairwise(cuts)]


def edge(source: str, target: str) -> Edge:
    latency = {"mean": EDGE_S, "distribution": "exponential"}
    name = f"{source}-{target}"
    return Edge(id=name, source=source, target=target, latency=latency, dropout_rate=0.0)


def endpoint(k: int, service_s: float) -> Endpoint:
    step = {"kind": "cpu_bound_operation", "step_operation": {"cpu_time": service_s}}
    return Endpoint(endpoint_name=f"/e{k}", steps=[step])


def once(task: Task) -> dict[str, object]:
    means = slice_means(W1.service_s, SLICES)
    server = Server(
        id="server",
        server_resources={"cpu_cores": W1.servers, "ram_mb": 1024},
        endpoints=[endpoint(k, s) for k, s in enumerate(means)],
    )
    source = RqsGenerator(
        id="source",
        avg_active_users={"mean": USERS},
        avg_request_per_minute_per_user={"mean": W1.rate * 60.0 / USERS},
        user_sampling_window=60,
    )
    settings = SimulationSettings(total_simulation_time=int(task.horizon_s), sample_period_s=0.1)
    edges = edge("source", "client"), edge("client", "server"), edge("server", "client")
    flow = AsyncFlow().add_generator(source).add_client(Client(id="client"))
    flow = flow.add_servers(server).add_edges(*edges).add_simulation_settings(settings)
    runner = SimulationRunner(env=simpy.Environment(), simulation_input=flow.build_payload())
    runner.rng = np.random.default_rng(task.seed)
    stats = {str(name): value for name, value in runner.run().get_latency_stats().items()}
    return {
        "first": int(stats["total_requests"]),
        # Only the time in the system is told, service and three edges included.
        "mean_wait_s": stats["mean"] - W1.service_s - 3.0 * EDGE_S,
        "wait_from_sojourn": True,
    }


if __name__ == "__main__":
    run(once)
