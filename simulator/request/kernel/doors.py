"""What a pool lets in, and how fast it serves then: limits, shedding, contention, memory (R3)."""

from __future__ import annotations

import math

from simulator.compiled import inlined
from simulator.policies import (
    concurrency_limit,
    contention,
    load_shedding,
    memory_pressure,
    rate_limit,
    service_time,
)
from simulator.policies.service_time import DETERMINISTIC, LOGNORMAL
from simulator.request.kernel.events import uniform

refilled = inlined(rate_limit.refilled)
raised = inlined(concurrency_limit.raised)
lowered = inlined(concurrency_limit.lowered)
contention_factor = inlined(contention.contention_factor)
memory_factor = inlined(memory_pressure.memory_factor)
draw = inlined(service_time.draw)
LAST_CLASS = load_shedding.CLASSES - 1


@inlined
def present(pools, p):
    """Count what is in a pool: waiting, in service, or waiting for callees."""
    return pools[p].waiting + pools[p].held


@inlined
def refuses(pools, rule, p, now):
    """Tell whether rate limit or concurrency limit refuse an attempt."""
    if rule.rate_limit == 1:
        elapsed = now - pools[p].filled
        tokens = refilled(pools[p].tokens, rule.limit_rate, rule.limit_burst, elapsed)
        pools[p].filled = now
        pools[p].tokens = tokens
        if tokens < 1.0:
            return True
        pools[p].tokens = tokens - 1.0
    return present(pools, p) >= pools[p].limit


@inlined
def room_of(pools, rule, p, priority):
    """Return how many may wait for a class to be let in too."""
    if rule.shedding == 0 or pools[p].room_set > 1e300:
        return pools[p].room
    share = rule.shed_0
    level = min(priority, LAST_CLASS)
    if level == 1:
        share = rule.shed_1
    elif level == 2:
        share = rule.shed_2
    elif level >= 3:
        share = rule.shed_3
    return math.floor(share * pools[p].room_set + 1e-9)


@inlined
def learn_limit(pools, rule, p, took, now):
    """Let an adaptive limit learn from an answer without error."""
    if rule.limit_adaptive == 0:
        return
    if took > rule.limit_target:
        if now - pools[p].lowered >= rule.limit_target:
            pools[p].limit = lowered(pools[p].limit, rule.limit_decrease, rule.limit_min)
            pools[p].lowered = now
    elif present(pools, p) >= 0.5 * pools[p].limit:
        pools[p].limit = raised(pools[p].limit, 1.0, rule.limit_max)


@inlined
def slowness(pools, rule, p):
    """Return the factor by which what waits or is on a processor slows a service that starts."""
    factor = 1.0
    n = float(pools[p].waiting + pools[p].busy)
    if rule.contention > 0.0:
        factor *= contention_factor(n, rule.contention, pools[p].s, rule.contention_max)
    if rule.memory == 1:
        size = pools[p].size
        factor *= memory_factor(
            n, rule.memory_from * size, rule.memory_full * size, rule.memory_max
        )
    return factor


@inlined
def service_span(pools, streams, j, p):
    """Draw a time in service (R4, R6)."""
    kind = pools[p].service_kind
    u = 0.5 if kind == DETERMINISTIC else uniform(streams, j)
    v = uniform(streams, j) if kind == LOGNORMAL else 0.5
    return draw(kind, pools[p].mean, pools[p].service_a, pools[p].service_b, u, v)
