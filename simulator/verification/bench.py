"""What rows are measured on: small regions, the two data planes, and what happens to them.

The standard pool has 10 units of 10 workers each, 0.1 s of exponential service: C = 1,000/s. Its
client gives up after T = 1 s and tries again at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from simulator.model import build_topology
from simulator.sampling import Streams
from simulator.scenario.region import Region
from simulator.verification import closed_forms
from simulator.verification.row import Mutant, Reading, replaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from simulator.contract import DataPlane
    from simulator.model import Topology
    from simulator.verification.row import Fidelity

Fields = dict[str, Any]
Change = tuple[float, str, Fields]
"""(time, name of the plane's method, its arguments)."""

C: Final = 1000.0
"""Capacity of the standard pool (1/s)."""
T: Final = 1.0
"""Its clients' timeout (s)."""
S: Final = 0.1
"""Its mean service time (s)."""
SERVERS: Final = 100
UNITS: Final = 10
_SEED: Final = 20_251_122
_ROUNDING: Final = 1e-12
_MOST: Final = 0.5
EXACT: Final = 1e-6
"""Tolerance of a closed form against a number that is printed with six digits."""


# ------------------------------------------------------------------------------------ regions


def pool(name: str = "a", **fields: Any) -> Fields:  # noqa: ANN401 - as in a region file
    """Return a pool as in a region file; by default the standard one."""
    standard = {"units": UNITS, "concurrency": SERVERS // UNITS, "service_time": f"{S:g}s"}
    return {"id": name} | standard | fields


def room(requests: int) -> Fields:
    """Return the waiting room of the standard pool as in a region file."""
    return {"queue_per_unit": requests // UNITS}


def retry(retries: int, delay: str = "0s", **fields: Any) -> Fields:  # noqa: ANN401 - as above
    """Return a retry policy as in a region file: fixed backoff, no jitter."""
    plain = {"backoff": "fixed", "backoff_base": delay, "jitter": "none"}
    return {"retries_max": retries} | plain | fields


def budget(deposit: str, ratio: float, bucket: int = 100) -> Fields:
    """Return a retry budget as in a region file."""
    return {"deposit": deposit, "ratio": ratio, "bucket": bucket}


def service(name: str = "s", entry: str = "a", timeout: str = f"{T:g}s", **fields: Any) -> Fields:  # noqa: ANN401 - as above
    """Return a service as in a region file; its demand is set by the script."""
    given = {"id": name, "entry": entry, "timeout": timeout, "retry": retry(0)} | fields
    return given | {"first_tries": 0, "customers": 0.0}


def call(caller: str, callee: str, timeout: str, **fields: Any) -> Fields:  # noqa: ANN401 - as above
    """Return a dependency as in a region file."""
    plain = {"kind": "required", "calls": 1.0, "retry": retry(0)}
    return {"caller": caller, "callee": callee, "timeout": timeout} | plain | fields


def build(
    pools: Sequence[Fields], services: Sequence[Fields], calls: Sequence[Fields] = ()
) -> Topology:
    """Compile a region, and make the error of the present mutant."""
    fields = {
        "id": "bench",
        "zones": ("z",),
        "pools": tuple(_HOOK.pool(fields) for fields in pools),
        "services": tuple(_HOOK.caller(fields) for fields in services),
        "dependencies": tuple(_HOOK.caller(fields) for fields in calls),
    }
    return build_topology(Region.model_validate(fields))


def one_pool(
    retries: int = 0,
    delay: str = "0s",
    *,
    of: Fields | None = None,
    **policy: Any,  # noqa: ANN401 - as above
) -> Topology:
    """Return the standard pool (fields ``of`` laid over it) with one service (edge 0)."""
    client = service(retry=retry(retries, delay, **policy))
    return build([pool(**(of or {}))], [client])


# ------------------------------------------------------------------------------------ mutants


def _as_it_is(fields: Fields) -> Fields:
    return fields


@dataclass(slots=True)
class _Hook:
    """What the present mutant does to every region that is built here."""

    pool: Callable[[Fields], Fields] = _as_it_is
    caller: Callable[[Fields], Fields] = _as_it_is


_HOOK: Final = _Hook()


def pool_mutant(name: str, fidelity: Fidelity, **fields: Any) -> Mutant:  # noqa: ANN401 - as below
    """Return a mutant that changes every pool; see :func:`retry_mutant`."""
    return Mutant(name, lambda: replaced(_HOOK, "pool", lambda f: _changed(f, fields)), fidelity)


def caller_mutant(name: str, fidelity: Fidelity, **fields: Any) -> Mutant:  # noqa: ANN401 - as below
    """Return a mutant that changes every service and every call; see :func:`retry_mutant`."""
    return Mutant(name, lambda: replaced(_HOOK, "caller", lambda f: _changed(f, fields)), fidelity)


def retry_mutant(name: str, fidelity: Fidelity, **fields: Any) -> Mutant:  # noqa: ANN401 - see there
    """Return a mutant that changes every retry policy.

    Parameters
    ----------
    name : str
        What is done wrong.
    fidelity : Fidelity
        Where the row must notice it.
    **fields : Any
        New values as in a region file, or functions of the old ones (left out if there are none).
    """

    def wrong(caller: Fields) -> Fields:
        return caller | {"retry": _changed(caller["retry"], fields)}

    return Mutant(name, lambda: replaced(_HOOK, "caller", wrong), fidelity)


def _changed(fields: Fields, changes: Fields) -> Fields:
    new = {
        key: change(fields[key]) if callable(change) else change
        for key, change in changes.items()
        if not callable(change) or fields.get(key) is not None
    }
    return fields | new


def one_less(retries: int) -> int:
    """Return a number of retries that is one too small."""
    return max(0, retries - 1)


def doubled_ratio(budget: Fields) -> Fields:
    """Return a retry budget with deposits twice as large."""
    return budget | {"ratio": 2.0 * budget["ratio"]}


def form_mutant(name: str, form: str, error: Callable[..., object]) -> Mutant:
    """Return a mutant that replaces a closed form."""
    return Mutant(name, lambda: replaced(closed_forms, form, error), "formula")


# ------------------------------------------------------------------------------------- planes


def open_plane(
    fidelity: Fidelity,
    topology: Topology,
    *,
    chance: str = "1",
    period_s: float = 1.0,
    sleep: bool = True,
) -> DataPlane:
    """Return a data plane.

    Parameters
    ----------
    fidelity : Fidelity
        ``flow`` is the mean flow, without noise; ``request`` has every attempt as an event.
    topology : Topology
        The region.
    chance : str
        Name of the random numbers of the request level: another name, independent numbers.
    period_s : float
        Time between two samples.
    sleep : bool
        Let pools of the flow sleep while nothing changes.
    """
    if fidelity == "flow":
        from simulator.flow.plane import FlowPlane

        return FlowPlane(topology, sample_period_s=period_s, adaptive=sleep)
    make: Callable[..., DataPlane] = import_module("simulator.request.plane").RequestPlane
    rng = Streams(_SEED).stream("verification", chance)
    return make(topology, sample_period_s=period_s, rng=rng)


def demand(t_s: float, rate_rps: float, edge: int = 0) -> Change:
    """Set the first tries of a service."""
    return t_s, "set_demand", {"edge": edge, "rate_rps": rate_rps}


def capacity(
    t_s: float, rate_rps: float, *, at: int = 0, workers: float = SERVERS, units: float = UNITS
) -> Change:
    """Set what a pool can do; its units, and so its waiting room, stay."""
    fields = {"pool": at, "rate_rps": rate_rps, "workers": workers, "units": units}
    return t_s, "set_capacity", fields


def outage(rate_rps: float, length_s: float = 5.0, *, start_s: float = 20.0) -> list[Change]:
    """Let the standard pool serve nothing for a while."""
    down, up = capacity(start_s, 0.0), capacity(start_s + length_s, C)
    return [demand(0.0, rate_rps), down, up]


def play(plane: DataPlane, script: Iterable[Change], end_s: float) -> DataPlane:
    """Let a script happen to a plane, and return it."""
    for t_s, method, fields in sorted(script, key=lambda step: step[0]):
        while plane.advance(t_s) is not None:
            pass
        getattr(plane, method)(**fields)
    while plane.advance(end_s) is not None:
        pass
    return plane


def edge_rows(plane: DataPlane, edge: int = 0) -> np.ndarray:
    """Return (n, 5) samples of an edge: first, ok, failed, attempts per second, in flight."""
    return plane.samples()[2][:, edge]


def pool_rows(plane: DataPlane, at: int = 0) -> np.ndarray:
    """Return (n, 7) samples: offered, served per second, success, queue, dead, C, blocked."""
    return plane.samples()[1][:, at]


def played(
    fidelity: Fidelity,
    topology: Topology,
    script: Sequence[Change],
    end_s: float,
    chance: str = "1",
) -> np.ndarray:
    """Return the rows of the first service after a script, second by second."""
    return edge_rows(play(open_plane(fidelity, topology, chance=chance), script, end_s))


def share(rows: np.ndarray) -> float:
    """Return the share of first tries of some samples that succeeded in them."""
    return float(rows[:, 1].sum() / rows[:, 0].sum())


def last_share(plane: DataPlane, last: int = 20) -> float:
    """Return the success share of the last samples."""
    return share(edge_rows(plane)[-last:])


def total_time_s(plane: DataPlane, edge: int = 0) -> float:
    """Return the sum of times from first try to end, over all first tries that have ended.

    Sleeping pools of the flow do not count: step all the way.
    """
    arrays: Any = getattr(plane, "arrays")  # noqa: B009 - both planes have it, their contract not
    return float(arrays.edges[edge]["latency_sum"])


def mean_time_s(plane: DataPlane, edge: int = 0) -> float:
    """Return the mean time from first try to end, over the whole run."""
    totals = plane.totals()
    return total_time_s(plane, edge) / float(totals["ok"][edge] + totals["failed"][edge])


def is_well(plane: DataPlane, last: int = 20) -> bool:
    """Tell whether most first tries of the last samples succeeded: good state or bad state."""
    return last_share(plane, last) > _MOST


# ------------------------------------------------------------------------------------ readings


def chances(name: str, fidelity: Fidelity = "request", n: int = 10) -> list[str]:
    """Return names of independent random numbers, one a replicate; the flow needs one run."""
    return [name] if fidelity == "flow" else [f"{name} {i + 1}" for i in range(n)]


def recoveries(
    topology: Topology, script: Sequence[Change], end_s: float, name: str
) -> list[float]:
    """Return for each replicate of the request level 1 if it is in the good state at the end."""
    found = []
    for chance in chances(name):
        plane = open_plane("request", topology, chance=chance)
        found.append(float(is_well(play(plane, script, end_s))))
    return found


def boundary(good: Callable[[float], bool], low: float, high: float, *, steps: int = 9) -> float:
    """Bisect between a value that is good and one that is not; nan if the ends are not so."""
    if not good(low) or good(high):
        return math.nan
    for _ in range(steps):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if good(middle) else (low, middle)
    return 0.5 * (low + high)


def averaged(
    quantity: str, theory: float, observed: Sequence[float], tolerance: float, *,
    bias: float = 0.0, unit: str = "",
) -> Reading:  # fmt: skip
    """Return the reading of a mean over independent replicates.

    Parameters
    ----------
    quantity, theory, tolerance, bias, unit
        As in :class:`Reading`.
    observed : Sequence[float]
        One value for each replicate; the standard error comes from their spread.
    """
    values = np.asarray(observed, dtype=np.float64)
    n = len(values)
    mean = float(values.mean())
    # Equal values have no spread: what is left of it is rounding.
    varies = bool(np.ptp(values) > _ROUNDING * abs(mean)) if n > 1 else False
    se = float(values.std(ddof=1)) / math.sqrt(n) if varies else 0.0
    return Reading(quantity, theory, mean, tolerance, se=se, n=n, bias=bias, unit=unit)
