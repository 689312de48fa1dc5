"""Compiled data plane: cohorts of attempts through pools, in steps of each pool's own length.

The readable twin with the same equation numbers is :mod:`simulator.flow.reference`; MODEL.md has
the derivations. One step of a pool covers ``(t - h, t]``. Within a tick every due pool computes
from what was published at earlier ticks, then all publish: the result does not depend on the order
of the pools.

Pools sleep while their flows do not change: counters then grow linearly. A pool wakes when an
input changes by more than ``TOLERANCE`` or when a linear drift reaches a bound.
"""

from __future__ import annotations

import math

from simulator.compiled import compiled as _compiled
from simulator.compiled import inlined as _inlined
from simulator.flow.kernel import special
from simulator.flow.kernel.words import (
    ASYNCHRONOUS,
    CERTAIN,
    CLIENT,
    DEADLINE_AWARE,
    FOREVER,
    REQUIRED,
    TINY,
    ZOMBIE,
)
from simulator.flow.kernel.words import draw as _draw

PER_FIRST_TRY, PER_SUCCESS = 1, 2
TOLERANCE = 2e-3
"""Relative change of a flow that counts as a change (step control)."""
LATENCY_TOLERANCE = 0.02
"""The same for the time that callees add."""
SMALL_WORK = 0.01
"""An operation's requests wait at a sleeping pool until they add up to this share of what the pool
is offered within its memory."""
LONGEST_BLOCK = 8
"""Flows are averaged over blocks of one memory of the pool, up to this many if they oscillate."""
HYSTERESIS = 0.1
"""A watched share has risen again when it is this part of the way from threshold to 1 above it."""


@_inlined
def _back_later(pools, edges, atts, line, e, k, amount, steps):
    """Put ``amount`` of attempt ``k + 1`` into the delay line, ``steps`` from now (E7)."""
    a = edges[e]
    att = a.att + k
    h = pools[a.callee].h
    n, r = a.n_line, a.retries
    now = pools[a.callee].count
    base = atts[att].backoff / h
    atts[att + 1].pending += amount
    if a.jitter == 1:
        width = max(1, round(base))
        width = min(width, n - 2 - min(steps, n - 3))
        first = (now + max(1, min(steps, n - 3))) % n
        last = (now + max(1, min(steps, n - 3)) + width) % n
        line[a.line + first * r + k] += amount / width
        line[a.line + last * r + k] -= amount / width
    else:
        slot = (now + min(n - 1, steps + round(base))) % n
        line[a.line + slot * r + k] += amount


@_inlined
def _fail(pools, edges, atts, line, e, k, amount, age, steps):
    """Retry or give up an amount of attempt ``k`` that failed at ``age`` (E6, E7, E8)."""
    a = edges[e]
    att = a.att + k
    again = 0.0
    if k < a.retries:
        again = amount
        if a.budget > 0:
            again = min(again, a.tokens)
            edges[e].tokens -= again
    if again > 0.0:
        wait = atts[att].backoff * (0.5 if a.jitter == 1 else 1.0)
        atts[att + 1].again += again
        atts[att + 1].again_age += again * (atts[att].elapsed + age + wait)
        _back_later(pools, edges, atts, line, e, k, again, steps)
    lost = amount - again
    if lost > 0.0:
        edges[e].x_failed += lost
        edges[e].x_latency += lost * (atts[att].elapsed + age)


@_inlined
def _expire(pools, edges, atts, in_edge, waiting, late, dead, line, p):
    """Time out what has waited its timeout (E5); return the amount."""
    P = pools[p]
    n, m = P.n_slot, P.n_col
    total = 0.0
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        age = edges[e].n_age
        slot = P.head - age
        if slot < 0:
            slot += n
        base = P.ring + slot * m + edges[e].col
        for k in range(edges[e].retries + 1):
            w = waiting[base + k]
            gone = w + late[base + k]
            if gone == 0.0:
                continue
            waiting[base + k] = 0.0
            late[base + k] = 0.0
            if w > 0.0:
                if P.late == ZOMBIE:
                    dead[P.dead + slot] += w
                else:
                    pools[p].q -= w
            pools[p].in_ring -= gone
            total += gone
            _fail(pools, edges, atts, line, e, k, gone, age * P.h, 0)
    if pools[p].in_ring < TINY:
        pools[p].in_ring = 0.0
    return total


@_inlined
def _outlook_of_callees(pools, edges, out_edge, p):
    """Success and waiting time that the callees add to a request of pool ``p`` (E9, E10)."""
    p_down = 1.0
    hold = 0.0
    blocked = 0.0
    done = 0.0
    for i in range(pools[p].out0, pools[p].out1):
        a = edges[out_edge[i]]
        if a.kind == ASYNCHRONOUS:
            continue
        hold += a.calls * a.latency
        blocked += a.held
        done += a.done_r
        if a.kind == REQUIRED and a.p_ok < 1.0:
            if a.calls <= 1.0:
                p_down *= 1.0 - a.calls * (1.0 - a.p_ok)
            else:
                p_down *= a.p_ok**a.calls
    return p_down, hold, blocked, done


