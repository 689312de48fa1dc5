"""What policies decide in the compiled flow: windows, budgets, breakers, limits (E27 to E41).

Called by the step of pools with policies alone (:mod:`simulator.flow.kernel.special`). The rules
are those of :mod:`simulator.policies`, compiled; here is what they mean for amounts.
"""

from __future__ import annotations

import math

from simulator.compiled import compiled, inlined
from simulator.flow.kernel.words import (
    ACCEPTS,
    ASYNCHRONOUS,
    DEPOSITS,
    ENDED,
    FAILED,
    REQUESTS,
    REQUIRED,
    RETRIES,
    TINY,
)
from simulator.policies import (
    adaptive_throttling,
    base,
    circuit_breaker,
    concurrency_limit,
    contention,
    memory_pressure,
    rate_limit,
    retry,
)
from simulator.policies.base import SLICES
from simulator.policies.circuit_breaker import CLOSED, HALF_OPEN, OPEN
from simulator.policies.load_shedding import CLASSES
from simulator.policies.retry import PER_FIRST_TRY, PER_SUCCESS, THROTTLE, WINDOWED

_slice_of = inlined(base.slice_of)
_refusal = inlined(adaptive_throttling.refusal_probability)
_opens = inlined(circuit_breaker.opens)
_raised = inlined(concurrency_limit.raised)
_lowered = inlined(concurrency_limit.lowered)
_contention_factor = inlined(contention.contention_factor)
_memory_factor = inlined(memory_pressure.memory_factor)
_refilled = inlined(rate_limit.refilled)
_balance = inlined(retry.windowed_balance)


@inlined
def total_of(slices, e, series):
    """Sum a series over its window."""
    total = 0.0
    for i in range(SLICES):
        total += slices[e, series, i]
    return total


@inlined
def _roll(slices, e, one, two, before, now, window):
    """Expire the slices of two series that left the window; return the present slice (E27)."""
    present = _slice_of(now, window)
    for i in range(before + 1, min(present, before + SLICES) + 1):
        slices[e, one, i % SLICES] = 0.0
        slices[e, two, i % SLICES] = 0.0
    return present


@inlined
def roll_windows(slices, es, ep, e, now):
    """Let the rolling windows of an edge reach ``now`` (s of the pool's own clock)."""
    if ep[e].budget == WINDOWED:
        es[e].budget_slice = _roll(
            slices, e, DEPOSITS, RETRIES, es[e].budget_slice, now, ep[e].budget_window
        )
    if ep[e].throttling == 1:
        es[e].throttling_slice = _roll(
            slices, e, REQUESTS, ACCEPTS, es[e].throttling_slice, now, ep[e].throttling_window
        )
    if ep[e].breaker == 1:
        es[e].breaker_slice = _roll(
            slices, e, ENDED, FAILED, es[e].breaker_slice, now, ep[e].breaker_window
        )


@inlined
def _granted(edges, es, ep, slices, e, amount):
    """Let the budget pay for retries of an amount that failed (E8, E29)."""
    kind = ep[e].budget
    if kind in (PER_FIRST_TRY, PER_SUCCESS):
        again = min(amount, edges[e].tokens)
        edges[e].tokens -= again
        return again
    if kind == WINDOWED:
        balance = _balance(
            total_of(slices, e, DEPOSITS),
            total_of(slices, e, RETRIES),
            ep[e].budget_ratio,
            ep[e].budget_min_rate * ep[e].budget_window * ep[e].clients,
        )
        again = min(amount, max(0.0, balance))
        slices[e, RETRIES, es[e].budget_slice % SLICES] += again
        return again
    if kind == THROTTLE:  # booked already: those that failed before half was reached may
        return min(amount, max(0.0, edges[e].tokens + amount - 0.5 * edges[e].bucket))
    return amount


@inlined
def _back_later(pools, edges, atts, line, low, e, k, amount, steps):
    """Put ``amount`` of attempt ``k + 1`` into the delay line, from ``steps`` from now on (E28)."""
    a = edges[e]
    att = a.att + k
    h = pools[a.callee].h
    n, r = a.n_line, a.retries
    now = pools[a.callee].count
    longest = atts[att].backoff
    atts[att + 1].pending += amount
    if a.jitter != 0:
        start = min(max(1, steps + round(low[att] / h)), n - 3)
        width = min(max(1, round((longest - low[att]) / h)), n - 2 - start)
        line[a.line + ((now + start) % n) * r + k] += amount / width
        line[a.line + ((now + start + width) % n) * r + k] -= amount / width
    else:
        slot = (now + min(n - 1, steps + round(longest / h))) % n
        line[a.line + slot * r + k] += amount


