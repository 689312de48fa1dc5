"""The chain over queue and orbit: rates by hand, solvers against closed forms, clear refusals."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from simulator.analytic.chain import STATES_MAX, PoolChain
from simulator.analytic.sojourn import timeout_chances
from simulator.analytic.solve import (
    longest_s,
    mean_passage,
    relaxation_s,
    stationary,
    stuck_queue,
)
from simulator.errors import UsageError
from simulator.verification import closed_forms

SMALL = {
    "first_tries_rps": 6.0,
    "servers": 2,
    "service_s": 0.2,
    "room": 8,
    "timeout_s": 0.7,
    "retries": 2,
    "backoff_s": 0.3,
}


def small(**changes) -> PoolChain:
    return PoolChain(**(SMALL | changes))


# ------------------------------------------------------------------------------------ timeouts


def test_one_server_waits_for_an_erlang_number_of_services():
    chances = timeout_chances(servers=1, service_s=0.5, timeout_s=2.0, found_max=12)
    assert chances == pytest.approx(stats.erlang.sf(2.0, np.arange(13) + 1, scale=0.5), rel=1e-12)


@pytest.mark.parametrize("found", [0, 2, 3, 4, 9])
def test_several_servers_against_an_integral(found):
    servers, s, patience = 3, 0.5, 1.3
    chances = timeout_chances(servers=servers, service_s=s, timeout_s=patience, found_max=found)
    wait = stats.erlang(max(found - servers + 1, 1), scale=s / servers)
    if found < servers:
        expected = math.exp(-patience / s)
    else:
        inside = integrate.quad(
            lambda x: wait.pdf(x) * math.exp(-(patience - x) / s), 0.0, patience, epsabs=1e-13
        )[0]
        expected = wait.sf(patience) + inside
    assert chances[found] == pytest.approx(expected, rel=1e-9)


def test_long_queues_keep_their_digits():
    # The closed form is a product of 1e+300 and 1e-300 here.
    chances = timeout_chances(servers=2, service_s=0.001, timeout_s=5.0, found_max=12_000)
    assert np.all(np.diff(chances) >= 0.0)
    assert chances[0] == math.exp(-5_000.0)
    assert chances[10_000] == pytest.approx(0.5, abs=0.01)
    assert chances[-1] == 1.0


def test_endless_patience_never_times_out():
    assert not timeout_chances(servers=4, service_s=1.0, timeout_s=math.inf, found_max=50).any()


# ----------------------------------------------------------------------------------- generator


def test_generator_by_hand():
    chain = PoolChain(
        first_tries_rps=3.0, servers=1, service_s=0.5, room=1, timeout_s=1.0, retries=1,
        backoff_s=1.0, orbit_max=1,
    )  # fmt: skip
    p0, p1 = math.exp(-2.0), 3.0 * math.exp(-2.0)  # Erlang(1, 2) and Erlang(2, 2) beyond 1 s
    lam, mu, retry, drop = 3.0, 2.0, 0.25, 0.25  # one in orbit leaves at rate 1/2, half to retry
    states = [(n, m) for n in range(3) for m in range(2)]
    expected = np.zeros((6, 6))

    def move(start, end, rate):
        expected[states.index(start), states.index(end)] += rate
        expected[states.index(start), states.index(start)] -= rate

    for n, p in ((0, p0), (1, p1)):
        move((n, 0), (n + 1, 0), lam * (1 - p))
        move((n, 0), (n + 1, 1), lam * p)
        move((n, 1), (n + 1, 1), lam)  # no place for one more in orbit
        move((n, 1), (n + 1, 0), retry * (1 - p))
        move((n, 1), (n + 1, 1), retry * p)
    move((2, 0), (2, 1), lam)  # rejected: into orbit
    for n in range(3):
        move((n, 1), (n, 0), drop)
    for n in (1, 2):
        for m in (0, 1):
            move((n, m), (n - 1, m), mu)
    assert chain.generator.toarray() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("changes", [{}, {"retries": 0}, {"room": 0}, {"timeout_s": math.inf}])
def test_rows_of_the_generator_sum_to_zero(changes):
    generator = small(**changes).generator
    assert np.abs(generator.sum(axis=1)).max() < 1e-12
    off = generator.toarray()
    np.fill_diagonal(off, 0.0)
    assert off.min() >= 0.0


def test_without_retries_there_is_no_orbit():
    assert small(retries=0).shape == (11, 1)


def test_bound_of_the_orbit_is_beyond_any_likely_orbit():
    chain = small()
    mean = 6.0 * 3 * (0.7 + 0.3)
    assert chain.orbit_when_all_fail == pytest.approx(mean)
    assert stats.poisson.sf(chain.orbit_bound, mean) < 1e-10


# ------------------------------------------------------------------------------------- solvers


def test_mmc_exactly():
    chain = PoolChain(first_tries_rps=8.0, servers=10, service_s=1.0, room=300, unbounded=True)
    found, theory = stationary(chain), closed_forms.mmc(8.0, 1.0, 10)
    assert found.waiting == pytest.approx(theory.queue, rel=1e-10)
    assert found.in_system == pytest.approx(theory.present, rel=1e-10)


def test_short_queue_exactly():
    found = stationary(PoolChain(first_tries_rps=12.0, servers=1, service_s=0.1, room=9))
    rejected, time_s, through = closed_forms.mm1k(12.0, 10.0, 10)
    assert found.good_rps == pytest.approx(through, rel=1e-12)
    assert 1.0 - found.success_frac == pytest.approx(rejected, rel=1e-12)
    assert found.in_system == pytest.approx(through * time_s, rel=1e-12)


def test_stationary_state_balances_and_first_tries_are_conserved():
    chain = small()
    found = stationary(chain)
    assert found.mass.sum() == pytest.approx(1.0, rel=1e-12)
    assert np.abs(found.mass.ravel() @ chain.generator).max() < 1e-12
    given_up = float(chain.dropped_rps @ found.mass.sum(axis=0))
    assert found.good_rps + given_up == pytest.approx(chain.first_tries_rps, rel=1e-9)
    rejected = float(found.mass[-1] @ (chain.first_tries_rps + chain.retries_rps))
    assert found.served_rps + rejected == pytest.approx(found.attempts_rps, rel=1e-9)


def test_good_state_alone_stays_below_its_bound():
    chain = small(first_tries_rps=9.0)
    found = stationary(chain, highest=5)
    assert found.mass[6:].sum() == 0.0
    assert found.mass.sum() == pytest.approx(1.0)
    assert found.waiting < stationary(chain).waiting


def test_shares_of_two_states_follow_the_times_between_them():
    # Renewal: the share of the bad state is its life over both lives, if lives are long.
    chain = PoolChain(
        first_tries_rps=6.3, servers=1, service_s=0.1, room=40, timeout_s=2.0, retries=1
    )
    queue = np.indices(chain.shape)[0]
    middle = 20
    share = float(stationary(chain).mass[middle:].sum())
    down = mean_passage(chain, queue <= 1)[-1, round(chain.orbit_when_all_fail)]
    up = mean_passage(chain, queue >= chain.queue_max)[0, 0]
    assert 0.001 < share < 0.999
    assert math.log(share / (1.0 - share)) == pytest.approx(math.log(down / up), abs=0.5)


def test_first_passage_by_steps():
    chain = PoolChain(first_tries_rps=8.0, servers=1, service_s=0.1, room=49)
    times_s = mean_passage(chain, np.indices(chain.shape)[0] >= 50)
    assert times_s[50, 0] == 0.0
    assert times_s[0, 0] == pytest.approx(closed_forms.first_passage_s(8.0, 10.0, 50), rel=1e-9)


def test_passages_that_rounding_would_decide_are_infinite():
    chain = PoolChain(first_tries_rps=1.0, servers=1, service_s=0.1, room=49)
    times_s = mean_passage(chain, np.indices(chain.shape)[0] >= 50)
    assert closed_forms.first_passage_s(1.0, 10.0, 50) > longest_s(chain)
    assert math.isinf(times_s[0, 0])
    assert times_s[50, 0] == 0.0


def test_gap_of_two_states():
    chain = PoolChain(first_tries_rps=3.0, servers=1, service_s=0.5, room=0)
    assert 1.0 / relaxation_s(chain) == pytest.approx(3.0 + 2.0, rel=1e-9)


@pytest.mark.parametrize("most", [12, 120])
def test_gap_of_a_short_queue(most):
    # Eigenvalues of a birth-death chain with constant rates (Morse 1958, ch. 6).
    lam, mu = 6.0, 10.0
    chain = PoolChain(first_tries_rps=lam, servers=1, service_s=1.0 / mu, room=most - 1)
    gap = lam + mu - 2.0 * math.sqrt(lam * mu) * math.cos(math.pi / (most + 1))
    # The long chain's eigenvectors are far from orthogonal, which costs digits.
    assert 1.0 / relaxation_s(chain) == pytest.approx(gap, rel=1e-8 if most == 12 else 1e-5)


def test_zombie_line():
    assert stuck_queue(small()) == 2 + 5  # 10/s times 0.5 s, above two in service
    assert stuck_queue(small(timeout_s=math.inf)) > small().queue_max


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first_tries_rps": 0.0}, "first_tries_rps must be a number above 0, got 0.0"),
        ({"service_s": math.nan}, "service_s must be a number above 0, got nan"),
        ({"timeout_s": -1.0}, "timeout_s must be above 0, got -1.0"),
        ({"timeout_s": math.nan}, "timeout_s must be above 0, got nan"),
        ({"backoff_s": math.inf}, "backoff_s must be a number, 0 or more, got inf"),
        ({"servers": 2.5}, "servers must be a whole number, 1 or more, got 2.5"),
        ({"retries": -1}, "retries must be a whole number, 0 or more, got -1"),
        ({"room": True}, "room must be a whole number, 0 or more, got True"),
        ({"orbit_max": 0}, "orbit_max must be a whole number, 1 or more, got 0"),
        ({"timeout_s": math.inf, "backoff_s": 0.0}, "need a backoff_s above 0"),
        ({"first_tries_rps": 6e4}, f"states .* more than {STATES_MAX:,}"),
    ],
)
def test_what_makes_no_chain_is_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        small(**changes)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(UsageError) as caught:
        small(servers=0, service_s=-1.0)
    assert len(str(caught.value).splitlines()) == 2


def test_cut_queue_that_holds_mass_is_refused():
    chain = PoolChain(first_tries_rps=9.9, servers=1, service_s=0.1, room=50, unbounded=True)
    with pytest.raises(UsageError, match=r"unbounded queue reaches 51; give it a waiting room"):
        stationary(chain)


def test_cut_orbit_that_holds_mass_is_refused():
    with pytest.raises(UsageError, match="raise orbit_max above 4"):
        stationary(small(first_tries_rps=9.0, orbit_max=4))


def test_states_that_hold_each_other_off_are_refused():
    chain = PoolChain(
        first_tries_rps=6.0, servers=1, service_s=0.1, room=200, timeout_s=10.0, retries=3
    )
    assert math.isinf(relaxation_s(chain))
    with pytest.raises(UsageError, match="leave each other too seldom"):
        stationary(chain)
