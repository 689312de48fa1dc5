"""The flow against theory, between pools: layered retries and callers blocked by their callees."""

import dataclasses

import numpy as np
import pytest

from simulator.flow.plane import FlowPlane
from simulator.model import Topology
from simulator.policies.tables import with_columns
from tests.parity.worlds import E, P, build, capacity, demand, tell
from tests.verification.claims import Claim, Mutant, unchanged


def layers(n: int, retries: int) -> Topology:
    """A chain of ``n`` pools, each with enough workers; upper timeouts outlast lower ones."""
    names = "abcdefgh"[:n]
    ample = P(rate=1e9, workers=1e9, s=0.01)
    timeouts = [0.1 * (1.5 * (retries + 1)) ** (n - 1 - i) for i in range(n)]
    edges = [E("a", timeout=timeouts[0], retries=retries)]
    edges += [E(names[i], names[i - 1], timeout=timeouts[i], retries=retries) for i in range(1, n)]
    return build(dict.fromkeys(names, ample), edges)


def check_layers(n: int, retries: int, mutant: Mutant = unchanged) -> None:
    claim = Claim(
        "V10",
        f"{n} layers with {retries} retries multiply the load of a dead leaf",
        "(r+1)^L",
        "Beyer et al., Site Reliability Engineering 2016, ch. 22",
        "leaf dead, 10 first tries/s",
    )
    topology = mutant(layers(n, retries))
    leaf = n - 1
    plane = FlowPlane(topology, sample_period_s=10.0)
    entry = topology.service_edge("s0")
    tell(plane, [demand(0.0, entry, 10.0), capacity(0.0, leaf, 0.0)], 600.0)
    rows = plane.samples()[2][-20:]
    last = int(np.flatnonzero(topology.edge_callee == leaf)[0])
    observed = float(rows[:, last, 3].sum() / rows[:, entry, 0].sum())
    theory = float((retries + 1) ** n)
    claim.holds(theory, observed, 0.01 * theory)


@pytest.mark.parametrize(("n", "retries"), [(1, 3), (2, 3), (3, 3), (5, 2)])
def test_v10_layered_retries(n, retries):
    check_layers(n, retries)


def blocked(
    callee: P, *, timeout_s: float, retries: int, dead: bool, workers: float = 100.0
) -> float:
    """Return what a pool of workers starts per second when its callee keeps them waiting."""
    pools = {"a": P(rate=1e5, workers=workers, s=0.01, room=1e5), "b": callee}
    edges = [E("a", timeout=30.0), E("b", "a", timeout=timeout_s, retries=retries)]
    topology = build(pools, edges)
    plane = FlowPlane(topology, sample_period_s=10.0)
    script = [demand(0.0, topology.service_edge("s0"), 500.0)]
    if dead:
        script.append(capacity(0.0, 1, 0.0))
    tell(plane, script, 300.0)
    return float(plane.samples()[1][-10:, 0, 1].mean())


def check_dead_callee(retries: int, *, more: int = 0) -> None:
    claim = Claim(
        "F14",
        f"calls to a dead callee with {retries} retries hold each worker for all timeouts",
        "workers/(s + (r+1) T)",
        "derived (Little's law)",
        "100 workers, s = 10 ms, T = 1 s, 500/s offered",
    )
    theory = 100.0 / (0.01 + (retries + 1) * 1.0)
    observed = blocked(P(), timeout_s=1.0, retries=retries + more, dead=True)
    claim.holds(theory, observed, 0.05 * theory, "/s")


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_f14_dead_callee(retries):
    check_dead_callee(retries)


@pytest.mark.parametrize("slow_s", [0.5, 1.0, 2.0])
def test_f14_slow_callee(slow_s):
    claim = Claim(
        "F14",
        f"a callee that takes {slow_s:g} s holds each worker for that long",
        "workers/(s + L)",
        "derived (Little's law)",
        "100 workers, s = 10 ms, callee without limit, T = 10 s",
    )
    callee = P(rate=1e5, workers=1e6, s=slow_s, deterministic=True)
    observed = blocked(callee, timeout_s=10.0, retries=0, dead=False)
    theory = 100.0 / (0.01 + slow_s)
    claim.holds(theory, observed, 0.05 * theory, "/s")


def retries_less_one(topology: Topology) -> Topology:
    return dataclasses.replace(
        topology,
        edge_policy=with_columns(topology.edge_policy, retries=topology.edge_policy["retries"] - 1),
    )


def calls_halved(topology: Topology) -> Topology:
    return dataclasses.replace(topology, edge_calls=0.5 * topology.edge_calls)


@pytest.mark.parametrize("mutant", [retries_less_one, calls_halved])
def test_mutants_of_layers_are_killed(mutant):
    with pytest.raises(AssertionError):
        check_layers(3, 3, mutant)


def test_a_mutant_of_blocked_callers_is_killed():
    with pytest.raises(AssertionError):
        check_dead_callee(1, more=1)
