"""One run: build the parts, run to the horizon, hand back a trace."""

from __future__ import annotations

import gc
import os
import platform
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import simulator
from simulator import registry
from simulator.dataplane import make_plane, request_pools
from simulator.engine.actors import Actors, Pager
from simulator.engine.causes import Causes
from simulator.engine.demand import DemandFeed, largest_demand
from simulator.engine.effects import Effects
from simulator.engine.lifecycle import Lifecycle
from simulator.engine.observer import Observer
from simulator.engine.operations import Operations
from simulator.engine.simulation import Simulation, check_balance
from simulator.errors import UsageError
from simulator.flow.validity import concerns
from simulator.mechanism import Context
from simulator.model import build_topology
from simulator.sampling import Streams
from simulator.scenario.schema import Scenario
from simulator.state import SystemState
from simulator.telemetry import SampleBook
from simulator.trace import LATENCY_QUANTILES, POOL_COLUMNS, Log, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from simulator.contract import Crossing, DataPlane
    from simulator.dataplane import Backend, Fidelity
    from simulator.model import Topology
    from simulator.scenario.schema import Mechanism

    Progress = Callable[[float, float], None]

GUARDS_VARIABLE: Final = "SIMULATOR_GUARDS"
"""Environment variable that turns the conservation checks on when it is ``1``."""


COLLECT_AFTER: Final = 100_000
"""New objects between two garbage collections during a run. Records are kept and form no cycles;
looking through them every 700 objects took a sixth of the time."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let Python collect garbage less often for a while."""
    usual = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class RunInterrupted(KeyboardInterrupt):
    """The user stopped a run; ``trace`` holds what had happened until then."""

    def __init__(self, trace: Trace) -> None:
        super().__init__("run interrupted")
        self.trace = trace


