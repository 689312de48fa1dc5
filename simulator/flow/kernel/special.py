"""Step of a pool that has policies, or whose callers have (E27 to E41), in the compiled flow.

The same steps as in :mod:`simulator.flow.kernel.loop`, in the same order, with the decisions of
:mod:`simulator.flow.kernel.policies` between them. Pools without policies never come here.
"""

from __future__ import annotations

from simulator.compiled import compiled, inlined
from simulator.flow.kernel.policies import (
    adapt_limit,
    book_ended,
    breaker_share,
    bulkhead_share,
    callees,
    class_of,
    class_room,
    fail,
    in_service_after,
    judge,
    rate_share,
    roll_windows,
    slowdown,
    throttled_share,
    wait_over,
)
from simulator.flow.kernel.words import (
    ACCEPTS,
    CERTAIN,
    CLIENT,
    DEADLINE_AWARE,
    DEPOSITS,
    MOVED,
    TINY,
    ZOMBIE,
    draw,
)
from simulator.policies import cache, discipline, service_time
from simulator.policies.base import SLICES
from simulator.policies.circuit_breaker import CLOSED
from simulator.policies.discipline import ADAPTIVE_LIFO, CODEL, LIFO, PRIORITY
from simulator.policies.load_shedding import CLASSES
from simulator.policies.retry import PER_FIRST_TRY, PER_SUCCESS, THROTTLE, WINDOWED
from simulator.policies.service_time import EXPONENTIAL

WAITING, UNANSWERED, HEDGED, LET_IN = range(4)
ALL = -1
"""Serve every class."""
_ends_within = inlined(service_time.ends_within)
_filling = inlined(cache.filling)
_codel_age = inlined(discipline.codel_age)
_serves_youngest = inlined(discipline.serves_youngest)


@inlined
def _in_time(pp, p, s, slack):
    """Chance that a service which starts now ends within ``slack`` (E13)."""
    if slack <= 0.0:
        return 0.0
    if pp[p].service_kind == EXPONENTIAL and slack > CERTAIN * s:
        return 1.0
    return _ends_within(pp[p].service_kind, s, pp[p].service_a, pp[p].service_b, slack)


@inlined
def _slot_of(P, age):
    """Return the place of the cohort of an age in steps."""
    slot = P.head - age
    return slot + P.n_slot if slot < 0 else slot


@inlined
def _expire_copies(A, p, e):
    """Let copies of attempts that time out now wait on as dead work, or leave (E43)."""
    P = A.pools[p]
    slot = _slot_of(P, A.edges[e].n_age - A.edge_state[e].hedge_steps)
    base = P.ring + slot * P.n_col + A.edges[e].col
    for k in range(A.edges[e].retries + 1):
        x = A.copies[base + k, WAITING]
        A.copies[base + k, WAITING] = 0.0
        if P.late == ZOMBIE:
            A.dead[P.dead + slot] += x
            A.dead_class[P.dead + slot, class_of(A.edge_policy, e)] += x
        else:
            A.pools[p].q -= x


@inlined
def _hedge(A, p, e, base):
    """Send a copy of what is unanswered at the age of hedging (E43); return the amount."""
    P, n = A.pools[p], A.edge_state[e].hedge_steps
    old = P.ring + _slot_of(P, n) * P.n_col + A.edges[e].col
    new = base + A.edges[e].col
    total = 0.0
    for k in range(A.edges[e].retries + 1):
        x = A.waiting[old + k] + A.late[old + k] + A.copies[old + k, UNANSWERED]
        A.copies[new + k, WAITING] = x
        A.copies[new + k, HEDGED] = x
        A.copies[new + k, LET_IN] = 1.0
        total += x
    return total


@inlined
def _let_copies(A, e, base, share, sent):
    """Keep this share of the newest copies; return (kept, refused). ``sent``: by the caller."""
    kept = refused = 0.0
    for k in range(A.edges[e].retries + 1):
        c = base + A.edges[e].col + k
        x = A.copies[c, WAITING]
        A.copies[c, WAITING] = x * share
        A.copies[c, LET_IN] *= share
        kept += x * share
        refused += x * (1.0 - share)
        if sent == 1:
            A.edges[e].attempts += x
    return kept, refused