@_inlined
def _budget(ctl, pools, edges, out_edge, p, noise):
    """Work that pool ``p`` can start in this step (E1, E11)."""
    P = pools[p]
    p_down, hold, blocked, done = _outlook_of_callees(pools, edges, out_edge, p)
    pools[p].p_down = p_down
    pools[p].hold = hold
    eff = min(P.rate, P.workers / (P.s + hold))
    if blocked > 0.0:
        free = (P.workers - blocked) / P.h + done
        eff = min(eff, max(0.0, free / max(1.0, P.sync_calls)))
    budget = eff * P.h
    if ctl[0].stochastic == 1 and budget > 0.0:
        budget = _draw(ctl, noise, budget)
    pools[p].eff = eff
    return budget


@_inlined
def _arrive(ctl, pools, edges, atts, in_edge, waiting, line, p, budget, noise):
    """First tries and retries join the newest cohort or are rejected (E2, E3, E4)."""
    P = pools[p]
    tick, tick_s = ctl[0].tick, ctl[0].tick_s
    base = P.ring + P.head * P.n_col
    total = 0.0
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        a = edges[e]
        first = a.issued + a.rate * (tick - a.issued_tick) * tick_s + a.work
        edges[e].work = 0.0
        if ctl[0].stochastic == 1 and a.kind == CLIENT and first > 0.0:
            first = _draw(ctl, noise, first)
        edges[e].issued = 0.0
        edges[e].issued_tick = tick
        edges[e].first += first
        edges[e].in_flight += first
        if a.budget == PER_FIRST_TRY:
            edges[e].tokens = min(a.bucket, a.tokens + a.ratio * first)
        if a.admit < 1.0:
            edges[e].x_failed += first * (1.0 - a.admit)
            first *= a.admit
        waiting[base + a.col] = first
        total += first
        slot = a.line + (P.count % a.n_line) * a.retries
        for k in range(a.retries):
            x = line[slot + k]
            line[slot + k] = 0.0
            att = a.att + k + 1
            if a.jitter == 1:
                atts[att].flow += x
                x = min(max(atts[att].flow, 0.0), atts[att].pending)
            if x > 0.0:
                atts[att].pending -= x
                atts[att].pending = max(atts[att].pending, 0.0)
            waiting[base + a.col + k + 1] = x
            total += x
    accept = 1.0
    room = max(0.0, P.room_max - P.q) + budget
    if total > room:
        accept = room / total
    pools[p].accept = accept
    rejected = 0.0
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        for k in range(edges[e].retries + 1):
            c = base + edges[e].col + k
            x = waiting[c]
            if x > 0.0:
                edges[e].attempts += x
                if accept < 1.0:
                    no = x * (1.0 - accept)
                    waiting[c] = x - no
                    rejected += no
                    _fail(pools, edges, atts, line, e, k, no, 0.0, 1)
    pools[p].q += total * accept
    pools[p].in_ring += total * accept
    return total, rejected


@_inlined
def _serve_slot(pools, edges, atts, in_edge, waiting, late, p, slot, age_s, frac):
    """Serve the share ``frac`` of a cohort (E12, E13); return (in time, alive served)."""
    P = pools[p]
    base = P.ring + slot * P.n_col
    s, hold, p_down = P.s, P.hold, P.p_down
    answered = 0.0
    alive = 0.0
    timeout = -1.0
    p_in_time = 0.0
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        if edges[e].timeout != timeout:  # callers with the same timeout share the same chance
            timeout = edges[e].timeout
            slack = timeout - age_s - hold
            if slack <= 0.0:
                p_in_time = 0.0
            elif P.deterministic == 1:
                p_in_time = 1.0 if slack >= s else 0.0
            elif slack > CERTAIN * s:
                p_in_time = 1.0
            else:
                p_in_time = -math.expm1(-slack / s)
        took = age_s + s + hold
        c = base + edges[e].col
        att = edges[e].att
        for k in range(edges[e].retries + 1):
            w = waiting[c + k]
            if w == 0.0:
                continue
            x = w if frac >= 1.0 else w * frac
            waiting[c + k] = w - x
            alive += x
            good = x * p_in_time
            ok = good * p_down
            late[c + k] += x - good
            edges[e].x_ok += ok
            edges[e].x_latency += ok * (atts[att + k].elapsed + took)
            if good > ok:
                atts[att + k].x_err += good - ok
                atts[att + k].x_err_age += (good - ok) * took
            answered += good
    pools[p].in_ring -= answered
    return answered * p_down, alive


