"""Rows about the life of the bad state: where the Markov chain over queue and orbit is wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.analytic.chain import PoolChain
from simulator.analytic.solve import mean_passage
from simulator.analytic.summary import passages
from simulator.verification import bench
from simulator.verification.row import Reading, Row, within
from simulator.verification.rows_analytic import (
    CAPACITY,
    RETRIES,
    SERVERS,
    SERVICE_S,
    TIMEOUT_S,
    simulated,
    small,
    small_capacity,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.contract import DataPlane
    from simulator.model import Topology
    from simulator.verification.row import Fidelity

# --------------------------------------------------------------- A06 retries are images (F16)

WINDOW_S: Final = 60.0
WINDOWS: Final = 400
GAP_S: Final = TIMEOUT_S + 0.2


def _dispersion(fidelity: Fidelity) -> Iterator[Reading]:
    topology = simulated(backoff_s=GAP_S - TIMEOUT_S, room=1_000_000)
    found = []
    for chance in bench.chances("A06", n=12):
        plane = bench.open_plane("request", topology, chance=chance, period_s=WINDOW_S)
        script = [small_capacity(0.0, 0.0), bench.demand(0.0, 5.0)]
        bench.play(plane, script, WINDOW_S * (WINDOWS + 1))
        counts = WINDOW_S * bench.edge_rows(plane)[1:, 3]
        found.append(float(counts.var(ddof=1) / counts.mean()))
    attempts = np.arange(RETRIES + 1)
    apart = np.abs(attempts[:, None] - attempts) * (GAP_S / WINDOW_S)
    theory = float((1.0 - apart).sum()) / (RETRIES + 1.0)
    yield bench.averaged(
        "variance over mean of attempts in 60 s", theory, found, within(0.10, theory)
    )


A06 = Row(
    id="A06",
    claim="if all attempts fail their number varies (r+1) times as much as a Poisson number: "
    "retries are images of one first try",
    formula="Var N / E N = sum_ij (1 - |i-j| (T+b)/w) / (r+1) -> r+1; chain: -> 2r+1; "
    "retries drawn anew around their mean: 1",
    source="Cox, Isham, Point Processes, 1980, ch. 3 (cluster processes); MODEL.md A17, F16",
    inputs="no capacity, 5 first tries/s, r = 3, T = 1 s, backoff 0.2 s, windows w = 60 s",
    fidelities=("request",),
    measure=_dispersion,
    slow=frozenset({"request"}),
    mutants=(bench.retry_mutant("one retry less", "request", retries_max=bench.one_less),),
)


# ------------------------------------------------------------------- A07 life of the bad state

LIVES: Final = 240
LIFE_ROOM: Final = 150
SAMPLE_S: Final = 0.5
PREPARED_S: Final = 100.0


def _life_s(topology: Topology, load: float, chance: str) -> float:
    """Return how long a well-established bad state lasts once the load is ``load``."""
    plane = bench.open_plane("request", topology, chance=chance, period_s=SAMPLE_S)
    prepare = [
        bench.demand(0.0, 2.0 * load),
        small_capacity(5.0, 0.0),
        small_capacity(25.0, CAPACITY),
        bench.demand(PREPARED_S, load),
    ]
    bench.play(plane, prepare, PREPARED_S)
    first = round(PREPARED_S / SAMPLE_S)
    while True:
        bench.play(plane, [], plane.now_s + PREPARED_S)
        empty = np.flatnonzero(_waiting(plane)[first:] < SAMPLE_S)
        if len(empty):
            return float(empty[0]) * SAMPLE_S


def _waiting(plane: DataPlane) -> np.ndarray:
    rows: np.ndarray = bench.pool_rows(plane)[:, 3]
    return rows


def _lives(load: float, backoff_s: float, room: int) -> tuple[float, float]:
    """Return log10 of the mean life of the bad state (s), and its standard error."""
    topology = simulated(backoff_s=backoff_s, room=room)
    lives = np.array([_life_s(topology, load, c) for c in bench.chances("A07", n=LIVES)])
    mean = float(lives.mean())
    se = float(lives.std(ddof=1)) / math.sqrt(LIVES)
    return math.log10(mean), se / (mean * math.log(10.0))


def _solved_s(load: float, backoff_s: float) -> float:
    """Return the chain's mean escape time."""
    found = passages(small(load, backoff_s=backoff_s, room=LIFE_ROOM))
    assert found is not None
    return found.escape_s


def _escape(fidelity: Fidelity) -> Iterator[Reading]:
    load, backoff_s = 28.75, TIMEOUT_S
    log, se = _lives(load, backoff_s, LIFE_ROOM)
    theory = math.log10(_solved_s(load, backoff_s))
    yield Reading("log10 of the life, backoff = T", theory, log, 0.2, se, LIVES, bias=0.1)
    load, backoff_s = 31.25, 0.2 * TIMEOUT_S
    log, se = _lives(load, backoff_s, LIFE_ROOM)
    for name, life_s, least in (
        (
            "chain over requests, backoff = T/5: log10, at least 0.6",
            _solved_s(load, backoff_s),
            0.6,
        ),
        ("retries drawn anew over requests: log10, at least 2.5", _life_drawn_anew(load), 2.5),
    ):
        ratio = math.log10(life_s) - log
        yield Reading(name, least, min(ratio, least), 0.2, se, LIVES)


def _life_drawn_anew(load: float) -> float:
    """Return the time to the zombie line if attempts were Poisson at ``(r+1) lam``."""
    chain = PoolChain(
        first_tries_rps=load * (RETRIES + 1),
        servers=SERVERS,
        service_s=SERVICE_S,
        room=LIFE_ROOM,
    )
    line = SERVERS + round(CAPACITY * (TIMEOUT_S - SERVICE_S))
    times_s = mean_passage(chain, np.indices(chain.shape)[0] <= line)
    return float(times_s[-1, 0])


A07 = Row(
    id="A07",
    claim="the chain's bad state lives about as long as that of requests if the backoff is as long "
    "as the timeout, several times too long if it is short; were retries drawn anew around their "
    "mean, hundreds of times",
    formula="mean passage from the full room to nobody waiting, A10, over that of requests",
    source="Isaacs et al., HotOS 2025 (error grows with the amplification); MODEL.md A17, F16",
    inputs="small pool, K = 150, r = 3: 1.15 lam* with backoff 1 s; 1.25 lam* with 0.2 s; 240 runs",
    fidelities=("request",),
    measure=_escape,
    mutants=(
        bench.retry_mutant("one retry less", "request", retries_max=bench.one_less),
        bench.pool_mutant("a larger room", "request", queue_per_unit=190),
    ),
    slow=frozenset({"request"}),
    note="the chain is an approximation here (bias of the first reading: a quarter); the last two "
    "readings are lower bounds that show where it, and a model without an orbit, is wrong",
)

ROWS = (A06, A07)
