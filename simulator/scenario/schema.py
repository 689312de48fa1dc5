"""The declared scenario: what happens in a region, who acts, and what is claimed about it."""

from __future__ import annotations

import html
from typing import Annotated, Any, Literal

from pydantic import Field

from simulator.sampling import Distribution, Lognormal
from simulator.scenario.region import Id, Region, Source, Spec
from simulator.units import Duration, Fraction, Multiplier, format_duration

HORIZON_S_MAX = 366 * 86_400.0
"""Longest run: a year."""


class Constant(Spec):
    """Demand factor that does not change."""

    kind: Literal["constant"] = "constant"
    factor: Multiplier = 1.0


class Step(Spec):
    """Demand factor that jumps at given times."""

    kind: Literal["step"]
    factor: Multiplier = 1.0
    """Factor before the first step."""
    steps: tuple[StepAt, ...]


class StepAt(Spec):
    """One jump of the demand factor."""

    at: Duration
    factor: Multiplier


class Ramp(Spec):
    """Demand factor that changes linearly from ``start`` to ``end``."""

    kind: Literal["ramp"]
    factor: Multiplier = 1.0
    """Factor before ``start``."""
    start: Duration
    end: Duration
    to: Multiplier
    """Factor from ``end`` on."""
    every: Annotated[Duration, Field(gt=0)] = "60s"  # type: ignore[assignment]
    """Width of the stairs by which the line is approximated."""


class Diurnal(Spec):
    """Sinusoid over 24 h: ``mean * (1 + amplitude * sin(...))`` with its peak at ``peak_at``."""

    kind: Literal["diurnal"]
    factor: Multiplier = 1.0
    """Mean of the factor."""
    amplitude: Fraction
    peak_at: Duration
    """Time of day of the peak, from the start of the run."""
    every: Annotated[Duration, Field(gt=0)] = "15min"  # type: ignore[assignment]
    """Width of the stairs by which the curve is approximated."""


class Csv(Spec):
    """Demand factor from a file with the columns ``t_s,factor`` (held until the next row)."""

    kind: Literal["csv"]
    file: str
    """Path, relative to the scenario file."""
    points: tuple[tuple[float, float], ...] = ()
    """Filled by the loader from ``file``."""


DemandShape = Annotated[Constant | Step | Ramp | Diurnal | Csv, Field(discriminator="kind")]


class Demand(Spec):
    """First tries over time, as a factor on every service's ``first_tries``."""

    shape: DemandShape = Constant()
    services: dict[Id, DemandShape] = Field(default_factory=dict)
    """Shapes of single services, instead of the common one."""
    stochastic: bool = False
    """Poisson noise on first tries and on service (flow fidelity), never on retries."""


class Alarm(Spec):
    """Pages the on-call when a service or pool looks bad for long enough."""

    id: Id
    service: Id | None = None
    pool: Id | None = None
    metric: Literal["success_frac", "utilisation_frac", "units_frac"] = "success_frac"
    """Share of successful first tries; load over capacity; in-service units over declared."""
    below: Multiplier | None = None
    above: Multiplier | None = None
    hold: Duration = "2min"  # type: ignore[assignment]
    """The condition must hold this long."""


class Telemetry(Spec):
    """How the region is seen."""

    sample_period: Annotated[Duration, Field(ge=1)] = "60s"  # type: ignore[assignment]
    """One sample of every pool and service per period."""
    delay: Duration = "30s"  # type: ignore[assignment]
    """Age of a sample when it becomes visible."""
    carried_by: Id | None = None
    """Pool that carries the samples; while its success share is below ``lost_below``
    the samples of that time never become visible."""
    lost_below: Fraction = 0.5
    alarms: tuple[Alarm, ...] = ()
    customer_reports: Distribution = Lognormal(median="20min", sigma=0.5)  # type: ignore[arg-type]
    """Time a service stays below its SLO before customers' reports page the on-call, telemetry or
    not. Default: assumption."""


class Expectation(Spec):
    """A statement about the outcome that can fail."""

    metric: str
    """Name of a metric of one run, e.g. ``ttr_s`` or ``blast_radius.customers_frac``;
    durations may be compared with quantities such as ``11h``."""
    quantile: Fraction | None = None
    """Over seeds (``check``): this quantile of the metric. Absent: every seed must satisfy it."""
    at_least: float | str | None = None
    at_most: float | str | None = None
    equals: float | str | bool | None = None
    why: str = ""


class Mechanism(Spec):
    """A mechanism with its kind; ``config`` is validated by the class registered for the kind."""

    family: Literal["fault", "healing", "guardrail", "automation", "people"]
    kind: str
    id: Id
    config: Any
    """Instance of the mechanism's own closed ``Config`` model."""


class Scenario(Spec):
    """Everything a run needs except the seed."""

    schema_version: Literal[1] = Field(alias="schema", default=1)
    id: Id
    title: str
    claim: str
    """One falsifiable sentence."""
    sources: tuple[Source, ...] = ()
    free_parameters: tuple[str, ...] = ()
    """Paths of the numbers that no source fixes and that were chosen to fit."""
    horizon: Annotated[Duration, Field(gt=0, le=HORIZON_S_MAX)]
    region: Region
    demand: Demand = Demand()
    telemetry: Telemetry = Telemetry()
    faults: tuple[Mechanism, ...] = ()
    healing: tuple[Mechanism, ...] = ()
    guardrails: tuple[Mechanism, ...] = ()
    automation: tuple[Mechanism, ...] = ()
    people: tuple[Mechanism, ...] = ()
    trigger: tuple[Id, ...] = ()
    """Ids of the faults and automations that the scenario is about; the control run lacks them."""
    expectations: tuple[Expectation, ...] = ()

    def _repr_html_(self) -> str:
        """Return a short table for notebooks."""
        sections = ("faults", "automation", "healing", "guardrails", "people")
        facts = {
            "scenario": f"{self.id}: {self.title}",
            "claim": self.claim,
            "region": f"{self.region.id}, {len(self.region.pools)} pools, "
            f"{len(self.region.dependencies)} dependencies, {len(self.region.services)} services",
            "horizon": format_duration(self.horizon),
            **{name: ", ".join(m.id for m in getattr(self, name)) or "none" for name in sections},
            "trigger": ", ".join(self.trigger) or "none",
        }
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in facts.items()
        )
        return f"<table>{rows}</table>"


Step.model_rebuild()
