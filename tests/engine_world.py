"""A small region for tests of the engine: a scripted data plane, mechanisms made of functions."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.contract import Crossing, Outlook
from simulator.engine.run import Run
from simulator.mechanism import (
    ALLOW,
    Act,
    Action,
    Commands,
    Context,
    Effect,
    Inventory,
    Verdict,
    View,
)
from simulator.model import Topology
from simulator.registry import Registry
from simulator.sampling import Streams
from simulator.scenario.schema import Mechanism, Scenario
from simulator.trace import Trace, TraceRecord

GOOD = Outlook(accept_frac=1.0, wait_s=0.0, latency_s=0.5, success_frac=1.0)

PoolRow = Callable[[float], tuple[float, ...]]


class FakePlane:
    """Answers what the test tells it to; remembers what the engine asked for."""

    tick_s = 0.1

    def __init__(self, topology: Topology, period_s: float) -> None:
        self.topology = topology
        self.period_s = period_s
        self.now_s = 0.0
        self.calls: list[tuple[Any, ...]] = []
        self.advanced: list[float] = []
        self.crossings: list[tuple[float, str, bool]] = []
        """(time, pool or service, below); names of services win."""
        self.outlooks: Callable[[float], Outlook] = lambda _t_s: GOOD
        self.pool_rows: dict[str, PoolRow] = {}
        self.edge_rows: dict[str, PoolRow] = {}
        self.lost = 0.0
        """First tries that break the balance."""
        self._watches: dict[str, int] = {}
        self._rate = np.zeros(topology.n_pools)

    def set_capacity(self, pool: int, *, rate_rps: float, workers: float, units: float) -> None:
        self._rate[pool] = rate_rps
        name = self.topology.pool_ids[pool]
        self.calls.append(("capacity", self.now_s, name, rate_rps, workers, units))

    def set_service_time(self, pool: int, service_s: float) -> None:
        self.calls.append(("service", self.now_s, self.topology.pool_ids[pool], service_s))

    def set_demand(self, edge: int, rate_rps: float) -> None:
        self.calls.append(("demand", self.now_s, self._service(edge), rate_rps))

    def set_admission(self, edge: int, frac: float) -> None:
        self.calls.append(("admission", self.now_s, self._service(edge), frac))

    def inject(self, edge: int, requests: float) -> None:
        self.calls.append(("inject", self.now_s, edge, requests))

    def watch_edge(self, edge: int, *, below: float) -> int:
        self._watches[self._service(edge)] = edge
        return edge

    def watch_pool(self, pool: int, *, below: float) -> int:
        self._watches.setdefault(self.topology.pool_ids[pool], 1000 + pool)
        return 1000 + pool

    def advance(self, until_s: float) -> Crossing | None:
        self.advanced.append(until_s)
        due = sorted(c for c in self.crossings if c[0] <= until_s)
        if due:
            self.crossings.remove(due[0])
            t_s, name, below = due[0]
            self.now_s = max(self.now_s, t_s)
            return Crossing(t_s, self._watches[name], below)
        self.now_s = max(self.now_s, until_s)
        return None

    def outlook(self, edge: int) -> Outlook:
        return self.outlooks(self.now_s)

    def pool_success(self, pool: int) -> float:
        return 1.0

    def edge_success(self, edge: int) -> float:
        return 1.0

    def latencies(self, edge: int, quantiles: Sequence[float]) -> None:
        return None

    def set_hit_frac(self, edge: int, frac: float) -> None:
        self.calls.append(("set_hit_frac", edge, frac))

    def totals(self) -> dict[str, np.ndarray]:
        first = np.full(self.topology.n_edges, 10.0 * self.now_s)
        zero = np.zeros(self.topology.n_edges)
        return {
            "first": first,
            "ok": first - self.lost,
            "failed": zero,
            "attempts": first,
            "in_flight": zero,
        }

    @property
    def n_samples(self) -> int:
        return int(self.now_s / self.period_s + 1e-9)

    def samples(self, start: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        t_s = self.period_s * np.arange(start + 1, self.n_samples + 1)
        pools = np.zeros((len(t_s), self.topology.n_pools, 7))
        edges = np.zeros((len(t_s), self.topology.n_edges, 5))
        for i, t in enumerate(t_s):
            for p, name in enumerate(self.topology.pool_ids):
                normal = (100.0, 100.0, 1.0, 0.0, 0.0, self._rate[p], 0.0)
                pools[i, p] = self.pool_rows[name](t) if name in self.pool_rows else normal
            for name in self.topology.service_ids:
                row = self.edge_rows.get(name, lambda _t: (10.0, 10.0, 0.0, 10.0, 0.0))
                edges[i, self.topology.service_edge(name)] = row(t)
        return t_s, pools, edges

    def _service(self, edge: int) -> str:
        return self.topology.service_ids[edge - self.topology.service_edge("read")]


# ---------------------------------------------------------------------- mechanisms as functions
class FakeScript:
    """Script whose commands come from a function of its context."""

    def __init__(self, spec_id: str, config: Any, context: Context) -> None:
        self.start_s: float = config[0]
        self._run: Callable[[Context], Commands] = config[1]
        self._context = context

    def run(self) -> Commands:
        return self._run(self._context)


class FakePerson:
    """Person whose commands come from a function of its context."""

    def __init__(self, spec_id: str, config: Any, context: Context) -> None:
        self._run: Callable[[Context], Commands] = config
        self._context = context

    def run(self) -> Commands:
        return self._run(self._context)


class FakeLoop:
    """Loop that asks a function."""

    def __init__(self, spec_id: str, config: Any, context: Context) -> None:
        self.period_s: float = config[0]
        self._decide: Callable[[View], list[Action]] = config[1]

    def decide(self, view: View) -> list[Action]:
        return self._decide(view)


class FakeGuardrail:
    """Guardrail that asks a function; draws from its stream, as a real one may."""

    def __init__(self, spec_id: str, config: Any, context: Context) -> None:
        self._judge: Callable[[Action, Inventory], Verdict] = config
        self._rng = context.rng

    def judge(self, action: Action, inventory: Inventory) -> Verdict:
        self._rng.random()
        return self._judge(action, inventory)


class FakeFault:
    """Fault with given effects."""

    def __init__(self, spec_id: str, config: Any, context: Context) -> None:
        self._effects: Iterable[Effect] = config

    def effects(self) -> Iterable[Effect]:
        return self._effects


MECHANISMS = Registry()
MECHANISMS.register("automation", "fake")(FakeScript)
MECHANISMS.register("people", "fake")(FakePerson)
MECHANISMS.register("healing", "fake")(FakeLoop)
MECHANISMS.register("guardrail", "fake")(FakeGuardrail)
MECHANISMS.register("fault", "fake")(FakeFault)

REGION: dict[str, Any] = {
    "id": "small",
    "zones": ["a", "b"],
    "pools": [
        {"id": "api", "units": 10, "concurrency": 4, "service_time": "100ms", "boot_time": "60s"},
        {
            "id": "control",
            "units": 4,
            "concurrency": 4,
            "service_time": "100ms",
            "serves_control_plane": True,
        },
        {
            "id": "store",
            "units": 6,
            "concurrency": 10,
            "service_time": "100ms",
            "boot_time": "100s",
            "warmup": "40s",
            "warm_start": 0.2,
            "units_min_to_serve": 3,
        },
    ],
    "dependencies": [
        {"from": "api", "to": "store", "timeout": "1s"},
        {"from": "control", "to": "store", "timeout": "1s"},
    ],
    "services": [
        {"id": "read", "entry": "api", "first_tries": "100/s", "customers": 0.5, "timeout": "2s"},
        {"id": "write", "entry": "api", "first_tries": "10/s", "customers": 0.1, "timeout": "2s"},
    ],
    "control_planes": [
        {
            "id": "plane",
            "pool": "control",
            "timeout": "30s",
            "rate_limit": "1/s",
            "burst": 5,
            "concurrency": 2,
            "boots_at_once": 3,
            "operations": {
                "describe": {"work": 1},
                "add": {"work": 2, "work_per_unit": 0.5, "takes": "10s"},
                "remove": {"takes": "5s"},
                "replace": {"takes": "5s"},
                "restart": {},
                "drain": {},
                "throttle": {},
                "pause": {},
                "resume": {},
            },
        }
    ],
}


@dataclass
class World:
    """Parts of a scenario by id; ``run`` gives the trace."""

    scripts: dict[str, Any] = field(default_factory=dict)
    people: dict[str, Any] = field(default_factory=dict)
    loops: dict[str, Any] = field(default_factory=dict)
    guardrails: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, Any] = field(default_factory=dict)
    trigger: tuple[str, ...] = ()
    telemetry: dict[str, Any] = field(default_factory=dict)
    demand: dict[str, Any] = field(default_factory=dict)
    horizon: str = "1h"
    region: dict[str, Any] = field(default_factory=lambda: REGION)
    plane: Callable[[FakePlane], None] = lambda _plane: None
    seed: int = 1
    guards: bool = True
    started: Run | None = None
    made: FakePlane | None = None

    def scenario(self) -> Scenario:
        scenario = Scenario.model_validate(
            {
                "id": "test",
                "title": "test",
                "claim": "test",
                "horizon": self.horizon,
                "region": self.region,
                "telemetry": self.telemetry,
                "demand": self.demand,
                "trigger": self.trigger,
            }
        )
        return scenario.model_copy(
            update={
                "automation": _specs("automation", self.scripts),
                "people": _specs("people", self.people),
                "healing": _specs("healing", self.loops),
                "guardrails": _specs("guardrail", self.guardrails),
                "faults": _specs("fault", self.faults),
            }
        )

    def build(self) -> Run:
        def make(topology: Topology, _streams: Streams) -> FakePlane:
            self.made = FakePlane(topology, self.scenario().telemetry.sample_period)
            self.plane(self.made)
            return self.made

        self.started = Run(
            self.scenario(),
            seed=self.seed,
            make_plane=make,
            guards=self.guards,
            find=MECHANISMS.get,
        )
        return self.started

    def run(self) -> Trace:
        return self.build().go({})

    def calls(self, what: str) -> list[tuple[Any, ...]]:
        assert self.made is not None
        return [c[1:] for c in self.made.calls if c[0] == what]


def _specs(family: Any, parts: dict[str, Any]) -> tuple[Mechanism, ...]:
    # In the order given: tests of the order of events rely on it.
    return tuple(Mechanism(family=family, kind="fake", id=k, config=c) for k, c in parts.items())


def acts(*actions: Action, into: list[Any] | None = None) -> Callable[[Context], Commands]:
    """Return a script that acts in turn and keeps the outcomes."""

    def run(_context: Context) -> Commands:
        for action in actions:
            outcome = yield Act(action)
            if into is not None:
                into.append(outcome)

    return run


def records(trace: Trace, kind: str, subject: str = "") -> list[TraceRecord]:
    return [r for r in trace.records if r.kind == kind and subject in {"", r.subject}]


def data(record: TraceRecord) -> dict[str, Any]:
    return dict(record.data)


def chain(trace: Trace, record: TraceRecord) -> list[str]:
    """Return kinds and subjects from a record back to the first cause."""
    names = [f"{record.kind} {record.subject}"]
    while record.cause >= 0:
        record = trace.records[record.cause]
        names.append(f"{record.kind} {record.subject}")
    return names


def always(_action: Action, _inventory: Inventory) -> Verdict:
    return ALLOW


FOREVER = math.inf
