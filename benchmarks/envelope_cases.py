"""The designed set of the accuracy envelope: single pools and random graphs with a trigger each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import qmc
from worlds import arrays

from simulator.model import CANCEL, CLIENT, DEADLINE_AWARE, FIFO, LIFO, REQUIRED, ZOMBIE, Topology
from simulator.policies.retry import FIXED
from simulator.policies.service_time import DETERMINISTIC, EXPONENTIAL, LOGNORMAL
from simulator.policies.tables import edge_table, pool_table
from simulator.sampling import Streams

if TYPE_CHECKING:
    from simulator.contract import DataPlane

RATE_MAX = 4000.0
START_S, END_S = 20.0, 100.0
"""The trigger starts after the first and ends long before the second; the state is read at the
end. The customers' timeout is 1 s where there is one pool: the model has no other scale of time."""


def go(plane: DataPlane, until_s: float) -> None:
    """Advance, past crossings."""
    while plane.advance(until_s) is not None:
        pass


@dataclass(frozen=True)
class Pool:
    """One pool with one caller, and what happens to it."""

    load: float
    servers: int
    ratio: float
    """Timeout over service time."""
    room: float
    """Waiting room in zombie lines; infinite: unbounded."""
    discipline: int
    late: int
    retries: int
    backoff_s: float
    service: int
    trigger: str
    """outage, dip (to 40 %), spike (to 200 %)"""
    length_s: float

    @property
    def rate(self) -> float:
        """Capacity per second."""
        return self.servers * self.ratio

    def topology(self) -> Topology:
        """Write it as arrays."""
        line = self.rate * (1.0 - 1.0 / self.ratio)
        row = {"service_kind": self.service, "service_a": math.sqrt(math.log(5.0))}
        return arrays(
            1,
            1,
            units=np.array([[self.servers]]),
            unit_rate_rps=np.array([self.ratio]),
            concurrency=np.ones(1),
            service_s=np.array([1.0 / self.ratio]),
            queue_per_unit=np.array([max(1.0, round(self.room * line)) / self.servers])
            if math.isfinite(self.room)
            else np.array([np.inf]),
            discipline=np.array([self.discipline]),
            late_work=np.array([self.late]),
            pool_policy=pool_table(
                [row if self.service == LOGNORMAL else row | {"service_a": 0.0}]
            ),
            edge_policy=edge_table([retry_row(self.retries, self.backoff_s)]),
        )

    def play(self, plane: DataPlane) -> None:
        """Let the trigger happen."""
        first = self.load * self.rate
        plane.set_demand(0, first)
        go(plane, START_S)
        plane.set_demand(0, 2.0 * first if self.trigger == "spike" else first)
        self._set(plane, {"outage": 0.0, "dip": 0.4}.get(self.trigger, 1.0))
        go(plane, START_S + self.length_s)
        plane.set_demand(0, first)
        self._set(plane, 1.0)
        go(plane, END_S)

    def outage(self, plane: DataPlane, length_s: float) -> None:
        """Serve nothing for a while."""
        plane.set_demand(0, self.load * self.rate)
        go(plane, START_S)
        self._set(plane, 0.0)
        go(plane, START_S + length_s)
        self._set(plane, 1.0)
        go(plane, END_S)

    def _set(self, plane: DataPlane, frac: float) -> None:
        up = round(frac * self.servers) if frac > 0.0 else 0
        plane.set_capacity(
            0, rate_rps=up * self.ratio, workers=float(up), units=float(self.servers)
        )


def retry_row(retries: int, backoff_s: float) -> dict[str, float]:
    """Return retries with a fixed backoff."""
    return {
        "retries": retries,
        "backoff_base": backoff_s,
        "backoff_cap": 60.0,
        "growth": FIXED,
    }


