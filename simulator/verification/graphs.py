"""Random graphs and loads on them, in arrays: what the rows on cascades need.

A graph is a symmetric sparse matrix of ones without a diagonal. NetworkX would do as well, but it
is slow at 10⁴ nodes, and the tests use it as the judge of this module.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = [
    "adjacency",
    "complete_loads",
    "degrees",
    "erdos_renyi",
    "largest_component",
    "random_regular",
    "scale_free",
]

Graph = Any
"""A ``scipy.sparse.csr_array`` (SciPy ships no types)."""

LARGE_BLOCK = 3_900_000
"""Numbers in just less than 32 MiB, the largest block that moves the allocator's threshold."""

BLOCK = 32
"""Sources whose paths are counted at once: their arrays still fit a processor's cache."""


def adjacency(nodes: int, edges: np.ndarray) -> Graph:
    """Return the graph of `nodes` nodes with the given edges.

    Parameters
    ----------
    nodes : int
        Number of nodes.
    edges : numpy.ndarray
        (E, 2) int: pairs of nodes; loops are dropped and repeated pairs count once.
    """
    from scipy.sparse import coo_array

    a, b = edges[edges[:, 0] != edges[:, 1]].T
    ones = np.ones(2 * len(a))
    pairs = (np.concatenate([a, b]), np.concatenate([b, a]))
    graph = coo_array((ones, pairs), shape=(nodes, nodes)).tocsr()
    graph.data[:] = 1.0
    return graph


def degrees(graph: Graph) -> np.ndarray:
    """Return (N,) int: neighbours of every node."""
    return np.diff(graph.indptr)


def erdos_renyi(nodes: int, mean_degree: float, rng: Generator) -> Graph:
    """Return G(n, p) with ``p = mean_degree / (nodes - 1)`` (Erdős & Rényi, Gilbert 1959)."""
    pairs = nodes * (nodes - 1) // 2
    count = int(rng.binomial(pairs, mean_degree / (nodes - 1)))
    keys = np.empty(0, dtype=np.int64)
    while len(keys) < count:
        more = rng.integers(0, pairs, count - len(keys))
        keys = np.unique(np.concatenate([keys, more]))
    # Pair number k stands for (i, j), i > j, k = i(i - 1)/2 + j; the root is off by rounding only.
    i = ((1.0 + np.sqrt(8.0 * keys + 1.0)) / 2.0).astype(np.int64)
    i -= i * (i - 1) // 2 > keys
    i += i * (i + 1) // 2 <= keys
    return adjacency(nodes, np.column_stack([i, keys - i * (i - 1) // 2]))


def random_regular(nodes: int, degree: int, rng: Generator) -> Graph:
    """Return a random regular graph: stubs paired at random, bad pairs drawn again with others.

    A loop or a repeated edge swaps an end with a random edge, which keeps the degrees. The law is
    not exactly uniform; there are but a few such pairs in any graph, however large.
    """
    stubs = rng.permutation(np.repeat(np.arange(nodes), degree)).reshape(-1, 2)
    while True:
        low, high = stubs.min(axis=1), stubs.max(axis=1)
        keys = low * nodes + high
        _, first = np.unique(keys, return_index=True)
        bad = np.ones(len(stubs), dtype=bool)
        bad[first] = False
        bad |= low == high
        if not bad.any():
            return adjacency(nodes, stubs)
        for k in np.flatnonzero(bad):
            other = int(rng.integers(len(stubs)))
            stubs[k, 1], stubs[other, 1] = stubs[other, 1], stubs[k, 1]


def scale_free(nodes: int, exponent: float, degree_min: int, rng: Generator) -> Graph:
    """Return the largest component of a configuration model with a power law of degrees.

    Degrees are ``floor(degree_min · u^(-1/(exponent - 1)))``, at most ``4·sqrt(nodes)``; loops and
    repeated edges are dropped, as usual.
    """
    u = 1.0 - rng.random(nodes)
    degree = np.floor(degree_min * u ** (-1.0 / (exponent - 1.0)))
    degree = np.minimum(degree, int(4.0 * np.sqrt(nodes))).astype(np.int64)
    degree[0] += degree.sum() % 2
    stubs = rng.permutation(np.repeat(np.arange(nodes), degree)).reshape(-1, 2)
    graph = adjacency(nodes, stubs)
    keep = largest_component(graph)
    return graph[keep][:, keep]


def largest_component(graph: Graph) -> np.ndarray:
    """Return the nodes of the largest component, sorted."""
    from scipy.sparse.csgraph import connected_components

    _, label = connected_components(graph, directed=False)
    return np.flatnonzero(label == np.bincount(label).argmax())


def complete_loads(graph: Graph) -> np.ndarray:
    """Return (N,) float64: the load of every node when each sends one unit to every other one.

    A unit is split evenly over all shortest paths and loads every node on its way, both ends
    included: betweenness centrality over ordered pairs, plus twice the other nodes within reach.
    Brandes' recursion (J. Math. Sociol. 25, 2001, theorem 6), for a block of sources at once.
    """
    from scipy.sparse.csgraph import connected_components

    _keep_freed_memory()
    load = np.zeros(graph.shape[0])
    count, label = connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")
    edges = np.searchsorted(label[order], np.arange(count + 1))
    for first, last in pairwise(edges):
        members = order[first:last]
        if len(members) == 1:
            continue
        # A graph in pieces is done piece by piece: after a collapse they are small.
        part = graph if len(members) == len(load) else graph[members][:, members]
        for start in range(0, len(members), BLOCK):
            sources = np.arange(start, min(start + BLOCK, len(members)))
            load[members] += _block_load(part, sources)
    return load


def _keep_freed_memory() -> None:
    """Let the C library keep memory that is freed, instead of giving it back each time.

    GNU's allocator does so once a large block was freed (mallopt(3), M_MMAP_THRESHOLD); without
    that, most of the time goes into page faults for the same few arrays. Elsewhere this does
    nothing.
    """
    del_me = np.empty(LARGE_BLOCK)
    del del_me


def _block_load(graph: Graph, sources: np.ndarray) -> np.ndarray:
    """Return what the units that start at `sources` add to every node; all are connected."""
    column = np.arange(len(sources))
    fresh = np.zeros((graph.shape[0], len(sources)))
    fresh[sources, column] = 1.0
    paths = fresh.copy()
    unseen = 1.0 - fresh
    levels = []
    while fresh.any():
        levels.append(fresh)
        fresh = graph @ fresh
        fresh *= unseen
        paths += fresh
        np.equal(paths, 0.0, out=unseen)
    # What goes on from a node, level by level from the far end; at the source, all that starts.
    # A node's share is (1 + onward)/paths; levels hold the paths of their nodes and 0 elsewhere,
    # so a factor paths/paths² picks a level without a mask.
    pick = 1.0 / (paths * paths)
    onward = np.zeros_like(paths)
    for near, far in zip(levels[-2::-1], levels[:0:-1], strict=True):
        share = 1.0 + onward
        share *= far
        share *= pick
        passed_on = graph @ share
        passed_on *= near
        onward += passed_on
    load: np.ndarray = onward.sum(axis=1) + len(sources)
    # Every unit but a source's own arrives.
    load[sources] -= 1.0
    return load
