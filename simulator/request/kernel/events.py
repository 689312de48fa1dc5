"""Event heap, lanes, tasks of the instant, and random numbers.

An event is a time and a key; see :mod:`simulator.request.layout` for what is in a key.
"""

from __future__ import annotations

import numpy as np

from simulator.compiled import inlined
from simulator.request import streams as plain
from simulator.request.kernel.codes import (
    GROW_HEAP,
    GROW_LANE,
    GROW_TASKS,
    ID_BITS,
    KIND_BITS,
    ON_LANE,
    OUT_OF_KEYS,
    RESERVE,
    TIMEOUT,
)

KIND_MASK = (1 << KIND_BITS) - 1
ID_MASK = (1 << ID_BITS) - 1
LOW_BITS = KIND_BITS + ID_BITS
LOW_MASK = (1 << LOW_BITS) - 1
SEQ_MAX = (1 << (63 - LOW_BITS)) - 1024

_GAMMA, _MIX_1, _MIX_2 = np.uint64(plain.GAMMA), np.uint64(plain.MIX_1), np.uint64(plain.MIX_2)
_S30, _S27, _S31, _S12 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(12)


@inlined
def uniform(streams, j):
    """Draw the next number of stream ``j`` (R13)."""
    z = streams[j]
    streams[j] = z + _GAMMA
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    z = z ^ (z >> _S31)
    return (np.float64(np.int64(z >> _S12)) + 0.5) * 2.0**-52


@inlined
def new_key(ctl, kind, i):
    """Return the key of a new event."""
    seq = ctl[0].seq
    ctl[0].seq = seq + 1
    return (seq << LOW_BITS) | (np.int64(i) << KIND_BITS) | np.int64(kind)


@inlined
def sift_down(heap_t, heap_key, n, t, key):
    """Put an event where the top was, in a heap of ``n`` events (the top counted)."""
    i = 0
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        tc = heap_t[child]
        if child + 1 < n:
            tr = heap_t[child + 1]
            if tr < tc or (tr == tc and heap_key[child + 1] < heap_key[child]):
                child += 1
                tc = tr
        if t < tc or (t == tc and key < heap_key[child]):
            break
        heap_t[i] = tc
        heap_key[i] = heap_key[child]
        i = child
    heap_t[i] = t
    heap_key[i] = key


@inlined
def push(ctl, heap_t, heap_key, t, key):
    """Add an event to the heap. The event being handled left a hole at the top: fill it first."""
    n = ctl[0].heap_n
    if ctl[0].hole == 1:
        ctl[0].hole = 0
        sift_down(heap_t, heap_key, n, t, key)
        return
    i = n
    while i > 0:
        up = (i - 1) >> 1
        if heap_t[up] < t or (heap_t[up] == t and heap_key[up] < key):
            break
        heap_t[i] = heap_t[up]
        heap_key[i] = heap_key[up]
        i = up
    heap_t[i] = t
    heap_key[i] = key
    ctl[0].heap_n = n + 1
    if n + RESERVE > heap_t.shape[0]:
        ctl[0].need |= GROW_HEAP


@inlined
def close_hole(ctl, heap_t, heap_key):
    """Remove the top of the heap, if the event that was handled left it to be overwritten."""
    if ctl[0].hole == 1:
        ctl[0].hole = 0
        n = ctl[0].heap_n - 1
        ctl[0].heap_n = n
        if n > 0:
            sift_down(heap_t, heap_key, n, heap_t[n], heap_key[n])


@inlined
def is_stale(atts, key):
    """Tell whether a timeout is one of an attempt that was answered."""
    return key & KIND_MASK == TIMEOUT and atts[(key >> KIND_BITS) & ID_MASK].key != key


@inlined
def drop_stale(lanes, lane_t, lane_key, atts, lane):
    """Drop answered attempts from the head of a lane; return whether something is left."""
    head, tail = lanes[lane].head, lanes[lane].tail
    base, mask = lanes[lane].base, lanes[lane].mask
    while head != tail and is_stale(atts, lane_key[base + (head & mask)]):
        head += 1
    lanes[lane].head = head
    return head != tail


@inlined
def arm(ctl, heap_t, heap_key, lanes, lane_t, lane_key, lane):
    """Put the head of a lane into the heap."""
    at = lanes[lane].base + (lanes[lane].head & lanes[lane].mask)
    key = (lane_key[at] & ~LOW_MASK) | (np.int64(lane) << KIND_BITS) | ON_LANE
    lanes[lane].armed = key
    push(ctl, heap_t, heap_key, lane_t[at], key)


@inlined
def push_lane(ctl, heap_t, heap_key, lanes, lane_t, lane_key, atts, lane, t, key):
    """Add an event to a lane; to the heap if the lane is full, or if it would be out of order."""
    if lanes[lane].head != lanes[lane].tail:
        drop_stale(lanes, lane_t, lane_key, atts, lane)
    head, tail, mask = lanes[lane].head, lanes[lane].tail, lanes[lane].mask
    if t < lanes[lane].last or tail - head > mask:
        if tail - head > mask:
            ctl[0].need |= GROW_LANE
            ctl[0].need_lane = lane
        push(ctl, heap_t, heap_key, t, key)
        return
    at = lanes[lane].base + (tail & mask)
    lane_t[at] = t
    lane_key[at] = key
    lanes[lane].tail = tail + 1
    lanes[lane].last = t
    if lanes[lane].armed == 0:
        arm(ctl, heap_t, heap_key, lanes, lane_t, lane_key, lane)


@inlined
def take_from_lane(ctl, heap_t, heap_key, lanes, lane_t, lane_key, atts, lane, t, key):
    """Return the key of the lane's event if it is due with the lane's event in the heap, else 0.

    What was the head when it was put into the heap may have been answered since: then the lane
    waits for its next event.
    """
    lanes[lane].armed = 0
    if not drop_stale(lanes, lane_t, lane_key, atts, lane):
        return np.int64(0)
    at = lanes[lane].base + (lanes[lane].head & lanes[lane].mask)
    found = lane_key[at]
    if lane_t[at] != t or found >> LOW_BITS != key >> LOW_BITS:
        arm(ctl, heap_t, heap_key, lanes, lane_t, lane_key, lane)
        return np.int64(0)
    lanes[lane].head += 1
    if drop_stale(lanes, lane_t, lane_key, atts, lane):
        arm(ctl, heap_t, heap_key, lanes, lane_t, lane_key, lane)
    return found


@inlined
def add_task(ctl, tasks, kind, i):
    """Do something at this instant, after what is to be done already."""
    tail = ctl[0].task_tail
    tasks[tail & (tasks.shape[0] - 1)] = (np.int64(i) << KIND_BITS) | np.int64(kind)
    ctl[0].task_tail = tail + 1
    if tail - ctl[0].task_head + RESERVE > tasks.shape[0]:
        ctl[0].need |= GROW_TASKS


@inlined
def add_task_in_front(ctl, tasks, kind, i):
    """Do something at this instant, before all else."""
    head = ctl[0].task_head - 1
    tasks[head & (tasks.shape[0] - 1)] = (np.int64(i) << KIND_BITS) | np.int64(kind)
    ctl[0].task_head = head
    if ctl[0].task_tail - head + RESERVE > tasks.shape[0]:
        ctl[0].need |= GROW_TASKS


@inlined
def check_keys(ctl):
    """Ask to stop when sequence numbers run out."""
    if ctl[0].seq > SEQ_MAX:
        ctl[0].need |= OUT_OF_KEYS
