"""The event loop: what is due next, and what it does (R1)."""

from __future__ import annotations

import math

import numpy as np

from simulator.compiled import compiled, inlined
from simulator.policies.discipline import CODEL
from simulator.request.kernel.attempts import (
    add_job,
    call,
    can_start,
    end_first_try,
    enqueue,
    first_try,
    is_hopeless,
    new_attempt,
    release,
    start,
    start_waiting,
    with_more,
    withdraw,
)
from simulator.request.kernel.clients import (
    NEVER,
    backoff_of,
    deposit_success,
    fill_cache,
    lose_token,
    pays,
)
from simulator.request.kernel.codes import (
    ARRIVE,
    AWAY,
    CALL,
    DONE,
    DROP,
    ENDED,
    FAILURE,
    FAR,
    FIRST,
    GO_ON,
    HEDGE,
    INJECT,
    JOB,
    KIND_BITS,
    LOST,
    NOTHING,
    ON_LANE,
    START,
    SUCCESS,
    TIMEOUT,
)
from simulator.request.kernel.doors import learn_limit, refuses, room_of
from simulator.request.kernel.events import (
    ID_MASK,
    KIND_MASK,
    add_task,
    add_task_in_front,
    check_keys,
    close_hole,
    new_key,
    push,
    push_lane,
    take_from_lane,
    uniform,
)
from simulator.request.kernel.sending import (
    ask_client,
    begin,
    copy_for_hedge,
    end_of_sent,
    schedule_ends,
)
from simulator.request.kernel.ticks import end_tick, take_sample

ANSWERS = 20.0
"""Time and success of callees are smoothed over this many answers (R5)."""


@inlined
def _plan_first(ctl, edges, heap_t, heap_key, streams, e, t):
    """Schedule the next first try of a service (R2)."""
    edges[e].mass = -math.log(1.0 - uniform(streams, e))
    edges[e].mark = t
    key = new_key(ctl, FIRST, e)
    edges[e].next_key = key
    push(ctl, heap_t, heap_key, t + edges[e].mass / edges[e].rate, key)