@_inlined
def _discard(pools, edges, in_edge, waiting, late, p, slot, age_s):
    """Drop what can no longer be answered in time (E14); it fails at its timeout."""
    P = pools[p]
    base = P.ring + slot * P.n_col
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        if edges[e].timeout - age_s >= P.s + P.hold:
            continue
        for k in range(edges[e].retries + 1):
            c = base + edges[e].col + k
            if waiting[c] > 0.0:
                pools[p].q -= waiting[c]
                late[c] += waiting[c]
                waiting[c] = 0.0


@_inlined
def _slot_total(waiting, dead, P, slot):
    total = dead[P.dead + slot]
    base = P.ring + slot * P.n_col
    for c in range(base, base + P.n_col):
        total += waiting[c]
    return total


@_inlined
def _serve(pools, edges, atts, in_edge, waiting, late, dead, p, budget):
    """Spend the step's work on waiting attempts (E12); return (answered, served)."""
    P = pools[p]
    n = P.n_slot
    ok = served = wasted = 0.0
    left = budget
    if P.lifo == 0 and P.d_old > 0.0:
        x = min(left, P.d_old)
        pools[p].d_old = P.d_old - x
        pools[p].q -= x
        left -= x
        wasted += x
    oldest = min(P.oldest + 1, n - 1)
    age = 0 if P.lifo == 1 else oldest
    while left > TINY and pools[p].q > TINY:
        if age < 0 or age > oldest:
            break
        slot = P.head - age
        if slot < 0:
            slot += n
        if P.late == DEADLINE_AWARE:
            _discard(pools, edges, in_edge, waiting, late, p, slot, age * P.h)
        total = _slot_total(waiting, dead, P, slot)
        if total > 0.0:
            frac = min(1.0, left / total)
            good, alive = _serve_slot(
                pools, edges, atts, in_edge, waiting, late, p, slot, age * P.h, frac
            )
            gone = dead[P.dead + slot] * frac
            dead[P.dead + slot] -= gone
            ok += good
            served += alive
            wasted += gone
            left -= alive + gone
            pools[p].q -= alive + gone
            if frac < 1.0:
                break
        if P.lifo == 1:
            age += 1
        else:
            age -= 1
            oldest = max(age, 0)
    if P.lifo == 1 and left > TINY and pools[p].d_old > 0.0:
        x = min(left, pools[p].d_old)
        pools[p].d_old -= x
        pools[p].q -= x
        wasted += x
    pools[p].oldest = oldest
    if pools[p].q <= TINY:
        pools[p].oldest = 0
        if pools[p].in_ring <= TINY:
            pools[p].q = 0.0
    return ok, served + wasted


@_inlined
def _settle_edges(pools, edges, atts, in_edge, line, p):
    """Book outcomes of the step, schedule retries after callees' errors (E8, E15)."""
    P = pools[p]
    delay = round((P.s + P.hold) / P.h)
    errors = 0.0
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        for k in range(edges[e].retries + 1):
            att = edges[e].att + k
            x = atts[att].x_err
            if x > 0.0:
                errors += x
                _fail(pools, edges, atts, line, e, k, x, atts[att].x_err_age / x, max(1, delay))
                atts[att].x_err = 0.0
                atts[att].x_err_age = 0.0
        for att in range(edges[e].att + 1, edges[e].att + edges[e].retries + 1):
            again = atts[att].again
            if again > 0.0:
                if again > TINY:
                    atts[att].elapsed = atts[att].again_age / again
                atts[att].again = 0.0
                atts[att].again_age = 0.0
        ok, failed = edges[e].x_ok, edges[e].x_failed
        if edges[e].budget == PER_SUCCESS:
            edges[e].tokens = min(edges[e].bucket, edges[e].tokens + edges[e].ratio * ok)
        edges[e].ok += ok
        edges[e].failed += failed
        edges[e].in_flight -= ok + failed
        if edges[e].in_flight < TINY:
            edges[e].in_flight = 0.0
        done = ok + failed
        edges[e].done_new = done / P.h
        if done > TINY:
            edges[e].p_new = ok / done
            edges[e].latency_new = edges[e].x_latency / done
            edges[e].latency_sum += edges[e].x_latency
            edges[e].p_avg += P.forget * (ok / done - edges[e].p_avg)
            edges[e].latency_avg += P.forget * (edges[e].latency_new - edges[e].latency_avg)
            edges[e].share += P.smooth * (ok / done - edges[e].share)
        edges[e].x_ok = 0.0
        edges[e].x_failed = 0.0
        edges[e].x_latency = 0.0
    return errors


@_compiled
def _far(x, ref, scale):
    return abs(x - ref) > TOLERANCE * scale


