"""Chance of the request fidelity (R13): numbers that depend on a key and a count alone.

Number ``i`` (from 0) of a stream is ``mix(key + i * GAMMA)``: SplitMix64 (Steele, Lea and Flood,
*Fast splittable pseudorandom number generators*, OOPSLA 2014). The compiled kernel and its plain
twin draw the same numbers from the same keys.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.model import Topology

GAMMA = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
_MASK = (1 << 64) - 1


class StreamKeys(NamedTuple):
    """Keys of the streams of a region."""

    first: np.ndarray
    """(E,) uint64: gaps between first tries."""
    choices: np.ndarray
    """(E,) uint64: admission, probabilistic refusals, backoff."""
    service: np.ndarray
    """(P,) uint64: service times and numbers of calls."""


def mix(z: int) -> int:
    """Scramble 64 bits (finalizer of SplitMix64)."""
    z = ((z ^ (z >> 30)) * MIX_1) & _MASK
    z = ((z ^ (z >> 27)) * MIX_2) & _MASK
    return z ^ (z >> 31)


def uniform(key: int, i: int) -> float:
    """Return number ``i`` of a stream: strictly between 0 and 1, a multiple of 2**-53.

    Upper 52 bits plus half a step. (With 53 bits the largest number would round to 1.)
    """
    return ((mix((key + i * GAMMA) & _MASK) >> 12) + 0.5) * 2.0**-52


def uniforms(key: int) -> Iterator[float]:
    """Yield the numbers of a stream, from number 0 on."""
    i = 0
    while True:
        yield uniform(key, i)
        i += 1


def stream_keys(topology: Topology, rng: np.random.Generator | None) -> StreamKeys:
    """Return the keys of all streams: hashes of one draw of ``rng`` and of names.

    Raises
    ------
    ValueError
        If there is no ``rng``: requests arrive by chance, and a run must be repeatable.
    """
    if rng is None:
        msg = "the request fidelity draws every request: it needs rng, e.g. a stream of Streams"
        raise ValueError(msg)
    seed = int(rng.integers(0, 2**64, dtype=np.uint64))
    edges = edge_names(topology)
    return StreamKeys(
        first=_keys(seed, "first", edges),
        choices=_keys(seed, "choices", edges),
        service=_keys(seed, "service", [(name,) for name in topology.pool_ids]),
    )


def edge_names(topology: Topology) -> list[tuple[str, ...]]:
    """Return what names each edge: caller and callee, a service, or a control plane."""
    ids = topology.pool_ids
    outer = [("service", name) for name in topology.service_ids]
    outer += [("control plane", name) for name in topology.control_plane_ids]
    inner = topology.n_edges - len(outer)
    names: list[tuple[str, ...]] = [
        (ids[topology.edge_caller[e]], ids[topology.edge_callee[e]]) for e in range(inner)
    ]
    return names + [(*name, "") for name in outer]


def _keys(seed: int, kind: str, names: list[tuple[str, ...]]) -> np.ndarray:
    """Hash seed, kind and names to 64 bits each."""
    keys = np.zeros(len(names), np.uint64)
    for i, name in enumerate(names):
        parts = [part.encode() for part in (str(seed), kind, *name)]
        text = b"".join(b"%d:%s" % (len(part), part) for part in parts)
        keys[i] = int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
    return keys