@compiled
def fail(pools, edges, atts, line, ep, es, slices, low, e, k, amount, age, steps):
    """Retry or give up an amount of attempt ``k`` that failed at ``age`` (E6, E28, E29)."""
    a = edges[e]
    att = a.att + k
    again = 0.0
    if ep[e].budget == THROTTLE:
        edges[e].tokens -= amount
    wait = 0.5 * (low[att] + atts[att].backoff)
    if k < a.retries and atts[att].elapsed + age + wait < es[e].deadline:  # E40
        again = _granted(edges, es, ep, slices, e, amount)
    if ep[e].budget == THROTTLE:
        edges[e].tokens = max(0.0, edges[e].tokens)
    if again > 0.0:
        atts[att + 1].again += again
        atts[att + 1].again_age += again * (atts[att].elapsed + age + wait)
        _back_later(pools, edges, atts, line, low, e, k, again, steps)
    lost = amount - again
    if lost > 0.0:
        edges[e].x_failed += lost
        edges[e].x_latency += lost * (atts[att].elapsed + age)


@inlined
def book_ended(slices, es, ep, e, h, now, ok, failed, age):
    """Count attempts of a cohort of this age that ended, if sent since the last change (E31)."""
    if ep[e].breaker == 0 or es[e].breaker == OPEN or age > now - es[e].since - 0.5 * h:
        return
    if es[e].breaker == CLOSED:
        slices[e, ENDED, es[e].breaker_slice % SLICES] += ok + failed
        slices[e, FAILED, es[e].breaker_slice % SLICES] += failed
    else:
        es[e].ended += ok + failed
        es[e].failed += failed


@inlined
def _turn(es, slices, e, state, since):
    """Set the state of a breaker; what was counted is forgotten."""
    es[e].breaker = state
    es[e].since = since
    es[e].sent = 0.0
    es[e].ended = 0.0
    es[e].failed = 0.0
    for i in range(SLICES):
        slices[e, ENDED, i] = 0.0
        slices[e, FAILED, i] = 0.0


@inlined
def wait_over(slices, es, ep, e, h, now):
    """Let probes through when the breaker was open for its time (E31)."""
    if es[e].breaker == OPEN and now + TINY >= es[e].since + ep[e].breaker_open_for:
        _turn(es, slices, e, HALF_OPEN, now - h)


@inlined
def judge(slices, es, ep, e, now):
    """Open or close the breaker by what has ended so far (E31)."""
    frac = ep[e].breaker_frac
    if es[e].breaker == CLOSED:
        ended, failed = total_of(slices, e, ENDED), total_of(slices, e, FAILED)
        if _opens(ended, failed, ep[e].breaker_calls_min * ep[e].clients, frac):
            _turn(es, slices, e, OPEN, now)
    elif es[e].breaker == HALF_OPEN:
        probes = float(ep[e].breaker_probes * ep[e].clients)
        if es[e].failed >= frac * probes - TINY:
            _turn(es, slices, e, OPEN, now)
        elif es[e].ended >= probes * (1.0 - TINY):
            _turn(es, slices, e, CLOSED, now)


@inlined
def throttled_share(slices, es, ep, e, wanted):
    """Book what is wanted; return the share that throttling lets through (E30)."""
    if ep[e].throttling == 0:
        return 1.0
    n = float(ep[e].clients)
    refused = _refusal(
        total_of(slices, e, REQUESTS) / n,
        total_of(slices, e, ACCEPTS) / n,
        ep[e].throttling_k,
    )
    slices[e, REQUESTS, es[e].throttling_slice % SLICES] += wanted
    return 1.0 - refused


@inlined
def breaker_share(es, ep, e, wanted):
    """Return the share that the breaker lets through, and book it as sent (E31)."""
    if ep[e].breaker == 0 or es[e].breaker == CLOSED:
        return 1.0
    if es[e].breaker == OPEN:
        return 0.0
    left = max(0.0, ep[e].breaker_probes * ep[e].clients - es[e].sent)
    share = left / wanted if wanted > left else 1.0
    es[e].sent += wanted * share
    return share


@inlined
def lets_in(limit, present, in_service, took, h, work):
    """Return how much may join what waits, so that at most ``limit`` are there in the end (E35).

    ``present`` waits now, ``in_service`` is in service for ``took`` seconds in the mean, and
    ``work`` can start within the step.
    """
    stays = math.exp(-h / took)
    part = took / h * (1.0 - stays)  # of what starts within a step, the share there at its end
    room = limit - in_service * stays
    if room <= part * work:
        return max(0.0, room / part - present)
    return max(0.0, room - present + work * (1.0 - part))


@inlined
def in_service_after(in_service, started, took, h):
    """Return what is in service after a step in which ``started`` began (E35)."""
    stays = math.exp(-h / took)
    return in_service * stays + started * (took / h) * (1.0 - stays)


