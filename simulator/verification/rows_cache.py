"""Row about a cache that is empty: what is behind it must bear all calls."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.policies import cache
from simulator.verification import bench
from simulator.verification import closed_forms_capacity as forms
from simulator.verification.bench import (
    C,
    T,
    averaged,
    caller_mutant,
    chances,
    pool_mutant,
)
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.contract import DataPlane
    from simulator.model import Topology
    from simulator.verification.bench import Change
    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]

# -------------------------------------------------------------------------------------- F15 cache

HIT_MAX: Final = 0.9
KEYS: Final = 100_000
PART: Final = 0.9
EMPTIED_S: Final = 20.0
REFILLS = ((900.0, "fifo"), (3000.0, "lifo"))
"""Load below the capacity behind the cache, and above it."""


def _cached(discipline: str = "fifo", **fields: object) -> Topology:
    """Return an ample pool that calls the standard one unless its cache has the answer."""
    front = bench.pool("a", units=1000, concurrency=1000, service_time="1ms")
    store = bench.pool("b", discipline=discipline)
    held = {"cache": {"hit_max": HIT_MAX, "keys": KEYS} | fields}
    edge = bench.call("a", "b", f"{T:g}s", **held)
    return bench.build([front, store], [bench.service(timeout="3s")], [edge])


def _call_edge(topology: Topology) -> int:
    return next(e for e in range(topology.n_edges) if topology.edge_caller[e] >= 0)


def _emptied(topology: Topology, rate: float) -> list[Change]:
    hit = {"edge": _call_edge(topology), "frac": 0.0}
    script = [bench.demand(0.0, rate, topology.service_edge("s"))]
    return [*script, (EMPTIED_S, "set_hit_frac", hit)]


def _cache(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "formula":
        yield from _refills_by_steps()
        return
    for rate, discipline in REFILLS:
        theory = forms.refill_s(rate, C, HIT_MAX, KEYS, PART)
        name = f"refill to 90 % at {rate:g}/s, {discipline}"
        if fidelity == "flow":
            seen_s = _refilled_s(rate, discipline)
            yield Reading(name, theory, seen_s, within(0.02, theory), bias=1.0, unit="s")
        # The first second in which chance lets few enough calls out comes too early.
        hits = [_hits(fidelity, rate, discipline, c) for c in chances(f"F15 {name}", fidelity)]
        name = f"hits at the time of the {name}"
        yield averaged(name, PART * HIT_MAX, hits, within(0.02, PART * HIT_MAX))
    yield from _hidden(fidelity)
    topology = _cached()
    plane = bench.open_plane(fidelity, topology, chance="F15 stuck")
    bench.play(plane, _emptied(topology, 2000.0), 300.0)
    rows = bench.edge_rows(plane, _call_edge(topology))[-20:]
    late = float(rows[:, 2].sum() / rows[:, 3].sum())
    yield Reading("share of misses that fail at 2000/s, fifo", 1.0, late, 0.01)


def _refills_by_steps() -> Iterator[Reading]:
    """Fill by the program's own rule, one answer at a time."""
    for rate, discipline in REFILLS:
        hit, time_s = 0.0, 0.0
        while hit < PART * HIT_MAX:
            time_s += 1.0 / min(C, rate * (1.0 - hit))
            hit += cache.filling(hit, HIT_MAX, float(KEYS))
        found = forms.refill_s(rate, C, HIT_MAX, KEYS, PART)
        name = f"refill to 90 % at {rate:g}/s, {discipline}"
        yield Reading(name, found, time_s, within(1e-3, found), unit="s")
    alone = forms.unhindered_refill_s(900.0, HIT_MAX, KEYS, PART)
    found = forms.refill_s(900.0, C, HIT_MAX, KEYS, PART)
    yield Reading("closed form at 900/s", alone, found, within(1e-6, alone), unit="s")


def _called(fidelity: Fidelity, rate: float, discipline: str, chance: str) -> np.ndarray:
    """Return the share of calls that go out, second by second from the emptying on."""
    topology = _cached(discipline)
    plane = bench.open_plane(fidelity, topology, chance=chance)
    end_s = EMPTIED_S + 1.5 * forms.refill_s(rate, C, HIT_MAX, KEYS, PART)
    bench.play(plane, _emptied(topology, rate), end_s)
    rows = bench.edge_rows(plane, _call_edge(topology))[int(EMPTIED_S) :]
    return np.asarray(rows[:, 3] / rows[:, 0])