class Run:
    """All parts of one run, wired together.

    Parameters
    ----------
    scenario : Scenario
        What to simulate.
    seed : int
        Seed of all streams.
    make_plane : callable
        ``make_plane(topology, streams)`` returns the data plane.
    guards : bool
        Check laws during the run.
    progress : callable or None
        ``progress(now_s, horizon_s)``.
    find : callable
        ``find(family, kind)`` returns the class of a mechanism; the registry's, unless a test
        brings its own.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        make_plane: Callable[[Topology, Streams], DataPlane],
        guards: bool = False,
        progress: Progress | None = None,
        find: Callable[[registry.Family, str], Any] = registry.get,
    ) -> None:
        self._find = find
        self.scenario = scenario
        self.seed = seed
        self.streams = Streams(seed)
        self.topology = topology = build_topology(scenario.region)
        self.plane = make_plane(topology, self.streams)
        self.guards = guards
        self.sim = sim = Simulation(
            self.plane,
            on_crossing=self._crossed,
            guard=self._check_units if guards else None,
            progress=progress,
        )
        self.log = log = Log(lambda: float(sim.now))
        specs = sorted(scenario.region.pools, key=lambda p: p.id)
        self.state = state = SystemState(topology, specs, log)
        self.lifecycle = Lifecycle(sim, state)
        self.causes = causes = Causes(topology, state, self._offered_rps)
        self.effects = Effects(sim, state=state, lifecycle=self.lifecycle, log=log)
        pager = Pager(log, lambda: float(sim.now))
        book = SampleBook(topology, scenario.telemetry, self.lifecycle.history.before)
        self.observer = Observer(sim, log=log, causes=causes, pager=pager, book=book)
        self.operations = Operations(
            sim,
            effects=self.effects,
            log=log,
            causes=causes,
            guardrails=[(m.id, self._make(m)) for m in _by_id(scenario.guardrails)],
        )
        self.actors = Actors(
            sim,
            state=state,
            log=log,
            operations=self.operations,
            causes=causes,
            pager=pager,
            view=self.observer.view,
        )
        self.effects.wake = self.actors.wake
        self._start()

    # ------------------------------------------------------------------ wiring
    def _make(self, spec: Mechanism) -> Any:  # noqa: ANN401 - its family tells which protocol
        """Build a mechanism; it gets names and its own stream of chance, nothing else."""
        region = self.scenario.region
        context = Context(
            rng=self.streams.stream(spec.family, spec.id),
            zones=self.topology.zone_ids,
            pools=self.topology.pool_ids,
            services=self.topology.service_ids,
            declared={p.id: p.units for p in self.state.specs},
            control_planes=self.topology.control_plane_ids,
            automations=_ids(self.scenario.automation),
            loops=_ids(self.scenario.healing),
            control_pools=frozenset(p.id for p in region.pools if p.serves_control_plane),
            dependencies=tuple(sorted((d.caller, d.callee) for d in region.dependencies)),
            carrier=self.scenario.telemetry.carried_by or "",
        )
        return self._find(spec.family, spec.kind)(spec.id, spec.config, context)

    def _start(self) -> None:
        """Set demand and watches; put everybody in place, in sorted order."""
        scenario, triggers = self.scenario, set(self.scenario.trigger)
        DemandFeed(self.sim, topology=self.topology, log=self.log, causes=self.causes).start(
            scenario
        )
        self.observer.start(scenario, self.topology, self.streams)
        self.sim.rank = self.observer.rank
        self.operations.open(scenario.region.control_planes, self.streams)
        self.effects.pausable = frozenset(_ids(scenario.automation) + _ids(scenario.healing))
        for spec in _by_id(scenario.faults):
            effects = self._make(spec).effects()
            self.effects.schedule(
                spec.id, effects, causes=self.causes, triggers=spec.id in triggers
            )
        for spec in _by_id(scenario.automation):
            self.actors.add_script(spec.id, self._make(spec), triggers=spec.id in triggers)
        for spec in _by_id(scenario.people):
            self.actors.add_person(spec.id, self._make(spec))
        for spec in _by_id(scenario.healing):
            self.actors.add_loop(spec.id, self._make(spec))

    def _crossed(self, crossing: Crossing) -> None:
        self.observer.crossed(crossing)

    def _check_units(self) -> None:
        self.state.check()

    def _offered_rps(self, pool: int) -> float:
        """Return attempts per second on a pool in the last sample (0 before the first)."""
        n = self.plane.n_samples
        return float(self.plane.samples(n - 1)[1][0, pool, 0]) if n else 0.0

    # ------------------------------------------------------------------ running
    def go(self, provenance: dict[str, Any]) -> Trace:
        """Run to the horizon.

        Raises
        ------
        RunInterrupted
            On Ctrl-C; with the trace so far.
        """
        try:
            with rare_collections():
                self.sim.run_to(float(self.scenario.horizon))
        except KeyboardInterrupt:
            raise RunInterrupted(self.trace({**provenance, "interrupted": True})) from None
        trace = self.trace(provenance)
        if self.guards:
            check_balance(self.plane.totals())
        return trace

    def trace(self, provenance: dict[str, Any]) -> Trace:
        """Return what has happened so far."""
        topology = self.topology
        t_s, pools, edges = self.plane.samples()
        pool_series = np.empty((len(t_s), topology.n_pools, len(POOL_COLUMNS)))
        pool_series[:, :, :-1] = pools
        history = self.lifecycle.history
        for p in range(topology.n_pools):
            serving = np.array([f.serving for f in history.facts[p]], dtype=np.float64)
            known = np.searchsorted(history.times_s[p], t_s, side="left") - 1
            pool_series[:, p, -1] = serving[known]
        service_edges = [topology.service_edge(s) for s in topology.service_ids]
        totals = self.plane.totals()
        return Trace(
            scenario=self.scenario,
            seed=self.seed,
            records=tuple(self.log.records),
            sample_t_s=np.array(t_s, dtype=np.float64),
            pool_series=pool_series,
            service_series=np.ascontiguousarray(edges[:, service_edges]),
            pool_ids=topology.pool_ids,
            service_ids=topology.service_ids,
            end_s=float(self.sim.now),
            provenance=provenance,
            totals={k: float(totals[k][service_edges].sum()) for k in sorted(totals)},
            latency_series=self._latencies(service_edges, len(t_s)),
        )

    def _latencies(self, edges: list[int], n: int) -> np.ndarray | None:
        """Return percentiles of latency by sample and service, where requests are simulated."""
        found = [self.plane.latencies(e, list(LATENCY_QUANTILES.values())) for e in edges]
        if all(rows is None for rows in found):
            return None
        unknown = np.full((n, len(LATENCY_QUANTILES)), np.nan)
        return np.stack([unknown if rows is None else rows for rows in found], axis=1)


def simulate(
    scenario: Scenario,
    *,
    seed: int,
    fidelity: Fidelity = "flow",
    backend: Backend = "compiled",
    guards: bool | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Run a scenario to its horizon.

    Parameters
    ----------
    scenario : Scenario
        What to simulate.
    seed : int
        Seed of all chance; the same scenario, seed and version give the same digest.
    fidelity : {"flow", "request", "auto"}
        How requests are simulated: as flows, one by one, or one by one where the flow is outside
        its region of validity. What a pool says itself goes before.
    backend : {"compiled", "reference"}
        Data plane: compiled kernels, or their slow and readable twin.
    guards : bool or None
        Check laws during the run; None: if ``SIMULATOR_GUARDS=1`` is set.
    progress : callable or None
        ``progress(now_s, horizon_s)``, at most 20 times per second.

    Returns
    -------
    Trace
        Records, time series and provenance.

    Raises
    ------
    RunInterrupted
        On Ctrl-C; a :class:`KeyboardInterrupt` that carries the trace so far.
    """
    _require_scenario(scenario)
    checked = os.environ.get(GUARDS_VARIABLE) == "1" if guards is None else guards

    plan = plan_requests(scenario, fidelity)

    def plane(topology: Topology, streams: Streams) -> DataPlane:
        return make_plane(
            topology,
            plan.by_request,
            streams=streams,
            sample_period_s=scenario.telemetry.sample_period,
            stochastic=scenario.demand.stochastic,
            backend=backend,
            guards=checked,
        )

    run = Run(scenario, seed=seed, make_plane=plane, guards=checked, progress=progress)
    told = {"fidelity": fidelity, "requests_of": plan.pools, "concerns": plan.concerns}
    return run.go({**provenance_of(scenario, seed=seed, backend=backend), **told})