@inlined
def _serve_copies(A, p, e, slot, age_s, frac, p_in_time):
    """Serve a share of a cohort's copies (E43); return (answered, served)."""
    pools, edges, atts = A.pools, A.edges, A.atts
    P, n = pools[p], A.edge_state[e].hedge_steps
    c = P.ring + slot * P.n_col + edges[e].col
    old = slot - n
    if old < 0:
        old += P.n_slot
    o = P.ring + old * P.n_col + edges[e].col
    took = age_s + n * P.h + A.pool_state[p].s + P.hold
    ok = served = 0.0
    for k in range(edges[e].retries + 1):
        x = A.copies[c + k, WAITING] * frac
        if x <= 0.0:
            continue
        A.copies[c + k, WAITING] -= x
        served += x
        part = min(1.0, x / A.copies[c + k, HEDGED]) * p_in_time * P.p_down
        from_late = A.late[o + k] * part
        A.late[o + k] -= from_late
        from_queue = A.waiting[o + k] * part
        A.waiting[o + k] -= from_queue
        if P.late == ZOMBIE:
            A.dead[P.dead + old] += from_queue
            A.dead_class[P.dead + old, class_of(A.edge_policy, e)] += from_queue
        else:
            pools[p].q -= from_queue
        saved = from_late + from_queue
        edges[e].x_ok += saved
        edges[e].x_latency += saved * (atts[edges[e].att + k].elapsed + took)
        ok += saved
    pools[p].in_ring -= ok
    return ok, served


@inlined
def _cancel_copies(A, p, e, slot, age):
    """Where late work is cancelled: drop copies whose originals are answered (E43)."""
    P, n = A.pools[p], A.edge_state[e].hedge_steps
    c = P.ring + slot * P.n_col + A.edges[e].col
    old = slot - n
    if old < 0:
        old += P.n_slot
    o = P.ring + old * P.n_col + A.edges[e].col
    hopeless = P.late == DEADLINE_AWARE and (
        A.edges[e].timeout - (age + n) * P.h < A.pool_state[p].s + P.hold
    )
    for k in range(A.edges[e].retries + 1):
        x = A.copies[c + k, WAITING]
        most = 0.0 if hopeless else x
        if age > 0:
            most = min(most, A.copies[c + k, LET_IN] * (A.waiting[o + k] + A.late[o + k]))
        A.copies[c + k, WAITING] = most
        A.pools[p].q -= x - most


@compiled
def _expire(A, p):
    """Time out what has waited its timeout (E5); return the amount."""
    pools, edges = A.pools, A.edges
    P = pools[p]
    now = P.count * P.h
    total = 0.0
    for i in range(P.in0, P.in1):
        e = A.in_edge[i]
        age = edges[e].n_age
        slot = P.head - age
        if slot < 0:
            slot += P.n_slot
        base = P.ring + slot * P.n_col + edges[e].col
        for k in range(edges[e].retries + 1):
            w = A.waiting[base + k]
            gone = w + A.late[base + k]
            if gone == 0.0:
                continue
            A.waiting[base + k] = 0.0
            A.late[base + k] = 0.0
            if w > 0.0:
                if P.late == ZOMBIE:
                    A.dead[P.dead + slot] += w
                    A.dead_class[P.dead + slot, class_of(A.edge_policy, e)] += w
                else:
                    pools[p].q -= w
            pools[p].in_ring -= gone
            total += gone
            book_ended(A.slices, A.edge_state, A.edge_policy, e, P.h, now, 0.0, gone, age * P.h)
            fail(
                pools, edges, A.atts, A.line, A.edge_policy, A.edge_state, A.slices, A.low,
                e, k, gone, age * P.h, 0,
            )  # fmt: skip
        if A.edge_state[e].hedge_steps > 0:
            _expire_copies(A, p, e)
    if pools[p].in_ring < TINY:
        pools[p].in_ring = 0.0
    return total


