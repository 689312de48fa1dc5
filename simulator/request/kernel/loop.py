"""The event loop: what is due next, and what it does (R1)."""

from __future__ import annotations

import math

import numpy as np

from simulator.compiled import compiled, inlined
from simulator.request.kernel.attempts import (
    ANSWERS,
    ASYNCHRONOUS,
    AWAY,
    OPTIONAL,
    QUEUED,
    REQUIRED,
    ZOMBIE,
    can_start,
    end_first_try,
    enqueue,
    fail,
    first_try,
    is_hopeless,
    release,
    start,
    start_waiting,
    unlink,
)
from simulator.request.kernel.codes import (
    ARRIVE,
    DONE,
    FAR,
    FIRST,
    GO_ON,
    INJECT,
    KIND_BITS,
    ON_LANE,
    START,
    TIMEOUT,
)
from simulator.request.kernel.events import (
    ID_MASK,
    KIND_MASK,
    add_task,
    check_keys,
    close_hole,
    new_key,
    push,
    push_lane,
    take_from_lane,
    uniform,
)

HYSTERESIS = 0.1
"""A watched share has risen again when it is this part of the way from threshold to 1 above it."""


@inlined
def _plan_first(ctl, edges, heap_t, heap_key, streams, e, t):
    """Schedule the next first try of a service (R2)."""
    edges[e].mass = -math.log(1.0 - uniform(streams, e))
    edges[e].mark = t
    key = new_key(ctl, FIRST, e)
    edges[e].next_key = key
    push(ctl, heap_t, heap_key, t + edges[e].mass / edges[e].rate, key)


@inlined
def _call(ctl, pools, edges, atts, free, tasks, out_edge, streams, p, a, t):
    """Make the next call of a request; return whether it waits for it, or is to go on later (R7).

    An asynchronous call is followed by a task to go on, so that one step makes one call.
    """
    while atts[a].out < pools[p].out1:
        e = out_edge[atts[a].out]
        if atts[a].left < 0:
            n, part = edges[e].calls, edges[e].calls_frac
            if part > 0.0 and uniform(streams, 2 * edges.shape[0] + p) < part:
                n += 1
            atts[a].left = n
        if atts[a].left > 0:
            atts[a].left -= 1
            waits = edges[e].kind != ASYNCHRONOUS
            child = first_try(ctl, edges, atts, free, e, t, a if waits else -1)
            add_task(ctl, tasks, ARRIVE, child)
            if not waits:
                add_task(ctl, tasks, GO_ON, a)
            return True
        atts[a].out += 1
        atts[a].left = -1
    return False


@inlined
def _look(share, watch, is_below):
    """Return the new side of a watched share (E16): 1 below, 0 above."""
    if is_below == 0:
        return 1 if share < watch else 0
    return 0 if share >= watch + HYSTERESIS * (1.0 - watch) else 1


@inlined
def _crossed(ctl, cross, code, below):
    k = ctl[0].n_cross
    cross[k, 0] = ctl[0].tick
    cross[k, 1] = code
    cross[k, 2] = below
    ctl[0].n_cross = k + 1


@inlined
def _smoothed(share, good, bad, weight):
    """Return a share after a tick in which so many ended well and badly (E16)."""
    if good + bad > 0:
        share += weight * (good / (good + bad) - share)
    return share


@compiled
def _end_tick(ctl, pools, edges, in_edge, cross):
    """Smooth shares and look at what is watched (R12)."""
    weight = ctl[0].smooth
    n_edges = edges.shape[0]
    for p in range(pools.shape[0]):
        P = pools[p]
        for i in range(P.in0, P.in1):
            e = in_edge[i]
            ok, failed = edges[e].ok - edges[e].k_ok, edges[e].failed - edges[e].k_failed
            edges[e].k_ok = edges[e].ok
            edges[e].k_failed = edges[e].failed
            edges[e].share = _smoothed(edges[e].share, ok, failed, weight)
            if edges[e].watch >= 0.0:
                side = _look(edges[e].share, edges[e].watch, edges[e].is_below)
                if side != edges[e].is_below:
                    edges[e].is_below = side
                    _crossed(ctl, cross, e, side)
        pools[p].share = _smoothed(P.share, P.ok - P.k_ok, P.bad - P.k_bad, weight)
        pools[p].k_ok = P.ok
        pools[p].k_bad = P.bad
        if P.watch >= 0.0:
            side = _look(pools[p].share, P.watch, P.is_below)
            if side != P.is_below:
                pools[p].is_below = side
                _crossed(ctl, cross, n_edges + p, side)


