"""The chain of a declared pool, or every reason why it has none (A16)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from simulator.analytic.chain import PoolChain
from simulator.errors import UsageError
from simulator.policies.base import Policy
from simulator.policies.retry import GROWTHS, JITTERS, backoff_high, backoff_low

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.policies.retry import Retry
    from simulator.scenario.region import Pool, Region, Service
    from simulator.scenario.schema import Scenario

__all__ = ["mean_backoff_s", "pool_parameters", "scenario_chain"]

CUT: Final = 3.0
"""An unbounded queue is cut at this multiple of its zombie line."""
RATE_RTOL: Final = 1e-9
"""Largest relative difference of a unit's rate from its workers over its service time."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A pool with the service that enters by it."""

    pool: Pool
    service: Service


def scenario_chain(scenario: Scenario, pool_id: str | None = None, **changes: Any) -> PoolChain:  # noqa: ANN401 - fields of PoolChain
    """Return the chain of a pool of a scenario, before anything goes wrong in it.

    Parameters
    ----------
    scenario : Scenario
        The scenario. Its demand counts as it is at the start.
    pool_id : str, optional
        The pool; may be left out where the region has one.
    **changes
        Parameters of :class:`PoolChain` that count instead of those declared.

    Raises
    ------
    UsageError
        With every reason why the chain would not be this pool.
    """
    return PoolChain(**{**pool_parameters(scenario, pool_id), **changes})


def pool_parameters(scenario: Scenario, pool_id: str | None = None) -> dict[str, Any]:
    """Return the parameters of :func:`scenario_chain` as a mapping."""
    region = scenario.region
    pool = _pool(region, pool_id)
    reasons = list(_reasons(region, pool))
    if reasons:
        text = "\n".join(f"  {reason}" for reason in reasons)
        msg = f"pool '{pool.id}' is no chain of one queue and one orbit:\n{text}"
        raise UsageError(msg)
    service = next(s for s in region.services if s.entry == pool.id)
    entry = _Entry(pool, service)
    shape = scenario.demand.services.get(service.id, scenario.demand.shape)
    factor = shape.points[0][1] if shape.kind == "csv" else shape.factor
    servers = pool.units * pool.concurrency
    return {
        "first_tries_rps": service.first_tries * factor,
        "servers": servers,
        "service_s": pool.service_time,
        "timeout_s": service.timeout,
        "retries": service.retry.retries_max,
        "backoff_s": mean_backoff_s(service.retry),
        **_room(entry, servers),
    }


def _pool(region: Region, pool_id: str | None) -> Pool:
    """Return the pool that is meant."""
    known = {pool.id: pool for pool in region.pools}
    if pool_id is None and len(known) == 1:
        return region.pools[0]
    names = ", ".join(sorted(known)[:12]) + (", …" if len(known) > 12 else "")  # noqa: PLR2004
    if pool_id is None:
        msg = f"region '{region.id}' has {len(known)} pools: say which one ({names})"
        raise UsageError(msg)
    if pool_id not in known:
        msg = f"region '{region.id}' has no pool '{pool_id}' (known: {names})"
        raise UsageError(msg)
    return known[pool_id]


def _reasons(region: Region, pool: Pool) -> Iterator[str]:
    """Yield why a pool is not what the chain describes."""
    services = sorted((s for s in region.services if s.entry == pool.id), key=lambda s: s.id)
    if len(services) != 1:
        named = f" ({', '.join(s.id for s in services)})" if services else ""
        yield f"{len(services)} services enter by it{named}; the chain has one kind of client"
    yield from _neighbours(region, pool)
    yield from _own(pool)
    for service in services:
        whose = f"service '{service.id}'"
        if service.retry.budget is not None:
            yield f"the clients of {whose} have a retry budget: a third number of the state"
        yield from _policies(service, f"the {{}} of {whose}", besides=("retry",))


def _neighbours(region: Region, pool: Pool) -> Iterator[str]:
    """Yield what else the pool has to do with."""
    for dep in region.dependencies:
        if dep.caller == pool.id:
            yield f"it calls pool '{dep.callee}': its workers wait there"
        if dep.callee == pool.id:
            yield f"pool '{dep.caller}' calls it: a second kind of client"
    for plane in region.control_planes:
        if plane.pool == pool.id:
            yield f"it serves control plane '{plane.id}': a second kind of client"


def _own(pool: Pool) -> Iterator[str]:
    """Yield what of the pool's own settings the chain cannot say."""
    yield from _policies(pool, "its {}", besides=())
    if pool.late_work != "zombie":
        yield f"late_work is '{pool.late_work}'; the chain serves all dead work (zombie)"
    if pool.unit_rate is not None and not math.isclose(
        pool.unit_rate * pool.service_time, pool.concurrency, rel_tol=RATE_RTOL
    ):
        yield "its unit_rate differs from concurrency / service_time: its workers share processors"
    if pool.units < pool.units_min_to_serve:
        yield f"it serves nothing below {pool.units_min_to_serve} units and has {pool.units}"


def _policies(spec: Pool | Service, text: str, *, besides: tuple[str, ...]) -> Iterator[str]:
    """Yield the policies that are not neutral: exponential service, first in first out, none."""
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if name in besides or not isinstance(value, Policy) or value == field.default:
            continue
        kind = getattr(value, "kind", None)
        shown = f" ({kind})" if kind else ""
        yield f"{text.format(name)}{shown} is not in the chain"


def mean_backoff_s(retry: Retry) -> float:
    """Return the mean delay before a retry (s), over all retries of a first try that fails."""
    settings = (
        retry.backoff_base, retry.backoff_cap, GROWTHS[retry.backoff], JITTERS[retry.jitter]
    )  # fmt: skip
    delays: list[float] = []
    for k in range(retry.retries_max):
        before = delays[-1] if delays else retry.backoff_base
        low, high = backoff_low(k, *settings), backoff_high(k, *settings, before)
        delays.append(0.5 * (low + high))
    return fmean(delays) if delays else 0.0


def _room(entry: _Entry, servers: int) -> dict[str, Any]:
    """Return the waiting room, or where to cut one that has no bound."""
    pool = entry.pool
    if pool.queue_per_unit is not None:
        return {"room": pool.queue_per_unit * pool.units}
    line = servers / pool.service_time * max(entry.service.timeout - pool.service_time, 0.0)
    return {"room": math.ceil(CUT * line) + 10 * servers, "unbounded": True}