def _refilled_s(rate: float, discipline: str) -> float:
    """Return the time from which nine tenths of what can be hit are hit."""
    filled = _called("flow", rate, discipline, "")[1:] <= 1.0 - PART * HIT_MAX
    return float(filled.argmax()) + 1.0 if filled.any() else math.nan


def _hits(fidelity: Fidelity, rate: float, discipline: str, chance: str) -> float:
    """Return the share of hits at the time of the refill, by a line through twelve seconds."""
    middle = forms.refill_s(rate, C, HIT_MAX, KEYS, PART)
    called = _called(fidelity, rate, discipline, chance)
    seconds = np.arange(int(middle) - 6, int(middle) + 6)
    return 1.0 - float(np.polynomial.Polynomial.fit(seconds + 0.5, called[seconds], 1)(middle))


def _hidden(fidelity: Fidelity) -> Iterator[Reading]:
    """Empty the cache in an outage of 5 s, which leaves a queue of zombies."""
    topology = _cached()
    store = topology.pool("b")

    def script(rate: float) -> list[Change]:
        down, up = (
            bench.capacity(EMPTIED_S, 0.0, at=store),
            bench.capacity(EMPTIED_S + 5.0, C, at=store),
        )
        return [*_emptied(topology, rate), down, up]

    def well(plane: DataPlane) -> bool:
        return bench.share(bench.edge_rows(plane, _call_edge(topology))[-20:]) > WELL

    if fidelity == "request":
        for part, recovered in ((0.95, 1.0), (1.05, 0.0)):
            name = f"runs that recover at {part:g} C, fifo"
            states = [
                float(well(bench.play(bench.open_plane("request", topology, chance=c),
                                      script(part * C), 400.0)))
                for c in chances(f"F15 {name}")
            ]  # fmt: skip
            yield averaged(name, recovered, states, 0.1)
        return

    def recovers(rate: float) -> bool:
        return well(bench.play(bench.open_plane("flow", topology), script(rate), 1500.0))

    observed = bench.boundary(recovers, 0.5 * C, 1.5 * C)
    yield Reading("largest load that recovers, fifo", C, observed, within(0.02, C), unit="/s")


WELL: Final = 0.5


_FILLING = cache.filling


def _without_pull(hit: float, hit_max: float, keys: float) -> float:
    return _FILLING(hit, hit_max, keys) * (1.0 - hit)


F15 = Row(
    id="F15",
    claim="a store behind a cache must bear all calls: an empty cache fills only with answers",
    formula="dh/dt = (h_max/N) G (h_max - h)/(1 - h), G = min(lam (1 - h), C), or 0 if all answers "
    "are late; fifo comes back iff lam < C, not C/(1 - h_max)",
    source="derived; Bronson et al., Metastable Failures in Distributed Systems, HotOS 2021; "
    "Brooker, Caches, modes, and unstable systems, 2021",
    inputs="C = 1000/s, T = 1 s, h_max = .9, N = 100,000, no retries; emptied at 900/s and 3000/s; "
    "emptied in an outage of 5 s; emptied at 2000/s",
    fidelities=("formula", "flow", "request"),
    measure=_cache,
    slow=frozenset({"request"}),
    mutants=(
        Mutant(
            "misses cost nothing to find",
            lambda: replaced(cache, "filling", _without_pull),
            "formula",
        ),
        pool_mutant("last in first out", "flow", discipline="lifo"),
        caller_mutant(
            "a tenth more keys",
            "request",
            cache=lambda c: c | {"keys": c["keys"] * 11 // 10},
        ),
        caller_mutant(
            "twice the keys",
            "flow",
            cache=lambda c: c | {"keys": 2 * c["keys"]},
        ),
        caller_mutant("no cache", "flow", cache=lambda _: None),
    ),
    note="The hit ratio is read off the share of calls that go out, second by second (bias 1 s).",
)


ROWS = (F15,)
