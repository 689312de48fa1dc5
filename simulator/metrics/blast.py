"""How far it spread: customers, services, zones and pools touched, and the chain of causes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.metrics.facts import before_trigger, data_of, subject_of, trigger_record
from simulator.metrics.result import BlastRadius
from simulator.metrics.series import window_failure_frac

if TYPE_CHECKING:
    from simulator.metrics.facts import Interval, Subject
    from simulator.metrics.series import Series
    from simulator.trace import Trace

__all__ = ["affected_services", "blast_radius", "cascade_depth", "cascade_order", "peaks"]

THETA_FRAC: Final = 0.05
"""Assumption: customers notice a service of which more than one try in twenty fails."""

WINDOW_S: Final = 300.0
"""Assumption: they notice within five minutes."""

ZONE_LOSS_FRAC: Final = 0.10
"""Assumption: a zone is touched when it lost a tenth of some pool's units in it."""

IDLE_FRAC: Final = 0.01
"""Assumption: a pool whose load in the control run is below a hundredth of its capacity idles; its
amplification is measured from there, or any load on an idle pool would be infinite."""

_SERVING: Final = frozenset({"in_service", "warming"})


def affected_services(trace: Trace, series: Series, trigger_s: float | None) -> tuple[str, ...]:
    """Return the services whose failure share exceeded theta in some window since the trigger.

    Windows in which the control run's failure share exceeds theta too do not count.
    """
    since = (series.t_s > (-1.0 if trigger_s is None else trigger_s))[:, None]

    def share(failed: np.ndarray, ok: np.ndarray) -> np.ndarray:
        # What failed before the trigger is no failure of a window that reaches back to it.
        return window_failure_frac(failed * since, ok + failed * ~since, series, WINDOW_S)

    own = share(series.service("failed_rps"), series.service("ok_rps"))
    base = share(series.base_service("failed_rps"), series.base_service("ok_rps"))
    hit = np.any((own > THETA_FRAC) & (base <= THETA_FRAC), axis=0)
    return tuple(s for s, yes in zip(trace.service_ids, hit, strict=True) if yes)


def touched_zones(trace: Trace, control: Trace | None, trigger_s: float | None) -> tuple[str, ...]:
    """Return the zones in which a pool lost a tenth of its units, or which a fault struck.

    Zones in which the pool fell as low in the control run do not count, nor do faults that the
    control run has too. A fault without a zone strikes all zones.
    """
    struck = _struck_zones(trace, control, trigger_s)
    return tuple(sorted(struck | _thinned_zones(trace, control, trigger_s)))


def _struck_zones(trace: Trace, control: Trace | None, trigger_s: float | None) -> set[str]:
    """Return the zones that faults since the trigger name (all, where one names none)."""
    known = {(r.actor, r.t_s) for r in (control.records if control else ()) if r.kind == "fault"}
    named = {
        str(data_of(r).get("zone") or "")
        for r in trace.records
        if r.kind == "fault"
        and not before_trigger(r.t_s, trigger_s)
        and (r.actor, r.t_s) not in known
    }
    return set(trace.scenario.region.zones) if "" in named else named


def _thinned_zones(trace: Trace, control: Trace | None, trigger_s: float | None) -> set[str]:
    """Return the zones in which some pool fell to nine tenths of its units before the trigger."""
    own = _lowest_by_zone(trace, trigger_s)
    base = {} if control is None else _lowest_by_zone(control, trigger_s)
    limit = 1.0 - ZONE_LOSS_FRAC
    return {
        zone
        for (pool, zone), frac in own.items()
        if frac <= limit and frac < base.get((pool, zone), 1.0)
    }


def _lowest_by_zone(trace: Trace, trigger_s: float | None) -> dict[tuple[str, str], float]:
    """Return, per pool and zone, the fewest units serving since the trigger over those before.

    ``unit`` records carry the units serving after the change; what was there before the first one
    follows from it.
    """
    start: dict[tuple[str, str], int] = {}
    lowest: dict[tuple[str, str], int] = {}
    for r in trace.records:
        if r.kind != "unit":
            continue
        data = data_of(r)
        key, level = (r.subject, str(data["zone"])), int(data["in_service"])
        if before_trigger(r.t_s, trigger_s):
            start[key] = level
            continue
        gained = (data["to"] in _SERVING) - (data["from"] in _SERVING)
        start.setdefault(key, level - gained * int(data["count"]))
        lowest[key] = min(lowest.get(key, level), level)
    return {key: level / start[key] for key, level in lowest.items() if start[key] > 0}


