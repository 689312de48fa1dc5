"""What happens to attempts: creation, queues, start of service, retry, end of a first try."""

from __future__ import annotations

import numpy as np

from simulator.compiled import inlined
from simulator.policies import service_time
from simulator.policies.service_time import DETERMINISTIC, LOGNORMAL
from simulator.request.kernel.codes import (
    ARRIVE,
    BINS,
    DONE,
    GO_ON,
    GROW_ATTEMPTS,
    KIND_BITS,
    LOWEST_EXPONENT,
    PER_OCTAVE,
    RESERVE,
    START,
)
from simulator.request.kernel.events import (
    add_task,
    new_key,
    push,
    push_lane,
    uniform,
)

REQUIRED, OPTIONAL, ASYNCHRONOUS, CLIENT, CONTROL = range(5)
ZOMBIE, CANCEL, DEADLINE_AWARE = range(3)
PER_FIRST_TRY, PER_SUCCESS = 1, 2
AWAY, QUEUED, TAKEN = range(3)
"""Where an attempt is: not at the pool, in its queue, in service or calling."""
ANSWERS = 20.0
"""Time and success of callees are smoothed over this many answers (R5)."""
draw = inlined(service_time.draw)
_FIRST_BIN = LOWEST_EXPONENT + 1022


@inlined
def latency_bin(latency):
    """Return the bin of a latency (R10): exponent and five bits of the fraction."""
    bits = np.float64(latency).view(np.int64)
    index = (bits >> 47) - (_FIRST_BIN * PER_OCTAVE)
    return min(max(index, 0), BINS - 1)


@inlined
def new_attempt(ctl, atts, free, edge, k, t_first, parent):
    """Take a free record for attempt ``k`` of a first try."""
    n = ctl[0].n_free - 1
    ctl[0].n_free = n
    if n < RESERVE:
        ctl[0].need |= GROW_ATTEMPTS
    a = np.int64(free[n])
    atts[a].key = 0
    atts[a].t_first = t_first
    atts[a].parent = parent
    atts[a].edge = edge
    atts[a].k = k
    atts[a].live = 1
    atts[a].at = AWAY
    atts[a].error = 0
    return a


@inlined
def release(ctl, atts, free, a):
    """Give back the record of an attempt that neither the caller nor the pool needs any more."""
    atts[a].live = 0
    atts[a].key = 0
    n = ctl[0].n_free
    free[n] = a
    ctl[0].n_free = n + 1


@inlined
def first_try(ctl, edges, atts, free, e, t, parent):
    """Create attempt 0 of a first try."""
    edges[e].first += 1
    edges[e].in_flight += 1
    if edges[e].budget == PER_FIRST_TRY:
        edges[e].tokens = min(edges[e].bucket, edges[e].tokens + edges[e].ratio)
    return new_attempt(ctl, atts, free, e, 0, t, parent)


@inlined
def enqueue(pools, atts, p, a):
    """Append an attempt to the queue."""
    tail = pools[p].tail
    atts[a].prev = tail
    atts[a].next = -1
    atts[a].at = QUEUED
    if tail < 0:
        pools[p].head = a
    else:
        atts[tail].next = a
    pools[p].tail = a
    pools[p].waiting += 1


@inlined
def unlink(pools, atts, p, a):
    """Take an attempt out of the queue, wherever it is."""
    before, behind = np.int64(atts[a].prev), np.int64(atts[a].next)
    if before < 0:
        pools[p].head = behind
    else:
        atts[before].next = behind
    if behind < 0:
        pools[p].tail = before
    else:
        atts[behind].prev = before
    pools[p].waiting -= 1
    atts[a].at = AWAY


@inlined
def can_start(pools, p):
    """Tell whether a processor and a worker are free (R4)."""
    return pools[p].busy < pools[p].procs and pools[p].held < pools[p].workers


