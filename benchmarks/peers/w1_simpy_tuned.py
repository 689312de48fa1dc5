"""W1 on SimPy's event queue alone: no process per request, callbacks on bare timeouts, own FIFO."""
# ruff: noqa: D102, S311, TID251 - names say it; a peer draws its own random numbers
# ruff: noqa: SLF001 - env.now costs a call

import random
from collections import deque

import simpy
from simpy.events import Timeout
from workloads import W1, Task, run


class Queue:
    """Fifty servers; an event handler per kind of event."""

    def __init__(self, env: simpy.Environment, seed: int) -> None:
        self.env = env
        self.draw = random.Random(seed).expovariate
        self.waiting: deque[float] = deque()
        self.busy = self.n = 0
        self.wait_s = 0.0

    def done(self, _: simpy.Event) -> None:
        if self.waiting:
            self.wait_s += self.env._now - self.waiting.popleft()
            self.n += 1
            Timeout(self.env, self.draw(1.0 / W1.service_s)).callbacks.append(self.done)
        else:
            self.busy -= 1

    def arrive(self, _: simpy.Event) -> None:
        if self.busy < W1.servers:
            self.busy += 1
            self.n += 1
            Timeout(self.env, self.draw(1.0 / W1.service_s)).callbacks.append(self.done)
        else:
            self.waiting.append(self.env._now)
        Timeout(self.env, self.draw(W1.rate)).callbacks.append(self.arrive)


def once(task: Task) -> dict[str, object]:
    env = simpy.Environment()
    queue = Queue(env, task.seed)
    Timeout(env, queue.draw(W1.rate)).callbacks.append(queue.arrive)
    env.run(until=task.horizon_s)
    return {"first": queue.n, "mean_wait_s": queue.wait_s / queue.n}


if __name__ == "__main__":
    run(once)