@compiled
def _sample(ctl, pools, edges, out_edge, pool_rows, edge_rows):
    """Write one row of means since the last sample."""
    row = ctl[0].n_samples
    span = ctl[0].sample_ticks * ctl[0].tick_s
    for p in range(pools.shape[0]):
        P = pools[p]
        good, bad = P.ok - P.m_ok, P.bad - P.m_bad
        blocked = 0
        for i in range(P.out0, P.out1):
            e = out_edge[i]
            if edges[e].kind == REQUIRED or edges[e].kind == OPTIONAL:
                blocked += edges[e].in_flight
        pool_rows[row, p, 0] = (P.offered - P.m_offered) / span
        pool_rows[row, p, 1] = (P.served - P.m_served) / span
        pool_rows[row, p, 2] = good / (good + bad) if good + bad > 0 else P.share
        pool_rows[row, p, 3] = P.waiting
        pool_rows[row, p, 4] = P.dead
        pool_rows[row, p, 5] = P.rate
        pool_rows[row, p, 6] = blocked
        pools[p].m_offered = P.offered
        pools[p].m_served = P.served
        pools[p].m_ok = P.ok
        pools[p].m_bad = P.bad
    for e in range(edges.shape[0]):
        a = edges[e]
        edge_rows[row, e, 0] = (a.first - a.m_first) / span
        edge_rows[row, e, 1] = (a.ok - a.m_ok) / span
        edge_rows[row, e, 2] = (a.failed - a.m_failed) / span
        edge_rows[row, e, 3] = (a.attempts - a.m_attempts) / span
        edge_rows[row, e, 4] = a.in_flight
        edges[e].m_first = a.first
        edges[e].m_ok = a.ok
        edges[e].m_failed = a.failed
        edges[e].m_attempts = a.attempts
    ctl[0].n_samples = row + 1
    ctl[0].hist_row += 1
    ctl[0].next_sample += ctl[0].sample_ticks


@compiled
def run_until(arrays, until):
    """Do every event up to and at ``until``; False when a buffer must grow first."""
    (
        ctl, pools, edges, atts, free, heap_t, heap_key, tasks, lanes, lane_t, lane_key, backoff,
        in_edge, out_edge, streams, cross, hist,
    ) = arrays  # fmt: skip
    n_edges = edges.shape[0]
    events = 0
    while True:
        if ctl[0].need != 0:
            ctl[0].events += events
            return False
        # ---- what is next
        if ctl[0].task_head != ctl[0].task_tail:
            t = ctl[0].now
            key = tasks[ctl[0].task_head & (tasks.shape[0] - 1)]
            ctl[0].task_head += 1
        else:
            close_hole(ctl, heap_t, heap_key)
            if ctl[0].heap_n == 0 or heap_t[0] > until:
                break
            t = heap_t[0]
            key = heap_key[0]
            ctl[0].hole = 1
            if key & KIND_MASK == ON_LANE:
                key = take_from_lane(
                    ctl, heap_t, heap_key, lanes, lane_t, lane_key, atts,
                    (key >> KIND_BITS) & ID_MASK, t, key,
                )  # fmt: skip
                if key == 0:
                    continue
            ctl[0].now = t
            events += 1
        kind = key & KIND_MASK
        a = (key >> KIND_BITS) & ID_MASK
        # ---- new first tries
        if kind in (FIRST, INJECT):
            e = a
            if kind == FIRST:
                if edges[e].next_key != key:
                    continue  # planned with a rate that has changed since
                _plan_first(ctl, edges, heap_t, heap_key, streams, e, t)
            else:
                edges[e].todo -= 1
                if edges[e].todo > 0:
                    add_task(ctl, tasks, INJECT, e)
            a = first_try(ctl, edges, atts, free, e, t, -1)
            kind = ARRIVE
            if edges[e].admit < 1.0 and uniform(streams, n_edges + e) >= edges[e].admit:
                release(ctl, atts, free, a)
                end_first_try(ctl, edges, atts, tasks, hist, e, 0, t, -1, t)
                continue
        # ---- an attempt arrives (R3)
        if kind == ARRIVE:
            e = np.int64(atts[a].edge)
            p = edges[e].callee
            edges[e].attempts += 1
            if pools[p].remote == 1:  # another plane serves, retries and refuses (R14)
                atts[a].error = uniform(streams, n_edges + e) >= edges[e].remote_ok
                push(ctl, heap_t, heap_key, t + edges[e].remote_latency, new_key(ctl, FAR, a))
                continue
            pools[p].offered += 1
            starts = can_start(pools, p) and pools[p].waiting == 0
            if not starts and pools[p].waiting >= pools[p].room:
                pools[p].bad += 1
            else:
                atts[a].t0 = t
                due = new_key(ctl, TIMEOUT, a)
                atts[a].key = due
                push_lane(
                    ctl, heap_t, heap_key, lanes, lane_t, lane_key, atts, edges[e].lane,
                    t + edges[e].timeout, due,
                )  # fmt: skip
                if starts and is_hopeless(pools, edges, atts, p, a, t):
                    continue  # fails at its timeout
                if starts:
                    start(
                        ctl, pools, atts, heap_t, heap_key, lanes, lane_t, lane_key, streams,
                        n_edges, p, a, t,
                    )  # fmt: skip
                else:
                    enqueue(pools, atts, p, a)
                continue
        # ---- a call to a pool that another plane simulates has ended
        elif kind == FAR:
            if atts[a].error == 0:
                e, t_first = np.int64(atts[a].edge), atts[a].t_first
                parent = np.int64(atts[a].parent)
                release(ctl, atts, free, a)
                end_first_try(ctl, edges, atts, tasks, hist, e, 1, t_first, parent, t)
                continue
        # ---- an attempt's caller gives up
        elif kind == TIMEOUT:
            if atts[a].key != key:
                continue
            p = edges[atts[a].edge].callee
            pools[p].bad += 1
            if atts[a].at == QUEUED:
                if pools[p].late == ZOMBIE:
                    pools[p].dead += 1
                else:
                    unlink(pools, atts, p, a)
        # ---- service ends; calls, one after the other; the answer (R7)
        elif kind in (DONE, GO_ON):
            p = edges[atts[a].edge].callee
            if kind == DONE:
                pools[p].busy -= 1
                atts[a].t_done = t
                atts[a].out = pools[p].out0
                atts[a].left = -1
                start_waiting(
                    ctl, pools, edges, atts, free, heap_t, heap_key, tasks, lanes, lane_t, lane_key,
                    streams, p, t,
                )  # fmt: skip
            if _call(ctl, pools, edges, atts, free, tasks, out_edge, streams, p, a, t):
                continue
            pools[p].held -= 1
            if pools[p].out1 > pools[p].out0:
                pools[p].hold += (t - atts[a].t_done - pools[p].hold) / ANSWERS
                pools[p].p_down += (1.0 - atts[a].error - pools[p].p_down) / ANSWERS
            start_waiting(
                ctl, pools, edges, atts, free, heap_t, heap_key, tasks, lanes, lane_t, lane_key,
                streams, p, t,
            )  # fmt: skip
            atts[a].at = AWAY
            if atts[a].live == 0:
                release(ctl, atts, free, a)
                continue
            if atts[a].error == 0:
                pools[p].ok += 1
                e, t_first = np.int64(atts[a].edge), atts[a].t_first
                parent = np.int64(atts[a].parent)
                release(ctl, atts, free, a)
                end_first_try(ctl, edges, atts, tasks, hist, e, 1, t_first, parent, t)
                continue
            pools[p].bad += 1
        else:  # START
            start_waiting(
                ctl, pools, edges, atts, free, heap_t, heap_key, tasks, lanes, lane_t, lane_key,
                streams, a, t,
            )  # fmt: skip
            continue
        # ---- what is left has failed
        fail(
            ctl, edges, atts, free, heap_t, heap_key, tasks, lanes, lane_t, lane_key, backoff,
            streams, hist, a, t,
        )  # fmt: skip
    ctl[0].events += events
    return True


