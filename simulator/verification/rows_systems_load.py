"""Rows on cascades by overload: V28 exact small graphs, V29 random graphs."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from simulator.verification import closed_forms_systems as cf
from simulator.verification import graph_cascades, graphs
from simulator.verification.readings import batch_mean, exact, generator, printed
from simulator.verification.row import Mutant, Reading, Row, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]

RING, LEAVES = 12, 10
STEP = 1e-4
"""How close to the critical tolerance the ring is tried, on both sides."""


def _small(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "formula":
        before, after = cf.ring_loads(RING)
        hub, leaf = cf.star_loads(LEAVES)
        yield printed("critical tolerance, ring of 12", "0.489", after / before - 1.0)
        yield from _against_counts(before, after, hub, leaf)
        return
    ring = _ring(RING)
    loads = graphs.complete_loads(ring)
    hub, leaf = (float(x) for x in graphs.complete_loads(_star(LEAVES))[:2])
    yield from _against_counts(float(loads[0]), float(_path_loads(ring).max()), hub, leaf)
    yield exact("spread of the ring's loads", 1.0, float(loads.max() / loads.min()))
    yield from _around_the_threshold(ring, loads)


def _against_counts(before: float, after: float, hub: float, leaf: float) -> Iterator[Reading]:
    """Compare with the numbers that counting paths by hand gives."""
    yield exact("load, ring of 12", 47.0, before)
    yield exact("largest load after a node has gone", 70.0, after)
    yield exact("load of the hub, star of 10", 110.0, hub)
    yield exact("load of a leaf", 20.0, leaf)


def _around_the_threshold(ring: graphs.Graph, loads: np.ndarray) -> Iterator[Reading]:
    """Let a node of the ring go, just below and just above the critical tolerance."""
    critical = 23.0 / 47.0
    for alpha, left, name in (
        (critical + STEP, RING - 1.0, "above"),
        (critical - STEP, _left_below(critical - STEP), "below"),
    ):
        alive = graph_cascades.overload_cascade(ring, loads, alpha, 0)
        yield exact(f"nodes that survive, tolerance just {name} 23/47", left, float(len(alive)))


def _left_below(alpha: float) -> float:
    """Return how many nodes of the ring survive, worked out on the pieces of a path.

    A path of n nodes loads its k-th one with ``2(n - 1) + 2(k - 1)(n - k)``.
    """
    capacity = (1.0 + alpha) * 47.0
    pieces, survived = [RING - 1], 0
    while pieces:
        n = pieces.pop()
        over = [k for k in range(1, n + 1) if 2.0 * (n - 1) + 2.0 * (k - 1) * (n - k) > capacity]
        if not over:
            survived += n
            continue
        ends = [0, *over, n + 1]
        pieces += [b - a - 1 for a, b in pairwise(ends) if b - a > 1]
    return float(survived)


def _ring(nodes: int) -> graphs.Graph:
    k = np.arange(nodes)
    return graphs.adjacency(nodes, np.column_stack([k, (k + 1) % nodes]))


def _star(leaves: int) -> graphs.Graph:
    k = np.arange(1, leaves + 1)
    return graphs.adjacency(leaves + 1, np.column_stack([np.zeros_like(k), k]))


def _path_loads(ring: graphs.Graph) -> np.ndarray:
    return graphs.complete_loads(ring[1:][:, 1:])


def _ring_without_ends(nodes: int) -> tuple[float, float]:
    before, after = _RING_LOADS(nodes)
    return before - 2.0 * (nodes - 1), after - 2.0 * (nodes - 2)


def _loads_without_ends(graph: graphs.Graph) -> np.ndarray:
    loads: np.ndarray = _COMPLETE_LOADS(graph) - 2.0 * (graph.shape[0] - 1)
    return loads


_RING_LOADS, _COMPLETE_LOADS = cf.ring_loads, graphs.complete_loads

V28 = Row(
    id="V28",
    claim="Loads and the critical tolerance of a ring and a star, exactly",
    formula="ring, n even: L = 2(n−1) + (n−2)²/4, after a loss 2(n−2) + (n−2)²/2; "
    "star: hub k(k+1), leaf 2k",
    source="Motter & Lai, Phys. Rev. E 66 (2002) 065102, the rule; loads by counting paths",
    inputs="ring of 12 nodes, star of 10 leaves; both ends of a path count",
    fidelities=("formula", "direct"),
    measure=_small,
    mutants=(
        Mutant(
            "ends of a path do not count",
            lambda: replaced(cf, "ring_loads", _ring_without_ends),
            "formula",
        ),
        Mutant(
            "ends of a path do not count",
            lambda: replaced(graphs, "complete_loads", _loads_without_ends),
            "direct",
        ),
    ),
)

# ------------------------------------------------------------------------------- V29 random graphs
NODES, FEWER = 2000, 500
KINDS = (
    ("regular", NODES, 0.1, 3, 1.0 - 1.0 / NODES, 0.01),
    ("scale-free", FEWER, 0.5, 80, 0.618, 0.15),
    ("scale-free", NODES, 0.1, 64, 0.03, 0.02),
    ("scale-free", NODES, 1.0, 30, 0.95, 0.04),
)
"""Kind, nodes, spare capacity α, number of graphs, share left in the giant component, tolerance."""


def _ensemble(_fidelity: Fidelity) -> Iterator[Reading]:
    for kind, nodes, alpha, count, theory, tolerance in KINDS:
        name = f"giant share, {kind}, N={nodes}, α={alpha:g}"
        rng = generator(f"V29 {kind} {nodes} {alpha:g}")
        left = [_attack(_drawn(kind, nodes, rng), alpha) for _ in range(count)]
        yield batch_mean(name, theory, np.array(left), tolerance)


def _drawn(kind: str, nodes: int, rng: np.random.Generator) -> graphs.Graph:
    if kind == "regular":
        return graphs.random_regular(nodes, 3, rng)
    return graphs.scale_free(nodes, 3.0, 2, rng)


def _attack(graph: graphs.Graph, alpha: float) -> float:
    """Return the share in the giant component after the node of highest load was lost."""
    load = graphs.complete_loads(graph)
    alive = graph_cascades.overload_cascade(graph, load, alpha, int(load.argmax()))
    return graph_cascades.giant_after(graph, alive)


def _no_cascade(graph: graphs.Graph, _load: np.ndarray, _alpha: float, victim: int) -> np.ndarray:
    return np.delete(np.arange(graph.shape[0]), victim)


V29 = Row(
    id="V29",
    claim="Losing its busiest node wrecks a scale-free graph with little spare capacity; "
    "a homogeneous one survives",
    formula="capacity (1+α) L; whoever exceeds it fails, paths are found anew",
    source="Motter & Lai, Phys. Rev. E 66 (2002) 065102 (shape of fig. 2); "
    "values: mean of 5 to 400 graphs by an independent compiled program",
    inputs="configuration model γ=3, k ≥ 2, N=2000 (α=0.1, 1) and 500 (α=0.5); "
    "random regular k=3, N=2000",
    fidelities=("direct",),
    measure=_ensemble,
    mutants=(
        Mutant(
            "loads are not found anew",
            lambda: replaced(graph_cascades, "overload_cascade", _no_cascade),
            "direct",
        ),
    ),
    slow=frozenset({"direct"}),
    note="The paper prints curves, no numbers. At α=0.5 and N=2000 graphs either hold or collapse "
    "(0.70 on average, standard deviation 0.30 over 40 graphs): some 65 graphs would be needed, "
    "so this tolerance is read at 500 nodes.",
)

ROWS = (V28, V29)
