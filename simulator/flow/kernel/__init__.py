"""Compiled data plane: cohorts of attempts through pools, in steps of each pool's own length.

The readable twin with the same equation numbers is :mod:`simulator.flow.reference`; MODEL.md has
the derivations. :mod:`~simulator.flow.kernel.special` steps the pools that have policies, with what
:mod:`~simulator.flow.kernel.policies` decides.
"""

from simulator.flow.kernel.loop import (
    TOLERANCE,
    advance,
    count_in_flight,
    settle_counters,
    tell_outcome,
    touch_edge,
    touch_pool,
)

__all__ = [
    "TOLERANCE",
    "advance",
    "count_in_flight",
    "settle_counters",
    "tell_outcome",
    "touch_edge",
    "touch_pool",
]