@inlined
def _budget(A, p):
    """Work that pool ``p`` can start in this step (E1, E11, E33, E36, E37, E39)."""
    ctl, pools, ps = A.ctl, A.pools, A.pool_state
    P = pools[p]
    p_down, hold, blocked, done, work = callees(pools, A.edges, A.out_edge, A.edge_policy, p)
    factor = slowdown(pools, ps, A.pool_policy, p)
    s = P.s * factor
    hold += s * work
    ps[p].s = s
    pools[p].p_down = p_down
    pools[p].hold = hold
    eff = min(P.rate / (factor * (1.0 + work)), P.workers / (s + hold))
    if blocked > 0.0:
        free = (P.workers - blocked) / P.h + done
        eff = min(eff, max(0.0, free / max(1.0, P.sync_calls)))
    budget = eff * P.h
    if ctl[0].stochastic == 1 and budget > 0.0:
        budget = draw(ctl, A.noise, budget)
    pools[p].eff = eff
    paid = min(budget, ps[p].debt)
    ps[p].debt -= paid
    return budget - paid


@inlined
def _first_tries(A, e):
    """First tries of an edge that are to go out (E2, E42)."""
    ctl, edges = A.ctl, A.edges
    a = edges[e]
    tick = ctl[0].tick
    first = a.issued + a.rate * (tick - a.issued_tick) * ctl[0].tick_s + a.work
    edges[e].work = 0.0
    if ctl[0].stochastic == 1 and a.kind == CLIENT and first > 0.0:
        first = draw(ctl, A.noise, first)
    edges[e].issued = 0.0
    edges[e].issued_tick = tick
    edges[e].first += first
    edges[e].in_flight += first
    if A.edge_policy[e].cache == 1:
        hits = first * A.edge_state[e].hit
        edges[e].x_ok += hits
        A.edge_state[e].hits = hits
        first -= hits
    if a.budget == PER_FIRST_TRY:
        edges[e].tokens = min(a.bucket, a.tokens + a.ratio * first)
    elif a.budget == WINDOWED:
        A.slices[e, DEPOSITS, A.edge_state[e].budget_slice % SLICES] += first
    if a.admit < 1.0:
        edges[e].x_failed += first * (1.0 - a.admit)
        first *= a.admit
    return first


@inlined
def _wanted(A, p, e, base):
    """Put first tries and the retries that are due into the newest cohort (E2, E3)."""
    a = A.edges[e]
    first = _first_tries(A, e)
    A.waiting[base + a.col] = first
    wanted = first
    slot = a.line + (A.pools[p].count % a.n_line) * a.retries
    for k in range(a.retries):
        x = A.line[slot + k]
        A.line[slot + k] = 0.0
        att = a.att + k + 1
        if a.jitter != 0:
            A.atts[att].flow += x
            x = min(max(A.atts[att].flow, 0.0), A.atts[att].pending)
        if x > 0.0:
            A.atts[att].pending = max(A.atts[att].pending - x, 0.0)
        A.waiting[base + a.col + k + 1] = x
        wanted += x
    if A.edge_state[e].hedge_steps > 0:
        wanted += _hedge(A, p, e, base)
    return wanted


@inlined
def _ask_caller(A, p, e, base, wanted, budget):
    """Let the caller's own policies refuse (E30 to E32); return what goes out.

    Throttling, bulkhead, breaker; what the bulkhead refuses may be retried.
    """
    pools, edges, es, ep = A.pools, A.edges, A.edge_state, A.edge_policy
    by_throttling = throttled_share(A.slices, es, ep, e, wanted)
    out = wanted * by_throttling
    by_bulkhead = 1.0
    if ep[e].bulkhead > 0:
        by_bulkhead = bulkhead_share(
            pools, edges, A.waiting, A.late, A.copies, ep, es, e, p, A.pool_state[p].s, out, budget
        )
        out *= by_bulkhead
    by_breaker = breaker_share(es, ep, e, out)
    for k in range(edges[e].retries + 1):
        c = base + edges[e].col + k
        x = A.waiting[c]
        if x <= 0.0:
            continue
        lost = x * (1.0 - by_throttling)
        x -= lost
        if by_bulkhead < 1.0:
            no = x * (1.0 - by_bulkhead)
            fail(pools, edges, A.atts, A.line, ep, es, A.slices, A.low, e, k, no, 0.0, 1)
            x -= no
        lost += x * (1.0 - by_breaker)
        x *= by_breaker
        if lost > 0.0:
            edges[e].x_failed += lost
            edges[e].x_latency += lost * A.atts[edges[e].att + k].elapsed
        A.waiting[c] = x
    if es[e].hedge_steps > 0:
        _let_copies(A, e, base, by_throttling * by_bulkhead * by_breaker, 0)
    return out * by_breaker


