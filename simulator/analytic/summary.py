"""Everything that the chain says of one pool, and where it is known to be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.analytic.drift import Equilibrium, Folds, equilibria, folds, noisy_upper
from simulator.analytic.solve import (
    Stationary,
    mean_passage,
    relaxation_s,
    stationary,
    stuck_queue,
)
from simulator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.analytic.chain import PoolChain

__all__ = ["Analysis", "Passages", "analyse", "doubts", "passages"]

NEAR: Final = 0.25
"""Share of the lower fold within which the bad state's life is said to be doubtful."""
PATIENCE_MIN: Final = 5.0
"""Timeout over service time below which single service times decide who times out."""


@dataclass(frozen=True, slots=True)
class Passages:
    """Mean first passages between the good and the bad state (A10)."""

    collapse_s: float
    """From the empty pool to the zombie line; infinite where too long to be solved."""
    escape_s: float
    """From a full room with every first try failing to a pool in which nobody waits."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What :func:`analyse` found."""

    chain: PoolChain
    folds: Folds | None
    """Of the drift; None if there is one state at any load."""
    upper_noisy_rps: float | None
    """End of the good state with the queue's own noise (A15)."""
    equilibria: tuple[Equilibrium, ...]
    good: Stationary | None
    """Stationary state below the zombie line (A9); None without an equilibrium there."""
    whole: Stationary | None
    """Stationary state of the whole chain; None with the reason in ``whole_missing``."""
    whole_missing: str
    passages: Passages | None
    """None where the room ends below the zombie line."""
    relaxation_s: float
    doubts: tuple[str, ...]


def passages(chain: PoolChain) -> Passages | None:
    """Return the mean first passages; None if the room ends below the zombie line."""
    line = stuck_queue(chain)
    if line > chain.queue_max or line <= chain.servers:
        return None
    queue = np.indices(chain.shape)[0]
    collapse = mean_passage(chain, queue >= line)
    escape = mean_passage(chain, queue <= chain.servers)
    orbit = min(round(chain.orbit_when_all_fail), chain.orbit_bound) if chain.retries else 0
    return Passages(float(collapse[0, 0]), float(escape[-1, orbit]))


def analyse(chain: PoolChain) -> Analysis:
    """Solve the chain: folds, equilibria, stationary states, passages, relaxation."""
    line = stuck_queue(chain)
    states = equilibria(chain)
    good: Stationary | None = None
    if states[0].queue < line <= chain.queue_max:
        good, _ = _stationary(chain, line - 1)
    whole, missing = _stationary(chain, None)
    return Analysis(
        chain=chain,
        folds=folds(chain),
        upper_noisy_rps=noisy_upper(chain),
        equilibria=states,
        good=good,
        whole=whole,
        whole_missing=missing,
        passages=passages(chain),
        relaxation_s=relaxation_s(chain),
        doubts=tuple(doubts(chain)),
    )


def _stationary(chain: PoolChain, highest: int | None) -> tuple[Stationary | None, str]:
    """Return a stationary state, or why there is none."""
    try:
        return stationary(chain, highest=highest), ""
    except UsageError as error:
        return None, str(error)


def doubts(chain: PoolChain) -> Iterator[str]:
    """Yield where this chain is known to differ from a pool of requests, with the reason."""
    if not chain.retries:
        return
    yield (
        "first tries that fail: the number of retries is geometric here, so that a client gives up "
        f"after one failure with chance 1/{chain.retries + 1}; clients with a fixed number of "
        "retries lose fewer in the good state"
    )
    found = folds(chain)
    if found and found.lower_rps * (1.0 - NEAR) <= chain.first_tries_rps <= found.upper_rps:
        yield (
            "escape: requests retry a fixed number of times at fixed intervals, the chain a "
            "geometric number of times at exponential ones; its time was 0.7 to 1.4 times theirs "
            "with a backoff as long as the timeout, and up to ten times too long with a shorter "
            "one (MODEL.md, A17)"
        )
    if found and chain.backoff_s < chain.service_s:
        yield (
            "the bad state: clients retry a rejection at once and spend all their retries on one "
            "full queue, the chain lets them wait for a timeout first; with a room little above "
            "the zombie line requests may have no bad state where the chain has one"
        )
    if math.isfinite(chain.timeout_s) and chain.timeout_s < PATIENCE_MIN * chain.service_s:
        yield (
            f"timeouts: the timeout is under {PATIENCE_MIN:g} service times, and many attempts "
            "time out in service, whatever the queue"
        )
