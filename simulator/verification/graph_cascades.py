"""Two classic cascades on graphs: by a threshold on neighbours, and by overload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.verification import graphs

if TYPE_CHECKING:
    from simulator.verification.graphs import Graph

__all__ = ["giant_after", "overload_cascade", "threshold_cascades", "vulnerable_clusters"]

_ROUNDING = 1e-9


def threshold_cascades(graph: Graph, phi: float, seeds: np.ndarray) -> np.ndarray:
    """Return (S,) int64: how many nodes fail when each seed fails, one cascade per seed.

    A node fails for good once the share of its neighbours that failed reaches `phi`
    (Watts, PNAS 99, 2002). The order does not matter, so all cascades advance in step.
    """
    nodes = graph.shape[0]
    degree = graphs.degrees(graph)
    need = np.maximum(np.ceil(phi * degree - _ROUNDING), 1.0).astype(np.int64)
    key = np.arange(len(seeds)) * nodes + seeds
    failed = np.zeros(len(seeds) * nodes, dtype=bool)
    failed[key] = True
    hits = np.zeros(len(seeds) * nodes, dtype=np.int64)
    while len(key):
        touched = _neighbours(graph, degree, key)
        np.add.at(hits, touched, 1)
        ready = touched[(hits[touched] >= need[touched % nodes]) & ~failed[touched]]
        key = np.unique(ready)
        failed[key] = True
    sizes: np.ndarray = failed.reshape(len(seeds), nodes).sum(axis=1)
    return sizes


def _neighbours(graph: Graph, degree: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return the keys (cascade times nodes plus node) of all neighbours, repeats included."""
    nodes = len(degree)
    node = key % nodes
    count = degree[node]
    start = np.repeat(graph.indptr[node] - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
    neighbour = graph.indices[start + np.arange(count.sum())]
    found: np.ndarray = np.repeat(key - node, count) + neighbour
    return found


def vulnerable_clusters(graph: Graph, phi: float) -> np.ndarray:
    """Return the sizes, descending, of the clusters of nodes that one failed neighbour fails."""
    from scipy.sparse.csgraph import connected_components

    degree = graphs.degrees(graph)
    weak = np.flatnonzero((degree > 0) & (degree * phi <= 1.0 + _ROUNDING))
    if len(weak) == 0:
        return np.zeros(0, dtype=np.int64)
    _, label = connected_components(graph[weak][:, weak], directed=False)
    sizes: np.ndarray = np.sort(np.bincount(label))[::-1]
    return sizes


def overload_cascade(graph: Graph, load: np.ndarray, alpha: float, victim: int) -> np.ndarray:
    """Return the nodes that survive the loss of one.

    Each node can carry ``(1 + alpha)`` times its load before the loss; paths are found anew,
    every node above its capacity fails, and so on (Motter & Lai, Phys. Rev. E 66, 2002).

    Parameters
    ----------
    graph : Graph
        Before the loss.
    load : numpy.ndarray
        (N,) loads before the loss, see :func:`simulator.verification.graphs.complete_loads`.
    alpha : float
        Tolerance.
    victim : int
        The node that is lost.
    """
    capacity = (1.0 + alpha) * load * (1.0 + _ROUNDING)
    alive = np.delete(np.arange(graph.shape[0]), victim)
    while len(alive):
        now = graphs.complete_loads(graph[alive][:, alive])
        over = now > capacity[alive]
        if not over.any():
            break
        alive = alive[~over]
    return alive


def giant_after(graph: Graph, alive: np.ndarray) -> float:
    """Return the share of all nodes in the largest component of those that survive."""
    if len(alive) == 0:
        return 0.0
    left = graphs.largest_component(graph[alive][:, alive])
    return len(left) / float(graph.shape[0])