@inlined
def _ask_callee(A, p, total, budget):
    """Set the share of each class that the pool lets in (E4, E34, E35, E38)."""
    pools, ps, pp = A.pools, A.pool_state, A.pool_policy
    P = pools[p]
    base = P.ring + P.head * P.n_col
    by_rate = rate_share(ps, pp, p, P.h, total)
    entered = 0.0
    n_class = CLASSES if pp[p].shedding == 1 else 1
    for c in range(n_class):
        amount = 0.0
        if n_class == 1:
            amount = total
        else:
            for i in range(P.in0, P.in1):
                e = A.in_edge[i]
                if class_of(A.edge_policy, e) == c:
                    for k in range(A.edges[e].retries + 1):
                        amount += A.waiting[base + A.edges[e].col + k]
                        if A.edge_state[e].hedge_steps > 0:
                            amount += A.copies[base + A.edges[e].col + k, WAITING]
        amount *= by_rate
        room = max(0.0, class_room(pools, ps, pp, p, c, budget) - entered)
        share = room / amount if amount > room else 1.0
        entered += amount * share
        share *= by_rate
        if c == 0:
            ps[p].let_0 = share
        elif c == 1:
            ps[p].let_1 = share
        elif c == 2:
            ps[p].let_2 = share
        else:
            ps[p].let_3 = share


@inlined
def _let(ps, pp, p, c):
    """Return the share of a class that is let in."""
    if pp[p].shedding == 0 or c == 0:
        return ps[p].let_0
    if c == 1:
        return ps[p].let_1
    return ps[p].let_2 if c == 2 else ps[p].let_3


@compiled
def _arrive(A, p, budget):
    """First tries and retries join the newest cohort or are refused; return (offered, rejected)."""
    pools, edges, ep = A.pools, A.edges, A.edge_policy
    P = pools[p]
    now = P.count * P.h
    base = P.ring + P.head * P.n_col
    total = 0.0
    for i in range(P.in0, P.in1):
        e = A.in_edge[i]
        wanted = _wanted(A, p, e, base)
        if ep[e].special == 1:
            wanted = _ask_caller(A, p, e, base, wanted, budget)
        total += wanted
    _ask_callee(A, p, total, budget)
    rejected = copies = 0.0
    for i in range(P.in0, P.in1):
        e = A.in_edge[i]
        share = _let(A.pool_state, A.pool_policy, p, class_of(ep, e))
        for k in range(edges[e].retries + 1):
            c = base + edges[e].col + k
            x = A.waiting[c]
            if x > 0.0:
                edges[e].attempts += x
                if share < 1.0:
                    no = x * (1.0 - share)
                    A.waiting[c] = x - no
                    rejected += no
                    book_ended(A.slices, A.edge_state, ep, e, P.h, now, 0.0, no, 0.0)
                    fail(
                        pools, edges, A.atts, A.line, ep, A.edge_state, A.slices, A.low,
                        e, k, no, 0.0, 1,
                    )  # fmt: skip
        if A.edge_state[e].hedge_steps > 0:
            kept, no = _let_copies(A, e, base, share, 1)
            copies += kept
            rejected += no
    pools[p].accept = (total - rejected) / total if rejected > 0.0 else 1.0
    pools[p].q += total - rejected
    pools[p].in_ring += total - rejected - copies
    return total, rejected


