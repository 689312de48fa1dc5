"""Load shedding by priority: less important attempts are refused earlier.

Equation: an attempt of class i (0 is the most important; the edge's ``priority``) is rejected
(R3) when the attempts waiting are ``room_frac[i]`` · K (rounded down) or more and it cannot start
at once, K being the pool's waiting room; classes beyond the list have its last value, and where K
is unbounded nothing is shed. In the flow, classes are let in from the most
important down, each up to its share of the room plus the step's work.

Source: Beyer et al., Site Reliability Engineering 2016, ch. 21 (criticality: critical plus,
critical, sheddable plus, sheddable); Yanacek, Using load shedding to avoid overload, Amazon
Builders' Library.

Defaults:

* ``room_frac`` 1, 0.8, 0.5, 0.2: assumption; the sources name four classes and no thresholds.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.policies.base import Number, Policy, policy
from simulator.units import Fraction

CLASSES = 4


@policy("load_shedding")
class LoadShedding(Policy):
    """Refuse less important attempts before the waiting room is full."""

    side: ClassVar = "pool"
    columns: ClassVar = {"shedding": 0, **{f"shed_{i}": 1.0 for i in range(CLASSES)}}

    room_frac: Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=CLASSES)] = (
        1.0,
        0.8,
        0.5,
        0.2,
    )
    """Share of the waiting room up to which each class is let in, the most important first."""

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        last = len(self.room_frac) - 1
        shares = {f"shed_{i}": self.room_frac[min(i, last)] for i in range(CLASSES)}
        return {"shedding": 1, **shares}
