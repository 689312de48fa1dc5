"""W2 in SimPy by hand, the way its manual teaches: a process per client, one per attempt."""
# ruff: noqa: D102, S311, TID251 - names say it; a peer draws its own random numbers
# ruff: noqa: SLF001 - SimPy has no public way to resize a Resource

import random
from collections.abc import Iterator

import simpy
from workloads import W2, Task, run

Steps = Iterator[simpy.Event]


class World:
    """Two resources, the clients and the cut."""

    def __init__(self, task: Task) -> None:
        self.env = simpy.Environment()
        self.app = simpy.Resource(self.env, W2.app_slots)
        self.db = simpy.Resource(self.env, W2.db_slots)
        self.draw = random.Random(task.seed).expovariate
        self.retries = task.retries
        self.first = self.attempts = self.failed = 0
        self.goodput = [0] * (int(task.horizon_s) + 1)

    def attempt(self, answered: simpy.Event) -> Steps:
        yield self.env.timeout(W2.balancer_s)
        with self.app.request() as turn:
            yield turn
            yield self.env.timeout(self.draw(1.0 / W2.app_s))
        with self.db.request() as turn:
            yield turn
            yield self.env.timeout(self.draw(1.0 / W2.db_s))
        answered.succeed()

    def client(self) -> Steps:
        for k in range(self.retries + 1):
            self.attempts += 1
            answered = self.env.event()
            self.env.process(self.attempt(answered))
            yield answered | self.env.timeout(W2.timeout_s)
            if answered.triggered:
                self.goodput[int(self.env.now)] += 1
                return
            if k < self.retries:
                yield self.env.timeout(W2.backoff_s * 2**k)
        self.failed += 1

    def source(self) -> Steps:
        while True:
            yield self.env.timeout(self.draw(W2.rate))
            self.first += 1
            self.env.process(self.client())

    def cut(self) -> Steps:
        yield self.env.timeout(W2.cut_from_s)
        self.app._capacity = W2.cut_slots
        yield self.env.timeout(W2.cut_to_s - W2.cut_from_s)
        self.app._capacity = W2.app_slots
        for _ in range(W2.app_slots - W2.cut_slots):
            self.app._trigger_put(None)


def once(task: Task) -> dict[str, object]:
    world = World(task)
    world.env.process(world.source())
    world.env.process(world.cut())
    world.env.run(until=task.horizon_s)
    return {
        "first": world.first,
        "attempts": world.attempts,
        "failed": world.failed,
        "goodput": world.goodput,
    }


if __name__ == "__main__":
    run(once)
