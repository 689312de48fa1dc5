"""The request plane as the engine sees it: a thin shell around the compiled event loop."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np

from simulator.contract import Crossing, Outlook
from simulator.errors import InvariantError
from simulator.flow.plane import guards_on
from simulator.model import LIFO
from simulator.request.kernel import loop, setters
from simulator.request.latency import LatencyBook, quantiles
from simulator.request.layout import Arrays
from simulator.request.memory import allocate, grown, processors, whole
from simulator.request.streams import stream_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.model import Topology


class RequestPlane:
    """Request fidelity of :class:`simulator.contract.DataPlane`: every attempt is an event.

    Parameters
    ----------
    topology
        The region as arrays.
    sample_period_s
        Time between two rows of the time series.
    rng
        Source of the seed of all streams; needed.
    guards
        Check conservation after every advance; None asks the environment.
    remote
        (P,) bool: pools that another plane simulates; None: none.

    Raises
    ------
    ValueError
        If there is no ``rng``.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        sample_period_s: float = 60.0,
        rng: np.random.Generator | None = None,
        guards: bool | None = None,
        remote: np.ndarray | None = None,
    ) -> None:
        self._topology = topology
        self._guards = guards_on(guards)
        keys = stream_keys(topology, rng)
        self._use(allocate(topology, keys, sample_period_s=sample_period_s, remote=remote))
        self.tick_s = float(self._ctl["tick_s"])
        self._book = LatencyBook(topology.n_edges)
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

    def _use(self, arrays: Arrays) -> None:
        """Take over arrays, new or grown."""
        self.arrays = arrays
        self._ctl = arrays.ctl[0]
        self._pools, self._edges = arrays.pools, arrays.edges

    @property
    def now_s(self) -> float:
        """Time of the last completed tick."""
        return float(self._ctl["tick"]) * self.tick_s

    @property
    def events(self) -> int:
        """Events done so far (a measure of work, not of time)."""
        return int(self._ctl["events"])

    def set_capacity(self, pool: int, *, rate_rps: float, workers: float, units: float) -> None:
        """Set full rate (warmth included), workers and unit count (it scales the queue bound)."""
        row = self._pools[pool]
        row["rate"] = rate_rps
        row["workers"] = max(1, whole(workers)) if units > 0.0 else 0
        per_unit = self._topology.queue_per_unit[pool]
        row["room_set"] = per_unit * units if math.isfinite(per_unit) else math.inf
        row["room"] = whole(float(row["room_set"]))
        row["size"] = units / max(1.0, float(self._topology.units[pool].sum()))
        self._set_speed(pool)

    def set_service_time(self, pool: int, service_s: float) -> None:
        """Set the mean service time (slow-down)."""
        self._pools[pool]["s"] = service_s
        self._set_speed(pool)

    def _set_speed(self, pool: int) -> None:
        """Set processors and the time of a service from rate and service time (R4)."""
        row = self._pools[pool]
        row["procs"] = processors(float(row["rate"]), float(row["s"]))
        row["mean"] = float(row["procs"]) / float(row["rate"]) if row["rate"] > 0.0 else 0.0
        setters.touch_pool(self.arrays, pool)
        self._settle()

    def set_demand(self, edge: int, rate_rps: float) -> None:
        """Set first tries per second of a service edge."""
        setters.set_demand(self.arrays, edge, rate_rps)
        self._settle()

    def set_admission(self, edge: int, frac: float) -> None:
        """Admit this share of a service edge's first tries; the rest fails at once (shed)."""
        setters.set_admission(self.arrays, edge, frac)

    def inject(self, edge: int, requests: float) -> None:
        """Add requests to a control edge (an operation's work); whole requests, the rest later."""
        setters.inject(self.arrays, edge, requests)
        self._settle()

    def set_hit_frac(self, edge: int, frac: float) -> None:
        """Set the share of an edge's calls that its cache answers (0: it was emptied)."""
        self._edges[edge]["hit"] = min(frac, float(self.arrays.edge_policy[edge]["cache_hit_max"]))

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
            done = loop.advance(self.arrays, target, self._pool_rows, self._edge_rows)
            self._make_room()
            ctl = self._ctl
            if self._guards and (done or ctl["n_cross"] > 0):
                self._check()
            if done and ctl["n_cross"] == 0:
                return None
        tick, watch, below = self.arrays.cross[int(ctl["read_cross"])]
        ctl["read_cross"] += 1
        return Crossing(t_s=float(tick) * self.tick_s, watch=int(watch), below=bool(below))

    def outlook(self, edge: int) -> Outlook:
        """Estimate what an attempt on ``edge`` would see now."""
        p = self._pools[self._edges[edge]["callee"]]
        hold, s, rate, waiting = (float(p[x]) for x in ("hold", "s", "rate", "waiting"))
        eff = min(rate, float(p["workers"]) / (s + hold)) if s + hold > 0.0 else rate
        has_room = waiting < p["room"]
        if rate <= 0.0 or eff <= 0.0:
            return Outlook(float(has_room), math.inf, math.inf, 0.0)
        starts = waiting == 0.0 and p["busy"] < p["procs"] and p["held"] < p["workers"]
        wait = 0.0 if p["discipline"] == LIFO or starts else waiting / eff
        accept = float(starts or has_room)
        return Outlook(accept, wait, wait + s + hold, float(p["p_down"]))

    def pool_success(self, pool: int) -> float:
        """Present success share of a pool's attempts (smoothed over about 5 s)."""
        return float(self._pools[pool]["share"])

    def edge_success(self, edge: int) -> float:
        """Present success share of an edge's first tries (smoothed over about 5 s)."""
        return float(self._edges[edge]["share"])

    def totals(self) -> dict[str, np.ndarray]:
        """Cumulative (E,) arrays: ``first``, ``ok``, ``failed``, ``attempts``, ``in_flight``."""
        names = ("first", "ok", "failed", "attempts", "in_flight")
        return {name: self._edges[name].astype(float) for name in names}

    @property
    def n_samples(self) -> int:
        """Samples taken so far (one per sample period)."""
        return int(self._ctl["n_samples"])

    def samples(self, start: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``(t_s (n,), pools (n, P, 7), edges (n, E, 5))`` from sample ``start`` on."""
        n = self.n_samples
        t_s = self._period_s * np.arange(start + 1, n + 1)
        return t_s, self._pool_rows[start:n], self._edge_rows[start:n]

    @property
    def _period_s(self) -> float:
        return float(self._ctl["sample_ticks"]) * self.tick_s

    def latency_counts(
        self, edge: int, *, start_s: float = 0.0, end_s: float = math.inf
    ) -> np.ndarray:
        """Count successes of first tries per bin of latency.

        Parameters
        ----------
        edge
            Index of the edge.
        start_s, end_s
            Samples that lie between these times are counted; with ``end_s`` = inf, also what has
            happened since the last sample.

        Returns
        -------
        (BINS,) int64, see :mod:`simulator.request.latency`.
        """
        self._pack()
        first = max(0, math.ceil(start_s / self._period_s - 1e-9))
        n = self.n_samples
        last = n if math.isinf(end_s) else min(n, math.floor(end_s / self._period_s + 1e-9))
        counts = self._book.between(edge, first, last)
        return counts + self.arrays.hist[0, edge] if math.isinf(end_s) else counts

    def latency_quantiles(
        self,
        edge: int,
        q: np.ndarray | float,
        *,
        start_s: float = 0.0,
        end_s: float = math.inf,
    ) -> np.ndarray:
        """Return quantiles (s) of the latency of successful first tries of an edge (R10).

        Parameters
        ----------
        edge
            Index of the edge.
        q
            Shares between 0 and 1.
        start_s, end_s
            As in :meth:`latency_counts`.

        Returns
        -------
        ndarray of the shape of ``q``, NaN where nothing succeeded.

        Raises
        ------
        ValueError
            If a share is not between 0 and 1.
        """
        return quantiles(self.latency_counts(edge, start_s=start_s, end_s=end_s), q)

    def latencies(self, edge: int, quantiles: Sequence[float]) -> np.ndarray | None:
        """Return quantiles (s) of the latency of an edge's answered first tries, by sample."""
        ends_s = self._period_s * np.arange(1, self.n_samples + 1)
        rows = [
            self.latency_quantiles(
                edge, np.array(quantiles), start_s=end_s - self._period_s, end_s=end_s
            )
            for end_s in ends_s
        ]
        return np.array(rows).reshape(-1, len(quantiles))

    def save(self) -> bytes:
        """Return the whole state; a plane of the same topology that loads it goes on bit by bit."""
        self._pack()
        n = self.n_samples
        state = {f"arrays.{name}": array for name, array in self.arrays._asdict().items()}
        state["pool_rows"], state["edge_rows"] = self._pool_rows[:n], self._edge_rows[:n]
        state |= self._book.state()
        file = io.BytesIO()
        np.savez_compressed(file, **state)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        """Take over what :meth:`save` returned.

        Raises
        ------
        ValueError
            If it is the state of a region of another shape.
        """
        with np.load(io.BytesIO(state)) as file:
            fields = {name: file[name] for name in file.files}
        arrays = Arrays(**{name: fields[f"arrays.{name}"] for name in Arrays._fields})
        for name in ("pools", "edges", "backoff", "out_edge"):
            if getattr(arrays, name).shape != getattr(self.arrays, name).shape:
                msg = f"the saved state is of another region: {name} differ in number"
                raise ValueError(msg)
        self._use(arrays)
        self._pool_rows, self._edge_rows = fields["pool_rows"], fields["edge_rows"]
        self._grow(max(256, 2 * self.n_samples))
        self._book = LatencyBook.of(fields)

    def _settle(self) -> None:
        """Let what was set have its effects at the present tick."""
        while not loop.run_until(self.arrays, self._ctl["now"]):
            self._make_room()

    def _make_room(self) -> None:
        """Give the kernel room where it asked for it."""
        while self._ctl["need"]:
            self._use(grown(self.arrays))
        if self.n_samples >= self._ctl["sample_max"]:
            self._grow(2 * int(self._ctl["sample_max"]))
        if self._ctl["hist_row"] >= len(self.arrays.hist):
            self._pack()

    def _pack(self) -> None:
        """Move latencies of complete samples from the dense array to the book."""
        n, hist = int(self._ctl["hist_row"]), self.arrays.hist
        if n == 0:
            return
        self._book.add(hist[:n])
        if n < len(hist):
            hist[0] = hist[n]
        else:
            hist[0] = 0
        hist[1:] = 0
        self._ctl["hist_row"] = 0

    def _grow(self, rows: int) -> None:
        """Make room for ``rows`` samples."""
        n = self.n_samples
        for name in ("_pool_rows", "_edge_rows"):
            old = getattr(self, name)
            new = np.zeros((rows, *old.shape[1:]))
            new[:n] = old[:n]
            setattr(self, name, new)
        self._ctl["sample_max"] = rows

    def _check(self) -> None:
        """Raise InvariantError when first tries are not conserved on some edge."""
        e = self._edges
        atts = self.arrays.atts
        present = np.bincount(atts["edge"][self._one_of_each(atts)], minlength=len(e))
        for name, count in (("counted", e["in_flight"]), ("present", present)):
            off = np.abs(e["first"] - e["ok"] - e["failed"] - count)
            if off.any():
                i = int(np.argmax(off))
                msg = (
                    f"first tries are not conserved on edge {i} at {self.now_s:.3f} s: "
                    f"{e['first'][i]!r} first, {e['ok'][i]!r} ok, {e['failed'][i]!r} failed, "
                    f"{count[i]!r} in flight ({name})"
                )
                raise InvariantError(msg)

    def _one_of_each(self, atts: np.ndarray) -> np.ndarray:
        """Return which attempts stand for a first try that is in flight: one of a hedged pair."""
        live: np.ndarray = atts["live"] == 1
        more = self.arrays.more
        if len(more) == len(atts):
            peer = np.where(self._edges["rich"][atts["edge"]] == 1, more["peer"], -1)
            live &= (peer < 0) | (peer > np.arange(len(atts)))
        return live
