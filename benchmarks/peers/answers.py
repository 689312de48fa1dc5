"""Right answers of the workloads. A time counts only if its run's answer is right.

W1: Erlang's C formula. W2 with retries: the demand is answered until the cut, two thirds of it for
three seconds, nothing from 24 s on, and 2.785 attempts are made per first try in 60 s; without
retries everything is answered again from 45 s on. The numbers of W2 were found with w2.c (40 seeds:
2.785 ± 0.011 attempts, every second in the bands below) before any other program was judged.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from workloads import HORIZON_S, W1, W2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Run = dict[str, Any]

SIGMAS = 4.0
WAIT_SD_S = 8.8e-6
"""Standard deviation of W1's mean wait over 60 s between seeds (400 runs of w1.c)."""
SOJOURN_SD_S = 26e-6
"""The same for the mean time in the system (200 runs), where only that is told."""
ATTEMPTS_PER_FIRST = 2.785
WITHIN = 0.02
"""Largest relative error of mean goodput and of attempts per first try."""
WITHIN_CUT = 0.10
"""The same for the two seconds after the cut."""


def wait_sd_s(run: Run) -> float:
    """Return the expected standard deviation of a run's mean wait."""
    full = SOJOURN_SD_S if run.get("wait_from_sojourn") else WAIT_SD_S
    return full * math.sqrt(HORIZON_S / run["horizon_s"])


def wrong_count(run: Run, rate: float) -> Iterator[str]:
    expected = rate * run["horizon_s"]
    if abs(run["first"] - expected) > 5.0 * math.sqrt(expected):
        yield f"{run['first']:,.0f} first tries instead of {expected:,.0f}"


def wrong_w1(run: Run) -> Iterator[str]:
    yield from wrong_count(run, W1.rate)
    error = run["mean_wait_s"] - W1.mean_wait_s
    if not abs(error) <= SIGMAS * wait_sd_s(run):
        yield f"mean wait {1e6 * run['mean_wait_s']:.1f} µs instead of {1e6 * W1.mean_wait_s:.1f}"


def wrong_mean(runs: Sequence[Run]) -> Iterator[str]:
    """Complain about the mean of W1's answers: single runs vary too much to notice little."""
    mean = statistics.fmean(run["mean_wait_s"] for run in runs)
    if abs(mean - W1.mean_wait_s) > SIGMAS * wait_sd_s(runs[0]) / math.sqrt(len(runs)):
        yield f"mean of {len(runs)} waits {1e6 * mean:.1f} µs instead of {1e6 * W1.mean_wait_s:.1f}"


def wrong_w2(run: Run) -> Iterator[str]:
    yield from wrong_count(run, W2.rate)
    goodput, end = run["goodput"], int(run["horizon_s"])
    yield from off(goodput, 5, 20, W2.rate, WITHIN)
    yield from off(goodput, 20, 22, W2.cut_slots / W2.app_s, WITHIN_CUT)
    yield from silent(goodput, 24, 30)
    if run["retries"] == 0:
        yield from off(goodput, 45, end, W2.rate, WITHIN)
        return
    yield from silent(goodput, 30, end)
    ratio = run["attempts"] / run["first"]
    if run["horizon_s"] == HORIZON_S and abs(ratio / ATTEMPTS_PER_FIRST - 1.0) > WITHIN:
        yield f"{ratio:.3f} attempts per first try instead of {ATTEMPTS_PER_FIRST}"


def off(
    goodput: Sequence[float], start: int, end: int, right: float, within: float
) -> Iterator[str]:
    """Complain about the mean goodput of the seconds from ``start`` up to ``end``."""
    mean = statistics.fmean(goodput[start:end])
    if abs(mean / right - 1.0) > within:
        yield f"{mean:,.0f} answers/s from {start} s to {end} s instead of {right:,.0f}"


def silent(goodput: Sequence[float], start: int, end: int) -> Iterator[str]:
    """Complain about more than a thousandth of the demand being answered."""
    most = max(goodput[start:end], default=0.0)
    if most > 1e-3 * W2.rate:
        yield f"{most:,.0f} answers in a second between {start} s and {end} s instead of none"


def complaints(workload: str, run: Run) -> list[str]:
    """Say what is wrong with a run's answer; nothing when nothing is."""
    return list({"W1": wrong_w1, "W2": wrong_w2}[workload](run))


def outside(flow: Sequence[float], runs: Sequence[Sequence[float]], slack: float) -> list[int]:
    """Seconds in which ``flow`` leaves the band of ``runs``, widened by ``slack`` on both sides."""
    found = []
    for second, (value, *others) in enumerate(zip(flow, *runs, strict=True)):
        if not min(others) - slack <= value <= max(others) + slack:
            found.append(second)
    return found