@inlined
def _serve_slot(A, p, slot, age_s, frac, only):
    """Serve the share ``frac`` of a cohort (E12, E13); return (in time, alive served)."""
    pools, edges, atts = A.pools, A.edges, A.atts
    P = pools[p]
    now = P.count * P.h
    base = P.ring + slot * P.n_col
    s, hold, p_down = A.pool_state[p].s, P.hold, P.p_down
    took = age_s + s + hold
    answered = rescued = 0.0
    alive = 0.0
    for i in range(P.in0, P.in1):
        e = A.in_edge[i]
        if only not in (ALL, class_of(A.edge_policy, e)):
            continue
        p_in_time = _in_time(A.pool_policy, p, s, edges[e].timeout - age_s - hold)
        c = base + edges[e].col
        att = edges[e].att
        good_e = early = 0.0
        if A.edge_state[e].hedge_steps > 0 and p_in_time > 0.0:
            slack = A.edge_state[e].hedge_steps * P.h - age_s  # answered later than copies are sent
            if slack > 0.0:
                early = 1.0 - _in_time(A.pool_policy, p, s, slack - hold) / p_in_time
        for k in range(edges[e].retries + 1):
            w = A.waiting[c + k]
            if w == 0.0:
                continue
            x = w if frac >= 1.0 else w * frac
            A.waiting[c + k] = w - x
            alive += x
            good = x * p_in_time
            ok = good * p_down
            A.late[c + k] += x - good
            if early > 0.0:
                A.copies[c + k, UNANSWERED] += ok * early
            edges[e].x_ok += ok
            edges[e].x_latency += ok * (atts[att + k].elapsed + took)
            if good > ok:
                atts[att + k].x_err += good - ok
                atts[att + k].x_err_age += (good - ok) * took
            good_e += good
        if A.edge_state[e].hedge_steps > 0:
            n = A.edge_state[e].hedge_steps
            p_in_time = _in_time(A.pool_policy, p, s, edges[e].timeout - age_s - n * P.h - hold)
            saved, x = _serve_copies(A, p, e, slot, age_s, frac, p_in_time)
            rescued += saved
            alive += x
            A.edge_state[e].started += x * p_in_time
            book_ended(A.slices, A.edge_state, A.edge_policy, e, P.h, now, saved, 0.0, age_s)
        if good_e > 0.0:
            A.edge_state[e].started += good_e
            ok = good_e * p_down
            book_ended(A.slices, A.edge_state, A.edge_policy, e, P.h, now, ok, good_e - ok, age_s)
            answered += good_e
    pools[p].in_ring -= answered
    return answered * p_down + rescued, alive


@inlined
def _discard(A, p, slot, age_s, only):
    """Drop what can no longer be answered in time (E14); it fails at its timeout."""
    pools, edges = A.pools, A.edges
    P = pools[p]
    base = P.ring + slot * P.n_col
    for i in range(P.in0, P.in1):
        e = A.in_edge[i]
        if edges[e].timeout - age_s >= A.pool_state[p].s + P.hold:
            continue
        if only not in (ALL, class_of(A.edge_policy, e)):
            continue
        for k in range(edges[e].retries + 1):
            c = base + edges[e].col + k
            if A.waiting[c] > 0.0:
                pools[p].q -= A.waiting[c]
                A.late[c] += A.waiting[c]
                A.waiting[c] = 0.0


@inlined
def _slot_total(A, p, slot, only):
    """Return (dead, all) of a cohort, of one class or of all."""
    P = A.pools[p]
    base = P.ring + slot * P.n_col
    gone = A.dead[P.dead + slot] if only == ALL else A.dead_class[P.dead + slot, only]
    total = gone
    if only == ALL:
        for c in range(base, base + P.n_col):
            total += A.waiting[c]
            if A.pool_state[p].hedged == 1:
                total += A.copies[c, WAITING]
        return gone, total
    for i in range(P.in0, P.in1):
        e = A.in_edge[i]
        if class_of(A.edge_policy, e) == only:
            for k in range(A.edges[e].retries + 1):
                total += A.waiting[base + A.edges[e].col + k]
                if A.edge_state[e].hedge_steps > 0:
                    total += A.copies[base + A.edges[e].col + k, WAITING]
    return gone, total


@inlined
def _bury(A, row, gone, only):
    """Take dead work out of a cohort's classes: of one class, or of all in their shares."""
    if only != ALL:
        A.dead_class[row, only] = max(0.0, A.dead_class[row, only] - gone)
        return
    total = 0.0
    for c in range(CLASSES):
        total += A.dead_class[row, c]
    keep = 1.0 - min(1.0, gone / total) if total > 0.0 else 0.0
    for c in range(CLASSES):
        A.dead_class[row, c] *= keep


