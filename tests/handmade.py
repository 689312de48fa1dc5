"""Traces made by hand, with answers that can be worked out on paper."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from simulator.scenario.region import Region
from simulator.scenario.schema import Expectation, Mechanism, Scenario
from simulator.trace import EDGE_COLUMNS, POOL_COLUMNS, Trace, TraceRecord

SMALL = """\
schema: 1
id: small-crash
title: Most of the front pool crashes
claim: the region is well again within an hour
horizon: 2h
region:
  id: small
  zones: [a, b]
  basis: {"*": assumption}
  pools:
    - {id: front, units: 40, concurrency: 8, service_time: 20ms, boot_time: 3m, queue_per_unit: 16}
    - {id: store, units: 20, concurrency: 16, service_time: 10ms}
  dependencies:
    - {from: front, to: store, timeout: 500ms}
  services:
    - {id: api, entry: front, first_tries: 7k/s, customers: 60%, timeout: 2s}
telemetry:
  alarms:
    - {id: api-low, service: api, below: 95%}
faults:
  - {id: crash, kind: crash, pools: [front], at: 20min, frac: 80%, repair_after: 20min}
trigger: [crash]
expectations:
  - {metric: recovered, equals: true}
  - {metric: ttr_s, at_most: 1h, quantile: 50%}
  - {metric: blast_radius.customers_frac, at_least: 50%, why: it is the only service}