@inlined
def start(ctl, pools, atts, heap_t, heap_key, lanes, lane_t, lane_key, streams, n_edges, p, a, t):
    """Start the service of an attempt (R4, R6)."""
    pools[p].busy += 1
    pools[p].held += 1
    pools[p].served += 1
    atts[a].at = TAKEN
    key = new_key(ctl, DONE, a)
    if pools[p].service_kind == DETERMINISTIC:
        push_lane(
            ctl, heap_t, heap_key, lanes, lane_t, lane_key, atts, pools[p].lane,
            t + pools[p].mean, key,
        )  # fmt: skip
    else:
        j = 2 * n_edges + p
        u = uniform(streams, j)
        v = uniform(streams, j) if pools[p].service_kind == LOGNORMAL else 0.0
        span = draw(
            pools[p].service_kind, pools[p].mean, pools[p].service_a, pools[p].service_b, u, v
        )
        push(ctl, heap_t, heap_key, t + span, key)


@inlined
def is_hopeless(pools, edges, atts, p, a, t):
    """Tell whether a deadline-aware pool drops an attempt that it could start (R5)."""
    left = edges[atts[a].edge].timeout - (t - atts[a].t0)
    return pools[p].late == DEADLINE_AWARE and left < pools[p].s + pools[p].hold


@inlined
def start_waiting(
    ctl, pools, edges, atts, free, heap_t, heap_key, tasks, lanes, lane_t, lane_key, streams, p, t
):
    """Start attempts from the queue while there are processors and workers (R4, R5).

    When a buffer must grow first, the rest is the first thing to be done after that.
    """
    while pools[p].waiting > 0 and can_start(pools, p):
        if ctl[0].need != 0:
            ctl[0].task_head -= 1
            tasks[ctl[0].task_head & (tasks.shape[0] - 1)] = (p << KIND_BITS) | START
            break
        a = pools[p].tail if pools[p].lifo == 1 else pools[p].head
        unlink(pools, atts, p, a)
        if atts[a].live == 0:
            pools[p].dead -= 1
        elif is_hopeless(pools, edges, atts, p, a, t):
            continue  # fails at its timeout
        start(
            ctl, pools, atts, heap_t, heap_key, lanes, lane_t, lane_key, streams,
            edges.shape[0], p, a, t,
        )  # fmt: skip


@inlined
def end_first_try(ctl, edges, atts, tasks, hist, e, ok, t_first, parent, t):
    """Book the end of a first try and tell the request that waits for it (R7, R9, R10)."""
    edges[e].in_flight -= 1
    latency = t - t_first
    edges[e].latency_sum += latency
    if ok == 1:
        edges[e].ok += 1
        hist[ctl[0].hist_row, e, latency_bin(latency)] += 1
        if edges[e].budget == PER_SUCCESS:
            edges[e].tokens = min(edges[e].bucket, edges[e].tokens + edges[e].ratio)
    else:
        edges[e].failed += 1
    if parent >= 0:
        if ok == 0 and edges[e].kind == REQUIRED:
            atts[parent].error = 1
        add_task(ctl, tasks, GO_ON, parent)


@inlined
def fail(
    ctl, edges, atts, free, heap_t, heap_key, tasks, lanes, lane_t, lane_key, backoff, streams,
    hist, a, t,
):  # fmt: skip
    """Retry an attempt that failed, or give its first try up (R8)."""
    e = np.int64(atts[a].edge)
    k = np.int64(atts[a].k)
    t_first = atts[a].t_first
    parent = np.int64(atts[a].parent)
    atts[a].live = 0
    atts[a].key = 0
    if atts[a].at == AWAY:
        release(ctl, atts, free, a)
    again = k < edges[e].retries
    if again and edges[e].budget > 0:
        again = edges[e].tokens >= 1.0
        if again:
            edges[e].tokens -= 1.0
    if not again:
        end_first_try(ctl, edges, atts, tasks, hist, e, 0, t_first, parent, t)
        return
    b = new_attempt(ctl, atts, free, e, k + 1, t_first, parent)
    delay = backoff[edges[e].backoff + k]
    if edges[e].jitter == 1 and delay > 0.0:
        delay *= uniform(streams, edges.shape[0] + e)
        push(ctl, heap_t, heap_key, t + delay, new_key(ctl, ARRIVE, b))
    elif delay > 0.0:
        push_lane(
            ctl, heap_t, heap_key, lanes, lane_t, lane_key, atts, edges[e].lane + 1 + k,
            t + delay, new_key(ctl, ARRIVE, b),
        )  # fmt: skip
    else:
        add_task(ctl, tasks, ARRIVE, b)