@inlined
def _serve_dead(A, p, left, only):
    """Work on what is older than every timeout; return the amount."""
    pools = A.pools
    row = A.dead.shape[0] + p
    x = min(left, pools[p].d_old if only == ALL else min(pools[p].d_old, A.dead_class[row, only]))
    pools[p].d_old -= x
    pools[p].q -= x
    _bury(A, row, x, only)
    return x


@inlined
def _count_answers(A, p, age_s, alive, gone):
    """Tell answers within the target of an adaptive limit from later ones (E35)."""
    if A.pool_policy[p].limit_adaptive == 0:
        return
    P = A.pools[p]
    slack = A.pool_policy[p].limit_target - age_s - P.hold
    fast = _in_time(A.pool_policy, p, A.pool_state[p].s, slack)
    answers = (alive + gone) * P.p_down
    A.pool_state[p].fast_x += answers * fast
    A.pool_state[p].slow_x += answers * (1.0 - fast)


@compiled
def _pass(A, p, left, youngest, only):
    """Spend work on waiting attempts in one order (E12); return (answered, alive, dead)."""
    pools = A.pools
    P = pools[p]
    n = P.n_slot
    ok = served = wasted = 0.0
    if not youngest and left > TINY:
        wasted = _serve_dead(A, p, left, only)
        left -= wasted
        _count_answers(A, p, n * P.h, 0.0, wasted)
    for i in range(n):
        if left <= TINY or pools[p].q <= TINY:
            break
        age = i if youngest else n - 1 - i
        slot = P.head - age
        if slot < 0:
            slot += n
        if P.late == DEADLINE_AWARE:
            _discard(A, p, slot, age * P.h, only)
        if P.late != ZOMBIE and A.pool_state[p].hedged == 1:
            for j in range(P.in0, P.in1):
                e = A.in_edge[j]
                if A.edge_state[e].hedge_steps > 0:
                    _cancel_copies(A, p, e, slot, age)
        dead, total = _slot_total(A, p, slot, only)
        if total > 0.0:
            frac = min(1.0, left / total)
            good, alive = _serve_slot(A, p, slot, age * P.h, frac, only)
            gone = dead * frac
            A.dead[P.dead + slot] -= gone
            if gone > 0.0:
                _bury(A, P.dead + slot, gone, only)
            _count_answers(A, p, age * P.h, alive, gone)
            ok += good
            served += alive
            wasted += gone
            left -= alive + gone
            pools[p].q -= alive + gone
    if youngest and left > TINY and pools[p].d_old > 0.0:
        gone = _serve_dead(A, p, left, only)
        _count_answers(A, p, n * P.h, 0.0, gone)
        wasted += gone
    return ok, served, wasted


@inlined
def _drop(A, p, oldest):
    """Drop what is older than CoDel serves (E41); return (alive, all) dropped."""
    pools, edges = A.pools, A.edges
    P = pools[p]
    now = P.count * P.h
    dropped = 0.0
    gone = P.d_old
    pools[p].d_old = 0.0
    for age in range(1, P.n_slot):
        if age * P.h <= oldest + TINY:
            continue
        slot = P.head - age
        if slot < 0:
            slot += P.n_slot
        gone += A.dead[P.dead + slot]
        A.dead[P.dead + slot] = 0.0
        base = P.ring + slot * P.n_col
        for i in range(P.in0, P.in1):
            e = A.in_edge[i]
            for k in range(edges[e].retries + 1):
                if A.edge_state[e].hedge_steps > 0:
                    gone += A.copies[base + edges[e].col + k, WAITING]
                    A.copies[base + edges[e].col + k, WAITING] = 0.0
                x = A.waiting[base + edges[e].col + k]
                if x > 0.0:
                    A.waiting[base + edges[e].col + k] = 0.0
                    dropped += x
                    book_ended(
                        A.slices, A.edge_state, A.edge_policy, e, P.h, now, 0.0, x, age * P.h
                    )
                    fail(
                        pools, edges, A.atts, A.line, A.edge_policy, A.edge_state, A.slices,
                        A.low, e, k, x, age * P.h, 1,
                    )  # fmt: skip
    pools[p].q -= dropped + gone
    pools[p].in_ring -= dropped
    return dropped, dropped + gone