def designed_pools(n: int) -> list[Pool]:
    """Return ``n`` pools on a Sobol sequence."""
    sobol = qmc.Sobol(9, rng=Streams(20).stream("envelope", "pools"))
    points = sobol.random_base2(math.ceil(math.log2(n)))[:n]  # balanced in powers of two
    found = []
    for x in points:
        ratio = 2.0 * 50.0 ** x[1]
        servers = max(3, round(min(3.0 * 100.0 ** x[2], RATE_MAX / ratio)))
        found.append(
            Pool(
                load=0.2 + 0.85 * x[0],
                servers=servers,
                ratio=ratio,
                room=float(pick(x[3], (math.inf, math.inf, 0.5, 0.9, 1.1, 2.0, 5.0))),
                discipline=int(pick(x[4], (FIFO, FIFO, FIFO, LIFO))),
                late=int(pick(x[5], (ZOMBIE, ZOMBIE, ZOMBIE, CANCEL, DEADLINE_AWARE))),
                retries=int(pick(x[6], (0, 1, 2, 3, 4))),
                backoff_s=0.05 if x[7] < 0.7 else 1.0,
                service=int(
                    pick(x[7] * 7 % 1, (EXPONENTIAL, EXPONENTIAL, DETERMINISTIC, LOGNORMAL))
                ),
                trigger=str(pick(x[8], ("outage", "dip", "spike"))),
                length_s=float(0.5 * 40.0 ** (x[8] * 3 % 1)),
            )
        )
    return found


def pick(x: float, choices: tuple[Any, ...]) -> Any:  # noqa: ANN401 - of any kind
    """Choose by a number between 0 and 1."""
    return choices[min(int(x * len(choices)), len(choices) - 1)]


@dataclass(frozen=True)
class Graph:
    """A random layered region in which one pool loses capacity for a while."""

    seed: int
    topology_: Topology = field(repr=False)
    first_rps: float
    hit: int
    frac: float
    length_s: float

    @property
    def entry(self) -> int:
        """Edge by which customers come in."""
        return self.topology_.n_edges - 1

    def topology(self) -> Topology:
        """Return the region."""
        return self.topology_

    def play(self, plane: DataPlane) -> None:
        """Take capacity from one pool for a while."""
        rate = 100.0 * float(self.topology_.unit_rate_rps[self.hit])
        workers = 100.0 * float(self.topology_.concurrency[self.hit])
        plane.set_demand(self.entry, self.first_rps)
        for t_s, frac in ((START_S, self.frac), (START_S + self.length_s, 1.0)):
            go(plane, t_s)
            plane.set_capacity(self.hit, rate_rps=frac * rate, workers=workers, units=100.0)
        go(plane, END_S)


def designed_graphs(n: int) -> list[Graph]:
    """Return ``n`` graphs of four to nine pools."""
    return [random_graph(seed) for seed in range(n)]


def random_graph(seed: int) -> Graph:
    """Draw a graph without cycles; timeouts get shorter downwards, loads are unequal."""
    rng = Streams(seed).stream("envelope", "graph")
    n = int(rng.integers(4, 10))
    pairs = {(int(rng.integers(0, p)), p) for p in range(1, n)}
    more = [(a, b) for a in range(n) for b in range(a + 1, n) if (a, b) not in pairs]
    pairs |= {more[int(i)] for i in rng.permutation(len(more))[: n // 3]}
    edges = sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    calls = rng.uniform(0.3, 1.0, len(edges))
    demand, depth = np.zeros(n), np.zeros(n)
    demand[0] = rng.uniform(200.0, 600.0)
    for (a, b), c in zip(edges, calls, strict=True):  # callers come before callees
        demand[b] += c * demand[a]
        depth[b] = max(depth[b], depth[a] + 1)
    rate = demand / rng.uniform(0.4, 0.9, n)
    m = len(edges)
    topology = arrays(
        n,
        m + 1,
        unit_rate_rps=rate / 100,
        concurrency=np.ceil(rate * 2.0) / 100,
        service_s=rng.uniform(0.01, 0.1, n),
        queue_per_unit=np.ceil(rate * rng.choice([1.0, 3.0, 8.0], n)) / 100,
        late_work=rng.choice([ZOMBIE, ZOMBIE, DEADLINE_AWARE], n),
        edge_caller=np.array([a for a, _ in edges] + [-1]),
        edge_callee=np.array([b for _, b in edges] + [0]),
        edge_kind=np.array([REQUIRED] * m + [CLIENT]),
        edge_calls=np.array([*calls, 1.0]),
        edge_timeout_s=np.array([4.0 * 0.5 ** min(depth[b], 4) for _, b in edges] + [8.0]),
        edge_policy=edge_table([retry_row(int(k), 0.1) for k in (*rng.integers(0, 3, m), 2)]),
    )
    return Graph(
        seed,
        topology,
        float(demand[0]),
        hit=int(rng.integers(0, n)),
        frac=float(rng.uniform(0.0, 0.6)),
        length_s=float(rng.uniform(2.0, 20.0)),
    )
