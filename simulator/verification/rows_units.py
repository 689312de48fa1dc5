"""Rows on units over time: how much of it they serve, how fast they may be taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.mechanism import Action, Effect, Wait, act
from simulator.verification import bench
from simulator.verification import closed_forms_capacity as forms
from simulator.verification.engine_runs import brought, known, run_engine
from simulator.verification.readings import batch_mean, generator
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from simulator.mechanism import Commands
    from simulator.verification.bench import Fields
    from simulator.verification.engine_runs import Part
    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]


def _form_mutant(name: str, form: str, error: Callable[..., object]) -> Mutant:
    return Mutant(name, lambda: replaced(forms, form, error), "formula")


# ------------------------------------------------------------------------- S01 up and down

HOUR_S: Final = 3600.0
UP_H, DOWN_H = 10.0, 1.0
UNITS, WINDOWS, WINDOW_H = 60, 30, 55.0
WARM_H: Final = 50.0


def _up_down(fidelity: Fidelity) -> Iterator[Reading]:
    share = forms.availability(UP_H, DOWN_H)
    markov = forms.variance_of_average_markov(1.0 / UP_H, 1.0 / DOWN_H, WINDOW_H)
    constant = forms.variance_of_average_constant(1.0 / UP_H, DOWN_H, WINDOW_H)
    if fidelity == "formula":
        yield Reading("availability", 0.909091, share, 1e-6)
        yield from _long_windows()
        return
    rng = generator("S01")
    for name, variance, repairs_vary in (
        ("repair exponential", markov, True),
        ("repair constant", constant, False),
    ):
        averages = _averages(rng, repairs_vary=repairs_vary)
        yield batch_mean(f"availability, {name}", share, averages, within(0.01, share))
        spread = (averages - share) ** 2
        quantity = f"variance of the average over 55 h, {name}"
        yield batch_mean(quantity, variance, spread, within(0.2, variance))


def _long_windows() -> Iterator[Reading]:
    """Hold the exact variances to the law of long windows."""
    long_h = 20_000.0
    markov = forms.variance_of_average_markov(1.0 / UP_H, 1.0 / DOWN_H, long_h)
    law = forms.variance_of_average_renewal(UP_H, UP_H**2, DOWN_H, DOWN_H**2, long_h)
    yield Reading("variance, long window, repair exponential", law, markov, within(1e-3, law))
    constant = forms.variance_of_average_constant(1.0 / UP_H, DOWN_H, long_h)
    law = forms.variance_of_average_renewal(UP_H, UP_H**2, DOWN_H, 0.0, long_h)
    yield Reading("variance, long window, repair constant", law, constant, within(1e-3, law))


def _averages(rng: np.random.Generator, *, repairs_vary: bool) -> np.ndarray:
    """Return (UNITS * WINDOWS,) shares of time that pools of one unit serve."""
    end_h = WARM_H + WINDOWS * WINDOW_H
    boot = 0.0 if repairs_vary else DOWN_H
    pools = [
        bench.pool(f"p{i}", units=1, boot_time=f"{boot:g}h", queue_per_unit=0) for i in range(UNITS)
    ]
    faults = [
        _failures(f"p{i}", _lives(rng, end_h, repairs_vary=repairs_vary)) for i in range(UNITS)
    ]
    run = run_engine({"pools": pools}, faults, horizon_s=end_h * HOUR_S, period_s=24.0 * HOUR_S)
    edges = np.linspace(WARM_H, end_h, WINDOWS + 1) * HOUR_S
    history = run.lifecycle.history
    return np.concatenate(
        [
            _shares(history.times_s[p], [f.serving for f in history.facts[p]], edges)
            for p in range(UNITS)
        ]
    )


def _lives(
    rng: np.random.Generator, end_h: float, *, repairs_vary: bool
) -> list[tuple[float, float]]:
    """Return when a unit fails and when its repair is over or, if constant, begins."""
    t, found = 0.0, []
    while t < end_h:
        t += float(rng.exponential(UP_H))
        down = float(rng.exponential(DOWN_H)) if repairs_vary else DOWN_H
        found.append((t, t + down if repairs_vary else t))
        t += down
    return found


def _failures(pool: str, lives: Sequence[tuple[float, float]]) -> Part:
    class Failures:
        def effects(self) -> Iterator[Effect]:
            for failed_h, repaired_h in lives:
                yield Effect(failed_h * HOUR_S, "crash", pool, count=1)
                yield Effect(repaired_h * HOUR_S, "repair", pool, count=1)

    return brought("fault", f"fails-{pool}", lambda _context: Failures())


def _shares(times_s: Sequence[float], serving: Sequence[int], edges: np.ndarray) -> np.ndarray:
    """Return the mean of a step function between each two edges."""
    t, up = np.asarray(times_s, dtype=np.float64), np.asarray(serving, dtype=np.float64)
    t[0] = 0.0
    total = np.concatenate([[0.0], np.cumsum(up[:-1] * np.diff(t))])
    k = np.searchsorted(t, edges, side="right") - 1
    return np.asarray(np.diff(total[k] + up[k] * (edges - t[k])) / np.diff(edges))


def _slow_boots() -> AbstractContextManager[None]:
    """Let everything that is put off come a fifth of an hour late."""
    from simulator.engine.lifecycle import Lifecycle

    later = Lifecycle._later  # noqa: SLF001 - what a deliberate error replaces

    def late(self: Lifecycle, t_s: float, *rest: object) -> None:
        later(self, t_s + 720.0, *rest)  # type: ignore[arg-type]

    return replaced(Lifecycle, "_later", late)


S01 = Row(
    id="S01",
    claim="a unit that fails and is repaired serves MTTF/(MTTF + MTTR) of the time, give or take",
    formula="A = u/(u + d); Var of the average over t -> (d^2 Var u + u^2 Var d)/((u + d)^3 t), "
    "exactly by integrating A (P(up at t | up at 0) - A)",
    source="Trivedi, Probability and Statistics with Reliability, Queuing, and Computer Science "
    "Applications, 2nd ed. 2002, ch. 8; Takács, Acta Mathematica Hungarica 8, 1957",
    inputs="u = 10 h exponential, d = 1 h exponential or constant (as boot_time is); 60 units, 30 "
    "windows of 55 h each",
    fidelities=("formula", "direct"),
    measure=_up_down,
    slow=frozenset({"direct"}),
    mutants=(
        _form_mutant("repair is at once", "availability", lambda _u, _d: 1.0),
        _form_mutant(
            "the two laws are mixed up",
            "variance_of_average_renewal",
            lambda u, vu, d, vd, t: (u**2 * vu + d**2 * vd) / ((u + d) ** 3 * t),
        ),
        Mutant("boots take longer", _slow_boots, "direct"),
    ),
    note="Direct: crashes, repairs and boots of the engine's own lifecycle.",
)


# ------------------------------------------------------------------ S07 how fast units may go

REMOVABLE: Final = 2000
LIMIT, REGION_LIMIT = 100, 140
RAIDS: Final = 120


def _velocity(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity != "direct":
        yield from _admitted(fidelity)
        return
    removals = _raided(generator("S07"))
    for pool, limit in ((0, LIMIT), (1, LIMIT), (None, REGION_LIMIT)):
        name = "both pools" if pool is None else f"pool {pool + 1}"
        most = _most_in_window([r[:2] for r in removals if pool in {None, r[2]}], HOUR_S)
        yield Reading(f"most removed in any hour, {name}", limit, most, 0.0)


def _raided(rng: np.random.Generator) -> list[tuple[float, int, int]]:
    """Return (time, units, pool) of removals by three scripts that take all they can."""
    pools = [bench.pool(name, units=REMOVABLE, serves_control_plane=name == "a") for name in "ab"]
    operations = {"remove": {"work": 0.0}, "drain": {"work": 0.0}}
    desk = {"id": "desk", "pool": "a", "rate_limit": "1k/s", "concurrency": 100}
    guard = known(
        "guardrail", "removal_velocity", "slow",
        window="1h", frac_max=LIMIT / REMOVABLE, region_frac_max=REGION_LIMIT / (2 * REMOVABLE),
    )  # fmt: skip
    region = {"pools": pools, "control_planes": [desk | {"operations": operations}]}
    raids = [_raid(f"raid-{i}", rng.spawn(1)[0]) for i in range(3)]
    run = run_engine(region, [guard, *raids], horizon_s=12.0 * HOUR_S, period_s=HOUR_S)
    return [(r.t_s, r.units, r.pool) for r in run.state.removals]


def _raid(name: str, rng: np.random.Generator) -> Part:
    """Return a script that removes or drains units of either pool at random times."""

    class Raid:
        start_s = 0.0

        def run(self) -> Commands:
            for _ in range(RAIDS):
                yield Wait(float(rng.exponential(6.0 * 60.0)))
                verb = str(rng.choice(["remove", "drain"]))
                yield from act(
                    Action(verb, str(rng.choice(["a", "b"])), count=int(rng.integers(1, 60)))
                )

    return brought("automation", name, lambda _context: Raid())


def _most_in_window(events: Sequence[tuple[float, int]], window_s: float) -> float:
    """Return the largest sum within a closed window."""
    t = np.array([e[0] for e in events])
    total = np.concatenate([[0.0], np.cumsum([e[1] for e in events])])
    first = np.searchsorted(t, t - window_s, side="left")
    return float((total[1:] - total[first]).max())


RATE, BUCKET = 500.0, 200
SAMPLE_S: Final = 0.1
LIMITED_S: Final = 200


def _admitted(fidelity: Fidelity) -> Iterator[Reading]:
    """Let load come and go before a rate limit, and look at all windows."""
    limit = {"rate": f"{RATE:g}/s", "burst": BUCKET}
    ample: Fields = {"units": 1000, "concurrency": 100, "service_time": "1ms"}
    topology = bench.build([bench.pool(rate_limit=limit, **ample)], [bench.service()])
    loads = generator("S07 load").uniform(0.0, 4.0 * RATE, LIMITED_S)
    loads[generator("S07 idle").random(LIMITED_S) < IDLE] = 0.0
    plane = bench.open_plane(fidelity, topology, chance="S07", period_s=SAMPLE_S, sleep=False)
    bench.play(plane, [bench.demand(float(i), x) for i, x in enumerate(loads)], LIMITED_S + 1.0)
    total = np.concatenate([[0.0], np.cumsum(bench.pool_rows(plane)[:, 1]) * SAMPLE_S])
    over = total - RATE * SAMPLE_S * np.arange(len(total))
    most = float((over - np.minimum.accumulate(over)).max())
    step = RATE * bench.T / 20.0 if fidelity == "flow" else 2.0
    yield Reading("most admitted in any w above rate w", BUCKET, most, step)


IDLE: Final = 0.3


def _half_window() -> AbstractContextManager[None]:
    from simulator.control_plane import FleetInventory

    old = FleetInventory.removed_since

    def since(self: FleetInventory, t_s: float, *rest: object, **more: object) -> int:
        return old(self, 0.5 * (t_s + self.now_s), *rest, **more)  # type: ignore[arg-type]

    return replaced(FleetInventory, "removed_since", since)


S07 = Row(
    id="S07",
    claim="limits hold in every window, wherever it begins, and let through what they may",
    formula="removed in any w <= L; admitted in any w <= burst + rate w; the bound is reached",
    source="AWS message 74876, Summary of the Amazon EC2 DNS resolution issues in Seoul, 2018 "
    "(hourly cap); Turner, New directions in communications, IEEE Communications 24(10), 1986",
    inputs="three scripts ask for far more than 100 an hour of 2000 units and 140 of 4000; 500/s "
    "and bursts of 200 under a load that changes every second, often nothing",
    fidelities=("direct", "flow", "request"),
    measure=_velocity,
    mutants=(
        Mutant("half the window", _half_window, "direct"),
        bench.pool_mutant(
            "twice the burst", "request", rate_limit=lambda limit: limit | {"burst": 2 * BUCKET}
        ),
        bench.pool_mutant(
            "twice the burst", "flow", rate_limit=lambda limit: limit | {"burst": 2 * BUCKET}
        ),
    ),
    note="Removals of units are counted exactly, in closed windows that end with each of them. The "
    "flow admits a step's worth at once (tolerance rate T/20).",
)


ROWS = (S01, S07)
