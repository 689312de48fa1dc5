"""Between caller and pool: what is asked before an attempt is sent, and booked at its end."""

from __future__ import annotations

import numpy as np

from simulator.compiled import inlined
from simulator.request.kernel.attempts import new_attempt, release, with_more, withdraw
from simulator.request.kernel.clients import decide, deposit_first_try, end_sent, time_left
from simulator.request.kernel.codes import AWAY, HEDGE, LOST, NOTHING, SUCCESS, TIMEOUT
from simulator.request.kernel.events import new_key, push_lane, uniform


@inlined
def begin(edges, clients, windows, edge_policy, streams, more, e, a, t):
    """Ask the cache, book the first try with the budget, draw admission (R2); what became of it."""
    rich = edges[e].rich == 1
    if rich and edge_policy[e].cache == 1 and uniform(streams, edges.shape[0] + e) < edges[e].hit:
        return SUCCESS
    if edges[e].budget > 0:
        c = edges[e].client + (more[a].client if rich else 0)
        deposit_first_try(edges, clients, windows, edge_policy[e], e, c, t)
    if edges[e].admit < 1.0 and uniform(streams, edges.shape[0] + e) >= edges[e].admit:
        return LOST
    return NOTHING


@inlined
def ask_client(edges, clients, windows, edge_policy, streams, more, e, a, t):
    """Ask the caller's policies whether an attempt is sent (R3); what became of it."""
    timeout = edges[e].timeout
    if edge_policy[e].deadline == 1:
        timeout = time_left(timeout, more[a].until, t, edge_policy[e].deadline_reserve)
        if timeout <= 0.0:
            return LOST
    more[a].timeout = timeout
    more[a].deadline = t + timeout
    c = edges[e].client + more[a].client
    return decide(clients, windows, streams, edges.shape[0] + e, edge_policy[e], c, t)


@inlined
def copy_for_hedge(ctl, edges, clients, windows, edge_policy, streams, atts, more, free, a, key, t):
    """Return the second attempt of a hedged pair; -1 if there is to be none."""
    if more[a].hedge_key != key or atts[a].live == 0:
        return np.int64(-1)
    e = np.int64(atts[a].edge)
    c = edges[e].client + more[a].client
    j = edges.shape[0] + e
    if decide(clients, windows, streams, j, edge_policy[e], c, t) != NOTHING:
        return np.int64(-1)
    b = new_attempt(ctl, atts, free, e, atts[a].k, atts[a].t_first, atts[a].parent)
    with_more(more, b, more[a].client, more[a].until, more[a].delay)
    more[b].deadline = more[a].deadline
    more[b].timeout = more[a].deadline - t
    more[b].peer = a
    more[a].peer = b
    return b


@inlined
def schedule_ends(
    ctl, edges, edge_policy, atts, more, heap_t, heap_key, lanes, lane_t, lane_key, e, a, t
):
    """Schedule what happens to an attempt that is not answered: timeout and hedge."""
    atts[a].t0 = t
    due = new_key(ctl, TIMEOUT, a)
    atts[a].key = due
    lane = edges[e].lane
    if edges[e].rich == 0:
        at = t + edges[e].timeout
        push_lane(ctl, heap_t, heap_key, lanes, lane_t, lane_key, atts, lane, at, due)
        return
    at = more[a].deadline
    push_lane(ctl, heap_t, heap_key, lanes, lane_t, lane_key, atts, lane, at, due)
    if edge_policy[e].hedge == 1 and more[a].peer < 0:
        again = new_key(ctl, HEDGE, a)
        more[a].hedge_key = again
        lane += 1 + edges[e].retries
        at = t + edge_policy[e].hedge_delay
        push_lane(ctl, heap_t, heap_key, lanes, lane_t, lane_key, atts, lane, at, again)


@inlined
def end_of_sent(
    ctl, pools, edges, clients, windows, edge_policy, atts, more, free, queues, e, a, outcome, t
):
    """Book the end of an attempt with the caller's policies and with its hedge (R8).

    Returns NOTHING when the other of a hedged pair may still be answered.
    """
    good = outcome == SUCCESS
    c = edges[e].client + more[a].client
    if more[a].sent == 1:
        end_sent(clients, windows, edge_policy[e], c, more[a].era, good, t)
    more[a].hedge_key = 0
    b = np.int64(more[a].peer)
    if b < 0:
        return outcome
    more[a].peer = -1
    more[b].peer = -1
    if not good:
        atts[a].live = 0
        atts[a].key = 0
        if atts[a].at == AWAY:
            release(ctl, atts, free, a)
        return NOTHING
    end_sent(clients, windows, edge_policy[e], c, more[b].era, True, t)
    atts[b].live = 0
    atts[b].key = 0
    withdraw(pools, edges, atts, queues, edges[e].callee, b)
    if atts[b].at == AWAY:
        release(ctl, atts, free, b)
    return outcome