@_compiled
def _is_calm(pools, edges, atts, in_edge, p):
    """Nothing waits, nothing will be retried: the pool remembers nothing."""
    P = pools[p]
    if P.q > TINY or P.in_ring > TINY:
        return False
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        for k in range(1, edges[e].retries + 1):
            if atts[edges[e].att + k].pending > TINY:
                return False
    return True


@_compiled
def _start_block(arrays, p, longer):
    """Note the counters from which the means of the next block are taken (step control)."""
    pools, edges, in_edge = arrays.pools, arrays.edges, arrays.in_edge
    P = pools[p]
    window = P.window
    if P.special == 1:
        window = max(window, arrays.pool_state[p].memory)
        special.note_state(arrays, p)
    if window == P.window and _is_calm(pools, edges, arrays.atts, in_edge, p):
        length = 2
    elif longer and P.block >= window:
        length = min(2 * P.block, LONGEST_BLOCK * window)
    else:
        length = window
    if P.block < window <= length:  # two calm steps tell nothing of a growth over a memory
        pools[p].known = 0
    pools[p].block = length
    pools[p].block_left = length
    pools[p].ring_sum = 0.0
    pools[p].b_offered = P.offered
    pools[p].b_served = P.served
    pools[p].b_ok = P.ok
    pools[p].b_bad = P.bad
    pools[p].b_d_old = P.d_old
    pools[p].p_low = pools[p].hold_low = math.inf
    pools[p].p_high = pools[p].hold_high = -math.inf
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        edges[e].rate_low = math.inf
        edges[e].rate_high = -math.inf
        edges[e].b_first = edges[e].first
        edges[e].b_ok = edges[e].ok
        edges[e].b_failed = edges[e].failed
        edges[e].b_attempts = edges[e].attempts
        edges[e].b_tokens = edges[e].tokens
        edges[e].b_latency = edges[e].latency_sum


@_compiled
def _note_inputs(pools, edges, in_edge, p):
    """Note between which values the inputs of the pool lie in the first half of a block."""
    P = pools[p]
    pools[p].p_low = min(P.p_low, P.p_down)
    pools[p].p_high = max(P.p_high, P.p_down)
    pools[p].hold_low = min(P.hold_low, P.hold)
    pools[p].hold_high = max(P.hold_high, P.hold)
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        edges[e].rate_low = min(edges[e].rate_low, edges[e].rate)
        edges[e].rate_high = max(edges[e].rate_high, edges[e].rate)


@_compiled
def _inputs_moved(pools, edges, in_edge, p):
    """Tell whether an input has left, since then, the range that it had in the first half.

    The means of a block cannot show a change that came at its end.
    """
    P = pools[p]
    if P.p_down < P.p_low - TOLERANCE or P.p_down > P.p_high + TOLERANCE:
        return True
    slack = LATENCY_TOLERANCE * max(P.hold, P.s)
    if P.hold < P.hold_low - slack or P.hold > P.hold_high + slack:
        return True
    slack = TOLERANCE * max(P.ref_offered, TINY)
    for i in range(P.in0, P.in1):
        a = edges[in_edge[i]]
        if a.rate < a.rate_low - slack or a.rate > a.rate_high + slack:
            return True
    return False


@_compiled
def _end_block(pools, p):
    """Compare the block's mean flows with the block before; True when nothing has changed."""
    P = pools[p]
    span = P.block * P.h
    offered = (P.offered - P.b_offered) / span
    served = (P.served - P.b_served) / span
    ok = (P.ok - P.b_ok) / span
    bad = (P.bad - P.b_bad) / span
    d_old = (P.d_old - P.b_d_old) / span
    ring = P.ring_sum / P.block
    scale = max(offered, P.ref_offered, 1e-6 * P.rate, TINY)
    same = P.known == 1 and not (
        _far(offered, P.ref_offered, scale)
        or _far(served, P.ref_served, scale)
        or _far(ok, P.ref_ok, scale)
        or _far(bad, P.ref_bad, scale)
        or _far(d_old, P.ref_d_old, scale)
        or _far(ring, P.ref_ring, max(scale * P.h, ring))
    )
    pools[p].known = 1
    pools[p].ref_offered = offered
    pools[p].ref_served = served
    pools[p].ref_ok = ok
    pools[p].ref_bad = bad
    pools[p].ref_d_old = d_old
    pools[p].ref_ring = ring
    return same


@_inlined
def _book_step(ctl, pools, edges, in_edge, p, offered, served, ok, bad):
    """Count what a step did, for samples and for step control."""
    P = pools[p]
    pools[p].offered += offered
    pools[p].served += served
    pools[p].ok += ok
    pools[p].bad += bad
    pools[p].offered_r = offered / P.h
    pools[p].served_r = served / P.h
    pools[p].ok_r = ok / P.h
    pools[p].bad_r = bad / P.h
    if ok + bad > TINY:
        pools[p].share += P.smooth * (ok / (ok + bad) - P.share)
    pools[p].done_tick = ctl[0].tick
    if ctl[0].adaptive == 1 and 2 * P.block_left > P.block:
        _note_inputs(pools, edges, in_edge, p)
    pools[p].ring_sum += P.q - P.d_old
    pools[p].block_left -= 1
    ctl[0].steps += 1