"""
"""A whole scenario that is simulated in a second."""

DT_S = 60.0
RATE_RPS = 100.0

Row = tuple[float, str, str, dict[str, Any]]
"""(time, kind, subject, fields: actor, cause, text; the rest is data)"""
NO: dict[str, Any] = {}
"""No fields."""


def scenario(**changes: Any) -> Scenario:
    """Two pools behind two services, 30 % and 50 % of the customers."""
    pool = {"concurrency": 4, "service_time": "10ms"}
    service = {"first_tries": "100/s", "timeout": "1s"}
    region = Region.model_validate(
        {
            "id": "two",
            "zones": ("a", "b"),
            "pools": [
                {"id": "front", "units": 10, **pool},
                {"id": "store", "units": 20, **pool},
            ],
            "services": [
                {"id": "read", "entry": "front", "customers": "30%", **service},
                {"id": "write", "entry": "store", "customers": "50%", **service},
            ],
        }
    )
    fields: dict[str, Any] = {
        "id": "handmade",
        "title": "Made by hand",
        "claim": "the answers are known",
        "horizon": "200min",
        "region": region,
        "trigger": ("cleanup",),
        "automation": (Mechanism(family="automation", kind="script", id="cleanup", config=None),),
        "expectations": (Expectation(metric="ttr_s", at_most="2h"),),
    }
    return Scenario.model_validate(fields | changes)


def records(rows: Iterable[Row]) -> tuple[TraceRecord, ...]:
    """Number the rows from 0."""
    made = []
    for k, (t_s, kind, subject, fields) in enumerate(rows):
        rest = dict(fields)
        if kind in {"impaired", "restored"}:
            rest.setdefault("what", "service" if subject in {"read", "write"} else "pool")
        own = {name: rest.pop(name) for name in ("actor", "cause", "text") if name in rest}
        made.append(TraceRecord(k, t_s, kind, subject, data=tuple(sorted(rest.items())), **own))
    return tuple(made)


def trace(
    rows: Iterable[Row] = (),
    *,
    minutes: int = 120,
    failing: Mapping[str, Iterable[tuple[int, int, float]]] | None = None,
    pools: Mapping[tuple[str, str], Iterable[tuple[int, int, float]]] | None = None,
    services: Mapping[tuple[str, str], Iterable[tuple[int, int, float]]] | None = None,
    spec: Scenario | None = None,
) -> Trace:
    """Make a trace with one sample a minute, healthy but for what is said.

    Parameters
    ----------
    failing : service -> (from minute, to minute, failure share)
    pools, services : (id, column) -> (from minute, to minute, value)
        Minute m is the sampling interval that ends at ``60 * m`` seconds.
    """
    spec = spec or scenario()
    pool_ids = tuple(sorted(p.id for p in spec.region.pools))
    service_ids = tuple(sorted(s.id for s in spec.region.services))
    pool_series = np.zeros((minutes, len(pool_ids), len(POOL_COLUMNS)))
    units = {p.id: p.units for p in spec.region.pools}
    healthy = {"offered_rps": 100.0, "served_rps": 100.0, "success_frac": 1.0, "queue": 1.0}
    for k, pool in enumerate(pool_ids):
        values = healthy | {"capacity_rps": 200.0, "units": float(units[pool])}
        for column, value in values.items():
            pool_series[:, k, POOL_COLUMNS.index(column)] = value
    edge_series = np.zeros((minutes, len(service_ids), len(EDGE_COLUMNS)))
    for column in ("first_rps", "ok_rps", "attempts_rps"):
        edge_series[:, :, EDGE_COLUMNS.index(column)] = RATE_RPS
    edge_series[:, :, EDGE_COLUMNS.index("in_flight")] = 1.0
    for (pool, column), parts in (pools or {}).items():
        for start, end, value in parts:
            k = POOL_COLUMNS.index(column)
            pool_series[start - 1 : end, pool_ids.index(pool), k] = value
    for (service, column), parts in (services or {}).items():
        for start, end, value in parts:
            k = EDGE_COLUMNS.index(column)
            edge_series[start - 1 : end, service_ids.index(service), k] = value
    for service, parts in (failing or {}).items():
        s = service_ids.index(service)
        for start, end, share in parts:
            span = slice(start - 1, end)
            edge_series[span, s, EDGE_COLUMNS.index("ok_rps")] = RATE_RPS * (1 - share)
            edge_series[span, s, EDGE_COLUMNS.index("failed_rps")] = RATE_RPS * share
    return Trace(
        scenario=spec,
        seed=7,
        records=records(rows),
        sample_t_s=DT_S * np.arange(1, minutes + 1),
        pool_series=pool_series,
        service_series=edge_series,
        pool_ids=pool_ids,
        service_ids=service_ids,
        end_s=DT_S * minutes,
    )


TRIGGER: Row = (600.0, "script", "cleanup", {"actor": "cleanup", "text": "started"})


def outage(**changes: Any) -> Trace:
    """The standard case: trigger at minute 10, ``read`` down from 12 to 40, backlog until 45."""
    rows: list[Row] = [
        TRIGGER,
        (660.0, "operation", "front",
         {"actor": "cleanup", "cause": 0, "verb": "remove", "pool": "front", "count": 8}),
        (660.0, "unit", "front", {"cause": 1, "zone": "a", "count": 4, "from": "in_service",
                                "to": "removed", "in_service": 1}),
        (700.0, "impaired", "front", {"cause": 2}),
        (720.0, "impaired", "read", {"cause": 3}),
        (900.0, "alarm", "read-low", {"cause": 4}),
        (1200.0, "milestone", "acknowledged", {"actor": "operator", "cause": 5}),
        (1500.0, "milestone", "diagnosed", {"actor": "operator", "cause": 6}),
        (1800.0, "milestone", "mitigated", {"actor": "operator", "cause": 7}),
        (2100.0, "milestone", "restored", {"actor": "operator", "cause": 8}),
        (2380.0, "restored", "front", {"cause": 9}),
        (2400.0, "restored", "read", {"cause": 10}),
    ]  # fmt: skip
    settings: dict[str, Any] = {
        "failing": {"read": [(13, 40, 0.5)]},
        "pools": {
            ("front", "queue"): [(12, 45, 5000.0)],
            ("front", "units"): [(12, 35, 2.0)],
            ("front", "capacity_rps"): [(12, 35, 40.0)],
        },
    }
    return trace(rows, **(settings | changes))


def control() -> Trace:
    """The same without the trigger."""
    return trace()
