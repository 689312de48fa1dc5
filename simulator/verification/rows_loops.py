"""Rows on loops that see the past, and on probes: both run through the engine itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.mechanism import BREAK_GLASS, Action
from simulator.verification import bench
from simulator.verification import closed_forms_capacity as forms
from simulator.verification.engine_runs import brought, known, run_engine
from simulator.verification.readings import batch_mean, exact, generator
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from simulator.mechanism import View
    from simulator.verification.bench import Fields
    from simulator.verification.engine_runs import Part
    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]


def _form_mutant(name: str, form: str, error: Callable[..., object]) -> Mutant:
    return Mutant(name, lambda: replaced(forms, form, error), "formula")


# -------------------------------------------------------------------- S08 loops that look back

PERIOD_S: Final = 60.0
FLEET: Final = 100_000_000
PUSH: Final = 10_000
STEPS: Final = 240
WINDOW: Final = 60
DELAYS = range(6)


def _delayed(fidelity: Fidelity) -> Iterator[Reading]:
    for d in DELAYS:
        theory = forms.largest_gain(d)
        if fidelity == "formula":
            yield exact(
                f"largest root at the bound, d = {d}", 1.0, forms.growth_per_step(theory, d)
            )
            continue
        observed = bench.boundary(
            lambda gain, d=d: _calms_down(_integrated(gain, d)),  # type: ignore[misc]
            0.95 * theory,
            1.05 * theory,
            steps=5,
        )
        yield Reading(f"largest gain, d = {d}", theory, observed, within(0.02, theory))
    if fidelity == "direct":
        for d in (0, 1, 2):
            yield Reading(f"gain of the autoscaler, d = {d}", 1.0, _gain(_autoscaled(d), d), 0.01)


def _gain(missing: np.ndarray, delay: int) -> float:
    """Return the gain that explains best how a series changes with its past."""
    seen = missing[: len(missing) - delay - 1]
    return float(-(np.diff(missing)[delay:] @ seen) / (seen @ seen))


def _calms_down(units: np.ndarray) -> bool:
    """Tell whether a fleet swings less in the end than at the beginning."""
    swing = np.abs(units - FLEET)
    return bool(swing[-WINDOW:].max() < swing[WINDOW : 2 * WINDOW].max())


class _Integrator:
    """Adds to the fleet a part of what it sees missing."""

    period_s = PERIOD_S

    def __init__(self, gain: float) -> None:
        self._gain = gain

    def decide(self, view: View) -> list[Action]:
        seen = view.units("a")
        change = 0 if seen is None else round(self._gain * (FLEET - seen))
        if not change:
            return []
        verb = "add" if change > 0 else "remove"
        return [Action(verb, "a", count=abs(change), via=BREAK_GLASS)]


def _integrated(gain: float, delay: int) -> np.ndarray:
    """Return the units that a loop with a gain and a delay in periods keeps, period by period."""
    pool = bench.pool(units=FLEET, boot_time="0s")
    loop = brought("healing", "loop", lambda _context: _Integrator(gain))
    return _periods({"pools": [pool]}, loop, delay, STEPS)


def _periods(region: Fields, loop: Part, delay: int, steps: int) -> np.ndarray:
    """Return the units in service at the end of each period after a crash in the first."""
    crash = known("fault", "crash", "push", pools=("a",), count=PUSH, at=f"{0.5 * PERIOD_S:g}s")
    run = run_engine(
        region,
        [crash, loop],
        horizon_s=(steps + 0.5) * PERIOD_S,
        period_s=PERIOD_S,
        delay_s=delay * PERIOD_S,
    )
    history = run.lifecycle.history
    t = np.asarray(history.times_s[0])
    units = np.array([f.serving for f in history.facts[0]], dtype=np.float64)
    ends = PERIOD_S * np.arange(1, steps + 1)
    return np.asarray(units[np.searchsorted(t, ends, side="left") - 1])


AIM: Final = 1_000_000
LOAD_FRAC: Final = 0.6
SCALED_STEPS: Final = 24


def _autoscaled(delay: int) -> np.ndarray:
    """Return what the program's autoscaler has too much, without cooldown, tolerance or bounds."""
    pool = bench.pool(units=AIM, concurrency=1, boot_time="0s", service_time="1s")
    client = bench.service(timeout="100s") | {"first_tries": f"{LOAD_FRAC * AIM:g}/s"}
    desk = {
        "id": "desk",
        "pool": "a",
        "operations": {"add": {"work": 0.0}, "remove": {"work": 0.0}},
    }
    loop = known(
        "healing", "autoscaler", "loop", target=LOAD_FRAC, tolerance=0.0, period=f"{PERIOD_S:g}s",
        scale_out_cooldown="0s", scale_in_cooldown="0s", scale_in_frac_max=1.0, frac_min=0.0,
        frac_max=10.0,
    )  # fmt: skip
    region = {"pools": [pool], "services": [client], "control_planes": [desk]}
    return _periods(region, loop, delay, SCALED_STEPS) - AIM


