"""What the engine sets (R1, R2)."""

from __future__ import annotations

import math

import numpy as np

from simulator.compiled import compiled
from simulator.request.kernel.codes import FIRST, INJECT, START
from simulator.request.kernel.events import add_task, close_hole, new_key, push, uniform


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
