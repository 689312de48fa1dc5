"""Rows about the Markov chain over queue and orbit: exact where it must be, and where it is wrong.

The small pool has 10 servers with 0.1 s of exponential service each (C = 100/s), T = 1 s.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import special

from simulator.analytic import chain as chains
from simulator.analytic.chain import PoolChain
from simulator.analytic.drift import folds
from simulator.analytic.solve import mean_passage, stationary, stuck_queue
from simulator.verification import bench
from simulator.verification.bench import EXACT
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.model import Topology
    from simulator.verification.row import Fidelity

CAPACITY: Final = 100.0
SERVERS: Final = 10
SERVICE_S: Final = 0.1
TIMEOUT_S: Final = 1.0
RETRIES: Final = 3


def small(load: float, *, retries: int = RETRIES, backoff_s: float, room: int) -> PoolChain:
    """Return the chain of the small pool."""
    return PoolChain(
        first_tries_rps=load,
        servers=SERVERS,
        service_s=SERVICE_S,
        timeout_s=TIMEOUT_S,
        retries=retries,
        backoff_s=backoff_s,
        room=room,
    )


def simulated(*, retries: int = RETRIES, backoff_s: float, room: int) -> Topology:
    """Return the same pool as a region."""
    client = bench.service(timeout=f"{TIMEOUT_S:g}s", retry=bench.retry(retries, f"{backoff_s:g}s"))
    unit = bench.pool(
        units=1, concurrency=SERVERS, service_time=f"{SERVICE_S:g}s", queue_per_unit=room
    )
    return bench.build([unit], [client])


def small_capacity(t_s: float, rate_rps: float) -> bench.Change:
    """Set what the small pool can do."""
    return bench.capacity(t_s, rate_rps, workers=SERVERS, units=1)


# ------------------------------------------------------------------------------------- mutants


def _chain_mutant(name: str, attribute: str, wrong: Any, fidelity: Fidelity) -> Mutant:  # noqa: ANN401 - a property or a method
    return Mutant(name, lambda: replaced(PoolChain, attribute, wrong), fidelity)


def _one_server_less(chain: PoolChain) -> np.ndarray:
    n = np.arange(chain.queue_max + 1)
    return np.minimum(n, max(chain.servers - 1, 1)) / chain.service_s


def _served_faster(chain: PoolChain) -> np.ndarray:
    return 1.01 * np.minimum(np.arange(chain.queue_max + 1), chain.servers) / chain.service_s


def _own_service_forgotten(
    *, servers: int, service_s: float, timeout_s: float, found_max: int
) -> np.ndarray:
    """Return the chance that the wait alone outlasts the patience."""
    ends = np.arange(found_max + 1) - servers + 1
    late: np.ndarray = special.gammaincc(np.maximum(ends, 1), servers * timeout_s / service_s)
    return np.where(ends > 0, late, 0.0)


FEWER: Final = _chain_mutant("one server less", "completions_rps", property(_one_server_less),
                             "formula")  # fmt: skip
FASTER: Final = _chain_mutant("service 1 % faster", "completions_rps", property(_served_faster),
                              "formula")  # fmt: skip
HASTY: Final = Mutant(
    "own service forgotten",
    lambda: replaced(chains, "timeout_chances", _own_service_forgotten),
    "formula",
)


# ---------------------------------------------------------------------- A01 textbook queues


def _queues(fidelity: Fidelity) -> Iterator[Reading]:
    endless = PoolChain(first_tries_rps=8.0, servers=10, service_s=1.0, room=300, unbounded=True)
    found = stationary(endless)
    waits = float(found.mass[10:].sum())
    yield Reading("share that waits, M/M/10", 0.409180, waits, EXACT)
    yield Reading("mean number L, M/M/10", 9.636721, found.in_system, EXACT)
    short = stationary(PoolChain(first_tries_rps=12.0, servers=1, service_s=0.1, room=9))
    yield Reading("share rejected, M/M/1/10", 0.192586, 1.0 - short.success_frac, EXACT)
    yield Reading("throughput, M/M/1/10", 9.688962, short.good_rps, EXACT, unit="/s")
    time_s = short.in_system / short.good_rps
    yield Reading("mean time W, M/M/1/10", 0.692614, time_s, EXACT, unit="s")


A01 = Row(
    id="A01",
    claim="the chain without retries and with endless patience is the textbook's queue",
    formula="M/M/c: L = lam W, P_w = Erlang C; M/M/1/K: p_n = rho^n / sum rho^i",
    source="Kleinrock, Queueing Systems I, 1975, sec. 3.5 and 3.6; MODEL.md A2, A8, A9",
    inputs="lam = 8/s, mu = 1/s, c = 10; lam = 12/s, mu = 10/s, at most 10 in the system",
    fidelities=("formula",),
    measure=_queues,
    mutants=(FEWER, FASTER),
)


# ------------------------------------------------------------------- A02 first passage (V45)


def _first_passage(fidelity: Fidelity) -> Iterator[Reading]:
    for load, printed, digit in ((8.0, 175_135.0, 0.5), (9.0, 1_880.3, 0.05)):
        chain = PoolChain(first_tries_rps=load, servers=1, service_s=0.1, room=49)
        times_s = mean_passage(chain, np.indices(chain.shape)[0] >= 50)  # noqa: PLR2004 - the level
        yield Reading(f"0 to 50 at {load:g}/s", printed, float(times_s[0, 0]), digit, unit="s")


A02 = Row(
    id="A02",
    claim="the mean time in which M/M/1 first reaches a level is solved, not simulated",
    formula="T_k = 1/lam + (mu/lam) T_(k-1), summed from 0 to 49",
    source="Keilson, Markov Chain Models, 1979, ch. 5; MODEL.md A10",
    inputs="mu = 10/s, lam = 8 and 9/s, from empty to 50",
    fidelities=("formula",),
    measure=_first_passage,
    mutants=(FASTER,),
)


# ------------------------------------------------------------------ A03 timeouts by what is found


def _tail(fidelity: Fidelity) -> Iterator[Reading]:
    for load, servers, service_s, timeout_s, printed in (
        (9.0, 1, 0.1, 1.0, 0.367879),
        (90.0, 100, 1.0, 2.0, 0.138597),
    ):
        endless = PoolChain(
            first_tries_rps=load, servers=servers, service_s=service_s, room=600, unbounded=True
        )
        patient = replace(endless, timeout_s=timeout_s)
        # Poisson arrivals see what is there on average.
        late = float(stationary(endless).mass.sum(axis=1)[:-1] @ patient.failing[:-1])
        yield Reading(f"P(W + S > {timeout_s:g} s), c = {servers}", printed, late, EXACT)


A03 = Row(
    id="A03",
    claim="the chance of a timeout, exact for each queue found, adds up to the sojourn's tail",
    formula="sum_n pi_n p_n = P(W + S > T) of M/M/c",
    source="Kleinrock I, sec. 3.5 and 5.12; MODEL.md A1",
    inputs="M/M/1 9/s on 10/s, T = 1 s; M/M/100 90/s, mu = 1/s, T = 2 s",
    fidelities=("formula",),
    measure=_tail,
    mutants=(HASTY, FASTER),
    note="the published tool bounds p_n by Chebyshev's inequality",
)


# --------------------------------------------------------------------------------- A04 folds


ROOM: Final = 250
SETTLED_S: Final = 900.0


def _recovers(topology: Topology, load: float) -> bool:
    script = [
        bench.demand(0.0, load),
        small_capacity(20.0, 0.0),
        small_capacity(20.0 + 10.0, CAPACITY),
    ]
    return bench.is_well(bench.play(bench.open_plane("flow", topology), script, SETTLED_S))


def _stays_well(topology: Topology, load: float) -> bool:
    plane = bench.open_plane("flow", topology)
    return bench.is_well(bench.play(plane, [bench.demand(0.0, load)], SETTLED_S))


def _folds(fidelity: Fidelity) -> Iterator[Reading]:
    for retries in (1, 2, 3):
        found = folds(small(1.0, retries=retries, backoff_s=0.2, room=ROOM))
        assert found is not None
        hidden = CAPACITY / (retries + 1)
        if fidelity == "formula":
            yield Reading(
                f"lower fold, r = {retries}", hidden, found.lower_rps, 1e-4 * hidden, unit="/s"
            )
            continue
        topology = simulated(retries=retries, backoff_s=0.2, room=ROOM)
        low = bench.boundary(partial(_recovers, topology), 0.5 * hidden, 1.5 * hidden)
        yield Reading(f"lower fold, r = {retries}", found.lower_rps, low, 0.05 * hidden, unit="/s")
        high = bench.boundary(partial(_stays_well, topology), 0.8 * CAPACITY, 1.2 * CAPACITY)
        yield Reading(
            f"upper fold, r = {retries}", found.upper_rps, high, 0.05 * CAPACITY, unit="/s"
        )


A04 = Row(
    id="A04",
    claim="the drift of the chain has its two folds where the flow leaves its two states",
    formula="lam* = C (1 - r/(r+1) p_(c+K-1)) -> C/(r+1); lam_up = C (1 - r/(r+1) p_c)",
    source="Huang et al., OSDI 2022, theorem 2 (lower fold); MODEL.md A14, F3",
    inputs="small pool, K = 250, backoff 0.2 s, r = 1, 2, 3; outage of 10 s, or none; 15 min",
    fidelities=("formula", "flow"),
    measure=_folds,
    slow=frozenset({"flow"}),
    mutants=(
        _chain_mutant("one retry too many", "retry_frac",
                      property(lambda chain: (chain.retries + 1.0) / (chain.retries + 2.0)),
                      "formula"),
        bench.retry_mutant("one retry less", "flow", retries_max=bench.one_less),
    ),
)  # fmt: skip


# ------------------------------------------------------------------- A05 the good state's means

LOAD: Final = 85.0
REPLICATES: Final = 120
RUN_S: Final = 1_050.0
WARM_UP: Final = 50


def _means(fidelity: Fidelity) -> Iterator[Reading]:
    chain = small(LOAD, backoff_s=0.2, room=200)
    good = stationary(chain, highest=stuck_queue(chain) - 1)
    topology = simulated(backoff_s=0.2, room=200)
    waiting, attempts = [], []
    for chance in bench.chances("A05", n=REPLICATES):
        plane = bench.open_plane("request", topology, chance=chance)
        bench.play(plane, [bench.demand(0.0, LOAD)], RUN_S)
        waiting.append(float(bench.pool_rows(plane)[WARM_UP:, 3].mean()))
        edge = bench.edge_rows(plane)[WARM_UP:]
        # Per first try: how many of these there were by chance does not matter then.
        attempts.append(LOAD * float(edge[:, 3].sum() / edge[:, 0].sum()))
    yield bench.averaged("mean number waiting", good.waiting, waiting, within(0.03, good.waiting))
    yield bench.averaged(
        "attempts", good.attempts_rps, attempts, within(1e-4, good.attempts_rps), unit="/s",
        bias=(good.attempts_rps - LOAD) / RETRIES,
    )  # fmt: skip


A05 = Row(
    id="A05",
    claim="well inside the good state the chain's means are those of requests",
    formula="pi Q = 0 below the zombie line; queue sum (n-c)+ pi_n, attempts lam + r/(r+1) m/(T+b)",
    source="Isaacs et al., Analyzing Metastable Failures, HotOS 2025; MODEL.md A2-A9",
    inputs="small pool at 85/s, K = 200, r = 3, backoff 0.2 s; 120 runs of 1000 s",
    fidelities=("request",),
    measure=_means,
    slow=frozenset({"request"}),
    mutants=(
        bench.pool_mutant("one server less", "request", concurrency=SERVERS - 1),
        bench.caller_mutant("less patience", "request", timeout="800ms"),
    ),
    note="bias of attempts: the chain retries a failure with chance r/(r+1), requests always, "
    "which makes 1/r more of the first retries",
)

ROWS = (A01, A02, A03, A04, A05)