def _fresh_views() -> AbstractContextManager[None]:
    """Let everybody see the present."""
    from simulator.telemetry import SampleBook

    view = SampleBook.view

    def fresh(self: SampleBook, now_s: float) -> object:
        return view(self, now_s + self.delay_s)

    return replaced(SampleBook, "view", fresh)


S08 = Row(
    id="S08",
    claim="a loop that adds a part of what it saw missing d periods ago swings up if the part is "
    "too large",
    formula="x_(n+1) = x_n + g (N - x_(n-d)) is stable iff 0 < g < 2 sin(pi/(2 (2d + 1)))",
    source="Levin, May, Theoretical Population Biology 9, 1976; Kuruklis, Journal of Mathematical "
    "Analysis and Applications 188, 1994",
    inputs="d = 0 to 5 periods of telemetry delay, 10^8 units of which 10^4 crash; the program's "
    "autoscaler without cooldown",
    fidelities=("formula", "direct"),
    measure=_delayed,
    mutants=(
        _form_mutant("a delay that is one too small", "largest_gain",
                     lambda d: 2.0 * math.sin(math.pi / (2.0 * (2 * d + 3)))),
        Mutant("views without delay", _fresh_views, "direct"),
    ),
    note="The engine's loop and telemetry: views are d periods old. The autoscaler has gain 1: "
    "without its cooldown it is at the edge with a view one period old, and beyond it with two.",
)  # fmt: skip


# --------------------------------------------------------------------- S09 probes until detected

PROBE_S: Final = 30.0
PROBED: Final = 400
PROBES = ((1, 0.0), (2, 0.0), (3, 0.0), (5, 0.0), (2, 60.0))
"""Probes that must fail in a row, age of what is seen."""


def _detection(fidelity: Fidelity) -> Iterator[Reading]:
    del fidelity
    rng = generator("S09")
    for k, age_s in PROBES:
        theory = PROBE_S / 2.0 + (k - 1) * PROBE_S + age_s
        name = f"time to detect, {k} in a row" + (f", seen {age_s:g} s later" if age_s else "")
        yield batch_mean(name, theory, _detected_s(rng, k, age_s), 0.08 * PROBE_S, unit="s")


def _detected_s(rng: np.random.Generator, in_a_row: int, age_s: float) -> np.ndarray:
    """Return (PROBED,) times from a crash of one unit in ten to the loop's first decision."""
    names = [f"p{i}" for i in range(PROBED)]
    crashed_s = 10.0 * PROBE_S + rng.random(PROBED) * PROBE_S
    faults = [
        known("fault", "crash", f"crash-{n}", pools=(n,), count=1, at=f"{t:.9f}s")
        for n, t in zip(names, crashed_s, strict=True)
    ]
    loop = known(
        "healing", "unhealthy_replacer", "loop", period=f"{PROBE_S:g}s", threshold=in_a_row
    )
    run = run_engine(
        {"pools": [bench.pool(n) for n in names]},
        [*faults, loop],
        horizon_s=(14.0 + in_a_row) * PROBE_S + age_s,
        period_s=PROBE_S,
        delay_s=age_s,
    )
    first: dict[str, float] = {}
    for record in run.log.records:
        if record.kind == "loop":
            first.setdefault(dict(record.data)["pool"], record.t_s)
    return np.array([first.get(n, math.nan) for n in names]) - crashed_s


def _one_more_probe() -> AbstractContextManager[None]:
    from simulator.healing.unhealthy_replacer import UnhealthyReplacer

    config = UnhealthyReplacer.Config
    old = UnhealthyReplacer.__init__

    def stricter(self: UnhealthyReplacer, spec_id: str, given: object, context: object) -> None:
        assert isinstance(given, config)
        more = given.model_copy(update={"threshold": given.threshold + 1})
        old(self, spec_id, more, context)  # type: ignore[arg-type]

    return replaced(UnhealthyReplacer, "__init__", stricter)


S09 = Row(
    id="S09",
    claim="a probe every T that must fail k times in a row finds a crash after T/2 + (k - 1) T",
    formula="mean T/2 + (k - 1) T for a crash at a random phase, and the age of what is seen",
    source="derived; health checks of the AWS Application Load Balancer (interval, threshold)",
    inputs="T = 30 s, k = 1, 2, 3, 5, views 0 or 60 s old; 400 pools that lose one unit of ten",
    fidelities=("direct",),
    measure=_detection,
    mutants=(
        Mutant("one probe more", _one_more_probe, "direct"),
        Mutant("views without delay", _fresh_views, "direct"),
    ),
    note="Time to the loop's decision; replacing takes longer.",
)


ROWS = (S08, S09)
