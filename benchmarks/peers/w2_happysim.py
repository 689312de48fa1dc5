"""W2 in happysim, after the style of its own example of metastable states.

Its stock Client takes the entry into the queue for the answer, so that no timeout ever happens, and
its stock Server does not use slots that were given back. So the client and the queued server are
written here on its base classes, and restored slots poll the queue.
"""
# ruff: noqa: D102, NPY002, TID251 - names say it; it draws from the global generators

import random
from collections.abc import Iterator

import numpy as np
from happysimulator import (
    ConstantRateProfile,
    Entity,
    Event,
    EventProvider,
    FIFOQueue,
    Instant,
    PoissonArrivalTimeProvider,
    QueuedResource,
    Simulation,
    Source,
)
from happysimulator.components.queue import QueuePollEvent
from workloads import W2, Task, run


class Station(QueuedResource):
    """A queue with ``slots`` servers and exponential service."""

    def __init__(self, name: str, slots: int, mean_s: float, after: Entity | None = None) -> None:
        super().__init__(name, policy=FIFOQueue())
        self.slots, self.mean_s, self.after, self.busy = slots, mean_s, after, 0

    def has_capacity(self) -> bool:
        return self.busy < self.slots

    def handle_queued_event(self, event: Event) -> Iterator[float]:
        self.busy += 1
        yield random.expovariate(1.0 / self.mean_s)
        self.busy -= 1
        target = self.after or event.context["client"]
        kind = "Completion" if self.after is None else "Request"
        return [Event(time=self.now, event_type=kind, target=target, context=event.context)]


class Balancer(Entity):
    """A constant delay."""

    def __init__(self, after: Entity) -> None:
        super().__init__("balancer")
        self.after = after

    def handle_event(self, event: Event) -> Iterator[float]:
        yield W2.balancer_s
        after = self.after
        return [Event(time=self.now, event_type="Request", target=after, context=event.context)]


class Client(Entity):
    """All clients: timeouts, retries and what they got in time."""

    def __init__(self, after: Entity, task: Task) -> None:
        super().__init__("client")
        self.after, self.retries = after, task.retries
        self.waiting: dict[tuple[int, int], Event] = {}
        self.first = self.attempts = self.failed = 0
        self.goodput = [0] * (int(task.horizon_s) + 1)

    def send(self, request: int, k: int) -> list[Event]:
        self.attempts += 1
        what = {"request": request, "k": k, "client": self}
        late = Event(
            time=self.now + W2.timeout_s, event_type="Timeout", target=self, context=dict(what)
        )
        self.waiting[request, k] = late
        asked = Event(time=self.now, event_type="Request", target=self.after, context=what)
        return [asked, late]

    def handle_event(self, event: Event) -> list[Event]:
        if event.event_type == "New":
            self.first += 1
            return self.send(self.first, 0)
        request, k = event.context["request"], event.context["k"]
        if event.event_type == "Retry":
            return self.send(request, k)
        late = self.waiting.pop((request, k), None)
        if late is None:
            return []
        if event.event_type == "Completion":
            late.cancel()
            self.goodput[int(self.now.to_seconds())] += 1
            return []
        if k == self.retries:
            self.failed += 1
            return []
        when = self.now + W2.backoff_s * 2**k
        again = {"request": request, "k": k + 1}
        return [Event(time=when, event_type="Retry", target=self, context=again)]


class FirstTries(EventProvider):
    """Makes a first try at the client."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def get_events(self, time: Instant) -> list[Event]:
        return [Event(time=time, event_type="New", target=self.client)]


def schedule_cut(simulation: Simulation, app: Station) -> None:
    def cut(_: Event) -> None:
        app.slots = W2.cut_slots

    def restore(event: Event) -> list[Event]:
        app.slots = W2.app_slots
        freed = W2.app_slots - W2.cut_slots
        return [
            QueuePollEvent(time=event.time, target=app.queue, requestor=app.driver)
            for _ in range(freed)
        ]

    simulation.schedule(Event.once(Instant.from_seconds(W2.cut_from_s), "cut", cut))
    simulation.schedule(Event.once(Instant.from_seconds(W2.cut_to_s), "restore", restore))


def once(task: Task) -> dict[str, object]:
    random.seed(task.seed)
    np.random.seed(task.seed)
    db = Station("db", W2.db_slots, W2.db_s)
    app = Station("app", W2.app_slots, W2.app_s, db)
    balancer = Balancer(app)
    client = Client(balancer, task)
    arrivals = PoissonArrivalTimeProvider(ConstantRateProfile(W2.rate), Instant.Epoch)
    source = Source("source", FirstTries(client), arrivals)
    end = Instant.from_seconds(task.horizon_s)
    simulation = Simulation(sources=[source], entities=[client, balancer, app, db], end_time=end)
    schedule_cut(simulation, app)
    simulation.run()
    return {
        "first": client.first,
        "attempts": client.attempts,
        "failed": client.failed,
        "goodput": client.goodput,
    }


if __name__ == "__main__":
    run(once)
