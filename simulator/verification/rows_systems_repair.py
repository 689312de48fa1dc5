"""Rows on repair and redundancy: V24 machine-repairman, V25 k-of-n and mean time to failure."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from simulator.verification import closed_forms_systems as cf
from simulator.verification.readings import batch_mean, exact, generator, printed
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]

SMALL = (10, 0.1, 1.0)
"""Units, failures per unit, repairs per crew."""
LARGE = (1000, 0.01, 1.0)
CASES = (
    (1, SMALL, "2.14582", 380_000.0, 100.0),
    (2, SMALL, "1.03864", 220_000.0, 100.0),
    (10, SMALL, "0.90909", 140_000.0, 100.0),
    (5, LARGE, "500.0", 14_000.0, 1_500.0),
)
"""Crews, shop, mean number of failed units, end of the run and of its warm-up."""


def _failed(crews: int, shop: tuple[int, float, float]) -> float:
    units, f, m = shop
    return float(cf.repairman(units, crews, f, m) @ np.arange(units + 1))


def _failed_by_balance(crews: int, shop: tuple[int, float, float]) -> float:
    """Return the same from the equations of global balance, solved as a linear system."""
    units, f, m = shop
    n = np.arange(units + 1)
    up, down = (units - n) * f, np.minimum(n, crews) * m
    flow = np.diag(up[:-1], -1) + np.diag(down[1:], 1) - np.diag(up + down)
    flow[0] = 1.0
    law = np.linalg.solve(flow, np.eye(units + 1)[0])
    return float(law @ n)


def _repairman(fidelity: Fidelity) -> Iterator[Reading]:
    for crews, shop, text, until, warm in CASES:
        name = f"mean failed units, N={shop[0]} R={crews}"
        value = _failed(crews, shop)
        if fidelity == "formula":
            yield printed(name, text, value)
            yield exact(f"{name}, by global balance", _failed_by_balance(crews, shop), value)
        else:
            yield _by_lifecycle(name, crews, shop, until=until, warm=warm)


def _by_lifecycle(
    name: str, crews: int, shop: tuple[int, float, float], *, until: float, warm: float
) -> Reading:
    from simulator.verification.repair_shop import Shop, run_shop

    rng = generator(f"V24 {crews} {shop[0]}")
    batches = run_shop(Shop(shop[0], crews, shop[1], shop[2]), until, rng, warm=warm)
    theory = _failed_by_balance(crews, shop)
    return batch_mean(name, theory, batches, within(0.02, theory))


def _one_crew_more(units: int, crews: int, fail_rate: float, repair_rate: float) -> np.ndarray:
    return _REPAIRMAN(units, crews + 1, fail_rate, repair_rate)


_REPAIRMAN = cf.repairman


def _slots_for_all() -> AbstractContextManager[None]:
    """Make crews without limit: every order boots at once."""
    from simulator.engine.lifecycle import Lifecycle

    def enqueue(self: Lifecycle, order: object, _slots: object) -> None:
        self._boot(order, None)  # type: ignore[arg-type]

    return replaced(Lifecycle, "_enqueue", enqueue)


V24 = Row(
    id="V24",
    claim="Units waiting for a limited repair crew: as many are down as the repairman model says",
    formula="p(n) ∝ Π (N − k + 1) f / (min(k, R) m), E[failed] = Σ n p(n)",
    source="Gross, Shortle, Thompson & Harris, Fundamentals of Queueing Theory, 4th ed. 2008, 2.8",
    inputs="N=10 f=0.1 m=1 R=1, 2, 10; N=1000 f=0.01 m=1 R=5",
    fidelities=("formula", "direct"),
    measure=_repairman,
    mutants=(
        Mutant("one crew more", lambda: replaced(cf, "repairman", _one_crew_more), "formula"),
        Mutant("crews without limit", _slots_for_all, "direct"),
    ),
    slow=frozenset({"direct"}),
    note="Direct: the engine's own unit lifecycle; boot slots are the crews, boot times are drawn "
    "from an exponential law (a region file has constant ones).",
)

# ---------------------------------------------------------------------------------- redundancy
AVAILABILITY = 0.99
FAIL, REPAIR = 0.001, 0.1
LIVES, LIFE_BATCHES = 640, 20


def _mttf_linear(units: int, failed: int) -> float:
    """Return the mean time until `failed` units are down from the generator of the up states."""
    k = np.arange(failed)
    up, down = (units - k) * FAIL, np.where(k > 0, REPAIR, 0.0)
    flow = np.diag(up + down) - np.diag(up[:-1], 1) - np.diag(down[1:], -1)
    return float(np.linalg.solve(flow, np.ones(failed))[0])


def _redundancy(fidelity: Fidelity) -> Iterator[Reading]:
    systems = {"2 of 3, one crew": (3, "17500"), "mirrored pair": (2, "51500")}
    if fidelity == "formula":
        yield exact("unavailability, 2 of 3", 1.0 - 0.999702, 1.0 - cf.k_of_n(2, 3, AVAILABILITY))
        for name, (units, text) in systems.items():
            value = cf.mean_time_to_k_failed_single_crew(units, 2, FAIL, REPAIR)
            yield exact(f"mean time to failure, {name}", float(text), value, "h")
            yield exact(f"the same by linear equations, {name}", _mttf_linear(units, 2), value, "h")
        return
    yield exact(
        "unavailability, 2 of 3, the program's pools", 1.0 - 0.999702, _pool_unavailability()
    )
    rng = generator("V25")
    for name, (units, text) in systems.items():
        batches = _lives(units, LIVES * LIFE_BATCHES, rng).reshape(LIFE_BATCHES, -1).mean(axis=1)
        theory = float(text)
        quantity = f"mean time to failure, {name}"
        yield batch_mean(quantity, theory, batches, within(0.05, theory), unit="h")


def _pool_unavailability() -> float:
    """Return the chance that the program's pool serves nothing, over all patterns of crashes."""
    from simulator.verification.repair_shop import pattern_serves

    total = 0.0
    for count in range(4):
        for failed in combinations(range(3), count):
            chance = (1.0 - AVAILABILITY) ** count * AVAILABILITY ** (3 - count)
            total += chance * (not pattern_serves(3, 2, failed))
    return total


