"""The data plane of a run: one fidelity for all pools, or single pools in the other one.

Where both are in use, each plane holds the whole region but simulates its own pools only; the
other's are *remote* to it. After every tick they tell each other what crossed the border (MODEL.md,
R14).
"""

from __future__ import annotations

import io
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from simulator.errors import UsageError
from simulator.flow import kernel
from simulator.flow.plane import FlowPlane
from simulator.model import AS_THE_RUN, REQUEST
from simulator.request.plane import RequestPlane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.contract import Crossing, DataPlane, Outlook
    from simulator.model import Topology
    from simulator.sampling import Streams

Fidelity = Literal["flow", "request", "auto"]
Backend = Literal["compiled", "reference"]
TINY = 1e-6
BORDER_SMOOTHING_S = 1.0
"""Outcomes of single requests are smoothed over this time before a flow pool sees them (R14)."""


def request_pools(topology: Topology, fidelity: Fidelity, concerns: Sequence[int]) -> np.ndarray:
    """Return which pools are simulated request by request.

    Parameters
    ----------
    topology
        The region; a pool's own ``fidelity`` goes before the run's.
    fidelity
        What the run says. ``auto``: the pools of ``concerns``.
    concerns
        Pools that are outside the flow's region of validity.

    Returns
    -------
    (P,) bool
    """
    if fidelity not in get_args(Fidelity):
        msg = f"unknown fidelity {fidelity!r} (known: {', '.join(get_args(Fidelity))})"
        raise UsageError(msg)
    by_run = np.full(topology.n_pools, fidelity == "request")
    if fidelity == "auto":
        by_run[list(concerns)] = True
    return np.where(topology.fidelity == AS_THE_RUN, by_run, topology.fidelity == REQUEST)


def make_plane(  # noqa: PLR0913 - what a plane is made of
    topology: Topology,
    by_request: np.ndarray,
    *,
    streams: Streams,
    sample_period_s: float,
    stochastic: bool = False,
    backend: Backend = "compiled",
    guards: bool | None = None,
) -> DataPlane:
    """Make the data plane of a run.

    Parameters
    ----------
    topology
        The region as arrays.
    by_request
        (P,) bool: pools that are simulated request by request (:func:`request_pools`).
    streams
        Chance of the run.
    sample_period_s
        Time between two rows of the time series.
    stochastic
        Poisson noise in the flow.
    backend
        Compiled kernels, or their slow and readable twins.
    guards
        Check conservation during the run; None asks the environment.

    Raises
    ------
    UsageError
        If the backend is unknown, or twins are asked for two fidelities in one run.
    """
    if backend not in get_args(Backend):
        msg = f"unknown backend {backend!r} (known: {', '.join(get_args(Backend))})"
        raise UsageError(msg)
    noise = streams.stream("data-plane") if stochastic else None
    chance = streams.stream("requests")
    if by_request.all() or not by_request.any():
        whole = bool(by_request.all())
        rng = chance if whole else noise
        make = _kind(requests=whole, backend=backend)
        return make(topology, sample_period_s=sample_period_s, rng=rng, guards=guards)
    if backend != "compiled":
        msg = "the readable twins simulate one fidelity at a time, not single pools in another"
        raise UsageError(msg)
    return HybridPlane(
        FlowPlane(
            topology, sample_period_s=sample_period_s, rng=noise, guards=guards, remote=by_request
        ),
        RequestPlane(
            topology, sample_period_s=sample_period_s, rng=chance, guards=guards, remote=~by_request
        ),
        topology,
        by_request,
    )


def _kind(*, requests: bool, backend: Backend) -> Callable[..., DataPlane]:
    """Return the class of a plane of one fidelity; the twins are imported when asked for."""
    if backend == "compiled":
        return RequestPlane if requests else FlowPlane
    from simulator.flow.reference import ReferencePlane
    from simulator.request.reference import RequestReference

    return RequestReference if requests else ReferencePlane


_OWN = ("_tick", "_rates", "_sent", "_known", "_recent")
"""What the border remembers."""


