"""Constants and random counts that all parts of the compiled flow share."""

from __future__ import annotations

import math

import numpy as np

from simulator.compiled import inlined

REQUIRED, OPTIONAL, ASYNCHRONOUS, CLIENT, CONTROL = range(5)
ZOMBIE, CANCEL, DEADLINE_AWARE = range(3)
TINY = 1e-9
"""Amounts (requests) below this are no work."""
FOREVER = np.iinfo(np.int64).max
CERTAIN = 16.0
"""Slack in service times above which an exponential service surely ends (1 - 1e-7)."""
MOVED = 1e-6
"""Relative change of a policy's state from which its pool does not sleep."""
DEPOSITS, RETRIES, REQUESTS, ACCEPTS, ENDED, FAILED = range(6)
"""Series that edges count in rolling windows: budget, throttling, breaker."""


@inlined
def poisson(mean, u):
    """Map one uniform number to a Poisson count (E19).

    Outcomes in the order of their distance to the mode: cost grows with the deviation only.
    """
    mode = math.floor(mean)
    up = math.exp(mode * math.log(mean) - mean - math.lgamma(mode + 1.0))
    down = up
    u -= up
    above = mode
    below = mode
    while u > 0.0 and (up > 0.0 or down > 0.0):
        above += 1.0
        up *= mean / above
        u -= up
        if u <= 0.0:
            return above
        if below > 0.0:
            down *= below / mean
            below -= 1.0
            u -= down
            if u <= 0.0:
                return below
        else:
            down = 0.0
    return mode


@inlined
def draw(ctl, noise, mean):
    """Draw a Poisson count with the next uniform number of the plane's stream."""
    i = ctl[0].noise_next
    ctl[0].noise_next = i + 1
    return poisson(mean, noise[i])