def _lives(units: int, lives: int, rng: np.random.Generator) -> np.ndarray:
    """Return (lives,) float64: times until two units of a group are down at once; one crew.

    Every unit has a clock of its own. All groups advance together, from repair to repair: a unit
    fails, and either it is repaired first or a second one fails.
    """
    age = np.zeros(lives)
    alive = np.arange(lives)
    while len(alive):
        first = rng.exponential(1.0 / FAIL, (len(alive), units)).min(axis=1)
        second = rng.exponential(1.0 / FAIL, (len(alive), units - 1)).min(axis=1)
        repair = rng.exponential(1.0 / REPAIR, len(alive))
        age[alive] += first + np.minimum(second, repair)
        alive = alive[repair < second]
    return age


def _all_needed(needed: int, units: int, availability: float) -> float:
    return _K_OF_N(needed + 1, units, availability)


_K_OF_N = cf.k_of_n


def _quorum_ignored() -> AbstractContextManager[None]:
    """Let a pool serve below its minimum of units."""
    from simulator.state import SystemState

    def rate(self: SystemState, pool: int) -> float:
        return float(self.topology.unit_rate_rps[pool]) * self.serving(pool)

    return replaced(SystemState, "rate_rps", rate)


V25 = Row(
    id="V25",
    claim="Redundant copies with repair: availability and mean time to failure",
    formula="Σ C(n,i) Aⁱ (1−A)ⁿ⁻ⁱ; 2 of 3: (5f+m)/(6f²); mirrored pair: (3f+m)/(2f²)",
    source="Trivedi, Probability and Statistics with Reliability, Queuing, and Computer Science "
    "Applications, 2nd ed. 2002, ch. 8",
    inputs="A=0.99; f=0.001/h, m=0.1/h, one crew",
    fidelities=("formula", "direct"),
    measure=_redundancy,
    mutants=(
        Mutant("one copy more is needed", lambda: replaced(cf, "k_of_n", _all_needed), "formula"),
        Mutant("minimum of units ignored", _quorum_ignored, "direct"),
    ),
    note="Direct: every pattern of crashed copies is put to the engine's pool with "
    "units_min_to_serve = 2; lives of groups are simulated with a clock for every copy.",
)

ROWS = (V24, V25)
