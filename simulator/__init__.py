"""Simulate how a failure spreads through a cloud region, and how long recovery takes.

The public API is the list ``__all__`` and nothing else. Names are imported on first use, so that
``import simulator`` stays cheap.

Examples
--------
>>> from simulator import compute_metrics, control_run, load_scenario, simulate  # doctest: +SKIP
>>> scenario = load_scenario("scenarios/runaway-capacity-removal.yaml")  # doctest: +SKIP
>>> trace = simulate(scenario, seed=1)  # doctest: +SKIP
>>> compute_metrics(trace, control_run(scenario, seed=1)).ttr_s  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.engine import control_run, simulate
    from simulator.metrics import Metrics, compute_metrics
    from simulator.scenario import Scenario, load_scenario
    from simulator.trace import Trace

__version__ = "0.1.0"

__all__ = [
    "Metrics",
    "Scenario",
    "Trace",
    "__version__",
    "compute_metrics",
    "control_run",
    "load_scenario",
    "simulate",
]

_HOME = {
    "Metrics": "simulator.metrics",
    "Scenario": "simulator.scenario",
    "Trace": "simulator.trace",
    "compute_metrics": "simulator.metrics",
    "control_run": "simulator.engine",
    "load_scenario": "simulator.scenario",
    "simulate": "simulator.engine",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module that owns it (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        msg = f"module 'simulator' has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported already or not."""
    return sorted(set(globals()) | set(__all__))
