"""The data plane as the engine sees it: a thin shell around the compiled kernel."""

from __future__ import annotations

import io
import json
import math
import os
from typing import TYPE_CHECKING

import numpy as np

from simulator.contract import Crossing, Outlook
from simulator.errors import InvariantError
from simulator.flow import kernel
from simulator.flow.layout import Arrays, allocate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.model import Topology

CONSERVATION_RTOL = 1e-6
"""Largest relative error of first tries = succeeded + failed + in flight."""


def guards_on(guards: bool | None) -> bool:  # noqa: FBT001 - a tri-state, passed on
    """Whether invariants are checked: as asked for, else by ``SIMULATOR_GUARDS``."""
    return os.environ.get("SIMULATOR_GUARDS") == "1" if guards is None else guards


class FlowPlane:
    """Flow fidelity of :class:`simulator.contract.DataPlane`.

    Parameters
    ----------
    topology
        The region as arrays.
    sample_period_s
        Time between two rows of the time series.
    rng
        Source of Poisson noise on first tries and service; None for the mean flow.
    adaptive
        Let pools sleep while their flows do not change; False steps everything finely.
    guards
        Check conservation after every advance; None asks the environment.
    remote
        (P,) bool: pools that another plane simulates; None: none.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        sample_period_s: float = 60.0,
        rng: np.random.Generator | None = None,
        adaptive: bool = True,
        guards: bool | None = None,
        remote: np.ndarray | None = None,
    ) -> None:
        self._topology = topology
        self._rng = rng
        self._guards = guards_on(guards)
        self.arrays: Arrays = allocate(
            topology,
            sample_period_s=sample_period_s,
            stochastic=rng is not None,
            adaptive=adaptive,
            remote=remote,
        )
        self._ctl = self.arrays.ctl[0]
        self._pools, self._edges = self.arrays.pools, self.arrays.edges
        self.tick_s = float(self._ctl["tick_s"])
        self._pool_rows = np.zeros((0, topology.n_pools, 7))
        self._edge_rows = np.zeros((0, topology.n_edges, 5))
        self._grow(256)
        units = topology.units.sum(axis=1)
        for p in range(topology.n_pools):
            self.set_capacity(
                p,
                rate_rps=float(units[p] * topology.unit_rate_rps[p]),
                workers=float(units[p] * topology.concurrency[p]),
                units=float(units[p]),
            )

    @property
    def now_s(self) -> float:
        """Time of the last completed tick."""
        return float(self._ctl["tick"]) * self.tick_s

    @property
    def steps(self) -> int:
        """Pool-steps computed so far (a measure of work, not of time)."""
        return int(self._ctl["steps"])

    def set_capacity(self, pool: int, *, rate_rps: float, workers: float, units: float) -> None:
        """Set full rate (warmth included), workers and unit count (it scales the queue bound)."""
        row = self._pools[pool]
        row["rate"], row["workers"] = rate_rps, workers
        per_unit = self._topology.queue_per_unit[pool]
        row["room_max"] = per_unit * units if math.isfinite(per_unit) else math.inf
        declared = float(self._topology.units[pool].sum())
        self.arrays.pool_state[pool]["size"] = units / declared if declared > 0.0 else 1.0
        kernel.touch_pool(self.arrays, pool)

    def set_service_time(self, pool: int, service_s: float) -> None:
        """Set the mean service time (slow-down)."""
        self._pools[pool]["s"] = service_s
        kernel.touch_pool(self.arrays, pool)

    def set_demand(self, edge: int, rate_rps: float) -> None:
        """Set first tries per second of a service edge."""
        kernel.touch_edge(self.arrays, edge, rate_rps, float(self._edges[edge]["admit"]), 0.0)

    def set_admission(self, edge: int, frac: float) -> None:
        """Admit this share of a service edge's first tries; the rest fails at once (shed)."""
        kernel.touch_edge(self.arrays, edge, float(self._edges[edge]["rate"]), frac, 0.0)

    def inject(self, edge: int, requests: float) -> None:
        """Add requests to a control edge (an operation's work)."""
        row = self._edges[edge]
        kernel.touch_edge(
            self.arrays, edge, float(row["rate"]), float(row["admit"]), float(requests)
        )

    def set_hit_frac(self, edge: int, frac: float) -> None:
        """Set the hit ratio of an edge's cache, up to that of the full one (0 empties it)."""
        row = self.arrays.edge_policy[edge]
        if row["cache"]:
            self.arrays.edge_state[edge]["hit"] = min(max(frac, 0.0), float(row["cache_hit_max"]))
            kernel.touch_pool(self.arrays, int(self._edges[edge]["callee"]))

    def watch_edge(self, edge: int, *, below: float) -> int:
        """Watch the success share of first tries of an edge; return the number of the watch."""
        self._edges[edge]["watch"] = below
        return edge

    def watch_pool(self, pool: int, *, below: float) -> int:
        """Watch the success share of a pool's attempts; return the number of the watch."""
        self._pools[pool]["watch"] = below
        return self._topology.n_edges + pool

    def advance(self, until_s: float) -> Crossing | None:
        """Go to ``until_s``, or stop earlier at the first crossing and return it."""
        ctl = self._ctl
        target = math.floor(until_s / self.tick_s + 1e-6)
        while ctl["read_cross"] >= ctl["n_cross"]:
            ctl["read_cross"] = ctl["n_cross"] = 0
            if ctl["tick"] >= target:
                return None
            done = kernel.advance(self.arrays, target, self._pool_rows, self._edge_rows)
            if self._guards:
                self._check()
            if done and ctl["n_cross"] == 0:
                return None
            if ctl["n_samples"] >= ctl["sample_max"]:
                self._grow(2 * int(ctl["sample_max"]))
            self._refill()
        tick, watch, below = self.arrays.cross[int(ctl["read_cross"])]
        ctl["read_cross"] += 1
        return Crossing(t_s=float(tick) * self.tick_s, watch=int(watch), below=bool(below))

    def outlook(self, edge: int) -> Outlook:
        """Estimate what an attempt on ``edge`` would see now."""
        e = self._edges[edge]
        p = self._pools[e["callee"]]
        eff, hold, s = float(p["eff"]), float(p["hold"]), float(p["s"])
        if p["special"]:
            s = float(self.arrays.pool_state[e["callee"]]["s"])
        if p["rate"] <= 0.0 or eff <= 0.0:
            return Outlook(0.0 if p["room_max"] <= 0.0 else 1.0, math.inf, math.inf, 0.0)
        wait = 0.0 if p["lifo"] else max(0.0, float(p["q"])) / eff
        return Outlook(float(p["accept"]), wait, wait + s + hold, float(p["p_down"]))

    def pool_success(self, pool: int) -> float:
        """Present success share of a pool's attempts (smoothed over about 5 s)."""
        return float(self._pools[pool]["share"])

    def edge_success(self, edge: int) -> float:
        """Present success share of an edge's first tries (smoothed over about 5 s)."""
        return float(self._edges[edge]["share"])

    def totals(self) -> dict[str, np.ndarray]:
        """Cumulative (E,) arrays: ``first``, ``ok``, ``failed``, ``attempts``, ``in_flight``."""
        kernel.settle_counters(self.arrays)
        names = ("first", "ok", "failed", "attempts", "in_flight")
        return {name: self._edges[name].copy() for name in names}

    def latencies(self, edge: int, quantiles: Sequence[float]) -> np.ndarray | None:
        """Return None: a flow knows mean latencies only."""

    @property
    def n_samples(self) -> int:
        """Samples taken so far (one per sample period)."""
        return int(self._ctl["n_samples"])

    def samples(self, start: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``(t_s (n,), pools (n, P, 7), edges (n, E, 5))`` from sample ``start`` on."""
        n = self.n_samples
        period = float(self._ctl["sample_ticks"]) * self.tick_s
        t_s = period * np.arange(start + 1, n + 1)
        return t_s, self._pool_rows[start:n], self._edge_rows[start:n]

    def save(self) -> bytes:
        """Return the whole state; a plane of the region that restores it goes on bit by bit."""
        n = self.n_samples
        state = {f"arrays.{name}": array for name, array in self.arrays._asdict().items()}
        state["pool_rows"], state["edge_rows"] = self._pool_rows[:n], self._edge_rows[:n]
        chance = None if self._rng is None else self._rng.bit_generator.state
        state["rng"] = np.frombuffer(json.dumps(chance).encode(), np.uint8)
        file = io.BytesIO()
        np.savez_compressed(file, **state)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        """Take over what :meth:`save` returned.

        Raises
        ------
        ValueError
            If it is the state of another region, or of a run with another kind of chance.
        """
        with np.load(io.BytesIO(state)) as file:
            saved = {name: file[name] for name in file.files}
        chance = json.loads(saved["rng"].tobytes())
        for name, array in self.arrays._asdict().items():
            if saved[f"arrays.{name}"].shape != array.shape:
                msg = f"the saved state is of another region: {name} differ in number"
                raise ValueError(msg)
        if (chance is None) != (self._rng is None):
            msg = "the saved state is of a run with noise, or this plane is, but not both"
            raise ValueError(msg)
        for name, array in self.arrays._asdict().items():
            array[...] = saved[f"arrays.{name}"]
        if self._rng is not None:
            self._rng.bit_generator.state = chance
        n = self.n_samples
        self._grow(max(int(self._ctl["sample_max"]), n))
        self._pool_rows[:n], self._edge_rows[:n] = saved["pool_rows"], saved["edge_rows"]

    def _grow(self, rows: int) -> None:
        """Make room for ``rows`` samples."""
        for name in ("_pool_rows", "_edge_rows"):
            old = getattr(self, name)
            new = np.zeros((rows, *old.shape[1:]))
            n = min(self.n_samples, len(old))
            new[:n] = old[:n]
            setattr(self, name, new)
        self._ctl["sample_max"] = rows

    def _refill(self) -> None:
        """Draw new random numbers behind those that are left; their sequence has no gaps."""
        if self._rng is not None:
            noise, used = self.arrays.noise, int(self._ctl["noise_next"])
            left = len(noise) - used
            noise[:left] = noise[used:]
            noise[left:] = self._rng.random(used)
            self._ctl["noise_next"] = 0

    def _check(self) -> None:
        """Raise InvariantError when first tries are not conserved on some edge."""
        present = np.zeros(self._topology.n_edges)
        kernel.count_in_flight(self.arrays, present)
        e = self._edges
        for name, count in (("counted", e["in_flight"]), ("present", present)):
            off = np.abs(e["first"] - e["ok"] - e["failed"] - count)
            bad = off > CONSERVATION_RTOL * np.maximum(e["first"], 1.0)
            if bad.any():
                i = int(np.argmax(off))
                msg = (
                    f"first tries are not conserved on edge {i} at {self.now_s:.3f} s: "
                    f"{e['first'][i]!r} first, {e['ok'][i]!r} ok, {e['failed'][i]!r} failed, "
                    f"{count[i]!r} in flight ({name})"
                )
                raise InvariantError(msg)
