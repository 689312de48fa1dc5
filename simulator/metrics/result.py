"""What a run is worth: :class:`Metrics` and its parts, ready for JSON, tables and notebooks."""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MILESTONES", "PHASES", "BlastRadius", "Metrics", "ServiceMetrics", "json_safe"]

MILESTONES: Final = (
    "trigger",
    "impact",
    "detected",
    "acknowledged",
    "diagnosed",
    "mitigated",
    "restored",
    "drained",
    "recovered",
)
"""All milestones, in their usual order."""

PHASES: Final = {
    "detect": "detected",
    "acknowledge": "acknowledged",
    "diagnose": "diagnosed",
    "mitigate": "mitigated",
    "restore": "restored",
    "drain": "recovered",
}
"""Phase → milestone that ends it."""


@dataclass(frozen=True, slots=True)
class ServiceMetrics:
    """What one service went through because of the trigger."""

    id: str
    affected: bool
    """Counted in the blast radius."""
    impact_s: float | None
    """From the trigger to its first impairment; None if it had none."""
    ttr_s: float | None
    """From the trigger to the end of its last impairment; 0 without impact, None if censored."""
    impaired_s: float
    """Time below its SLO, without what the control run has too."""
    lost_first_tries: float
    """Failed first tries minus those of the control run."""
    min_success_frac: float
    """Smallest success share of one sampling interval."""
    error_budget_min: float | None
    """Integral of the error share over (1 - SLO), minus the control run's; None if SLO is 1."""


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """How far it spread, as a difference to the control run."""

    services_frac: float
    customers_frac: float
    zones_frac: float
    """Share of zones in which a pool lost a tenth of its units or which a fault struck; 0 where no
    service was impaired."""
    direct_frac: float
    """Share of pools that were impaired with too little capacity of their own for the load that
    they have in the control run."""
    cascaded_frac: float
    """Share of pools that were impaired although their own capacity was enough for it."""
    services: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    direct_pools: tuple[str, ...] = ()
    cascaded_pools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metrics:
    """Result of one run in numbers. Durations are seconds *from the trigger* unless they say so.

    ``None`` means "not within this run": a run that had not recovered when it ended is
    right-censored, its ``ttr_s`` is None and ``censored_at_s`` says how long it was watched.
    """

    scenario: str
    seed: int
    baseline: str
    """What the run is compared with: ``control run`` or ``state before the trigger``."""
    end_s: float
    """End of the run, from its start."""
    trigger_s: float | None
    """When the trigger acted, from the start; None if it never did."""
    impacted: bool
    """Whether any service fell below its SLO because of the trigger."""
    recovered: bool
    """Well again for the hold window and until the end of the run; true without impact."""
    ttr_s: float | None
    """From the trigger to recovery; 0 without impact; None if censored."""
    ttr_from_impact_s: float | None
    """The same from the start of the impact."""
    censored_at_s: float | None
    """From the trigger to the end of the run, if it had not recovered; else None."""
    relapses: int
    """Times the region was impaired again after it had been well for the hold window."""
    milestones_s: dict[str, float | None]
    milestones_from_impact_s: dict[str, float | None]
    """The same from the start of the impact; negative for what came before it."""
    phases_s: dict[str, float | None]
    """Successive differences of milestones; those that happened add up to ``ttr_s``."""
    blast_radius: BlastRadius
    services: tuple[ServiceMetrics, ...]
    lost_first_tries: float
    error_budget_min: float | None
    """Largest of the services'."""
    cascade_order: tuple[str, ...]
    """Pools and services in the order in which they were first impaired."""
    cascade_depth: int
    """Pools and services on the longest chain of causes."""
    peak_amplification: float
    """Largest of: attempts per first try of a service, offered load of a pool over control."""
    peak_attempts_per_first_try: float
    actions_refused: int
    """Actions that guardrails refused, halted, cut down or held back."""
    refused_by: dict[str, int]
    """The same per guardrail."""
    alarms: int
    """Alarms since the trigger."""
    min_units_frac: dict[str, float]
    """Per pool: fewest units in service over declared units."""
    min_success_frac: dict[str, float] = field(default_factory=dict)
    """Per service: smallest success share of one sampling interval."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers; not-a-number and infinity become None."""
        plain: dict[str, Any] = json_safe(asdict(self))
        return plain

    def to_frame(self) -> pd.DataFrame:
        """Return one row per service."""
        import pandas as pd

        return pd.DataFrame([asdict(s) for s in self.services]).set_index("id")

    def headline(self) -> dict[str, str]:
        """Return the few numbers that a person reads first, with their units."""
        blast = self.blast_radius
        return {
            "recovered after": _shown_ttr(self),
            "customers affected": f"{blast.customers_frac:.1%}",
            "services affected": f"{blast.services_frac:.0%}",
            "zones affected": f"{blast.zones_frac:.0%}",
            "first tries lost": f"{self.lost_first_tries:,.0f}",
            "cascade depth": str(self.cascade_depth),
            "peak amplification": f"{self.peak_amplification:.2f}×",
            "actions refused": str(self.actions_refused),
        }

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(k)}</th>"
            f"<td style='text-align:right'>{html.escape(v)}</td></tr>"
            for k, v in self.headline().items()
        )
        title = f"{self.scenario}, seed {self.seed} (against the {self.baseline})"
        return f"<table><caption>{html.escape(title)}</caption>{rows}</table>"


def _shown_ttr(metrics: Metrics) -> str:
    from simulator.metrics.expectations import show_duration

    if not metrics.impacted:
        return "no impact"
    if metrics.ttr_s is not None:
        return show_duration(metrics.ttr_s)
    return f"not within {show_duration(metrics.censored_at_s or metrics.end_s)}"


def json_safe(value: Any) -> Any:  # noqa: ANN401 - any JSON-like tree
    """Return `value` with tuples as lists and numbers that JSON lacks as None."""
    if isinstance(value, dict):
        return {str(k): json_safe(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(v) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
