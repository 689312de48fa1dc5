"""Rows about requests on graphs of pools: no more is served than a maximum flow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from simulator.verification import bench
from simulator.verification import closed_forms_capacity as forms
from simulator.verification.bench import averaged, caller_mutant, chances, pool_mutant
from simulator.verification.readings import generator
from simulator.verification.row import Reading, Row, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from simulator.model import Topology
    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]

Calls = list[tuple[int, int]]
"""(caller, callee)."""

NODES: Final = 8
SERVICES: Final = 3
GRAPHS: Final = 6
UNIT: Final = 100.0
"""What one unit serves per second."""
TIMEOUT_S: Final = 1.0
RUN_S: Final = 120.0
SEEN: Final = 60
ROOM_S: Final = 1.0
"""Waiting room, in seconds of work."""


def room(rate: float) -> int:
    """Return the waiting room of a pool."""
    return round(ROOM_S * rate)


class Case:
    """Pools with calls between them, and services that enter them."""

    def __init__(
        self, capacities: Iterable[float], calls: Calls, entries: dict[int, float]
    ) -> None:
        self.capacities = [float(c) for c in capacities]
        self.calls = calls
        self.entries = entries
        """Pool that a service enters, and its first tries per second."""

    @property
    def leaves(self) -> list[int]:
        """Pools that are reached and call nobody."""
        callers = {a for a, _ in self.calls}
        return sorted(set().union(*(self.below(i) for i in self.entries)) - callers)

    def below(self, entry: int) -> set[int]:
        """Return the pools that a request needs which enters here."""
        found, todo = set[int](), [entry]
        while todo:
            node = todo.pop()
            if node not in found:
                found.add(node)
                todo += [b for a, b in self.calls if a == node]
        return found

    def build(self, discipline: str) -> Topology:
        """Return the region: bounded rooms, ample workers, nobody tries again.

        A callee gives up a little before its caller, so that who waits can still answer.
        """
        depth = self._depths()
        pools = [
            bench.pool(
                f"p{i}",
                units=1,
                concurrency=100_000,
                service_time=f"{1.0 / UNIT:g}s",
                unit_rate=f"{rate:.6f}/s",
                queue_per_unit=room(rate),
                discipline=discipline,
            )
            for i, rate in enumerate(self.capacities)
        ]
        patience = {i: TIMEOUT_S * 2.0 ** depth[i] for i in depth}
        calls = [bench.call(f"p{a}", f"p{b}", f"{patience[b]:g}s") for a, b in self.calls]
        services = [
            bench.service(f"s{i}", entry=f"p{i}", timeout=f"{patience[i]:g}s") for i in self.entries
        ]
        return bench.build(pools, services, calls)

    def _depths(self) -> dict[int, int]:
        """Return for each pool how many calls lie below it at most (callers have lower numbers)."""
        depth = dict.fromkeys(range(len(self.capacities)), 0)
        for a, b in sorted(self.calls, reverse=True):
            depth[a] = max(depth[a], depth[b] + 1)
        return depth

    def flow_to(self, leaf: int) -> float:
        """Return the maximum flow from the services to a leaf through pools with capacities."""
        n = len(self.capacities)
        source, sink = 2 * n, 2 * n + 1
        arcs = [(i, n + i, c) for i, c in enumerate(self.capacities)]
        endless = sum(self.capacities) + sum(self.entries.values())
        arcs += [(n + a, b, endless) for a, b in self.calls]
        arcs += [(source, i, rate) for i, rate in self.entries.items()]
        arcs.append((n + leaf, sink, endless))
        rows, cols, caps = zip(*arcs, strict=True)
        # Whole numbers: thousandths of a request.
        whole = np.rint(1000.0 * np.array(caps)).astype(np.int32)
        matrix = csr_array((whole, (rows, cols)), shape=(2 * n + 2, 2 * n + 2))
        return float(maximum_flow(matrix, source, sink).flow_value) / 1000.0

    def late(self) -> float:
        """Return what is served too late, per second, where every pool calls at most one other.

        Last in, first out, some wait through a whole busy period, and a pool under overload comes
        down now and then to what has lain below the others for longer than a timeout.
        """
        n = len(self.capacities)
        offered = dict.fromkeys(range(n), 0.0) | self.entries
        lost, callee, depth = [0.0] * n, dict(self.calls), self._depths()
        for i, capacity in enumerate(self.capacities):
            left_s = TIMEOUT_S * 2.0 ** depth[i] - 1.0 / UNIT
            if offered[i] < capacity:
                servers = math.ceil(capacity / UNIT)
                lost[i] += offered[i] * forms.lifo_late(offered[i], capacity, servers, left_s)
            else:
                lost[i] = forms.lifo_buried(offered[i], capacity, left_s)
            if i in callee:
                offered[callee[i]] += min(offered[i], capacity)
                lost[callee[i]] += lost[i]
        return lost[self.leaves[0]]

    def served(self, fidelity: Fidelity, chance: str, discipline: str = "lifo") -> dict[int, float]:
        """Return first tries that succeed per second, by the pool that they enter."""
        topology = self.build(discipline)
        script = [
            bench.demand(0.0, rate, topology.service_edge(f"s{i}"))
            for i, rate in self.entries.items()
        ]
        plane = bench.open_plane(fidelity, topology, chance=chance)
        bench.play(plane, script, RUN_S)
        edges = {i: topology.service_edge(f"s{i}") for i in self.entries}
        return {i: float(bench.edge_rows(plane, e)[-SEEN:, 1].mean()) for i, e in edges.items()}


def chain(rng: np.random.Generator) -> Case:
    """Return pools that call one another in a row, under more load than any of them serves."""
    capacities = rng.uniform(2.0, 10.0, 4) * UNIT
    return Case(capacities, [(i, i + 1) for i in range(3)], {0: 1.5 * float(capacities.max())})


def converging(rng: np.random.Generator) -> Case:
    """Return a tree of calls that run together: every pool calls one other, the last none."""
    calls = [(i, int(rng.integers(i + 1, NODES))) for i in range(NODES - 1)]
    callees = {b for _, b in calls}
    entries = {i: float(rng.uniform(1.0, 8.0)) * UNIT for i in range(NODES) if i not in callees}
    return Case(rng.uniform(2.0, 10.0, NODES) * UNIT, calls, entries)


def branching(rng: np.random.Generator) -> Case:
    """Return a graph without cycles in which a request needs all that its pools call."""
    calls = [
        (a, b) for a in range(NODES) for b in range(a + 1, NODES) if rng.random() < 2.0 / NODES
    ]
    entries = {i: float(rng.uniform(1.0, 8.0)) * UNIT for i in range(SERVICES)}
    return Case(rng.uniform(2.0, 10.0, NODES) * UNIT, calls, entries)


# ------------------------------------------------------------------------------ S05 maximum flow


def _bounded(fidelity: Fidelity) -> Iterator[Reading]:
    rng = generator("S05")
    for kind, draw, tolerance in (("chain", chain, 0.02), ("converging tree", converging, 0.03)):
        for i in range(GRAPHS):
            case, name = draw(rng), f"{kind} {i + 1}"
            theory = case.flow_to(case.leaves[0])
            seen = [
                sum(case.served(fidelity, c).values()) for c in chances(f"S05 {name}", fidelity)
            ]
            lost = 0.0 if fidelity == "flow" else case.late()
            yield averaged(
                f"served, {name}", theory, seen, within(tolerance, theory), bias=lost,
                unit="/s",
            )  # fmt: skip
    for discipline in ("lifo", "fifo"):
        excess = [
            _excess(fidelity, branching(rng), f"S05 graph {i + 1}", discipline)
            for i in range(2 * GRAPHS)
        ]
        tolerance = 0.001 if fidelity == "flow" else 0.03
        yield Reading(f"most above the bound, any graph, {discipline}", 0.0, max(excess), tolerance)


def _excess(fidelity: Fidelity, case: Case, chance: str, discipline: str) -> float:
    """Return by what part most is served that needs a leaf, above the maximum flow to it."""
    served = case.served(fidelity, chance, discipline)
    through = {
        leaf: sum(x for i, x in served.items() if leaf in case.below(i)) for leaf in case.leaves
    }
    return max(0.0, *(x / case.flow_to(leaf) - 1.0 for leaf, x in through.items()))


def _tenth_more(rate: str) -> str:
    return f"{1.1 * float(rate.removesuffix('/s')):.6f}/s"


S05 = Row(
    id="S05",
    claim="no more is served than the maximum flow through the pools, and a chain or a tree that "
    "runs together serves that much",
    formula="what is served that needs a leaf <= maximum flow from the services to that leaf; "
    "equal where every pool calls one other (last in first out, bounded rooms, no retries)",
    source="Ford, Fulkerson, Maximal flow through a network, Canadian Journal of Mathematics 8, "
    "1956; SciPy's maximum_flow as the judge",
    inputs="six chains under 1.5 times their largest capacity, six trees of eight pools, 24 random "
    "graphs without cycles (eight pools, three services); 200 to 1000/s each, 1 minute",
    fidelities=("flow", "request"),
    measure=_bounded,
    slow=frozenset({"request"}),
    mutants=(
        pool_mutant("a tenth more capacity", "flow", unit_rate=_tenth_more),
        pool_mutant("a tenth more capacity", "request", unit_rate=_tenth_more),
        caller_mutant("half of the calls", "flow", calls=lambda n: 0.5 * n),
    ),
    note="A request needs all pools that its pools call, so each leaf bounds it. Request by "
    "request some are answered too late (bias): they wait through a busy period of a pool with "
    "little to spare, its tail in M/M/c, or lie buried in a full room, 1/(T ln(lam/C)) per second. "
    "Of all graphs the largest excess is shown.",
)


ROWS = (S05,)