@inlined
def bulkhead_share(pools, edges, waiting, late, copies, ep, es, e, p, s, wanted, budget):
    """Return the share of ``wanted`` that the bulkhead of an edge lets through (E32)."""
    P = pools[p]
    mine = gone = 0.0
    for age in range(1, P.n_slot):
        slot = P.head - age
        if slot < 0:
            slot += P.n_slot
        base = P.ring + slot * P.n_col + edges[e].col
        for k in range(edges[e].retries + 1):
            mine += waiting[base + k]
            gone += late[base + k]
            if es[e].hedge_steps > 0:
                mine += copies[base + k, 0]
    work = max(0.0, budget - P.q)
    if P.q > TINY:
        work += min(budget, P.q) * min(1.0, mine / P.q)
    room = ep[e].bulkhead * ep[e].clients - gone
    room = lets_in(room, mine, es[e].serving, s + P.hold, P.h, work)
    return room / wanted if wanted > room else 1.0


@inlined
def slowdown(pools, ps, pp, p):
    """Return the factor on the service time (E36, E37)."""
    present = pools[p].q + ps[p].serving
    factor = 1.0
    if pp[p].contention > 0.0:
        factor = _contention_factor(present, pp[p].contention, pools[p].s, pp[p].contention_max)
    if pp[p].memory == 1:
        size = max(ps[p].size, TINY)
        factor *= _memory_factor(
            present, pp[p].memory_from * size, pp[p].memory_full * size, pp[p].memory_max
        )
    return factor


@inlined
def callees(pools, edges, out_edge, ep, p):
    """Success, time, blocked, done and work that the callees add to a request (E9, E10, E33)."""
    p_down = 1.0
    hold = 0.0
    blocked = 0.0
    done = 0.0
    work = 0.0
    for i in range(pools[p].out0, pools[p].out1):
        e = out_edge[i]
        a = edges[e]
        if a.kind == ASYNCHRONOUS:
            continue
        hold += a.calls * a.latency
        blocked += a.held
        done += a.done_r
        p_ok = a.p_ok
        if ep[e].fallback == 1:
            work += ep[e].fallback_work * a.calls * (1.0 - p_ok)
            p_ok += (1.0 - p_ok) * ep[e].fallback_success
        if a.kind == REQUIRED and p_ok < 1.0:
            if a.calls <= 1.0:
                p_down *= 1.0 - a.calls * (1.0 - p_ok)
            else:
                p_down *= p_ok**a.calls
    return p_down, hold, blocked, done, work


@inlined
def class_of(ep, e):
    """Return the class of an edge's attempts; beyond the last one means the last."""
    return min(max(ep[e].priority, 0), CLASSES - 1)


@inlined
def shed_frac(pp, p, c):
    """Return the share of the waiting room up to which a class is let in."""
    if c == 0:
        return pp[p].shed_0
    if c == 1:
        return pp[p].shed_1
    return pp[p].shed_2 if c == 2 else pp[p].shed_3


@inlined
def rate_share(ps, pp, p, h, total):
    """Take tokens of the rate limit; return the share of ``total`` that they let in (E34)."""
    if pp[p].rate_limit == 0:
        return 1.0
    room = ps[p].tokens + pp[p].limit_rate * h
    share = room / total if total > room else 1.0
    ps[p].tokens = max(
        0.0, _refilled(ps[p].tokens - total * share, pp[p].limit_rate, pp[p].limit_burst, h)
    )
    return share


@inlined
def class_room(pools, ps, pp, p, c, budget):
    """Return the room for a class and all above it (E4, E35, E38)."""
    P = pools[p]
    room = max(0.0, P.room_max - P.q) + budget
    if pp[p].shedding == 1 and P.room_max < math.inf:
        room = min(room, max(0.0, shed_frac(pp, p, c) * P.room_max - P.q) + budget)
    if pp[p].concurrency_limit == 1:
        took = ps[p].s + P.hold
        room = min(room, lets_in(ps[p].limit, P.q, ps[p].held, took, P.h, budget))
    return room


@inlined
def adapt_limit(pools, ps, pp, p, now):
    """Raise or lower an adaptive limit by the answers of the step (E35)."""
    limit = ps[p].limit
    if ps[p].fast_x > 0.0 and pools[p].q + ps[p].held >= 0.5 * limit:
        ps[p].limit = _raised(limit, ps[p].fast_x, pp[p].limit_max)
    if now - ps[p].lowered >= pp[p].limit_target - TINY:
        ps[p].slow += ps[p].slow_x
        if ps[p].slow >= 1.0:
            ps[p].limit = _lowered(ps[p].limit, pp[p].limit_decrease, pp[p].limit_min)
            ps[p].lowered = now
            ps[p].slow = 0.0
    ps[p].fast_x = 0.0
    ps[p].slow_x = 0.0
