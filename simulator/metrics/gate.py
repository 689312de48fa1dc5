"""Did recovery get slower than yesterday? The comparison with a baseline, and its rule.

Runs are paired by seed (the same chance before and after). The gate fails when fewer of the paired
runs recover, when the median share of customers affected rises by more than
:data:`CUSTOMERS_RISE_MAX`, or when both hold:

* the median time to recovery rises by more than :data:`RISE_MAX_FRAC`;
* a paired permutation test on signed ranks puts the chance of such a rise, if nothing had changed,
  at :data:`ALPHA` or below.

A run that did not recover counts as longer than any that did; two such runs are equal. Ranks need
no finite numbers, so nothing is dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from simulator.errors import UsageError
from simulator.metrics.expectations import quantile, show_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.metrics.result import Metrics

__all__ = [
    "ALPHA",
    "CUSTOMERS_RISE_MAX",
    "RISE_MAX_FRAC",
    "Gate",
    "baseline_entry",
    "compare",
    "read_customers",
    "read_entry",
]

RISE_MAX_FRAC: Final = 0.10
"""Assumption: a tenth more is worth stopping for."""
CUSTOMERS_RISE_MAX: Final = 0.10
"""Assumption: one customer in ten more is worth stopping for (percentage points / 100)."""
ALPHA: Final = 0.05
"""One-sided level. Fewer than five seeds can never reach it (1/2**5 = 0.031)."""
RESAMPLES: Final = 9_999
_QUANTILES: Final = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


@dataclass(frozen=True, slots=True)
class Gate:
    """Outcome of one comparison."""

    passed: bool
    pairs: int
    median_before_s: float
    median_now_s: float
    recovered_before: int
    recovered_now: int
    p_value: float
    same_scenario: bool
    """False when the scenario itself was changed since the baseline."""
    customers_before: float | None = None
    """Median share of customers affected; None where the baseline does not know it."""
    customers_now: float | None = None

    @property
    def text(self) -> str:
        """One line for people."""
        change = ""
        if 0.0 < self.median_before_s < math.inf and math.isfinite(self.median_now_s):
            change = f", {self.median_now_s / self.median_before_s - 1.0:+.0%}"
        note = "" if self.same_scenario else "; the scenario has changed since"
        return (
            f"median time to recovery {_shown(self.median_before_s)} → "
            f"{_shown(self.median_now_s)}{change}, p = {self.p_value:.2g}; recovered "
            f"{self.recovered_before} → {self.recovered_now} of {self.pairs}{note}{self._customers}"
        )

    @property
    def _customers(self) -> str:
        if self.customers_before is None or self.customers_now is None:
            return ""
        return f"; median of customers {self.customers_before:.1%} → {self.customers_now:.1%}"


def _shown(value_s: float) -> str:
    return "not reached" if math.isinf(value_s) else show_duration(value_s)


def baseline_entry(
    runs: Sequence[Metrics], *, scenario_hash: str, version: str, reason: str
) -> dict[str, Any]:
    """Return what the baseline file keeps of one scenario; times not reached are None."""
    times = [math.inf if m.ttr_s is None else m.ttr_s for m in runs]
    return {
        "version": version,
        "scenario_sha256": scenario_hash,
        "reason": reason,
        "seeds": [m.seed for m in runs],
        "ttr_s": [_or_none(t) for t in times],
        "ttr_quantiles_s": {name: _or_none(quantile(times, q)) for name, q in _QUANTILES.items()},
        "customers_frac": [round(m.blast_radius.customers_frac, 9) for m in runs],
    }


def _or_none(value_s: float) -> float | None:
    return round(value_s, 6) if math.isfinite(value_s) else None


def read_entry(entry: object, name: str) -> dict[int, float]:
    """Return seed → time to recovery of a baseline entry (inf: not recovered).

    Raises
    ------
    UsageError
        If the entry is malformed.
    """
    seeds = entry.get("seeds") if isinstance(entry, dict) else None
    times = entry.get("ttr_s") if isinstance(entry, dict) else None
    if not (isinstance(seeds, list) and isinstance(times, list) and len(seeds) == len(times)):
        msg = f"baseline of {name!r} lacks seeds and as many times (renew it: --update-baseline)"
        raise UsageError(msg)
    return {
        int(seed): math.inf if t is None else float(t) for seed, t in zip(seeds, times, strict=True)
    }


def read_customers(entry: object) -> dict[int, float]:
    """Return seed → share of customers affected; empty where the entry does not say."""
    seeds = entry.get("seeds") if isinstance(entry, dict) else None
    shares = entry.get("customers_frac") if isinstance(entry, dict) else None
    if not (isinstance(seeds, list) and isinstance(shares, list) and len(seeds) == len(shares)):
        return {}
    return {int(seed): float(share) for seed, share in zip(seeds, shares, strict=True)}


def compare(
    before: Mapping[int, float],
    runs: Sequence[Metrics],
    *,
    same_scenario: bool = True,
    customers_before: Mapping[int, float] | None = None,
) -> Gate:
    """Compare runs with the baseline, over the seeds that both have.

    Parameters
    ----------
    before : Mapping[int, float]
        Seed → time to recovery (inf: not recovered), see :func:`read_entry`.
    runs : Sequence[Metrics]
        Today's.
    same_scenario : bool
        Whether the scenario is still that of the baseline.
    customers_before : Mapping[int, float], optional
        Seed → share of customers affected, see :func:`read_customers`.

    Raises
    ------
    UsageError
        If they have no seed in common.
    """
    now = {m.seed: math.inf if m.ttr_s is None else m.ttr_s for m in runs}
    seeds = sorted(before.keys() & now.keys())
    if not seeds:
        msg = "the baseline has no seed in common with these runs"
        raise UsageError(msg)
    old, new = [before[s] for s in seeds], [now[s] for s in seeds]
    median_old, median_new = quantile(old, 0.5), quantile(new, 0.5)
    well_old = sum(math.isfinite(t) for t in old)
    well_new = sum(math.isfinite(t) for t in new)
    p_value = _p_value(old, new)
    slower = median_new > (1.0 + RISE_MAX_FRAC) * median_old and p_value <= ALPHA
    shares = _customer_medians(customers_before or {}, runs)
    wider = shares is not None and shares[1] - shares[0] > CUSTOMERS_RISE_MAX
    return Gate(
        passed=not slower and not wider and well_new >= well_old,
        pairs=len(seeds),
        median_before_s=median_old,
        median_now_s=median_new,
        recovered_before=well_old,
        recovered_now=well_new,
        p_value=p_value,
        same_scenario=same_scenario,
        customers_before=None if shares is None else shares[0],
        customers_now=None if shares is None else shares[1],
    )


def _customer_medians(
    before: Mapping[int, float], runs: Sequence[Metrics]
) -> tuple[float, float] | None:
    """Return the medians then and now, over the seeds that both have; None without any."""
    now = {m.seed: m.blast_radius.customers_frac for m in runs}
    seeds = sorted(before.keys() & now.keys())
    if not seeds:
        return None
    return quantile([before[s] for s in seeds], 0.5), quantile([now[s] for s in seeds], 0.5)


def _p_value(old: Sequence[float], new: Sequence[float]) -> float:
    """Return the chance of ranks at least this high if before and now could be swapped."""
    import numpy as np
    from scipy.stats import permutation_test, rankdata

    rise = np.array([0.0 if a == b else b - a for a, b in zip(old, new, strict=True)])
    moved = rise[rise != 0.0]
    if len(moved) == 0:
        return 1.0
    signed = np.sign(moved) * rankdata(np.abs(moved))
    if len(moved) == 1:
        return 0.5 if signed[0] > 0 else 1.0
    test = permutation_test(
        (signed,),
        np.sum,
        permutation_type="samples",
        alternative="greater",
        n_resamples=RESAMPLES,
        rng=1,
    )
    return float(test.pvalue)
