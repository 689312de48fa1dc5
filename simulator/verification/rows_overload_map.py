"""Row about the map from attempts to load: the two loads at which a pool with retries turns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.verification import bench
from simulator.verification import closed_forms_capacity as forms
from simulator.verification.bench import averaged, retry_mutant
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.model import Topology
    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]

PRINTED = (
    (1, 5.0, 5, 9.03),
    (1, 1.0, 3, 6.94),
    (10, 1.0, 3, 93.95),
    (100, 1.0, 3, 990.7),
)
"""Servers of 10/s, timeout, retries, largest load of the good state."""
MU: Final = 10.0
ROOM: Final = 40
RETRIES: Final = 3
BACKOFF_S: Final = 500.0
"""Mean, with full jitter: so long that retries come as if they were new (MODEL.md F16)."""
RUNS: Final = 10
STEP: Final = 0.01
"""Change of load per step, as a share of the fold."""
STEP_BACKOFFS: Final = 5.0
"""Length of a step, in mean backoffs; the last fifth of it counts."""


def _folds(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "formula":
        for servers, timeout_s, retries, printed in PRINTED:
            found = forms.upper_fold(MU, servers, timeout_s, retries)
            name = f"lam_up, c = {servers}, T = {timeout_s:g} s, r = {retries}"
            yield Reading(name, printed, found, 0.5 * 10.0 ** -_digits(printed), unit="/s")
        # A room that nobody fills makes no difference to the good state.
        endless = forms.upper_fold(MU, 1, 1.0, RETRIES)
        room = forms.folds_of_mm1k(MU, 60, 1.0, RETRIES)[0]
        yield Reading("lam_up, c = 1, K = 60", endless, room, 1e-3 * endless, unit="/s")
        return
    up, down = forms.folds_of_mm1k(MU, ROOM, 1.0, RETRIES)
    late_up, late_down = _sweep(_Mean().step, up, down)
    seen = [_turns(up, down, f"S10 {i + 1}") for i in range(RUNS)]
    falls, back = zip(*seen, strict=True)
    yield averaged(
        "collapse on the way up", up, falls, within(0.05, up), bias=abs(late_up - up), unit="/s"
    )
    yield averaged(
        "recovery on the way down", down, back, within(0.05, down), bias=abs(late_down - down),
        unit="/s",
    )  # fmt: skip


def _digits(printed: float) -> int:
    return len(f"{printed:g}".partition(".")[2])


def _single() -> Topology:
    """Return one server with a bounded room whose clients wait for long before they retry."""
    pool = bench.pool(units=1, concurrency=1, service_time="100ms", queue_per_unit=ROOM - 1)
    longest = f"{2.0 * BACKOFF_S:g}s"
    policy = bench.retry(RETRIES, longest, backoff_cap=longest, jitter="full")
    return bench.build([pool], [bench.service(retry=policy)])


def _sweep(step: Callable[[float], float], up: float, down: float) -> tuple[float, float]:
    """Raise the load until attempts tell of a collapse, then lower it until they do no more.

    ``step`` takes a load for one step, and returns attempts per first try at its end: hardly one in
    the good state, nearly r + 1 in the bad one.
    """
    between = 0.5 * (RETRIES + 2.0)
    falls = (load for load in (up * (0.8 + STEP * i) for i in range(50)) if step(load) > between)
    fallen = next(falls, math.nan)
    back = (load for load in (down * (1.3 - STEP * i) for i in range(60)) if step(load) < between)
    return fallen, next(back, math.nan)


def _turns(up: float, down: float, chance: str) -> tuple[float, float]:
    step_s = STEP_BACKOFFS * BACKOFF_S
    plane = bench.open_plane("request", _single(), chance=chance, period_s=step_s / 5.0)

    def step(load: float) -> float:
        start_s = plane.now_s
        bench.play(plane, [bench.demand(start_s, load)], start_s + step_s)
        row = bench.edge_rows(plane)[-1]
        return float(row[3] / row[0])

    return _sweep(step, up, down)


class _Mean:
    """The map without chance: retries are the failures of the last 2 b, spread evenly."""

    def __init__(self) -> None:
        self._failed = np.zeros((RETRIES, 2 * GRID))
        """Rates at which attempts failed, by number and by time."""

    def step(self, load: float) -> float:
        """Let one step pass; return attempts per first try in the last fifth of it."""
        n = round(STEP_BACKOFFS * GRID)
        total = 0.0
        for i in range(n):
            rates = np.concatenate([[load], self._failed.mean(axis=1)])
            late = forms.late_in_mm1k(float(rates.sum()), MU, ROOM, 1.0)
            self._failed = np.roll(self._failed, 1, axis=1)
            self._failed[:, 0] = late * rates[:RETRIES]
            total += float(rates.sum()) if i >= n - n // 5 else 0.0
        return total / (n // 5) / load


GRID: Final = 20
"""Time steps per mean backoff."""


_LATE = forms.late_in_mmc


def _impatient(rate: float, mu: float, servers: int, timeout_s: float) -> float:
    return _LATE(rate, mu, servers, 0.9 * timeout_s)


S10 = Row(
    id="S10",
    claim="the map from attempts to load has two folds: above one the good state ends, below the "
    "other the bad one",
    formula="lam(a) = a (1 - p(a))/(1 - p(a)^(r+1)), p = P(rejected or W + S > T) of M/M/c or "
    "M/M/1/K; lam_up its maximum, lam_down the minimum beyond",
    source="derived; MODEL.md A15 (9.03, 6.94, 93.95)",
    inputs="10/s a server; requests: c = 1, K = 40, T = 1 s, r = 3, mean backoff 500 s, "
    "load up and down by 1 % every five backoffs, ten runs",
    fidelities=("formula", "request"),
    measure=_folds,
    slow=frozenset({"request"}),
    mutants=(
        Mutant(
            "a tenth less patience",
            lambda: replaced(forms, "late_in_mmc", _impatient),
            "formula",
        ),
        retry_mutant("one retry less", "request", retries_max=bench.one_less),
    ),
    note="The map is exact for an endless backoff. Near a fold the state takes long to leave, so a "
    "sweep turns late: bias, by how much a sweep of the map without chance does. V15 and A04 have "
    "the lower fold of short backoffs, C/(r+1). With backoffs of 10 s chance ends the good state "
    "at 5.5 to 6/s already, and the bad one at 3.1 to 3.4/s.",
)


ROWS = (S10,)
