"""The end of a tick: shares, watches and samples (R12)."""

from __future__ import annotations

from simulator.compiled import compiled, inlined
from simulator.request.kernel.codes import OPTIONAL, REQUIRED

HYSTERESIS = 0.1
"""A watched share has risen again when it is this part of the way from threshold to 1 above it."""


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
def end_tick(ctl, pools, edges, in_edge, cross):
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
def take_sample(ctl, pools, edges, out_edge, pool_rows, edge_rows):
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