class HybridPlane:
    """Single pools in request fidelity inside a flow region (R14).

    Parameters
    ----------
    flow, request
        The two planes, each with the other's pools as remote ones.
    topology
        The region as arrays.
    by_request
        (P,) bool: pools that are simulated request by request.
    """

    def __init__(
        self, flow: FlowPlane, request: RequestPlane, topology: Topology, by_request: np.ndarray
    ) -> None:
        self.flow, self.request = flow, request
        self.tick_s = flow.tick_s
        self._topology = topology
        self._pool_by_request = by_request
        self._edge_by_request = by_request[topology.edge_callee]
        inner = topology.edge_caller >= 0
        from_request = inner & by_request[topology.edge_caller]
        self._up = np.flatnonzero(inner & ~from_request & self._edge_by_request)
        """Edges from flow pools to request pools."""
        self._down = np.flatnonzero(from_request & ~self._edge_by_request)
        """Edges from request pools to flow pools."""
        self._tick = 0
        self._crossings: deque[Crossing] = deque()
        self._rates = np.zeros(len(self._up))
        self._sent = np.zeros(len(self._down), np.int64)
        self._known = np.zeros((len(self._up), 3))  # ok, failed, sum of latencies
        self._recent = np.zeros((len(self._up), 3))  # the same, of about the last second
        self._forget = math.exp(-self.tick_s / BORDER_SMOOTHING_S)

    # ------------------------------------------------------------------ what the engine sets
    @property
    def now_s(self) -> float:
        """Time of the last completed tick."""
        return self.flow.now_s

    def set_capacity(self, pool: int, *, rate_rps: float, workers: float, units: float) -> None:
        """Set full rate (warmth included), workers and unit count (it scales the queue bound)."""
        plane = self._of_pool(pool)
        plane.set_capacity(pool, rate_rps=rate_rps, workers=workers, units=units)

    def set_service_time(self, pool: int, service_s: float) -> None:
        """Set the mean service time (slow-down)."""
        self._of_pool(pool).set_service_time(pool, service_s)

    def set_demand(self, edge: int, rate_rps: float) -> None:
        """Set first tries per second of a service edge."""
        self._of_edge(edge).set_demand(edge, rate_rps)

    def set_admission(self, edge: int, frac: float) -> None:
        """Admit only this share of a service edge's first tries; the rest fails at once."""
        self._of_edge(edge).set_admission(edge, frac)

    def set_hit_frac(self, edge: int, frac: float) -> None:
        """Set the share of an edge's calls that its cache answers (an emptied cache: 0)."""
        self._of_edge(edge).set_hit_frac(edge, frac)

    def inject(self, edge: int, requests: float) -> None:
        """Add requests to a control edge (an operation's work)."""
        self._of_edge(edge).inject(edge, requests)

    def watch_edge(self, edge: int, *, below: float) -> int:
        """Watch the success share of first tries of an edge; return the number of the watch."""
        return self._of_edge(edge).watch_edge(edge, below=below)

    def watch_pool(self, pool: int, *, below: float) -> int:
        """Watch the success share of a pool's attempts; return the number of the watch."""
        return self._of_pool(pool).watch_pool(pool, below=below)

    # ------------------------------------------------------------------ time
    def advance(self, until_s: float) -> Crossing | None:
        """Go to ``until_s``, or stop earlier at the first crossing and return it."""
        target = math.floor(until_s / self.tick_s + 1e-6)
        while not self._crossings and self._tick < target:
            self._step()
        return self._crossings.popleft() if self._crossings else None

    def _step(self) -> None:
        """Do one tick in both planes, then let them tell each other about it."""
        self._tick += 1
        end_s = self._tick * self.tick_s
        for plane in (self.flow, self.request):
            while (crossing := plane.advance(end_s)) is not None:
                self._crossings.append(crossing)
        self._tell_request()
        self._tell_flow()

    def _tell_request(self) -> None:
        """Turn calls of flow pools into first tries; say how calls to flow pools end."""
        edges = self.flow.arrays.edges
        rates = edges["rate"][self._up]
        for i in np.flatnonzero(rates != self._rates):
            self.request.set_demand(int(self._up[i]), float(rates[i]))
        self._rates = rates
        other = self.request.arrays.edges
        other["remote_ok"][self._down] = edges["p_ok"][self._down]
        other["remote_latency"][self._down] = edges["latency"][self._down]

    def _tell_flow(self) -> None:
        """Turn calls of request pools into work; say, smoothed, how calls to them end."""
        edges = self.request.arrays.edges
        first = edges["first"][self._down]
        for i in np.flatnonzero(first != self._sent):
            self.flow.inject(int(self._down[i]), float(first[i] - self._sent[i]))
        self._sent = first
        now = np.stack([edges[name][self._up] for name in ("ok", "failed", "latency_sum")], axis=1)
        self._recent = self._forget * self._recent + (now - self._known)
        self._known = now
        done = self._recent[:, 0] + self._recent[:, 1]
        for i in np.flatnonzero(done > TINY):
            e, (good, _, time_s) = int(self._up[i]), self._recent[i]
            kernel.tell_outcome(
                self.flow.arrays,
                e,
                good / done[i],
                time_s / done[i],
                done[i] * (1.0 - self._forget) / self.tick_s,
                float(edges["in_flight"][e]),
            )

    # ------------------------------------------------------------------ what the engine asks
    def outlook(self, edge: int) -> Outlook:
        """Estimate what an attempt on ``edge`` would see now."""
        return self._of_edge(edge).outlook(edge)

    def pool_success(self, pool: int) -> float:
        """Present success share of a pool's attempts (smoothed over about 5 s)."""
        return self._of_pool(pool).pool_success(pool)

    def edge_success(self, edge: int) -> float:
        """Present success share of an edge's first tries (smoothed over about 5 s)."""
        return self._of_edge(edge).edge_success(edge)

    def totals(self) -> dict[str, np.ndarray]:
        """Cumulative (E,) arrays: ``first``, ``ok``, ``failed``, ``attempts``, ``in_flight``."""
        one, two = self.flow.totals(), self.request.totals()
        return {name: np.where(self._edge_by_request, two[name], one[name]) for name in one}

    def latencies(self, edge: int, quantiles: Sequence[float]) -> np.ndarray | None:
        """Return quantiles (s) of the latency of an edge's answered first tries, by sample."""
        return self._of_edge(edge).latencies(edge, quantiles)

    @property
    def n_samples(self) -> int:
        """Samples taken so far (one per sample period)."""
        return min(self.flow.n_samples, self.request.n_samples)

    def samples(self, start: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``(t_s (n,), pools (n, P, 7), edges (n, E, 5))`` from sample ``start`` on."""
        n = self.n_samples - start
        t_s, pools, edges = self.flow.samples(start)
        _, request_pools_, request_edges = self.request.samples(start)
        by_pool = self._pool_by_request[None, :, None]
        by_edge = self._edge_by_request[None, :, None]
        return (
            t_s[:n],
            np.where(by_pool, request_pools_[:n], pools[:n]),
            np.where(by_edge, request_edges[:n], edges[:n]),
        )

    def save(self) -> bytes:
        """Return the whole state; a plane of the region that restores it goes on bit by bit."""
        state: dict[str, Any] = {name: getattr(self, name) for name in _OWN}
        state["flow"] = np.frombuffer(self.flow.save(), np.uint8)
        state["request"] = np.frombuffer(self.request.save(), np.uint8)
        file = io.BytesIO()
        np.savez(file, **state)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        """Take over what :meth:`save` returned.

        Raises
        ------
        ValueError
            If it is the state of another region.
        """
        with np.load(io.BytesIO(state)) as saved:
            self.flow.restore(saved["flow"].tobytes())
            self.request.restore(saved["request"].tobytes())
            for name in _OWN:
                setattr(self, name, saved[name])
        self._tick = int(self._tick)

    def _of_pool(self, pool: int) -> FlowPlane | RequestPlane:
        return self.request if self._pool_by_request[pool] else self.flow

    def _of_edge(self, edge: int) -> FlowPlane | RequestPlane:
        return self.request if self._edge_by_request[edge] else self.flow