@_compiled
def _step(ctl, pools, edges, atts, in_edge, out_edge, waiting, late, dead, line, p, noise):
    """One step of pool ``p``, ending at the present tick."""
    P = pools[p]
    head = P.head + 1
    if head == P.n_slot:
        head = 0
    pools[p].head = head
    pools[p].count += 1
    old = dead[P.dead + head]
    if old > 0.0:
        dead[P.dead + head] = 0.0
        pools[p].d_old += old
    timed_out = 0.0
    if P.in_ring > 0.0:
        timed_out = _expire(pools, edges, atts, in_edge, waiting, late, dead, line, p)
    budget = _budget(ctl, pools, edges, out_edge, p, noise)
    offered, rejected = _arrive(ctl, pools, edges, atts, in_edge, waiting, line, p, budget, noise)
    ok = served = 0.0
    if pools[p].q > 0.0:
        ok, served = _serve(pools, edges, atts, in_edge, waiting, late, dead, p, budget)
    errors = _settle_edges(pools, edges, atts, in_edge, line, p)
    for i in range(P.out0, P.out1):
        e = out_edge[i]
        edges[e].rate_new = edges[e].calls * served / P.h
        edges[e].rate_avg += P.forget * (edges[e].rate_new - edges[e].rate_avg)
    _book_step(ctl, pools, edges, in_edge, p, offered, served, ok, timed_out + rejected + errors)


@_compiled
def _special_step(arrays, p):
    """One step of a pool with policies."""
    offered, served, ok, bad = special.step(arrays, p)
    _book_step(arrays.ctl, arrays.pools, arrays.edges, arrays.in_edge, p, offered, served, ok, bad)


@_compiled
def _sync(ctl, pools, edges, in_edge, p, tick):
    """Bring the counters of a sleeping pool up to the last of its steps not after ``tick``."""
    P = pools[p]
    to = tick - tick % P.h_ticks
    if to <= P.done_tick:
        return
    span = (to - P.done_tick) * ctl[0].tick_s
    pools[p].offered += P.offered_r * span
    pools[p].served += P.served_r * span
    pools[p].ok += P.ok_r * span
    pools[p].bad += P.bad_r * span
    if P.d_old_r != 0.0:
        drift = max(P.d_old_r * span, -P.d_old)
        pools[p].d_old += drift
        pools[p].q += drift
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        a = edges[e]
        edges[e].first += a.first_r * span
        edges[e].ok += a.ok_r * span
        edges[e].failed += a.failed_r * span
        edges[e].attempts += a.attempts_r * span
        edges[e].tokens = min(max(0.0, a.tokens + a.tokens_r * span), a.bucket)
        edges[e].issued = 0.0
        edges[e].issued_tick = to
    pools[p].done_tick = to


@_compiled
def _wake(arrays, p):
    """Make pool ``p`` step again from the present tick on."""
    ctl, pools = arrays.ctl, arrays.pools
    pools[p].known = 0
    if pools[p].awake == 1 or pools[p].remote == 1:
        return
    _sync(ctl, pools, arrays.edges, arrays.in_edge, p, ctl[0].tick)
    pools[p].awake = 1
    _start_block(arrays, p, False)
    ctl[0].stop |= 2


@_compiled
def _crossed(ctl, cross, code, below):
    k = ctl[0].n_cross
    if k < cross.shape[0]:
        cross[k, 0] = ctl[0].tick
        cross[k, 1] = code
        cross[k, 2] = below
        ctl[0].n_cross = k + 1
        ctl[0].stop |= 1


@_compiled
def _look(share, watch, is_below):
    """Return the new side of a watched share (E16): 1 below, 0 above."""
    if is_below == 0:
        return 1 if share < watch else 0
    return 0 if share >= watch + HYSTERESIS * (1.0 - watch) else 1


@_compiled
def _check_watches(ctl, pools, edges, in_edge, cross, p):
    n_edges = edges.shape[0]
    for i in range(pools[p].in0, pools[p].in1):
        e = in_edge[i]
        if edges[e].watch >= 0.0:
            side = _look(edges[e].share, edges[e].watch, edges[e].is_below)
            if side != edges[e].is_below:
                edges[e].is_below = side
                _crossed(ctl, cross, e, side)
    if pools[p].watch >= 0.0:
        side = _look(pools[p].share, pools[p].watch, pools[p].is_below)
        if side != pools[p].is_below:
            pools[p].is_below = side
            _crossed(ctl, cross, n_edges + p, side)


