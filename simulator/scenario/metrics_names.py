"""Names of the metrics that an expectation may speak of."""

from __future__ import annotations

from typing import Final

PHASES: Final = ("detect", "acknowledge", "diagnose", "mitigate", "restore", "drain")
MILESTONES: Final = (
    "detected",
    "acknowledged",
    "diagnosed",
    "mitigated",
    "restored",
    "drained",
    "recovered",
)

KNOWN_METRICS: Final[tuple[str, ...]] = (
    "actions_refused",
    "alarms",
    "blast_radius.cascaded_frac",
    "blast_radius.customers_frac",
    "blast_radius.direct_frac",
    "blast_radius.services_frac",
    "blast_radius.zones_frac",
    "cascade_depth",
    "error_budget_min",
    "impacted",
    "lost_first_tries",
    *(f"milestones_from_impact_s.{name}" for name in MILESTONES),
    *(f"milestones_s.{name}" for name in MILESTONES),
    "peak_amplification",
    "peak_attempts_per_first_try",
    *(f"phases_s.{name}" for name in PHASES),
    "recovered",
    "relapses",
    "ttr_from_impact_s",
    "ttr_s",
)
"""Metrics of every run."""

POOL_METRIC: Final = "min_units_frac"
"""Followed by a dot and the id of a pool."""

SERVICE_METRIC: Final = "min_success_frac"
"""Followed by a dot and the id of a service."""

TRUTHS: Final = frozenset({"impacted", "recovered"})
"""Metrics that are true or false."""

_DURATIONS: Final = ("phases_s.", "milestones_s.", "milestones_from_impact_s.", "ttr_")


def is_duration(metric: str) -> bool:
    """Tell whether a metric is a duration, so that it may be compared with ``11h``."""
    return metric.startswith(_DURATIONS)


def is_fraction(metric: str) -> bool:
    """Tell whether a metric is a fraction, so that it may be compared with ``5%``."""
    return any(part.endswith("_frac") for part in metric.split("."))