@compiled
def _serve(A, p, budget):
    """Spend the step's work as the discipline says; return (answered, alive, dead, dropped)."""
    pools, pp = A.pools, A.pool_policy
    ok = alive = gone = dropped = 0.0
    kind = A.discipline[p]
    if kind == PRIORITY:
        left = budget
        for c in range(CLASSES):
            x, y, z = _pass(A, p, left, False, c)
            ok += x
            alive += y
            gone += z
            left -= y + z
        return ok, alive, gone, dropped
    if kind == CODEL and budget > TINY:
        now = pools[p].count * pools[p].h - TINY  # a tie is within the interval
        oldest = _codel_age(now, A.pool_state[p].empty, pp[p].codel_interval, pp[p].codel_target)
        dropped, _ = _drop(A, p, oldest)
    part = 0.0
    if _serves_youngest(kind, pools[p].q, pp[p].lifo_above):
        part = budget if kind == LIFO else min(budget, pools[p].q - pp[p].lifo_above)
        ok, alive, gone = _pass(A, p, part, True, ALL)
    if part < budget:
        x, y, z = _pass(A, p, budget - part, False, ALL)
        ok += x
        alive += y
        gone += z
    return ok, alive, gone, dropped


@inlined
def _learn(A, p, e, ok, now):
    """Deposits, accepts, the filling of a cache, the breaker: what answers teach (E29 to E42)."""
    edges, es, ep = A.edges, A.edge_state, A.edge_policy
    back = ok - es[e].hits
    es[e].hits = 0.0
    if edges[e].budget in (PER_SUCCESS, THROTTLE):
        edges[e].tokens = min(edges[e].bucket, edges[e].tokens + edges[e].ratio * back)
    if ep[e].special == 0:
        return
    if ep[e].throttling == 1:
        A.slices[e, ACCEPTS, es[e].throttling_slice % SLICES] += back
    if ep[e].cache == 1:
        grown = _filling(es[e].hit, ep[e].cache_hit_max, ep[e].cache_keys) * back
        es[e].hit = min(ep[e].cache_hit_max, es[e].hit + grown)
    if ep[e].breaker == 1:
        judge(A.slices, es, ep, e, now)


@inlined
def _settle_edges(A, p):
    """Book outcomes of the step, schedule retries after callees' errors (E8, E15)."""
    pools, edges, atts, es = A.pools, A.edges, A.atts, A.edge_state
    P = pools[p]
    now = P.count * P.h
    took = A.pool_state[p].s + P.hold
    delay = max(1, round(took / P.h))
    errors = 0.0
    for i in range(P.in0, P.in1):
        e = A.in_edge[i]
        for k in range(edges[e].retries + 1):
            att = edges[e].att + k
            x = atts[att].x_err
            if x > 0.0:
                errors += x
                fail(
                    pools, edges, atts, A.line, A.edge_policy, es, A.slices, A.low,
                    e, k, x, atts[att].x_err_age / x, delay,
                )  # fmt: skip
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
        _learn(A, p, e, ok, now)
        es[e].serving = in_service_after(es[e].serving, es[e].started, took, P.h)
        es[e].started = 0.0
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


@inlined
def _age(A, p):
    """Open a cohort; the oldest one's dead work loses its age; windows and breakers go on."""
    pools = A.pools
    P = pools[p]
    head = P.head + 1
    if head == P.n_slot:
        head = 0
    pools[p].head = head
    pools[p].count += 1
    pools[p].oldest = P.n_slot - 1
    row = A.dead.shape[0] + p
    pools[p].d_old += A.dead[P.dead + head]
    A.dead[P.dead + head] = 0.0
    for c in range(CLASSES):
        A.dead_class[row, c] += A.dead_class[P.dead + head, c]
        A.dead_class[P.dead + head, c] = 0.0
    if A.pool_state[p].hedged == 1:
        base = P.ring + head * P.n_col
        for c in range(base, base + P.n_col):
            for j in range(4):
                A.copies[c, j] = 0.0
    now = pools[p].count * P.h
    for i in range(P.in0, P.in1):
        e = A.in_edge[i]
        roll_windows(A.slices, A.edge_state, A.edge_policy, e, now)
        wait_over(A.slices, A.edge_state, A.edge_policy, e, P.h, now)