@compiled
def run_until(arrays, until):
    """Do every event up to and at ``until``; False when a buffer must grow first."""
    (
        ctl, pools, edges, atts, more, free, heap_t, heap_key, tasks, lanes, lane_t, lane_key,
        queues, clients, windows, edge_policy, pool_policy, backoff, in_edge, out_edge, streams,
        cross, hist,
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
        outcome = NOTHING
        waiting_at = np.int64(-1)  # the pool that may have become able to start what waits
        on_wire = False
        # ---- new first tries (R2)
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
            a = first_try(ctl, edges, atts, more, free, e, t, np.int64(-1), NEVER)
            kind = CALL
        if kind == CALL:
            e = np.int64(atts[a].edge)
            outcome = begin(edges, clients, windows, edge_policy, streams, more, e, a, t)
            kind = ARRIVE
        # ---- an attempt is sent, or its hedge (R3, R8)
        if kind == ARRIVE:
            e = np.int64(atts[a].edge)
            if pools[edges[e].callee].remote == 1 and outcome == NOTHING:
                edges[e].attempts += 1  # another plane serves, retries and refuses (R14)
                atts[a].error = uniform(streams, n_edges + e) >= edges[e].remote_ok
                push(ctl, heap_t, heap_key, t + edges[e].remote_latency, new_key(ctl, FAR, a))
                continue
            if edges[e].rich == 1 and outcome == NOTHING:
                outcome = ask_client(edges, clients, windows, edge_policy, streams, more, e, a, t)
            on_wire = outcome == NOTHING
        elif kind == HEDGE:
            a = copy_for_hedge(
                ctl, edges, clients, windows, edge_policy, streams, atts, more, free, a, key, t
            )
            if a < 0:
                continue
            on_wire = True
        # ---- an attempt's caller gives up
        elif kind == TIMEOUT:
            if atts[a].key != key:
                continue
            p = edges[atts[a].edge].callee
            pools[p].bad += 1
            withdraw(pools, edges, atts, queues, p, a)
            outcome = FAILURE
        # ---- service ends; calls, one after the other (R7)
        elif kind in (DONE, GO_ON):
            p = edges[atts[a].edge].callee
            # Without callees the answer comes with the end of service; an adaptive limit wants to
            # know how many are there in between.
            calls = pools[p].out1 > pools[p].out0 or pools[p].special == 1
            if kind == DONE:
                pools[p].busy -= 1
                if calls:
                    atts[a].t_done = t
                    atts[a].out = pools[p].out0
                    atts[a].left = -1
                    add_task(ctl, tasks, GO_ON, a)
            elif call(ctl, pools, edges, atts, more, free, tasks, out_edge, streams, p, a, t):
                continue
            if kind == GO_ON or not calls:  # the answer
                if calls:
                    pools[p].hold += (t - atts[a].t_done - pools[p].hold) / ANSWERS
                    pools[p].p_down += (1.0 - atts[a].error - pools[p].p_down) / ANSWERS
                if pools[p].special == 1 and atts[a].error == 0:
                    learn_limit(pools, pool_policy[p], p, t - atts[a].t0, t)
                pools[p].held -= 1
                atts[a].at = AWAY
                if atts[a].live == 0:
                    release(ctl, atts, free, a)
                elif atts[a].error == 1:
                    pools[p].bad += 1
                    outcome = FAILURE
                else:
                    pools[p].ok += 1
                    outcome = SUCCESS
            waiting_at = p
        elif kind == FAR:
            outcome = SUCCESS if atts[a].error == 0 else LOST
        elif kind == DROP:
            outcome = FAILURE
        elif kind == ENDED:
            outcome = SUCCESS if atts[a].error == 0 else FAILURE
        elif kind == JOB:
            waiting_at = np.int64(atts[a].out)
            pools[waiting_at].busy -= 1
            if atts[a].parent >= 0:
                add_task(ctl, tasks, GO_ON, atts[a].parent)
            release(ctl, atts, free, a)
        else:  # START
            waiting_at = a
        # ---- at the pool (R3, R4)
        if on_wire:
            e = np.int64(atts[a].edge)
            p = edges[e].callee
            edges[e].attempts += 1
            pools[p].offered += 1
            if edges[e].rich == 1:
                c = edges[e].client + more[a].client
                clients[c].under_way += 1
                more[a].sent = 1
                more[a].era = clients[c].era
            starts = can_start(pools, p)
            refused = False
            room = pools[p].room
            if pools[p].special == 1:
                refused = refuses(pools, pool_policy[p], p, t)
                room = room_of(pools, pool_policy[p], p, edge_policy[e].priority)
            if refused or (not starts and pools[p].waiting >= room):
                pools[p].bad += 1
                outcome = FAILURE
                if pools[p].special == 1 and pool_policy[p].rejection_work > 0.0:
                    work = pool_policy[p].rejection_work
                    add_job(ctl, pools, atts, free, p, e, np.int64(-1), work)
                    waiting_at = p
            else:
                schedule_ends(
                    ctl, edges, edge_policy, atts, more, heap_t, heap_key, lanes,
                    lane_t, lane_key, e, a, t,
                )  # fmt: skip
                if not starts or pools[p].waiting > 0:
                    enqueue(pools, edges, atts, queues, p, a, t)
                elif not is_hopeless(pools, edges, atts, more, p, a, t):
                    start(
                        ctl, pools, atts, heap_t, heap_key, lanes, lane_t, lane_key, pool_policy,
                        streams, n_edges, p, a, t,
                    )  # fmt: skip
                continue
        # ---- what waits goes before what follows
        if waiting_at >= 0:
            answered = outcome != NOTHING and kind in (DONE, GO_ON)
            if answered and pools[waiting_at].discipline == CODEL:
                add_task_in_front(ctl, tasks, ENDED, a)  # behind what is dropped now
                outcome = NOTHING
            start_waiting(
                ctl, pools, edges, atts, more, free, heap_t, heap_key, tasks, lanes, lane_t,
                lane_key, queues, pool_policy, streams, waiting_at, t,
            )  # fmt: skip
        # ---- the end of an attempt: another one, or the end of its first try (R8)
        if outcome == NOTHING:
            continue
        e = np.int64(atts[a].edge)
        rich = edges[e].rich == 1
        c = edges[e].client
        sent = True
        if rich:
            outcome = end_of_sent(
                ctl, pools, edges, clients, windows, edge_policy, atts, more, free, queues, e, a,
                outcome, t,
            )  # fmt: skip
            if outcome == NOTHING:
                continue
            c += more[a].client
            sent = more[a].sent == 1
        k = np.int64(atts[a].k)
        t_first = atts[a].t_first
        parent = np.int64(atts[a].parent)
        atts[a].live = 0
        atts[a].key = 0
        again = False
        if outcome == SUCCESS and sent:
            if edges[e].budget > 0:
                deposit_success(edges, clients, e, c)
            if rich:
                fill_cache(edges, edge_policy[e], e)
        elif outcome == FAILURE:
            if edges[e].budget > 0:
                lose_token(edges, clients, e, c)
            again = k < edges[e].retries and pays(edges, clients, windows, edge_policy[e], e, c, t)
        if again:
            delay = backoff_of(edges, more, backoff, streams, edge_policy[e], e, k, a)
            b = new_attempt(ctl, atts, free, e, k + 1, t_first, parent)
            if rich:
                with_more(more, b, more[a].client, more[a].until, delay)
            if delay == 0.0:
                add_task(ctl, tasks, ARRIVE, b)
            else:
                due = new_key(ctl, ARRIVE, b)
                if edges[e].jitter == 0:
                    push_lane(
                        ctl, heap_t, heap_key, lanes, lane_t, lane_key, atts,
                        edges[e].lane + 1 + k, t + delay, due,
                    )  # fmt: skip
                else:
                    push(ctl, heap_t, heap_key, t + delay, due)
        if atts[a].at == AWAY:
            release(ctl, atts, free, a)
        if not again:
            p = end_first_try(
                ctl, pools, edges, atts, free, tasks, edge_policy, streams, hist, e,
                outcome == SUCCESS, t_first, parent, t,
            )  # fmt: skip
            if p >= 0:
                add_task_in_front(ctl, tasks, START, p)
    ctl[0].events += events
    return True


@compiled
def advance(arrays, target, pool_rows, edge_rows):
    """Go to tick ``target``; stop early after a tick with a crossing, or when a buffer is full.

    Returns True when ``target`` was reached.
    """
    (
        ctl, pools, edges, atts, more, free, heap_t, heap_key, tasks, lanes, lane_t, lane_key,
        queues, clients, windows, edge_policy, pool_policy, backoff, in_edge, out_edge, streams,
        cross, hist,
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
        end_tick(ctl, pools, edges, in_edge, cross)
        if ctl[0].tick == ctl[0].next_sample:
            take_sample(ctl, pools, edges, out_edge, pool_rows, edge_rows)
