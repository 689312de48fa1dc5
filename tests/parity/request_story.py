"""The same story told to the compiled request plane and to its SimPy twin."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from simulator.model import Topology
from simulator.request.plane import RequestPlane
from simulator.request.reference import RequestReference
from tests.parity.worlds import Change, Told, tell

ATOL = 1e-9


def pair(topology: Topology, *, seed: int = 1, sample_s: float = 1.0):
    """Return the compiled plane and the twin, with the same random numbers."""
    return tuple(
        plane(
            topology,
            sample_period_s=sample_s,
            rng=np.random.Generator(np.random.PCG64DXSM(seed)),
            guards=True,
        )
        for plane in (RequestPlane, RequestReference)
    )


def same(fast: Told, slow: Told, topology: Topology) -> None:
    """Assert that two stories are one: counts exactly, times to 1e-9."""
    one, two = fast.plane.totals(), slow.plane.totals()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    for x, y in zip(fast.plane.samples(), slow.plane.samples(), strict=True):
        np.testing.assert_allclose(x, y, rtol=ATOL, atol=ATOL)
    assert fast.crossings == slow.crossings
    for edge in range(topology.n_edges):
        assert fast.plane.edge_success(edge) == pytest.approx(
            slow.plane.edge_success(edge), abs=ATOL
        )
        a, b = fast.plane.outlook(edge), slow.plane.outlook(edge)
        assert dataclasses.astuple(a) == pytest.approx(dataclasses.astuple(b), ATOL, ATOL)
        np.testing.assert_array_equal(
            fast.plane.latency_counts(edge), slow.plane.latency_counts(edge)
        )
        quantiles = [told.plane.latencies(edge, (0.5, 0.99)) for told in (fast, slow)]
        np.testing.assert_array_equal(*quantiles)
    for pool in range(topology.n_pools):
        assert fast.plane.pool_success(pool) == pytest.approx(
            slow.plane.pool_success(pool), abs=ATOL
        )


def agree(
    topology: Topology,
    script: Sequence[Change],
    end_s: float,
    *,
    seed: int = 1,
    cuts: Sequence[float] = (),
) -> Told:
    """Assert that plane and twin agree; return the twin's story.

    The plane is also stopped and asked at the times of ``cuts``, which must not matter.
    """
    fast, slow = pair(topology, seed=seed)
    stops: list[Change] = [(t_s, "outlook", {"edge": 0}) for t_s in cuts]
    fast_told, slow_told = tell(fast, [*stops, *script], end_s), tell(slow, script, end_s)
    same(fast_told, slow_told, topology)
    return slow_told


def first_difference(topology: Topology, script: Sequence[Change], end_s: float, *, seed: int = 1):
    """Return time and counters of the first tick after which the two differ, None if there is none.

    For hunting: ``print(first_difference(...))``.
    """
    fast, slow = pair(topology, seed=seed)
    todo = sorted(script, key=lambda change: change[0])
    for tick in range(1, int(end_s / fast.tick_s) + 1):
        until_s = tick * fast.tick_s
        while todo and todo[0][0] < until_s - 1e-9:
            t_s, method, fields = todo.pop(0)
            for plane in (fast, slow):
                plane.advance(t_s)
                getattr(plane, method)(**fields)
        for plane in (fast, slow):
            while plane.advance(until_s) is not None:
                pass
        one, two = fast.totals(), slow.totals()
        if any((one[name] != two[name]).any() for name in one):
            return until_s, one, two
    return None
