"""What a check against theory must state, and its verdict."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from simulator.model import Topology

Mutant = Callable[[Topology], Topology]
"""A change of the model that a check must notice."""


def unchanged(topology: Topology) -> Topology:
    """Return the model as it is."""
    return topology


@dataclass(frozen=True)
class Claim:
    """A statement of theory about the model."""

    id: str
    claim: str
    formula: str
    source: str
    inputs: str

    def holds(self, theory: float, observed: float, tolerance: float, unit: str = "") -> None:
        """Assert ``|observed - theory| <= tolerance`` (absolute, in the unit of both).

        With SIMULATOR_VERDICTS set to a file, append the verdict to it as a line of JSON.
        """
        good = abs(observed - theory) <= tolerance
        verdict = {"theory": theory, "observed": observed, "tolerance": tolerance, "unit": unit}
        line = asdict(self) | verdict | {"holds": good}
        if path := os.environ.get("SIMULATOR_VERDICTS"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        assert good, (
            f"{self.id}: {self.claim}: theory {theory:g}{unit}, observed {observed:g}{unit}"
        )
