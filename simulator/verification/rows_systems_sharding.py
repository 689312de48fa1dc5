"""Row on shuffle sharding: V26."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from simulator.verification import closed_forms_systems as cf
from simulator.verification.readings import batch_mean, batch_share, exact, generator, printed
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]

WORKERS, SHARD, DOWN = 100, 5, 10
BATCHES, CUSTOMERS = 12, 100_000
OVERLAPS = ("0.7696", "0.2114", "0.0184", "0.00059")
"""Chance that two customers share 0, 1, 2, 3 of their five workers out of a hundred."""
LIMITS = (0.02, 0.02, 0.05, 0.20)
"""Relative tolerance of the sampled ones: wider where fewer customers meet."""


def _sharding(fidelity: Fidelity) -> Iterator[Reading]:
    yield from _formula() if fidelity == "formula" else _direct()


def _formula() -> Iterator[Reading]:
    yield exact("shards, 8 choose 2", 28.0, float(comb(8, 2)))
    yield exact("shards, 2048 choose 4", 730_862_190_080.0, float(comb(2048, 4)))
    for k, (share, value) in enumerate(
        zip((15 / 28, 12 / 28, 1 / 28), cf.hypergeometric(8, 2, 2), strict=True)
    ):
        yield exact(f"two shards of 2 in 8 share {k}", share, float(value))
    overlap = cf.hypergeometric(WORKERS, SHARD, SHARD)
    for k, text in enumerate(OVERLAPS):
        yield printed(f"two shards of 5 in 100 share {k}", text, float(overlap[k]))
    hit = cf.hypergeometric(WORKERS, DOWN, SHARD)
    yield printed("all 5 workers among 10 of 100 down", "3.35e-6", float(hit[5]))
    yield printed("some worker down", "0.4162", 1.0 - float(hit[0]))
    yield printed("3 or more workers down", "0.00664", float(hit[3:].sum()))


def _direct() -> Iterator[Reading]:
    shards = [set(s) for s in combinations(range(8), 2)]
    yield exact("shards listed, 8 choose 2", 28.0, float(len(shards)))
    common = np.bincount([len(a & b) for a in shards for b in shards]) / len(shards) ** 2
    for k, share in enumerate((15 / 28, 12 / 28, 1 / 28)):
        yield exact(f"pairs of listed shards that share {k}", share, float(common[k]))
    rng = generator("V26")
    overlaps = np.empty((BATCHES, SHARD + 1))
    downs = np.empty((BATCHES, SHARD + 1))
    for b in range(BATCHES):
        mine, other = assign(CUSTOMERS, rng), assign(CUSTOMERS, rng)
        shared = (mine[:, :, None] == other[:, None, :]).sum(axis=(1, 2))
        overlaps[b] = np.bincount(shared, minlength=SHARD + 1) / CUSTOMERS
        down = rng.choice(WORKERS, DOWN, replace=False)
        lost = np.isin(mine, down).sum(axis=1)
        downs[b] = np.bincount(lost, minlength=SHARD + 1) / CUSTOMERS
    theory = cf.hypergeometric(WORKERS, SHARD, SHARD)
    for k, limit in enumerate(LIMITS):
        name = f"sampled customers that share {k} of 5 in 100"
        expected = float(theory[k])
        yield batch_share(name, expected, overlaps[:, k], CUSTOMERS, within(limit, expected))
    hit = cf.hypergeometric(WORKERS, DOWN, SHARD)
    touched, most = 1.0 - float(hit[0]), float(hit[3:].sum())
    yield batch_mean("customers with a worker down", touched, 1.0 - downs[:, 0], 0.02 * touched)
    many = downs[:, 3:].sum(axis=1)
    yield batch_share("customers with 3 or more down", most, many, CUSTOMERS, within(0.05, most))


def assign(customers: int, rng: np.random.Generator) -> np.ndarray:
    """Return (customers, 5) int: a shard of five different workers for each, all equally likely.

    Workers are drawn with repetition, and shards with a repeated one are drawn again.
    """
    shards = rng.integers(0, WORKERS, (customers, SHARD))
    while True:
        ordered = np.sort(shards, axis=1)
        again = np.flatnonzero((np.diff(ordered, axis=1) == 0).any(axis=1))
        if len(again) == 0:
            return shards
        shards[again] = rng.integers(0, WORKERS, (len(again), SHARD))


def _with_repetition(total: int, marked: int, drawn: int) -> np.ndarray:
    p = marked / total
    ways = [comb(drawn, i) * p**i * (1.0 - p) ** (drawn - i) for i in range(drawn + 1)]
    return np.array(ways)


def _neighbours(customers: int, rng: np.random.Generator) -> np.ndarray:
    """Assign five workers in a row: fixed shards instead of shuffled ones."""
    start: np.ndarray = SHARD * rng.integers(0, WORKERS // SHARD, customers)
    return start[:, None] + np.arange(SHARD)


def _patch_assign() -> AbstractContextManager[None]:
    import sys

    return replaced(sys.modules[__name__], "assign", _neighbours)


V26 = Row(
    id="V26",
    claim="Shuffle sharding: how many workers two customers share, and whom a failure touches",
    formula="P(i shared) = C(k,i) C(n−k,k−i) / C(n,k)",
    source="MacCárthaigh, Workload isolation using shuffle-sharding, Amazon Builders' Library 2019 "
    "(28 shards of 2 in 8 workers; 730 billion of 4 in 2048); hypergeometric law",
    inputs="8 choose 2; 2048 choose 4; n=100, k=5, 10 workers down",
    fidelities=("formula", "direct"),
    measure=_sharding,
    mutants=(
        Mutant(
            "workers drawn with repetition",
            lambda: replaced(cf, "hypergeometric", _with_repetition),
            "formula",
        ),
        Mutant("fixed shards instead of shuffled ones", _patch_assign, "direct"),
    ),
    note="The first account of 2014 counted 56 shards (8 times 7, ordered); 28 is right.",
)

ROWS = (V26,)
