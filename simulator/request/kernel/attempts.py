"""What happens to attempts: records, queues, start of service, jobs, end of a first try."""

from __future__ import annotations

import numpy as np

from simulator.compiled import inlined
from simulator.policies import discipline
from simulator.policies.discipline import CODEL, FIFO, PRIORITY
from simulator.policies.service_time import DETERMINISTIC
from simulator.request.kernel.clients import NEVER, deadline_of
from simulator.request.kernel.codes import (
    ASYNCHRONOUS,
    AWAY,
    BINS,
    CALL,
    DEADLINE_AWARE,
    DONE,
    DROP,
    GO_ON,
    GROW_ATTEMPTS,
    JOB,
    LOWEST_EXPONENT,
    PER_OCTAVE,
    QUEUED,
    REQUIRED,
    RESERVE,
    START,
    TAKEN,
    ZOMBIE,
)
from simulator.request.kernel.doors import service_span, slowness
from simulator.request.kernel.events import (
    add_task,
    add_task_in_front,
    new_key,
    push,
    push_lane,
    uniform,
)

serves_youngest = inlined(discipline.serves_youngest)
codel_age = inlined(discipline.codel_age)
_FIRST_BIN = LOWEST_EXPONENT + 1022


@inlined
def latency_bin(latency):
    """Return the bin of a latency (R10): exponent and five bits of the fraction."""
    bits = np.float64(latency).view(np.int64)
    index = (bits >> 47) - (_FIRST_BIN * PER_OCTAVE)
    return min(max(index, 0), BINS - 1)


# ---------------------------------------------------------------- records


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
def with_more(more, a, client, until, delay):
    """Fill what else is known of an attempt that is still to be sent."""
    more[a].client = client
    more[a].until = until
    more[a].delay = delay
    more[a].peer = -1
    more[a].sent = 0
    more[a].hedge_key = 0


@inlined
def release(ctl, atts, free, a):
    """Give back the record of an attempt that neither the caller nor the pool needs any more."""
    atts[a].live = 0
    atts[a].key = 0
    n = ctl[0].n_free
    free[n] = a
    ctl[0].n_free = n + 1


@inlined
def first_try(ctl, edges, atts, more, free, e, t, parent, until):
    """Create attempt 0 of a first try, of the client whose turn it is (R11)."""
    turn = edges[e].first
    edges[e].first = turn + 1
    edges[e].in_flight += 1
    a = new_attempt(ctl, atts, free, e, 0, t, parent)
    if edges[e].rich == 1:
        with_more(more, a, turn % edges[e].n_clients, until, 0.0)
    return a


# ---------------------------------------------------------------- queue


@inlined
def enqueue(pools, edges, atts, queues, p, a, t):
    """Append an attempt to the queue."""
    q = pools[p].queue + edges[atts[a].edge].rank
    tail = queues[q, 1]
    atts[a].prev = tail
    atts[a].next = -1
    atts[a].at = QUEUED
    if tail < 0:
        queues[q, 0] = a
    else:
        atts[tail].next = a
    queues[q, 1] = a
    if pools[p].waiting == 0:
        pools[p].empty = t
    pools[p].waiting += 1


@inlined
def unlink(pools, edges, atts, queues, p, a):
    """Take an attempt out of the queue, wherever it is."""
    q = pools[p].queue + edges[atts[a].edge].rank
    before, behind = np.int64(atts[a].prev), np.int64(atts[a].next)
    if before < 0:
        queues[q, 0] = behind
    else:
        atts[before].next = behind
    if behind < 0:
        queues[q, 1] = before
    else:
        atts[behind].prev = before
    pools[p].waiting -= 1
    atts[a].at = AWAY


@inlined
def withdraw(pools, edges, atts, queues, p, a):
    """Take an attempt that nobody waits for out of the queue, unless it is served all the same."""
    if atts[a].at == QUEUED:
        if pools[p].late == ZOMBIE:
            pools[p].dead += 1
        else:
            unlink(pools, edges, atts, queues, p, a)


@inlined
def next_in_line(pools, rule, queues, p):
    """Return who is next by the discipline; somebody waits (R5)."""
    q = pools[p].queue
    kind = pools[p].discipline
    if kind == FIFO:
        return queues[q, 0]
    if kind == PRIORITY:
        while queues[q, 0] < 0:
            q += 1
        return queues[q, 0]
    youngest = serves_youngest(kind, float(pools[p].waiting), rule.lifo_above)
    return queues[q, 1] if youngest else queues[q, 0]


# ---------------------------------------------------------------- service


@inlined
def can_start(pools, p):
    """Tell whether a processor and a worker are free (R4)."""
    return pools[p].busy < pools[p].procs and pools[p].held < pools[p].workers


@inlined
def is_hopeless(pools, edges, atts, more, p, a, t):
    """Tell whether a deadline-aware pool drops an attempt that it could start (R5)."""
    if pools[p].late != DEADLINE_AWARE:
        return False
    e = atts[a].edge
    timeout = more[a].timeout if edges[e].rich == 1 else edges[e].timeout
    return timeout - (t - atts[a].t0) < pools[p].s + pools[p].hold