@_inlined
def _publish_calls(arrays, e, rate, felt):
    """Tell the callee of edge ``e`` the new rate of calls; ``felt`` decides whether to wake it."""
    ctl, pools, edges = arrays.ctl, arrays.pools, arrays.edges
    a = edges[e]
    if rate == a.rate:
        return
    if pools[a.callee].awake == 0:
        if not _far(felt, a.rate, max(pools[a.callee].offered_r, TINY)):
            return
        _wake(arrays, a.callee)
    tick = ctl[0].tick
    edges[e].issued += a.rate * (tick - a.issued_tick) * ctl[0].tick_s
    edges[e].issued_tick = tick
    edges[e].rate = rate


@_inlined
def _publish_outcome(arrays, e, p_ok, latency, felt_p, felt_latency):
    """Tell the caller of edge ``e`` how its calls end now."""
    pools, edges = arrays.pools, arrays.edges
    a = edges[e]
    if a.caller >= 0 and pools[a.caller].awake == 0 and a.kind != ASYNCHRONOUS:
        near = abs(felt_p - a.p_ok) <= TOLERANCE and (
            abs(felt_latency - a.latency) <= LATENCY_TOLERANCE * max(a.latency, pools[a.caller].s)
        )
        if near:
            return
        _wake(arrays, a.caller)
    edges[e].p_ok = p_ok
    edges[e].latency = latency
    edges[e].done_r = a.done_new


@_inlined
def _publish_held(arrays, e, held):
    """Tell the caller of edge ``e`` how many of its calls are under way: they hold its workers."""
    pools, edges = arrays.pools, arrays.edges
    edges[e].held = held
    caller = edges[e].caller
    if caller < 0 or pools[caller].awake == 1 or edges[e].kind == ASYNCHRONOUS:
        return
    if abs(held - edges[e].held_rest) > LATENCY_TOLERANCE * pools[caller].workers:
        _wake(arrays, caller)


@_inlined
def _publish(arrays, p):
    """Let callers and callees of pool ``p`` see the step (after all pools of the tick stepped)."""
    pools, edges, in_edge, out_edge = arrays.pools, arrays.edges, arrays.in_edge, arrays.out_edge
    P = pools[p]
    for i in range(P.out0, P.out1):
        e = out_edge[i]
        _publish_calls(arrays, e, edges[e].rate_new, edges[e].rate_avg)
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        a = edges[e]
        _publish_held(arrays, e, a.in_flight)
        _publish_outcome(arrays, e, a.p_new, a.latency_new, a.p_avg, a.latency_avg)
    _check_watches(arrays.ctl, pools, edges, in_edge, arrays.cross, p)


@_compiled
def _would_cross(pools, edges, in_edge, p, span):
    """Tell whether a smoothed share has still to cross its threshold to get to its mean.

    A sleeper's shares are at their means at once: an alarm would come too early.
    """
    P = pools[p]
    done = P.ref_ok + P.ref_bad
    if P.watch >= 0.0 and done > TINY and _look(P.ref_ok / done, P.watch, P.is_below) != P.is_below:
        return True
    for i in range(P.in0, P.in1):
        a = edges[in_edge[i]]
        ok = (a.ok - a.b_ok) / span
        done = ok + (a.failed - a.b_failed) / span
        if a.watch >= 0.0 and done > TINY and _look(ok / done, a.watch, a.is_below) != a.is_below:
            return True
    return False


@_compiled
def _fall_asleep(arrays, p):
    """Put a steady pool to sleep with the mean flows of its last block, still to be published.

    Returns False when a drift reaches a bound so soon that sleep does not pay, or a watched share
    is under way.
    """
    ctl, pools, edges = arrays.ctl, arrays.pools, arrays.edges
    in_edge, out_edge = arrays.in_edge, arrays.out_edge
    P = pools[p]
    span = P.block * P.h
    if _would_cross(pools, edges, in_edge, p, span):
        return False
    if P.special == 1 and special.state_moved(arrays, p):
        return False
    horizon = 1e18
    drift = P.ref_d_old
    if drift < 0.0:
        horizon = P.d_old / -drift - 2.0 * P.h
    elif drift > 0.0 and P.q < P.room_max and P.room_max < 1e300:
        horizon = (P.room_max - P.q) / drift - 2.0 * P.h
    for i in range(P.in0, P.in1):
        e = in_edge[i]
        a = edges[e]
        edges[e].tokens_r = (a.tokens - a.b_tokens) / span
        if a.budget > 0 and a.tokens_r < -TINY and a.tokens > 0.0:
            horizon = min(horizon, a.tokens / -a.tokens_r - 2.0 * P.h)
    if horizon < 2.0 * span:
        return False
    pools[p].awake = 0
    pools[p].wake_tick = FOREVER
    if horizon < 1e12:
        pools[p].wake_tick = P.done_tick + int(horizon / P.h) * P.h_ticks
    pools[p].offered_r = P.ref_offered
    pools[p].served_r = P.ref_served
    pools[p].ok_r = P.ref_ok
    pools[p].bad_r = P.ref_bad
    pools[p].d_old_r = drift
    if P.ref_ok + P.ref_bad > TINY:
        pools[p].share = P.ref_ok / (P.ref_ok + P.ref_bad)
    for i in range(P.out0, P.out1):
        e = out_edge[i]
        edges[e].held_rest = edges[e].held
        edges[e].rate_new = edges[e].rate_avg = edges[e].calls * P.ref_served
        if P.special == 1 and arrays.edge_policy[e].deadline == 1:
            alive = special.alive_served(arrays, p, span)
            edges[e].rate_new = edges[e].rate_avg = edges[e].calls * alive
    for i in range(P.in0, P.in1):
        _rest_edge(edges, in_edge[i], span)
    ctl[0].stop |= 2
    return True