@inlined
def _remember(A, p, served, rejected):
    """Note what is in service, what rejections cost, whether the queue was empty (E35, E39)."""
    pools, ps, pp = A.pools, A.pool_state, A.pool_policy
    P = pools[p]
    now = P.count * P.h
    ps[p].serving = in_service_after(ps[p].serving, served, ps[p].s, P.h)
    ps[p].held = in_service_after(ps[p].held, served, ps[p].s + P.hold, P.h)
    ps[p].debt += pp[p].rejection_work * rejected
    if P.q <= TINY:
        ps[p].empty = now
        if P.in_ring <= TINY:
            pools[p].q = 0.0
    if pp[p].limit_adaptive == 1:
        adapt_limit(pools, ps, pp, p, now)


@inlined
def _call(A, p, alive, gone):
    """Set the rates of calls; where a deadline is passed on, dead work calls nobody (E40)."""
    P, edges = A.pools[p], A.edges
    A.pool_state[p].alive += alive
    for i in range(P.out0, P.out1):
        e = A.out_edge[i]
        x = alive if A.edge_policy[e].deadline == 1 else alive + gone
        edges[e].rate_new = edges[e].calls * x / P.h
        edges[e].rate_avg += P.forget * (edges[e].rate_new - edges[e].rate_avg)


@compiled
def alive_served(A, p, span):
    """Return what was served for clients that still waited, per second, since the block began."""
    return (A.pool_state[p].alive - A.pool_state[p].b_alive) / span


@compiled
def step(A, p):
    """One step of pool ``p``; return (offered, served, ok, bad)."""
    pools = A.pools
    _age(A, p)
    timed_out = 0.0
    if pools[p].in_ring > 0.0:
        timed_out = _expire(A, p)
    budget = _budget(A, p)
    offered, rejected = _arrive(A, p, budget)
    ok = alive = gone = dropped = 0.0
    if pools[p].q > 0.0:
        ok, alive, gone, dropped = _serve(A, p, budget)
    errors = _settle_edges(A, p)
    _remember(A, p, alive + gone, rejected + dropped)
    _call(A, p, alive, gone)
    return offered, alive + gone, ok, timed_out + rejected + dropped + errors


@compiled
def note_state(A, p):
    """Note the state of policies at the start of a block (E18)."""
    P, ps = A.pools[p], A.pool_state
    ps[p].b_tokens = ps[p].tokens
    ps[p].b_limit = ps[p].limit
    ps[p].b_debt = ps[p].debt
    ps[p].b_held = ps[p].held
    ps[p].b_alive = ps[p].alive
    for i in range(P.in0, P.in1):
        e = A.in_edge[i]
        A.edge_state[e].b_hit = A.edge_state[e].hit


@inlined
def _moved(x, before):
    return abs(x - before) > MOVED * max(1.0, abs(before))


@inlined
def _minds_queue(A, p):
    """Tell whether a policy decides by what waits: then a slow drift of dead work matters too."""
    pp = A.pool_policy
    return (
        A.discipline[p] in (ADAPTIVE_LIFO, PRIORITY, CODEL)
        or pp[p].contention > 0.0
        or pp[p].memory == 1
        or pp[p].concurrency_limit == 1
        or pp[p].shedding == 1
    )


@compiled
def state_moved(A, p):
    """Tell whether the state of a policy is under way: then the pool does not sleep (E18)."""
    P, ps = A.pools[p], A.pool_state
    if _moved(ps[p].tokens, ps[p].b_tokens) or _moved(ps[p].limit, ps[p].b_limit):
        return True
    if _moved(ps[p].debt, ps[p].b_debt):
        return True
    if _minds_queue(A, p) and _moved(ps[p].held, ps[p].b_held):
        return True
    if abs(P.ref_d_old) > TINY and _minds_queue(A, p):
        return True
    for i in range(P.in0, P.in1):
        e = A.in_edge[i]
        if A.edge_state[e].breaker != CLOSED or _moved(A.edge_state[e].hit, A.edge_state[e].b_hit):
            return True
        if A.edges[e].budget == THROTTLE and _moved(A.edges[e].tokens, A.edges[e].b_tokens):
            return True
    return False