@inlined
def start(
    ctl, pools, atts, heap_t, heap_key, lanes, lane_t, lane_key, pool_policy, streams, n_edges,
    p, a, t,
):  # fmt: skip
    """Start the service of an attempt (R4, R6)."""
    pools[p].busy += 1
    pools[p].held += 1
    pools[p].served += 1
    atts[a].at = TAKEN
    span = service_span(pools, streams, 2 * n_edges + p, p)
    if pools[p].special == 1:
        span *= slowness(pools, pool_policy[p], p)
    key = new_key(ctl, DONE, a)
    if pools[p].service_kind == DETERMINISTIC:
        lane = pools[p].lane
        push_lane(ctl, heap_t, heap_key, lanes, lane_t, lane_key, atts, lane, t + span, key)
    else:
        push(ctl, heap_t, heap_key, t + span, key)


@inlined
def add_job(ctl, pools, atts, free, p, edge, parent, work):
    """Queue work of a pool on its own account: a rejection, or a fallback for a request."""
    j = new_attempt(ctl, atts, free, edge, 0, 0.0, parent)
    atts[j].live = 0
    atts[j].at = TAKEN
    atts[j].t0 = work
    atts[j].out = p
    atts[j].next = -1
    tail = pools[p].job_tail
    if tail < 0:
        pools[p].job_head = j
    else:
        atts[tail].next = j
    pools[p].job_tail = j


@inlined
def _start_jobs(ctl, pools, atts, heap_t, heap_key, streams, n_edges, p, t):
    """Start own work, which needs a processor and no worker."""
    while pools[p].job_head >= 0 and pools[p].busy < pools[p].procs and ctl[0].need == 0:
        j = pools[p].job_head
        pools[p].job_head = atts[j].next
        if atts[j].next < 0:
            pools[p].job_tail = -1
        pools[p].busy += 1
        span = atts[j].t0 * service_span(pools, streams, 2 * n_edges + p, p)
        push(ctl, heap_t, heap_key, t + span, new_key(ctl, JOB, j))


@inlined
def start_waiting(
    ctl, pools, edges, atts, more, free, heap_t, heap_key, tasks, lanes, lane_t, lane_key, queues,
    pool_policy, streams, p, t,
):  # fmt: skip
    """Start own work, then attempts in the order of the discipline, while there is room (R4, R5).

    When a buffer must grow first, or one that waited too long was dropped, the rest is the first
    thing to be done after that.
    """
    while True:
        if pools[p].job_head >= 0:
            _start_jobs(ctl, pools, atts, heap_t, heap_key, streams, edges.shape[0], p, t)
        if pools[p].waiting == 0 or not can_start(pools, p):
            if pools[p].job_head >= 0 and pools[p].busy < pools[p].procs:
                add_task_in_front(ctl, tasks, START, p)
            return
        if ctl[0].need != 0:
            add_task_in_front(ctl, tasks, START, p)
            return
        a = next_in_line(pools, pool_policy[p], queues, p)
        unlink(pools, edges, atts, queues, p, a)
        if pools[p].discipline == CODEL:
            rule = pool_policy[p]
            oldest = codel_age(t, pools[p].empty, rule.codel_interval, rule.codel_target)
            if t - atts[a].t0 > oldest:
                if atts[a].live == 0:
                    pools[p].dead -= 1
                    release(ctl, atts, free, a)
                    continue
                pools[p].bad += 1
                if rule.rejection_work > 0.0:
                    add_job(ctl, pools, atts, free, p, atts[a].edge, -1, rule.rejection_work)
                add_task_in_front(ctl, tasks, START, p)
                add_task_in_front(ctl, tasks, DROP, a)
                return
        if atts[a].live == 0:
            pools[p].dead -= 1
        elif is_hopeless(pools, edges, atts, more, p, a, t):
            continue  # fails at its timeout
        start(
            ctl, pools, atts, heap_t, heap_key, lanes, lane_t, lane_key, pool_policy, streams,
            edges.shape[0], p, a, t,
        )  # fmt: skip


# ---------------------------------------------------------------- the end of a first try


@inlined
def call(ctl, pools, edges, atts, more, free, tasks, out_edge, streams, p, a, t):
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
            until = deadline_of(edges, atts, more, a) if edges[e].rich == 1 else NEVER
            child = first_try(ctl, edges, atts, more, free, e, t, a if waits else -1, until)
            add_task(ctl, tasks, CALL, child)
            if not waits:
                add_task(ctl, tasks, GO_ON, a)
            return True
        atts[a].out += 1
        atts[a].left = -1
    return False


@inlined
def end_first_try(
    ctl, pools, edges, atts, free, tasks, edge_policy, streams, hist, e, ok, t_first, parent, t
):
    """Book the end of a first try and tell the request that waits for it (R7, R9, R10).

    Returns the pool whose own work is to start now, -1 if there is none.
    """
    edges[e].in_flight -= 1
    latency = t - t_first
    edges[e].latency_sum += latency
    if ok:
        edges[e].ok += 1
        hist[ctl[0].hist_row, e, latency_bin(latency)] += 1
    else:
        edges[e].failed += 1
    if parent < 0:
        return np.int64(-1)
    work = 0.0
    if not ok:
        good = False
        if edges[e].rich == 1 and edge_policy[e].fallback == 1:
            work = edge_policy[e].fallback_work
            chance = edge_policy[e].fallback_success
            good = chance >= 1.0
            if 0.0 < chance < 1.0:
                good = uniform(streams, edges.shape[0] + e) < chance
        if not good and edges[e].kind == REQUIRED:
            atts[parent].error = 1
    if work > 0.0:
        p = edges[e].caller
        add_job(ctl, pools, atts, free, p, e, parent, work)
        return p
    add_task(ctl, tasks, GO_ON, parent)
    return np.int64(-1)