@_compiled
def _rest_edge(edges, e, span):
    """Take over the block's means as the rates of a sleeping edge."""
    a = edges[e]
    first = (a.first - a.b_first) / span
    ok = (a.ok - a.b_ok) / span
    failed = (a.failed - a.b_failed) / span
    done = ok + failed
    if done > TINY:
        edges[e].share = ok / done
        edges[e].p_new = ok / done
        edges[e].latency_new = (a.latency_sum - a.b_latency) / span / done
        edges[e].p_avg = edges[e].p_new
        edges[e].latency_avg = edges[e].latency_new
    edges[e].done_new = done
    edges[e].first_r = first
    edges[e].attempts_r = (a.attempts - a.b_attempts) / span
    if ok >= failed:  # what is in flight stays as it is
        edges[e].ok_r = first - failed
        edges[e].failed_r = failed
    else:
        edges[e].ok_r = ok
        edges[e].failed_r = first - ok


@_compiled
def _list_awake(ctl, pools, awake):
    """Rebuild the sorted list of awake pools, the stride and the next wake-up."""
    n = 0
    stride = FOREVER
    soonest = FOREVER
    for p in range(pools.shape[0]):
        if pools[p].awake == 1:
            awake[n] = p
            n += 1
            stride = min(stride, pools[p].h_ticks)
        else:
            soonest = min(soonest, pools[p].wake_tick)
    ctl[0].n_awake = n
    ctl[0].stride = stride
    ctl[0].min_wake = soonest


@_compiled
def _sample(ctl, pools, edges, in_edge, out_edge, dead, pool_rows, edge_rows):
    """Write one row of means since the last sample."""
    row = ctl[0].n_samples
    span = ctl[0].sample_ticks * ctl[0].tick_s
    for p in range(pools.shape[0]):
        if pools[p].awake == 0:
            _sync(ctl, pools, edges, in_edge, p, ctl[0].tick)
        P = pools[p]
        good, bad = P.ok - P.m_ok, P.bad - P.m_bad
        _, _, blocked, _ = _outlook_of_callees(pools, edges, out_edge, p)
        stale = P.d_old
        if P.q > TINY:
            for slot in range(P.n_slot):
                stale += dead[P.dead + slot]
        pool_rows[row, p, 0] = (P.offered - P.m_offered) / span
        pool_rows[row, p, 1] = (P.served - P.m_served) / span
        pool_rows[row, p, 2] = good / (good + bad) if good + bad > TINY else P.share
        pool_rows[row, p, 3] = P.q
        pool_rows[row, p, 4] = stale
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
    ctl[0].next_sample += ctl[0].sample_ticks


@_compiled
def _sleep_steady(arrays):
    """Put to sleep the pools whose mean flows have not changed from block to block (E18).

    Between the steps of a tick and their publication: what a neighbour publishes now wakes the
    sleeper, instead of being taken for what it fell asleep with.
    """
    ctl, pools, edges, awake = arrays.ctl, arrays.pools, arrays.edges, arrays.awake
    for i in range(ctl[0].n_awake):
        p = awake[i]
        if pools[p].block_left > 0 or ctl[0].tick != pools[p].done_tick:
            continue
        if pools[p].restless == 1:  # what a remote caller sends is no rate that sleep could keep
            _start_block(arrays, p, False)
            continue
        same = _end_block(pools, p) and not _inputs_moved(pools, edges, arrays.in_edge, p)
        if same and _fall_asleep(arrays, p):
            continue
        _start_block(arrays, p, not same)


