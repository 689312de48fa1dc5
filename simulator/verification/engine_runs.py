"""Short runs of the whole engine with mechanisms of the program's own, or brought along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator import registry
from simulator.engine.run import Run
from simulator.flow.plane import FlowPlane
from simulator.scenario.schema import Mechanism, Scenario
from simulator.verification import bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulator.mechanism import Context
    from simulator.model import Topology
    from simulator.sampling import Streams
    from simulator.verification.bench import Fields

__all__ = ["Part", "brought", "known", "run_engine"]

_BROUGHT = "brought"
_SECTIONS = {
    "fault": "faults",
    "healing": "healing",
    "guardrail": "guardrails",
    "automation": "automation",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A mechanism of a run."""

    family: str
    kind: str
    id: str
    config: Any
    """Its settings, or what makes it from a context where it is brought along."""


def known(family: registry.Family, kind: str, spec_id: str, **settings: object) -> Part:
    """Return a mechanism of the program's own."""
    config = registry.config_of(family, kind)
    return Part(family, kind, spec_id, config.model_validate(settings))


def brought(family: str, spec_id: str, make: Callable[[Context], object]) -> Part:
    """Return a mechanism that is made here: it keeps its family's protocol."""
    return Part(family, _BROUGHT, spec_id, make)


def _find(family: registry.Family, kind: str) -> Any:  # noqa: ANN401 - its family tells which
    if kind == _BROUGHT:
        return lambda _id, make, context: make(context)
    return registry.get(family, kind)


def run_engine(
    region: Fields,
    parts: Iterable[Part],
    *,
    horizon_s: float,
    period_s: float,
    delay_s: float = 0.0,
) -> Run:
    """Run a region to a horizon and return all parts of the run.

    Parameters
    ----------
    region : Fields
        As in a region file; id, zones and services may be left out.
    parts : Iterable[Part]
        Faults, loops, guardrails and scripts.
    horizon_s : float
        End of the run.
    period_s, delay_s : float
        Telemetry: time between samples, and their age when they are first seen.
    """
    first = region["pools"][0]["id"]
    idle = [bench.service(entry=first)]
    fields = {"id": "bench", "zones": ["z"], "services": idle} | region
    given = list(parts)
    telemetry = {"sample_period": f"{period_s:.6f}s", "delay": f"{delay_s:.6f}s"}
    scenario = Scenario.model_validate(
        {
            "id": "bench",
            "title": "bench",
            "claim": "bench",
            "horizon": f"{horizon_s:.6f}s",
            "region": fields,
            "telemetry": telemetry,
        }
    )
    sections = {
        section: tuple(
            Mechanism(family=p.family, kind=p.kind, id=p.id, config=p.config)  # type: ignore[arg-type]
            for p in given
            if p.family == family
        )
        for family, section in _SECTIONS.items()
    }

    def plane(topology: Topology, _streams: Streams) -> FlowPlane:
        return FlowPlane(topology, sample_period_s=period_s)

    run = Run(scenario.model_copy(update=sections), seed=1, make_plane=plane, find=_find)
    run.go({})
    return run
