"""Rows on the statistics of incidents: V36 length bias, V37 censored times, V38 mean times."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from simulator.metrics import durations, survival
from simulator.sampling import Lognormal
from simulator.verification import closed_forms_systems as cf
from simulator.verification import incident_samples as samples
from simulator.verification.readings import batch_mean, batch_share, exact, generator, printed
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]

# -------------------------------------------------------------------------------- V36 length bias
MEDIAN, P99 = 30.0, 600.0
"""Minutes."""
BATCHES, OUTAGES, CUSTOMERS = 160, 1_000_000, 50_000


def _lognormal() -> Lognormal:
    sigma = cf.lognormal_sigma(MEDIAN, P99, 0.99)
    return Lognormal.model_validate({"median": f"{MEDIAN:g}min", "sigma": sigma})


def _length_bias(fidelity: Fidelity) -> Iterator[Reading]:
    sigma = cf.lognormal_sigma(MEDIAN, P99, 0.99)
    mean = MEDIAN * math.exp(sigma**2 / 2.0)
    weighted = cf.lognormal_length_biased(MEDIAN, sigma)
    if fidelity == "formula":
        law = _lognormal()
        yield printed("sigma", "1.2877", sigma)
        yield printed("mean time to recovery", "68.7", law.mean / 60.0, "min")
        yield printed("mean met by a customer", "360.9", weighted, "min")
        yield printed("what is left of it", "180.5", weighted / 2.0, "min")
        square = law.variance + law.mean**2
        yield exact("E[X²]/E[X] of the program's law", weighted, square / law.mean / 60.0, "min")
        return
    rng = generator("V36")
    rows = np.array([_one_batch(rng) for _ in range(BATCHES)]).T
    for name, theory, batches in zip(
        ("mean time to recovery", "mean met by a customer", "what is left of it"),
        (mean, weighted, weighted / 2.0),
        rows[:3],
        strict=True,
    ):
        yield batch_mean(name, theory, batches, within(0.01, theory), unit="min")
    for name, theory, batches in (
        ("length met by sampled customers", weighted, rows[3]),
        ("rest met by sampled customers", weighted / 2.0, rows[4]),
    ):
        yield batch_mean(name, theory, batches, within(0.01, theory), unit="min")


def _one_batch(rng: np.random.Generator) -> tuple[float, ...]:
    """Return mean, length-biased mean, mean rest, and what customers met (min)."""
    x = rng.standard_normal(OUTAGES)
    x *= cf.lognormal_sigma(MEDIAN, P99, 0.99)
    np.exp(x, out=x)
    x *= MEDIAN
    length, rest = samples.customers_meet(x, CUSTOMERS, rng)
    values = (
        x.mean(),
        durations.length_biased_mean(x),
        durations.mean_residual(x),
        length.mean(),
        rest.mean(),
    )
    return tuple(float(v) for v in values)


def _plain_mean(durations_s: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(durations_s))


def _bias_of_the_mean(median: float, sigma: float) -> float:
    return median * math.exp(sigma**2 / 2.0)


V36 = Row(
    id="V36",
    claim="Customers meet outages that are longer than the mean outage",
    formula="E[X²]/E[X] = m e^(3σ²/2) for a lognormal law with median m; half of it is left",
    source="Feller, An Introduction to Probability Theory and Its Applications II, 2nd ed. 1971, "
    "I.4; Brooker, Alice is impatient (2026): median 30 min and p99 600 min give 6 h, not 69 min",
    inputs="lognormal, median 30 min, 99th percentile 600 min",
    fidelities=("formula", "direct"),
    measure=_length_bias,
    mutants=(
        Mutant(
            "plain mean",
            lambda: replaced(cf, "lognormal_length_biased", _bias_of_the_mean),
            "formula",
        ),
        Mutant(
            "plain mean",
            lambda: replaced(durations, "length_biased_mean", _plain_mean),
            "direct",
        ),
    ),
    slow=frozenset({"direct"}),
    note="The mean square of so long a tail needs 1.6·10⁸ draws to be known to 0.2 %.",
)

# ------------------------------------------------------------------------------ V37 censored times
TIMES = (6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35)
ENDED = "111010100110001100000"
"""1: the remission ended; 0: the patient was last seen in remission."""
SHARES = ((6, ".8571"), (7, ".8067"), (10, ".7529"), (13, ".6902"), (16, ".6275"), (22, ".5378"))
HORIZON, WATCHED = 240.0, 120.0
RUNS, RUN_BATCHES = 10_000, 20


def _censored(fidelity: Fidelity) -> Iterator[Reading]:
    ended = [c == "1" for c in ENDED]
    if fidelity == "formula":
        curve = cf.product_limit(TIMES, ended)
        for t, text in (*SHARES, (23, ".4482")):
            yield printed(f"share beyond {t} weeks", text, curve[t])
        return
    found = survival.kaplan_meier(TIMES, ended)
    for t, text in (*SHARES, (23, ".4482")):
        yield Reading(f"share beyond {t} weeks", float(text), found.at(t), 1e-4)
    yield exact("median", 23.0, found.median_s, "weeks")
    yield Reading("mean up to 35", 23.287, found.restricted_mean_s(35.0), 1e-3, unit="weeks")
    rng = generator("V37")
    batches = np.array([_watched_runs(rng) for _ in range(RUN_BATCHES)])
    sigma = cf.lognormal_sigma(MEDIAN, P99, 0.99)
    theory = cf.lognormal_capped_mean(MEDIAN, sigma, HORIZON)
    quantity = "mean up to 240 min, runs watched for a random time"
    yield batch_mean(quantity, theory, batches, within(0.02, theory), unit="min")


def _watched_runs(rng: np.random.Generator) -> float:
    """Return the restricted mean from runs of which half end before they recover."""
    sigma = cf.lognormal_sigma(MEDIAN, P99, 0.99)
    true = rng.lognormal(math.log(MEDIAN), sigma, RUNS)
    watched = rng.exponential(WATCHED, RUNS)
    times, ended = np.minimum(true, watched), true <= watched
    return survival.kaplan_meier(times.tolist(), ended.tolist()).restricted_mean_s(HORIZON)


def _drop_censored(times_s: Sequence[float], ended: Sequence[bool]) -> survival.Survival:
    kept = [t for t, e in zip(times_s, ended, strict=True) if e]
    return _KAPLAN_MEIER(kept, [True] * len(kept))


def _censored_are_ends(times: Sequence[float], _ended: Sequence[bool]) -> dict[float, float]:
    return _PRODUCT_LIMIT(times, [True] * len(times))


_KAPLAN_MEIER, _PRODUCT_LIMIT = survival.kaplan_meier, cf.product_limit

V37 = Row(
    id="V37",
    claim="Times to recovery of which some are only lower bounds",
    formula="S(t) = Π (1 − dᵢ/nᵢ)",
    source="Kaplan & Meier, JASA 53 (1958) 457; data: Freireich et al., Blood 21 (1963) 699, "
    "6-MP arm (the textbook example of Cox & Oakes, Analysis of Survival Data, 1984)",
    inputs="6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+ weeks; lognormal "
    "times (median 30, p99 600 min) watched for an exponential time of mean 120 min",
    fidelities=("formula", "direct"),
    measure=_censored,
    mutants=(
        Mutant(
            "censored times taken as ends",
            lambda: replaced(cf, "product_limit", _censored_are_ends),
            "formula",
        ),
        Mutant(
            "censored times dropped",
            lambda: replaced(survival, "kaplan_meier", _drop_censored),
            "direct",
        ),
    ),
    note="Direct: the program's own metric, on the published data and on sampled runs whose true "
    "law is known.",
)

# --------------------------------------------------------------------------------- V38 mean times
STUDIES = ((173, 1.346, 0.38), (103, 1.301, 0.40), (609, 1.103, 0.20))
"""Incidents, lognormal shape that their published share implies, that share."""
CUT = 0.10
TRIALS, TRIAL_BATCHES = 1_000, 40


def _means(fidelity: Fidelity) -> Iterator[Reading]:
    rng = generator("V38")
    for incidents, sigma, share in STUDIES:
        name = f"mean of {incidents} looks worse"
        true = samples.cut_looks_worse_exactly(incidents, sigma, CUT)
        if fidelity == "formula":
            clt = cf.cut_looks_worse_clt(incidents, sigma, CUT)
            yield Reading(f"{name}, normal means", share, clt, 0.0005)
            yield Reading(f"{name}, by convolution", share, true, 0.02)
            continue
        found = [
            samples.cut_looks_worse(incidents, sigma, CUT, trials=TRIALS, rng=rng)
            for _ in range(TRIAL_BATCHES)
        ]
        yield batch_share(name, true, np.array(found), TRIALS, 0.02)


def _one_mean_known(incidents: int, sigma: float, cut: float) -> float:
    return _CLT(2 * incidents, sigma, cut)


def _no_cut(
    incidents: int, sigma: float, cut: float, *, trials: int, rng: np.random.Generator
) -> float:
    return _CUT_LOOKS_WORSE(incidents, sigma, 0.0 * cut, trials=trials, rng=rng)


_CLT, _CUT_LOOKS_WORSE = cf.cut_looks_worse_clt, samples.cut_looks_worse

V38 = Row(
    id="V38",
    claim="A true cut of a tenth often looks like a rise of the mean time to recovery",
    formula="P(0.9 mean(half) > mean(other half)), lognormal durations",
    source="Davidovic, Incident Metrics in SRE, O'Reilly 2021: 38 %, 40 % and 20 % of simulations",
    inputs="N=173 σ=1.346, N=103 σ=1.301, N=609 σ=1.103; split in two, one half cut by 10 %",
    fidelities=("formula", "direct"),
    measure=_means,
    mutants=(
        Mutant(
            "twice as many incidents",
            lambda: replaced(cf, "cut_looks_worse_clt", _one_mean_known),
            "formula",
        ),
        Mutant("no cut", lambda: replaced(samples, "cut_looks_worse", _no_cut), "direct"),
    ),
    note="The data are not public. σ is the one at which normal means give the published share; "
    "means of few long-tailed durations are not normal yet, which is why the convolution "
    "differs by one or two points, and the tolerance of two.",
)

ROWS = (V36, V37, V38)
