"""What a caller does by itself: budgets, throttling, bulkhead, breaker, deadline, cache (R8, R11).

The rules are those of :mod:`simulator.policies`; here is what they remember.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.compiled import inlined
from simulator.policies import adaptive_throttling, base, cache, circuit_breaker, deadline, retry
from simulator.policies.base import SLICES
from simulator.policies.circuit_breaker import CLOSED, HALF_OPEN, OPEN
from simulator.policies.retry import DECORRELATED, PER_FIRST_TRY, PER_SUCCESS, THROTTLE, WINDOWED
from simulator.request.kernel.codes import FAILURE, LOST, NOTHING
from simulator.request.kernel.events import uniform

slice_of = inlined(base.slice_of)
refusal_probability = inlined(adaptive_throttling.refusal_probability)
opens = inlined(circuit_breaker.opens)
time_left = inlined(deadline.time_left)
filling = inlined(cache.filling)
throttle_allows = inlined(retry.throttle_allows)
windowed_balance = inlined(retry.windowed_balance)
NEVER = math.inf
_A, _B = 4, 4 + SLICES
"""Where the two counts of a window begin, slice by slice; their sums are at 1 and 2."""


@inlined
def roll(windows, w, now, span):
    """Bring a window up to the present: the slices that are too old expire."""
    present = slice_of(now, span)
    before = windows[w, 0]
    if present == before:
        return
    windows[w, 0] = present
    for i in range(max(before + 1, present - SLICES + 1), present + 1):
        j = i % SLICES
        windows[w, 1] -= windows[w, _A + j]
        windows[w, 2] -= windows[w, _B + j]
        windows[w, _A + j] = 0
        windows[w, _B + j] = 0


@inlined
def count(windows, w, a, b):
    """Count in the present slice of a window."""
    j = windows[w, 0] % SLICES
    windows[w, _A + j] += a
    windows[w, _B + j] += b
    windows[w, 1] += a
    windows[w, 2] += b


@inlined
def _change(clients, windows, c, state, now):
    """Let a breaker go to another state, with an empty window."""
    clients[c].breaker = state
    clients[c].since = now
    clients[c].era += 1
    clients[c].probes = 0
    clients[c].good = 0
    w = clients[c].w_breaker
    for j in range(1, _B + SLICES):
        windows[w, j] = 0


@inlined
def _breaker_refuses(clients, windows, rule, c, now):
    """Tell whether the breaker refuses an attempt; if not, it is sent."""
    if clients[c].breaker == OPEN and now >= clients[c].since + rule.breaker_open_for:
        _change(clients, windows, c, HALF_OPEN, now)
    if clients[c].breaker == HALF_OPEN and clients[c].probes < rule.breaker_probes:
        clients[c].probes += 1
        return False
    return clients[c].breaker != CLOSED


@inlined
def _breaker_learns(clients, windows, rule, c, era, ok, now):
    """Tell the breaker how an attempt ended that was sent in an era."""
    if era != clients[c].era:
        return
    if clients[c].breaker == HALF_OPEN:
        if not ok:
            _change(clients, windows, c, OPEN, now)
            return
        clients[c].good += 1
        if clients[c].good == rule.breaker_probes:
            _change(clients, windows, c, CLOSED, now)
        return
    w = clients[c].w_breaker
    roll(windows, w, now, rule.breaker_window)
    count(windows, w, 1, 0 if ok else 1)
    if opens(windows[w, 1], windows[w, 2], rule.breaker_calls_min, rule.breaker_frac):
        _change(clients, windows, c, OPEN, now)


@inlined
def decide(clients, windows, streams, j, rule, c, now):
    """Return NOTHING to send an attempt, FAILURE to refuse it, LOST to refuse it for good (R3)."""
    if rule.throttling == 1:
        w = clients[c].w_throttle
        roll(windows, w, now, rule.throttling_window)
        p = refusal_probability(windows[w, 1], windows[w, 2], rule.throttling_k)
        count(windows, w, 1, 0)
        if p > 0.0 and uniform(streams, j) < p:
            return LOST
    if rule.bulkhead > 0 and clients[c].under_way >= rule.bulkhead:
        return FAILURE
    if rule.breaker == 1 and _breaker_refuses(clients, windows, rule, c, now):
        return LOST
    return NOTHING


@inlined
def end_sent(clients, windows, rule, c, era, ok, now):
    """Book the end of an attempt that was sent."""
    clients[c].under_way -= 1
    if rule.throttling == 1 and ok:
        w = clients[c].w_throttle
        roll(windows, w, now, rule.throttling_window)
        count(windows, w, 0, 1)
    if rule.breaker == 1:
        _breaker_learns(clients, windows, rule, c, era, ok, now)


@inlined
def deposit_first_try(edges, clients, windows, rule, e, c, now):
    """Book a first try with the budget."""
    budget = edges[e].budget
    if budget == PER_FIRST_TRY:
        clients[c].tokens = min(edges[e].bucket, clients[c].tokens + edges[e].ratio)
    elif budget == WINDOWED:
        w = clients[c].w_budget
        roll(windows, w, now, rule.budget_window)
        count(windows, w, 1, 0)


@inlined
def deposit_success(edges, clients, e, c):
    """Book a success with the budget."""
    budget = edges[e].budget
    if budget in (PER_SUCCESS, THROTTLE):
        clients[c].tokens = min(edges[e].bucket, clients[c].tokens + edges[e].ratio)


@inlined
def lose_token(edges, clients, e, c):
    """Book a failed attempt with the budget."""
    if edges[e].budget == THROTTLE:
        clients[c].tokens = max(0.0, clients[c].tokens - 1.0)


@inlined
def pays(edges, clients, windows, rule, e, c, now):
    """Pay for a retry, if the budget can (E8)."""
    budget = edges[e].budget
    if budget == 0:
        return True
    if budget == THROTTLE:
        return throttle_allows(clients[c].tokens, edges[e].bucket)
    if budget == WINDOWED:
        w = clients[c].w_budget
        roll(windows, w, now, rule.budget_window)
        floor = rule.budget_min_rate * rule.budget_window
        left = windowed_balance(windows[w, 1], windows[w, 2], edges[e].ratio, floor)
        if left < 1.0:
            return False
        count(windows, w, 0, 1)
        return True
    if clients[c].tokens < 1.0:
        return False
    clients[c].tokens -= 1.0
    return True


@inlined
def backoff_of(edges, more, backoff, streams, rule, e, k, a):
    """Return the delay after attempt ``k`` (E7, R8); one draw if its bounds differ."""
    low, high = backoff[edges[e].backoff + k, 0], backoff[edges[e].backoff + k, 1]
    if edges[e].jitter == DECORRELATED and k > 0:
        high = min(rule.backoff_cap, 3.0 * more[a].delay)
    if low != high:
        low += (high - low) * uniform(streams, edges.shape[0] + e)
    return low


@inlined
def fill_cache(edges, rule, e):
    """Let the cache keep what came back."""
    if rule.cache == 1:
        edges[e].hit += filling(edges[e].hit, rule.cache_hit_max, rule.cache_keys)


@inlined
def deadline_of(edges, atts, more, a):
    """Return when the caller of an attempt gives up."""
    e = np.int64(atts[a].edge)
    return more[a].deadline if edges[e].rich == 1 else atts[a].t0 + edges[e].timeout