def _require_scenario(value: object) -> None:
    if not isinstance(value, Scenario):
        kind = type(value).__name__
        msg = f"simulate takes a Scenario, not {kind}; read one with load_scenario(path)"
        raise UsageError(msg)


def control_run(
    scenario: Scenario,
    seed: int,
    *,
    fidelity: Fidelity = "flow",
    backend: Backend = "compiled",
    guards: bool | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Run a scenario without its trigger, with the same streams of chance."""
    return simulate(
        without_trigger(scenario),
        seed=seed,
        fidelity=fidelity,
        backend=backend,
        guards=guards,
        progress=progress,
    )


def without_trigger(scenario: Scenario) -> Scenario:
    """Return the scenario without the faults and automations that it is about."""
    names = set(scenario.trigger)
    return scenario.model_copy(
        update={
            "faults": tuple(m for m in scenario.faults if m.id not in names),
            "automation": tuple(m for m in scenario.automation if m.id not in names),
            "trigger": (),
        }
    )


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """Which pools are simulated request by request, and what the flow may get wrong."""

    by_request: np.ndarray
    """(P,) bool."""
    pools: tuple[str, ...]
    concerns: tuple[tuple[str, str], ...]
    """(pool, reason) of flow pools outside the region of validity."""


def plan_requests(scenario: Scenario, fidelity: Fidelity) -> RequestPlan:
    """Decide the fidelity of every pool (see :mod:`simulator.flow.validity`)."""
    topology = build_topology(scenario.region)
    found = concerns(topology, largest_demand(scenario))
    by_request = request_pools(topology, fidelity, [c.pool for c in found])
    ids = topology.pool_ids
    return RequestPlan(
        by_request,
        tuple(ids[p] for p in np.flatnonzero(by_request)),
        tuple((ids[c.pool], c.reason) for c in found if not by_request[c.pool]),
    )


def provenance_of(scenario: Scenario, *, seed: int, backend: Backend) -> dict[str, Any]:
    """Return what is needed to repeat a run."""
    from simulator.scenario.dump import scenario_hash

    return {
        "scenario_hash": scenario_hash(scenario),
        "seed": seed,
        "backend": backend,
        "versions": {
            "simulator": simulator.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in ("simpy", "numpy", "numba")},
        },
        "platform": platform.platform(),
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _by_id(specs: Iterable[Mechanism]) -> list[Mechanism]:
    return sorted(specs, key=lambda m: m.id)


def _ids(specs: Iterable[Mechanism]) -> tuple[str, ...]:
    return tuple(m.id for m in _by_id(specs))