@_compiled
def advance(arrays, target, pool_rows, edge_rows):
    """Go to tick ``target``; stop early at a crossing or when a buffer must be seen to.

    That is after the tick of the first crossing, when samples are full, or when a tick might need
    more random numbers than are left.

    Returns True when ``target`` was reached.
    """
    ctl, pools, edges, atts, in_edge, out_edge = (
        arrays.ctl,
        arrays.pools,
        arrays.edges,
        arrays.atts,
        arrays.in_edge,
        arrays.out_edge,
    )
    waiting, late, dead, line, awake, noise = (
        arrays.waiting,
        arrays.late,
        arrays.dead,
        arrays.line,
        arrays.awake,
        arrays.noise,
    )
    draws_max = pools.shape[0] + edges.shape[0]
    while True:
        if ctl[0].stop & 2:
            _list_awake(
                ctl,
                pools,
                awake,
            )
            ctl[0].stop &= ~2
        if ctl[0].read_cross < ctl[0].n_cross:
            return False
        if ctl[0].n_samples >= ctl[0].sample_max:
            return False
        if ctl[0].stochastic == 1 and noise.shape[0] - ctl[0].noise_next < draws_max:
            return False
        tick = ctl[0].tick
        nxt = min(target, ctl[0].next_sample, ctl[0].min_wake)
        if ctl[0].n_awake > 0:
            nxt = min(nxt, (tick // ctl[0].stride + 1) * ctl[0].stride)
        if tick >= target:
            return True
        ctl[0].tick = nxt
        n = ctl[0].n_awake
        for i in range(n):
            if nxt & (pools[awake[i]].h_ticks - 1) != 0:  # not due; steps are powers of two
                continue
            if pools[awake[i]].special == 1:
                _special_step(arrays, awake[i])
            else:
                _step(
                    ctl,
                    pools,
                    edges,
                    atts,
                    in_edge,
                    out_edge,
                    waiting,
                    late,
                    dead,
                    line,
                    awake[i],
                    noise,
                )
        if ctl[0].adaptive == 1:
            _sleep_steady(arrays)
        for i in range(n):
            if nxt & (pools[awake[i]].h_ticks - 1) == 0:  # due; steps are powers of two
                _publish(arrays, awake[i])
        if ctl[0].min_wake <= nxt:
            for p in range(pools.shape[0]):
                if pools[p].awake == 0 and pools[p].wake_tick <= nxt:
                    _wake(arrays, p)
        if nxt == ctl[0].next_sample:
            _sample(ctl, pools, edges, in_edge, out_edge, dead, pool_rows, edge_rows)


@_compiled
def touch_pool(arrays, p):
    """Wake a pool that the engine changed, unless it stays calm all the same (step control)."""
    pools = arrays.pools
    P = pools[p]
    calm = P.q <= TINY and P.in_ring <= TINY and P.accept >= 1.0
    if P.awake == 0 and calm and P.special == 0:
        eff = min(P.rate, P.workers / (P.s + P.hold))
        if P.offered_r < 0.98 * eff:
            pools[p].eff = eff
            return
    _wake(arrays, p)


@_compiled
def touch_edge(arrays, e, rate, admit, inject):
    """Set an edge's first-try rate and admission, add injected requests; wake its pool."""
    ctl, pools, edges = arrays.ctl, arrays.pools, arrays.edges
    a = edges[e]
    P = pools[a.callee]
    edges[e].work += inject
    if inject > 0.0 and P.awake == 0 and a.work < SMALL_WORK * P.offered_r * P.window * P.h:
        return
    _wake(arrays, a.callee)
    tick = ctl[0].tick
    edges[e].issued += a.rate * (tick - a.issued_tick) * ctl[0].tick_s
    edges[e].issued_tick = tick
    edges[e].rate = rate
    edges[e].admit = admit


@_compiled
def tell_outcome(arrays, e, p_ok, latency, done_r, held):
    """Say how calls to a remote pool end now (R14)."""
    edges = arrays.edges
    _publish_held(arrays, e, held)
    edges[e].done_new = done_r
    _publish_outcome(arrays, e, p_ok, latency, p_ok, latency)


@_compiled
def settle_counters(arrays):
    """Bring all sleeping pools' counters up to the present tick."""
    ctl, pools, edges, in_edge = arrays.ctl, arrays.pools, arrays.edges, arrays.in_edge
    for p in range(pools.shape[0]):
        if pools[p].awake == 0:
            _sync(ctl, pools, edges, in_edge, p, ctl[0].tick)


@_compiled
def count_in_flight(arrays, out):
    """Write into ``out`` (E,) the attempts really present: waiting, late and in delay lines."""
    pools, edges, atts, waiting, late = (
        arrays.pools,
        arrays.edges,
        arrays.atts,
        arrays.waiting,
        arrays.late,
    )
    for e in range(edges.shape[0]):
        a = edges[e]
        P = pools[a.callee]
        total = 0.0
        for slot in range(P.n_slot):
            base = P.ring + slot * P.n_col + a.col
            for k in range(a.retries + 1):
                total += waiting[base + k] + late[base + k]
        for k in range(1, a.retries + 1):
            total += atts[a.att + k].pending
        out[e] = total
