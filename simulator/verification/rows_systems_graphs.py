"""Rows on graphs and branching: V27 threshold cascades, V41 connectivity, V46 cascade sizes."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from simulator.verification import closed_forms_systems as cf
from simulator.verification import graph_cascades, graphs
from simulator.verification.readings import batch_mean, batch_share, exact, generator, printed
from simulator.verification.row import Mutant, Reading, Row, replaced, within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from simulator.verification.row import Fidelity

__all__ = ["ROWS"]

# ------------------------------------------------------------------------- V27 threshold cascades
PHI, NODES = 0.18, 10_000
GRAPHS, SEEDS = 12, 120
GLOBAL_SHARE = 0.1
"""A cascade is global that takes a tenth of the nodes."""
WINDOWS = (
    (0.10, "1.00", "13.66"),
    (0.15, "1.004", "7.48"),
    (0.18, "1.02", "5.76"),
    (0.24, "1.11", "3.86"),
)
PROBABILITIES = ((2.0, 0.75), (4.0, 0.85), (5.0, 0.68), (6.5, 0.0))
EDGE_GRID = np.arange(5.0, 6.41, 0.1)
EDGE_BATCHES = 12


def _watts(fidelity: Fidelity) -> Iterator[Reading]:
    yield from _watts_formula() if fidelity == "formula" else _watts_direct()


def _watts_formula() -> Iterator[Reading]:
    for phi, low, high in WINDOWS:
        found = cf.watts_window(phi)
        yield printed(f"lowest mean degree, threshold {phi:g}", low, found[0])
        yield printed(f"highest mean degree, threshold {phi:g}", high, found[1])
    for z, share in PROBABILITIES:
        value = cf.watts_probability(PHI, z)
        yield Reading(f"chance of a global cascade, z={z:g}", share, value, 0.05)


def _watts_direct() -> Iterator[Reading]:
    rng = generator("V27")
    for z, _ in PROBABILITIES:
        hit, size = np.empty(GRAPHS), np.full(GRAPHS, math.nan)
        for g in range(GRAPHS):
            graph = graphs.erdos_renyi(NODES, z, rng)
            seeds = rng.integers(0, NODES, SEEDS)
            share = graph_cascades.threshold_cascades(graph, PHI, seeds) / NODES
            hit[g] = (share > GLOBAL_SHARE).mean()
            size[g] = share[share > GLOBAL_SHARE].mean() if hit[g] else math.nan
        theory = cf.watts_probability(PHI, z)
        yield batch_share(f"chance of a global cascade, z={z:g}", theory, hit, SEEDS, 0.05)
        if theory > 0.0:
            giant = cf.giant_share(z)
            yield batch_mean(f"size of a global cascade, z={z:g}", giant, size, 0.01)
    yield _upper_end(rng)


def _upper_end(rng: np.random.Generator) -> Reading:
    """Return the mean degree at which vulnerable nodes cease to hang together.

    Where a cluster that spans the graph falls apart, those beside the largest one are largest.
    A finite graph has its peak within a few N^(-1/3) of the limit.
    """
    peak = np.empty(EDGE_BATCHES)
    for b in range(EDGE_BATCHES):
        mean_size = [_beside_largest(graphs.erdos_renyi(NODES, z, rng)) for z in EDGE_GRID]
        peak[b] = EDGE_GRID[int(np.argmax(mean_size))]
    found = batch_mean("highest mean degree", cf.watts_window(PHI)[1], peak, 0.4)
    bias = 2.0 * NODES ** (-1.0 / 3.0)
    return Reading(
        found.quantity, found.theory, found.observed, found.tolerance, found.se, found.n, bias
    )


def _beside_largest(graph: graphs.Graph) -> float:
    sizes = graph_cascades.vulnerable_clusters(graph, PHI).astype(np.float64)
    return float((sizes[1:] ** 2).sum() / sizes.sum())


def _one_neighbour_less(phi: float) -> int:
    return math.floor(1.0 / phi + 1e-12) - 1


def _stricter_threshold(graph: graphs.Graph, phi: float, seeds: np.ndarray) -> np.ndarray:
    return _THRESHOLD_CASCADES(graph, phi + 0.03, seeds)


_THRESHOLD_CASCADES = graph_cascades.threshold_cascades

V27 = Row(
    id="V27",
    claim="One failure brings down a whole graph only between two mean degrees, and then all of it",
    formula="z P(Poisson(z) ≤ ⌊1/φ⌋ − 2) > 1; P = 1 − e^(−zq), q = Σ_(j<K) Poisson(j; z) "
    "(1 − (1−q)ʲ); size S = 1 − e^(−zS)",
    source="Watts, PNAS 99 (2002) 5766, cascade condition and fig. 2",
    inputs="Erdős-Rényi, N=10⁴, φ=0.18, z=2, 4, 5, 6.5, one random seed",
    fidelities=("formula", "direct"),
    measure=_watts,
    mutants=(
        Mutant(
            "vulnerable with one neighbour less",
            lambda: replaced(cf, "watts_vulnerable_degree", _one_neighbour_less),
            "formula",
        ),
        Mutant(
            "threshold 0.21 instead of 0.18",
            lambda: replaced(graph_cascades, "threshold_cascades", _stricter_threshold),
            "direct",
        ),
    ),
    slow=frozenset({"direct"}),
    note="The chance is exact for an infinite graph. The upper end is located by the clusters of "
    "vulnerable nodes; its bias, 2 N^(−1/3), is the width of the transition at this size.",
)

# ------------------------------------------------------------------------------- V41 connectivity
BRIDGE = ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3))
"""Edges between the two ends, 0 and 3."""
GIANT = ((1.5, "0.58281"), (2.0, "0.79681"), (4.0, "0.98017"))
GIANT_NODES, GIANT_GRAPHS = 40_000, 24


def _connectivity(fidelity: Fidelity) -> Iterator[Reading]:
    if fidelity == "formula":
        yield exact("bridge, p=0.9", 0.97848, cf.bridge_reliability(0.9))
        for z, text in GIANT:
            yield printed(f"giant component, z={z:g}", text, cf.giant_share(z))
            yield exact(f"the same by Lambert's W, z={z:g}", _giant_w(z), cf.giant_share(z))
        return
    yield exact("bridge, p=0.9, all 32 states", 0.97848, _bridge_listed(0.9))
    rng = generator("V41")
    for z, _ in GIANT:
        drawn = [graphs.erdos_renyi(GIANT_NODES, z, rng) for _ in range(GIANT_GRAPHS)]
        share = np.array([len(graphs.largest_component(g)) / GIANT_NODES for g in drawn])
        yield batch_mean(f"giant component, z={z:g}", cf.giant_share(z), share, 0.01)


def _giant_w(z: float) -> float:
    from scipy.special import lambertw

    return 1.0 + float(lambertw(-z * math.exp(-z)).real) / z


def _bridge_listed(p: float) -> float:
    """Return the chance that 0 and 3 hang together, over all states of the five edges."""
    from scipy.sparse.csgraph import connected_components

    total = 0.0
    for up in product((False, True), repeat=len(BRIDGE)):
        kept = np.array([e for e, on in zip(BRIDGE, up, strict=True) if on]).reshape(-1, 2)
        _, label = connected_components(graphs.adjacency(4, kept), directed=False)
        total += (label[0] == label[3]) * p ** sum(up) * (1.0 - p) ** (len(BRIDGE) - sum(up))
    return total


def _bridge_without_middle(p: float) -> float:
    return 1.0 - (1.0 - p * p) ** 2


def _double_edges(nodes: int, mean_degree: float, rng: np.random.Generator) -> graphs.Graph:
    return _ERDOS_RENYI(nodes, 1.05 * mean_degree, rng)


_ERDOS_RENYI = graphs.erdos_renyi

V41 = Row(
    id="V41",
    claim="Networks that lose edges: the bridge of five, and the giant component",
    formula="R = 2p² + 2p³ − 5p⁴ + 2p⁵; S = 1 − e^(−zS)",
    source="Barlow & Proschan, Statistical Theory of Reliability and Life Testing, 1975, ch. 1; "
    "Newman, Networks, 2nd ed. 2018, sec. 11.5",
    inputs="p=0.9; Erdős-Rényi, N=4·10⁴, z=1.5, 2, 4",
    fidelities=("formula", "direct"),
    measure=_connectivity,
    mutants=(
        Mutant(
            "bridge without its middle edge",
            lambda: replaced(cf, "bridge_reliability", _bridge_without_middle),
            "formula",
        ),
        Mutant(
            "a twentieth more edges",
            lambda: replaced(graphs, "erdos_renyi", _double_edges),
            "direct",
        ),
    ),
)

# ------------------------------------------------------------------------------ V46 cascade sizes
OFFSPRING = 0.5
CASCADES, CASCADE_BATCHES = 100_000, 24
SIZES = (1, 2, 3)
SUMMED = 400
"""Sizes up to this one carry all of the law but 10^-30."""


def _borel(fidelity: Fidelity) -> Iterator[Reading]:
    texts = ("0.6065", "0.1839", "0.0837")
    if fidelity == "formula":
        for n, text in zip(SIZES, texts, strict=True):
            yield printed(f"P({n})", text, cf.borel(OFFSPRING, n))
        n_all = np.arange(1, SUMMED)
        law = np.array([cf.borel(OFFSPRING, int(n)) for n in n_all])
        mean = float(law @ n_all)
        yield exact("sum of P", 1.0, float(law.sum()))
        yield exact("mean size", 1.0 / (1.0 - OFFSPRING), mean)
        yield exact("variance", OFFSPRING / (1.0 - OFFSPRING) ** 3, float(law @ n_all**2) - mean**2)
        return
    rng = generator("V46")
    batches = [branching(CASCADES, OFFSPRING, rng) for _ in range(CASCADE_BATCHES)]
    for n in SIZES:
        share = np.array([(sizes == n).mean() for sizes in batches])
        theory = cf.borel(OFFSPRING, n)
        yield batch_share(f"P({n})", theory, share, CASCADES, within(0.02, theory))
    means = np.array([sizes.mean() for sizes in batches])
    variances = np.array([sizes.var(ddof=1) for sizes in batches])
    yield batch_mean("mean size", 2.0, means, within(0.02, 2.0))
    yield batch_mean("variance", 4.0, variances, within(0.02, 4.0))


def branching(cascades: int, offspring: float, rng: np.random.Generator) -> np.ndarray:
    """Return (cascades,) int64: failures in all, each one failing Poisson many others in turn."""
    total = np.ones(cascades, dtype=np.int64)
    alive = np.arange(cascades)
    born = np.ones(cascades, dtype=np.int64)
    while len(alive):
        born = rng.poisson(offspring * born)
        alive, born = alive[born > 0], born[born > 0]
        total[alive] += born
    return total


def _seed_not_counted(offspring: float, size: int) -> float:
    return _BOREL(offspring, size + 1)


def _geometric(cascades: int, offspring: float, rng: np.random.Generator) -> np.ndarray:
    """Draw geometric sizes of the same mean: no second generation."""
    return rng.geometric(1.0 - offspring, cascades)


def _patch_branching() -> AbstractContextManager[None]:
    import sys

    return replaced(sys.modules[__name__], "branching", _geometric)


_BOREL = cf.borel

V46 = Row(
    id="V46",
    claim="Failures that each cause others: how large cascades get",
    formula="P(n) = e^(−xn) (xn)ⁿ⁻¹ / n!, mean 1/(1−x), variance x/(1−x)³",
    source="Borel 1942; Dobson, Carreras & Newman, Probab. Eng. Inform. Sci. 19 (2005)",
    inputs="x=0.5",
    fidelities=("formula", "direct"),
    measure=_borel,
    mutants=(
        Mutant("seed not counted", lambda: replaced(cf, "borel", _seed_not_counted), "formula"),
        Mutant("geometric sizes of the same mean", _patch_branching, "direct"),
    ),
)

ROWS = (V27, V41, V46)
