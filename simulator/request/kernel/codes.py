"""Numbers that the kernel and the layout of its memory agree on.

They stand among the kernel's files because compiled code contains them: when they change, what was
compiled before is out of date.
"""

from __future__ import annotations

KIND_BITS, ID_BITS = 4, 24
"""Width of an event's kind, and of what it is about, in its key."""
FIRST, DONE, ARRIVE, TIMEOUT, ON_LANE, GO_ON, START, INJECT = range(8)
FAR, CALL, HEDGE, DROP, JOB, ENDED = range(8, 14)
"""Kinds of events and tasks."""
REQUIRED, OPTIONAL, ASYNCHRONOUS, CLIENT, CONTROL = range(5)
ZOMBIE, CANCEL, DEADLINE_AWARE = range(3)
AWAY, QUEUED, TAKEN = range(3)
"""Where an attempt is: not at the pool, in its queue, in service or calling."""
NOTHING, SUCCESS, FAILURE, LOST = range(4)
"""What became of an attempt: nothing yet, answered well, failed, failed without a retry."""

RESERVE = 16
"""Free places (attempts, heap, tasks) below which the kernel asks for more; an event needs less."""
GROW_ATTEMPTS, GROW_HEAP, GROW_TASKS, GROW_LANE, OUT_OF_KEYS = 1, 2, 4, 8, 16
"""Bits of CONTROL.need."""

PER_OCTAVE = 32
"""Bins of latency per octave (R10)."""
LOWEST_EXPONENT = -19
"""The first octave of latencies ends at 2 to this power (s)."""
OCTAVES = 32
BINS = PER_OCTAVE * OCTAVES
