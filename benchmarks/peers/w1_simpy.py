"""W1 in SimPy by hand, the way its manual teaches: one process per request."""
# ruff: noqa: S311, TID251 - a peer draws its own random numbers

import random
from collections.abc import Iterator

import simpy
from workloads import W1, Task, run


class Waits:
    """Sum and number of waits."""

    total_s = 0.0
    n = 0


def request(
    env: simpy.Environment, servers: simpy.Resource, rnd: random.Random, waits: Waits
) -> Iterator[simpy.Event]:
    came = env.now
    with servers.request() as turn:
        yield turn
        waits.total_s += env.now - came
        waits.n += 1
        yield env.timeout(rnd.expovariate(1.0 / W1.service_s))


def source(
    env: simpy.Environment, servers: simpy.Resource, rnd: random.Random, waits: Waits
) -> Iterator[simpy.Event]:
    while True:
        yield env.timeout(rnd.expovariate(W1.rate))
        env.process(request(env, servers, rnd, waits))


def once(task: Task) -> dict[str, object]:
    env, rnd, waits = simpy.Environment(), random.Random(task.seed), Waits()
    servers = simpy.Resource(env, capacity=W1.servers)
    env.process(source(env, servers, rnd, waits))
    env.run(until=task.horizon_s)
    return {"first": waits.n, "mean_wait_s": waits.total_s / waits.n}


if __name__ == "__main__":
    run(once)
