"""Pure functions of traces: how long recovery took, how far it spread, was the claim right."""

from simulator.metrics.compute import compute_metrics
from simulator.metrics.expectations import Verdict, evaluate, evaluate_over, metric_value
from simulator.metrics.result import BlastRadius, Metrics, ServiceMetrics

__all__ = [
    "BlastRadius",
    "Metrics",
    "ServiceMetrics",
    "Verdict",
    "compute_metrics",
    "evaluate",
    "evaluate_over",
    "metric_value",
]