def _short_of_capacity(series: Series, pool: int, t_s: float) -> bool:
    """Say whether a pool's own capacity at a time was below its load in the control run."""
    if len(series.t_s) == 0:
        return False
    row = min(int(np.searchsorted(series.t_s, t_s)), len(series.t_s) - 1)
    own, load = series.pool("capacity_rps"), series.base_pool("offered_rps")
    return bool(own[row, pool] < load[row, pool])


def blast_radius(
    trace: Trace,
    control: Trace | None,
    series: Series,
    ill: dict[Subject, tuple[Interval, ...]],
    affected: tuple[str, ...],
) -> BlastRadius:
    """Return the blast radius.

    Customers use the services independently of each other, each service with the share of
    customers that the region file states (an assumption: real customers use services in
    bundles): the share touched is ``1 - prod(1 - share)`` over the affected services.

    A pool that was impaired was touched *directly* if its own remaining capacity, in the sampling
    interval in which it was first impaired, was below the load offered to it in the control run
    at that time: it could not have served even its usual callers. Any other impaired pool was
    touched by *cascade*: it could, and failed by retries, callers or dependencies.

    A zone is touched only if some service was impaired, and then if some pool lost a tenth of
    its units there or a fault struck it (:func:`touched_zones`).
    """
    first_record = trigger_record(trace)
    trigger_s = None if first_record is None else first_record.t_s
    share = {s.id: s.customers for s in trace.scenario.region.services}
    spared = float(np.prod([1.0 - share[s] for s in affected]))
    first = {
        name: items[0].start_s for (what, name), items in ill.items() if what == "pool" and items
    }
    direct = tuple(
        p
        for k, p in enumerate(trace.pool_ids)
        if p in first and _short_of_capacity(series, k, first[p])
    )
    cascaded = tuple(p for p in trace.pool_ids if p in first and p not in direct)
    impacted = any(items for (what, _name), items in ill.items() if what == "service")
    zones = touched_zones(trace, control, trigger_s) if impacted else ()
    return BlastRadius(
        services_frac=len(affected) / len(trace.service_ids),
        customers_frac=1.0 - spared,
        zones_frac=len(zones) / len(trace.scenario.region.zones),
        direct_frac=len(direct) / len(trace.pool_ids),
        cascaded_frac=len(cascaded) / len(trace.pool_ids),
        services=affected,
        zones=zones,
        direct_pools=direct,
        cascaded_pools=cascaded,
    )


def cascade_order(ill: dict[Subject, tuple[Interval, ...]]) -> tuple[str, ...]:
    """Return the ids of pools and services in the order in which they were first impaired."""
    first = {who: items[0] for who, items in ill.items() if items}
    order = sorted(first, key=lambda who: (first[who].start_s, first[who].record, who))
    return tuple(name for _what, name in order)


def cascade_depth(trace: Trace, trigger_s: float | None) -> int:
    """Return the largest number of different subjects impaired along one chain of causes."""
    by_id = {r.id: r for r in trace.records}
    chains: dict[int, frozenset[Subject]] = {-1: frozenset()}
    deepest = 0
    for r in trace.records:
        # A cause is written before its effect; anything else would be no cause.
        cause = r.cause if r.cause < r.id and r.cause in by_id else -1
        chain = chains.get(cause, frozenset())
        if r.kind == "impaired" and not before_trigger(r.t_s, trigger_s):
            chain |= {subject_of(r)}
        chains[r.id] = chain
        deepest = max(deepest, len(chain))
    return deepest


def peaks(series: Series, trigger_s: float | None) -> tuple[float, float]:
    """Return peak amplification and peak attempts per first try, since the trigger.

    The first is the larger of the second and of the greatest ratio of a pool's offered load to
    that of the control run at the same time.
    """
    since = series.t_s > (-1.0 if trigger_s is None else trigger_s)
    first = series.service("first_rps")[since]
    attempts = series.service("attempts_rps")[since]
    ratio = np.divide(attempts, first, out=np.zeros_like(first), where=first > 0.0)
    idle = IDLE_FRAC * series.base_pool("capacity_rps")[since]
    base = np.maximum(series.base_pool("offered_rps")[since], idle)
    offered = series.pool("offered_rps")[since]
    pools = np.divide(offered, base, out=np.zeros_like(base), where=base > 0.0)
    per_try = float(ratio.max(initial=0.0))
    return max(per_try, float(pools.max(initial=0.0))), per_try
