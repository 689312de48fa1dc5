"""The flow against theory: thresholds, hysteresis, recovery and tipping times of a pool.

Standard pool: C = 1,000/s, timeout T = 1 s, mean service s = 0.1 s, first in first out, zombies.
Sources "derived" are derivations that were checked request by request, with the numbers given.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from simulator.flow.plane import FlowPlane
from simulator.model import (
    DEADLINE_AWARE,
    FIFO,
    LIFO,
    NO_BUDGET,
    PER_FIRST_TRY,
    PER_SUCCESS,
    Topology,
)
from simulator.policies.tables import with_columns
from tests.parity.worlds import Change, E, P, build, demand, outage, success, tell
from tests.verification.claims import Claim, Mutant, unchanged

FULL = 1000.0


def pool(edge: E, *, mutant: Mutant = unchanged, **fields) -> Topology:
    """One pool and one service."""
    return mutant(build({"a": P(**fields)}, [edge]))


def run(topology: Topology, script: list[Change], end_s: float) -> FlowPlane:
    """Let the script happen to the flow, sampled every second."""
    plane = FlowPlane(topology, sample_period_s=1.0)
    tell(plane, script, end_s)
    return plane


def edge_rows(plane: FlowPlane) -> np.ndarray:
    """Return the rows of the service: first, ok, failed, attempts per second, in flight."""
    return plane.samples()[2][:, 0]


def boundary(good: Callable[[float], bool], low: float, high: float, *, steps: int = 9) -> float:
    """Bisect between a value that is good and one that is not."""
    assert good(low), f"already bad at {low:g}"
    assert not good(high), f"still good at {high:g}"
    for _ in range(steps):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if good(middle) else (low, middle)
    return 0.5 * (low + high)


def check_threshold(
    retries: int, mutant: Mutant = unchanged, *, outage_s: float = 5.0, **edge
) -> None:
    claim = Claim(
        "V14",
        f"with {retries} retries overload sustains itself above C/(r+1), whatever the backoff",
        "lam* = C/(r+1)",
        "Huang et al., OSDI 2022, theorem 2 with w_L* = r+1",
        f"C = 1000/s, T = 1 s, outage of {outage_s:g} s, 25 min to come back",
    )
    topology = pool(E("a", retries=retries, **edge), mutant=mutant)

    def recovers(rate: float) -> bool:
        return success(run(topology, outage(rate, length_s=outage_s), 1520.0)) > 0.5

    theory = FULL / (retries + 1)
    observed = boundary(recovers, 0.5 * theory, min(1.9 * theory, 990.0))
    claim.holds(theory, observed, 0.05 * theory, "/s")


@pytest.mark.parametrize("retries", [1, 2, 3])
def test_v14_threshold_of_sustained_overload(retries):
    check_threshold(retries)


def test_v14_backoff_does_not_move_the_threshold():
    # The outage must be long enough to bring the bad state about in the first place.
    check_threshold(3, backoff=2.0, outage_s=20.0)
    check_threshold(3, backoff=1.0, exponential=True, jitter=True, outage_s=20.0)


def check_budget(mutant: Mutant = unchanged) -> None:
    claim = Claim(
        "V20",
        "a budget with deposits per first try moves the threshold to C/(1+beta)",
        "lam* = C/(1+beta)",
        "derived; request by request it recovers at 890/s and is stuck at 930/s",
        "C = 1000/s, r = 3, beta = 0.1, bucket 100, outage of 5 s",
    )
    topology = pool(E("a", retries=3, budget=PER_FIRST_TRY), mutant=mutant)

    def recovers(rate: float) -> bool:
        return success(run(topology, outage(rate), 600.0)) > 0.5

    theory = FULL / 1.1
    claim.holds(theory, boundary(recovers, 700.0, 990.0), 0.02 * theory, "/s")


def test_v20_budget_per_first_try():
    check_budget()


def check_budget_per_success(mutant: Mutant = unchanged) -> None:
    claim = Claim(
        "V21",
        "a budget with deposits per success does not collapse: goodput sticks at (C/lam - 1)/beta",
        "p = (C/lam - 1)/beta",
        "derived; request by request 0.36",
        "C = 1000/s, r = 3, beta = 0.1, lam = 960/s, outage of 5 s",
    )
    topology = pool(E("a", retries=3, budget=PER_SUCCESS), mutant=mutant)
    observed = success(run(topology, outage(960.0), 600.0))
    claim.holds((FULL / 960.0 - 1.0) / 0.1, observed, 0.02)


def test_v21_budget_per_success():
    check_budget_per_success()


def check_hysteresis(mutant: Mutant = unchanged) -> None:
    up = [float(x) for x in range(100, 1101, 50)]
    rates = up + up[-2::-1]
    topology = pool(E("a", retries=3), room=5000.0, mutant=mutant)
    script = [demand(60.0 * i, 0, rate) for i, rate in enumerate(rates)]
    rows = edge_rows(run(topology, script, 60.0 * len(rates)))
    shares = [
        rows[60 * i + 40 : 60 * i + 60, 1].sum() / rows[60 * i + 40 : 60 * i + 60, 0].sum()
        for i in range(len(rates))
    ]
    falls = next(rate for rate, share in zip(rates, shares, strict=True) if share < 0.5)
    back = next(
        rate for rate, share in list(zip(rates, shares, strict=True))[len(up) :] if share > 0.5
    )
    inputs = "r = 3, K = 5000, steps of 50/s, 60 s each"
    source = "derived; request by request falls at 1000/s, back at 200/s"
    Claim("V15", "load that rises is lost at C", "lam = C", source, inputs).holds(
        1000.0, falls, 50.0, "/s"
    )
    Claim("V15", "load that sinks comes back below C/(r+1)", "lam = C/(r+1)", source, inputs).holds(
        225.0, back, 25.0, "/s"
    )


def test_v15_hysteresis():
    check_hysteresis()


def check_shed_recovery(to_rps: float, expected_s: float, mutant: Mutant = unchanged) -> None:
    claim = Claim(
        "V16",
        f"after shedding to {to_rps:g}/s the queue K is worked off",
        "(K - C(T - s))/(C - (r+1) lam') + about T",
        "derived; request by request 9, 12, 21, 41 s",
        "K = 5000, r = 3, backoff 50 ms, 700/s, outage of 5 s, shed 45 s later",
    )
    topology = pool(E("a", retries=3, backoff=0.05), room=5000.0, mutant=mutant)
    script = [*outage(700.0, start_s=10.0), demand(60.0, 0, to_rps)]
    rows = edge_rows(run(topology, script, 300.0))[60:]
    good = rows[:, 1] >= 0.9 * rows[:, 0]
    recovered = [i for i in range(len(good) - 10) if good[i : i + 10].all()]
    claim.holds(expected_s, float(recovered[0]) if recovered else np.inf, 2.0, " s")


@pytest.mark.parametrize(
    ("to_rps", "expected_s"), [(100.0, 9.0), (150.0, 12.0), (200.0, 21.0), (225.0, 41.0)]
)
def test_v16_recovery_after_shedding(to_rps, expected_s):
    check_shed_recovery(to_rps, expected_s)


def test_v23_a_traffic_stop_must_outlast_the_queue():
    claim = Claim(
        "V23",
        "a full traffic stop must last longer than q/C and the pending retries",
        "q/C = 5 s",
        "derived; request by request 5 s stays stuck, 6 s recovers",
        "5000 zombies, C = 1000/s, 700/s back at once, r = 3, backoff 50 ms",
    )
    topology = pool(E("a", retries=3, backoff=0.05), room=5000.0)

    def stuck(stop_s: float) -> bool:
        script = [
            *outage(700.0, start_s=10.0),
            demand(60.0, 0, 0.0),
            demand(60.0 + stop_s, 0, 700.0),
        ]
        return success(run(topology, script, 200.0)) < 0.5

    claim.holds(5.5, boundary(stuck, 4.0, 8.0, steps=5), 0.5, " s")


def overload(topology: Topology) -> tuple[float, float, float]:
    """Return (success while overloaded, time to recover, lost first tries)."""
    script = [demand(0.0, 0, 500.0), demand(60.0, 0, 2000.0), demand(90.0, 0, 500.0)]
    rows = edge_rows(run(topology, script, 240.0))
    windows = [rows[90 + i : 100 + i] for i in range(140)]
    well = [i for i, w in enumerate(windows) if w[:, 1].sum() >= 0.95 * w[:, 0].sum()]
    share = rows[60:90, 1].sum() / rows[60:90, 0].sum()
    return float(share), float(well[0]) if well else np.inf, float(rows[:, 2].sum())


def check_overload(mutant: Mutant = unchanged) -> None:
    inputs = "2000/s for 30 s on C = 1000/s, then 500/s; T = 1 s, no retries"
    source = "derived; request by request 58 s, 87,200 lost, 0.500, 0.389"
    _, late_s, lost = overload(pool(E("a"), mutant=mutant))
    Claim("V17", "zombies keep a FIFO pool down after the overload", "(q - C(T-s))/(C - lam)",
          source, inputs).holds(58.2, late_s, 2.0, " s")  # fmt: skip
    Claim("V17", "what the overload costs", "lost first tries", source, inputs).holds(
        87_200.0, lost, 0.02 * 87_200.0
    )
    share, late_s, _ = overload(pool(E("a"), discipline=LIFO, mutant=mutant))
    Claim("V17", "LIFO serves C/lam", "C/lam", source, inputs).holds(0.5, share, 0.01)
    Claim("V17", "LIFO recovers at once", "0", source, inputs).holds(0.0, late_s, 2.0, " s")
    share, late_s, _ = overload(pool(E("a"), room=850.0, mutant=mutant))
    Claim("V17", "a short queue serves in time", "C/lam F(T - K/C)", source, inputs).holds(
        0.39, share, 0.02
    )


def test_v17_overload_without_retries():
    check_overload()


@pytest.mark.parametrize("rate", [1300.0, 2500.0])
def test_f8_lifo_answers_what_it_can(rate):
    claim = Claim(
        "F8",
        f"with LIFO the share of first tries answered at {rate:g}/s is C/lam, retries or not",
        "min(1, C/lam)",
        "derived",
        "C = 1000/s, r = 3, T = 1 s",
    )
    plane = run(pool(E("a", retries=3), discipline=LIFO), [demand(0.0, 0, rate)], 200.0)
    claim.holds(FULL / rate, success(plane), 0.01)


@pytest.mark.parametrize("rate", [300.0, 700.0, 950.0])
def test_f8_lifo_has_no_bad_state(rate):
    claim = Claim("F8", "with LIFO an outage leaves nothing behind", "1", "derived", "r = 3")
    plane = run(pool(E("a", retries=3), discipline=LIFO), outage(rate), 120.0)
    claim.holds(1.0, success(plane), 1e-3)


def test_f9_only_the_deadline_with_the_service_time_helps():
    claim = Claim(
        "F9",
        "discarding what cannot be answered in time (age + s > T) ends the bad state",
        "1",
        "derived; request by request it recovers",
        "lam = 700/s, r = 3, outage of 5 s",
    )
    edge = E("a", retries=3)
    claim.holds(1.0, success(run(pool(edge, late=DEADLINE_AWARE), outage(700.0), 300.0)), 0.05)
    assert success(run(pool(edge), outage(700.0), 300.0)) < 0.01


TIPPING = [(300.0, 2.14), (500.0, 1.44), (700.0, 1.07), (900.0, 0.85)]


def check_tipping(rate: float, theory_s: float, mutant: Mutant = unchanged) -> None:
    claim = Claim(
        "V18",
        f"a full outage of more than D* tips the pool at {rate:g}/s",
        "D*",
        "age-structured fluid with steps of T/100; 5 %",
        "C = 1000/s, T = 1 s, s = 0.1 s, r = 3",
    )
    topology = pool(E("a", retries=3), mutant=mutant)

    def recovers(length_s: float) -> bool:
        return success(run(topology, outage(rate, length_s=length_s), 100.0)) > 0.5

    observed = boundary(recovers, 0.4 * theory_s, 2.0 * theory_s)
    claim.holds(theory_s, observed, 0.05 * theory_s, " s")


@pytest.mark.parametrize(("rate", "theory_s"), TIPPING)
def test_v18_tipping_duration(rate, theory_s):
    check_tipping(rate, theory_s)


def edges(**changes) -> Mutant:
    """Replace fields of all edges, by a value or by a function of the old one."""

    def mutate(topology: Topology) -> Topology:
        for name, change in changes.items():
            policy = name in (topology.edge_policy.dtype.names or ())
            old = topology.edge_policy[name] if policy else getattr(topology, name)
            new = change(old) if callable(change) else np.full_like(old, change)
            fields = (
                {"edge_policy": with_columns(topology.edge_policy, **{name: new})}
                if policy
                else {name: new}
            )
            topology = dataclasses.replace(topology, **fields)
        return topology

    return mutate


MUTANTS = {
    "one retry more": (edges(retries=lambda r: r + 1), lambda m: check_threshold(2, m)),
    "one retry less": (edges(retries=lambda r: r - 1), lambda m: check_threshold(2, m)),
    "no budget": (edges(budget=NO_BUDGET), check_budget),
    "ratio doubled": (edges(budget_ratio=lambda x: 2 * x), check_budget),
    "other deposit": (edges(budget=PER_FIRST_TRY), check_budget_per_success),
    "ratio per success doubled": (
        edges(budget_ratio=lambda x: 2 * x),
        check_budget_per_success,
    ),
    "retries ignored": (edges(retries=0), check_hysteresis),
    "longer timeout": (edges(edge_timeout_s=1.2), lambda m: check_tipping(500.0, 1.44, m)),
    "backoff of 2 s": (edges(backoff_base=2.0), lambda m: check_tipping(500.0, 1.44, m)),
    "longer service": (edges(service_s=0.2), lambda m: check_tipping(900.0, 0.85, m)),
    "never LIFO": (edges(discipline=FIFO), check_overload),
    "no waiting room": (edges(queue_per_unit=np.inf), check_overload),
    "half the room": (edges(queue_per_unit=25.0), lambda m: check_shed_recovery(225.0, 41.0, m)),
    "all cancel": (edges(late_work=1), lambda m: check_shed_recovery(200.0, 21.0, m)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_killed(name):
    mutant, check = MUTANTS[name]
    with pytest.raises(AssertionError):
        check(mutant)