@compiled
def advance(arrays, target, pool_rows, edge_rows):
    """Go to tick ``target``; stop early after a tick with a crossing, or when a buffer is full.

    Returns True when ``target`` was reached.
    """
    (
        ctl, pools, edges, atts, free, heap_t, heap_key, tasks, lanes, lane_t, lane_key, backoff,
        in_edge, out_edge, streams, cross, hist,
    ) = arrays  # fmt: skip
    while True:
        if ctl[0].read_cross < ctl[0].n_cross or ctl[0].n_samples >= ctl[0].sample_max:
            return False
        if ctl[0].hist_row >= hist.shape[0]:
            return False
        if ctl[0].tick >= target:
            return True
        end = (ctl[0].tick + 1) * ctl[0].tick_s
        if not run_until(arrays, end):
            return False
        check_keys(ctl)
        ctl[0].now = end
        ctl[0].tick += 1
        _end_tick(ctl, pools, edges, in_edge, cross)
        if ctl[0].tick == ctl[0].next_sample:
            _sample(ctl, pools, edges, out_edge, pool_rows, edge_rows)


@compiled
def touch_pool(arrays, p):
    """Let a pool whose capacity was set start what waits, at the present tick."""
    add_task(arrays.ctl, arrays.tasks, START, p)


@compiled
def set_demand(arrays, e, rate):
    """Change the rate of first tries; what is left of the exponential number stays (R2)."""
    ctl, edges, streams = arrays.ctl, arrays.edges, arrays.streams
    now = ctl[0].now
    if rate == edges[e].rate:
        return
    if edges[e].mass < 0.0:
        edges[e].mass = -math.log(1.0 - uniform(streams, e))
    else:
        edges[e].mass = max(0.0, edges[e].mass - edges[e].rate * (now - edges[e].mark))
    edges[e].mark = now
    edges[e].rate = rate
    edges[e].next_key = 0
    if rate > 0.0:
        close_hole(ctl, arrays.heap_t, arrays.heap_key)
        key = new_key(ctl, FIRST, e)
        edges[e].next_key = key
        push(ctl, arrays.heap_t, arrays.heap_key, now + edges[e].mass / rate, key)


@compiled
def set_admission(arrays, e, frac):
    """Change the share of first tries that go on."""
    arrays.edges[e].admit = frac


@compiled
def inject(arrays, e, requests):
    """Add first tries, whole ones only; the rest waits for the next time (R2)."""
    edges = arrays.edges
    edges[e].work += requests
    n = np.int64(math.floor(edges[e].work + 1e-9))
    edges[e].work = max(0.0, edges[e].work - n)
    if n > 0:
        if edges[e].todo == 0:
            add_task(arrays.ctl, arrays.tasks, INJECT, e)
        edges[e].todo += n
