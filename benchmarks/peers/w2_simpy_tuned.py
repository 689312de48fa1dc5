"""W2 on SimPy's event queue alone: no processes, callbacks on bare timeouts, own queues."""
# ruff: noqa: D102, S311, TID251 - names say it; a peer draws its own random numbers
# ruff: noqa: SLF001 - env.now costs a call

import random
from collections import deque
from collections.abc import Callable

import simpy
from simpy.events import Timeout
from workloads import W2, Task, run


class Attempt:
    """One attempt of a client."""

    __slots__ = ("k", "settled")

    def __init__(self, k: int) -> None:
        self.k, self.settled = k, False


class Station:
    """A queue with slots and exponential service."""

    def __init__(
        self, world: "World", slots: int, mean_s: float, after: Callable[[Attempt], None]
    ) -> None:
        self.env, self.draw, self.after = world.env, world.draw, after
        self.slots, self.mu, self.busy = slots, 1.0 / mean_s, 0
        self.waiting: deque[Attempt] = deque()

    def arrive(self, attempt: Attempt) -> None:
        if self.busy < self.slots:
            self.busy += 1
            Timeout(self.env, self.draw(self.mu), attempt).callbacks.append(self.done)
        else:
            self.waiting.append(attempt)

    def done(self, event: Timeout) -> None:
        if self.waiting and self.busy <= self.slots:
            following = self.waiting.popleft()
            Timeout(self.env, self.draw(self.mu), following).callbacks.append(self.done)
        else:
            self.busy -= 1
        self.after(event._value)

    def resize(self, slots: int) -> None:
        self.slots = slots
        while self.waiting and self.busy < slots:
            self.arrive(self.waiting.popleft())


class World:
    """Two stations, the clients and the cut."""

    def __init__(self, task: Task) -> None:
        self.env = simpy.Environment()
        self.draw = random.Random(task.seed).expovariate
        self.retries = task.retries
        self.first = self.attempts = self.failed = 0
        self.goodput = [0] * (int(task.horizon_s) + 1)
        self.db = Station(self, W2.db_slots, W2.db_s, self.answer)
        self.app = Station(self, W2.app_slots, W2.app_s, self.db.arrive)

    def start(self) -> None:
        self.at(self.draw(W2.rate), self.arrive)
        self.at(W2.cut_from_s, lambda _: self.app.resize(W2.cut_slots))
        self.at(W2.cut_to_s, lambda _: self.app.resize(W2.app_slots))

    def at(self, delay_s: float, do: Callable[[Timeout], None], value: object = None) -> None:
        Timeout(self.env, delay_s, value).callbacks.append(do)

    def arrive(self, _: Timeout) -> None:
        self.first += 1
        self.send(0)
        self.at(self.draw(W2.rate), self.arrive)

    def send(self, k: int) -> None:
        self.attempts += 1
        attempt = Attempt(k)
        self.at(W2.balancer_s, self.balanced, attempt)
        self.at(W2.timeout_s, self.give_up, attempt)

    def balanced(self, event: Timeout) -> None:
        self.app.arrive(event._value)

    def answer(self, attempt: Attempt) -> None:
        if not attempt.settled:
            attempt.settled = True
            self.goodput[int(self.env._now)] += 1

    def give_up(self, event: Timeout) -> None:
        attempt = event._value
        if attempt.settled:
            return
        attempt.settled = True
        if attempt.k < self.retries:
            self.at(W2.backoff_s * 2**attempt.k, self.retry, attempt.k + 1)
        else:
            self.failed += 1

    def retry(self, event: Timeout) -> None:
        self.send(event._value)


def once(task: Task) -> dict[str, object]:
    world = World(task)
    world.start()
    world.env.run(until=task.horizon_s)
    return {
        "first": world.first,
        "attempts": world.attempts,
        "failed": world.failed,
        "goodput": world.goodput,
    }


if __name__ == "__main__":
    run(once)
