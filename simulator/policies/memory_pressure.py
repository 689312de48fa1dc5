"""Memory pressure: what waits fills the memory, and cleaning up costs work.

Equation: a service that starts while n attempts wait or are on a processor (dead ones, work on
rejections and itself included) takes 1 + (``work_max`` − 1) · x times as long, with x = (n −
``from_attempts``) / (``full_attempts`` − ``from_attempts``) cut to 0 … 1. Both bounds are for the
whole pool at its declared size and shrink with the units in service.

Source: Huang et al., Metastable Failures in the Wild, OSDI 2022, section 5.1 (queue and garbage
collection feed each other); Brooker, Garbage collection and metastability, 2024, citing Cai et
al., ISPASS 2022: the collector's cost is up to 70 % of the work under memory pressure.

Defaults:

* ``work_max`` 1.7: source, as above.
* ``from_attempts`` 0: assumption.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from simulator.policies.base import Number, Policy, policy
from simulator.units import Count, Multiplier


@policy("memory_pressure")
class MemoryPressure(Policy):
    """Serve more slowly the more memory is taken by what waits."""

    side: ClassVar = "pool"
    columns: ClassVar = {"memory": 0, "memory_from": 0.0, "memory_full": 1.0, "memory_max": 1.0}

    full_attempts: Annotated[Count, Field(ge=1)]
    """Attempts in the pool at which memory is full."""
    from_attempts: Count = 0
    """Attempts in the pool from which memory is felt."""
    work_max: Annotated[Multiplier, Field(ge=1)] = 1.7
    """Factor on the service time with full memory."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.from_attempts >= self.full_attempts:
            msg = "from_attempts is not below full_attempts"
            raise ValueError(msg)
        return self

    def row(self) -> dict[str, Number]:
        """Return the numbers of these settings, by column."""
        return {
            "memory": 1,
            "memory_from": float(self.from_attempts),
            "memory_full": float(self.full_attempts),
            "memory_max": self.work_max,
        }


def memory_factor(present: float, start: float, full: float, most: float) -> float:
    """Return the factor on the service time."""
    x = (present - start) / (full - start)
    return 1.0 + (most - 1.0) * min(1.0, max(0.0, x))
