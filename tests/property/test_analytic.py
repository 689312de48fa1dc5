"""Laws of the chain over queue and orbit, for any small pool."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simulator.analytic.chain import PoolChain
from simulator.analytic.drift import balanced_load, equilibria, folds
from simulator.analytic.sojourn import timeout_chances
from simulator.analytic.solve import mean_passage, relaxation_s, stationary
from simulator.errors import UsageError

RETRIES = st.integers(0, 3)


@st.composite
def chains(draw, *, retries=RETRIES):
    """Draw a pool of at most a few thousand states, from idle to overloaded."""
    servers = draw(st.integers(1, 5))
    service_s = draw(st.floats(0.05, 0.5))
    return PoolChain(
        first_tries_rps=draw(st.floats(0.05, 1.4)) * servers / service_s,
        servers=servers,
        service_s=service_s,
        room=draw(st.integers(0, 15)),
        timeout_s=draw(st.floats(0.5, 4.0)) * service_s,
        retries=draw(retries),
        backoff_s=draw(st.floats(0.0, 2.0)) * service_s,
    )


@given(chains())
def test_generator_conserves_probability(chain):
    generator = chain.generator
    scale = -generator.diagonal().min()
    assert np.abs(generator.sum(axis=1)).max() <= 1e-12 * scale
    moves = generator.tocoo()
    away = moves.row != moves.col
    assert moves.data[away].min() > 0.0
    # One at a time: no move changes queue or orbit by more than one.
    orbits = chain.shape[1]
    assert np.abs(moves.row // orbits - moves.col // orbits).max() <= 1
    assert np.abs(moves.row % orbits - moves.col % orbits).max() <= 1


@given(chains())
def test_stationary_state_is_one_and_first_tries_are_conserved(chain):
    found = stationary(chain)
    assert found.mass.min() >= 0.0
    assert found.mass.sum() == pytest.approx(1.0, rel=1e-9)
    flows = found.mass.ravel() @ chain.generator
    assert np.abs(flows).max() <= 1e-9 * -chain.generator.diagonal().min()
    if chain.retries:
        given_up = float(chain.dropped_rps @ found.mass.sum(axis=0))
        assert found.good_rps + given_up == pytest.approx(chain.first_tries_rps, rel=1e-6)
    else:
        assert found.good_rps <= chain.first_tries_rps * (1.0 + 1e-9)
    assert 0.0 <= found.wasted_frac <= 1.0
    assert found.served_rps <= chain.capacity_rps * (1.0 + 1e-9)


@given(chains(), st.floats(0.01, 100.0))
def test_unit_of_time_does_not_matter(chain, scale):
    slower = replace(
        chain,
        first_tries_rps=chain.first_tries_rps / scale,
        service_s=chain.service_s * scale,
        timeout_s=chain.timeout_s * scale,
        backoff_s=chain.backoff_s * scale,
    )
    assume(slower.shape == chain.shape)  # a bound may fall the other side of a whole number
    assert stationary(slower).mass == pytest.approx(stationary(chain).mass, abs=1e-9)
    target = np.indices(chain.shape)[0] == chain.queue_max
    times_s, slow_s = mean_passage(chain, target), mean_passage(slower, target)
    solved = np.isfinite(times_s) & np.isfinite(slow_s)
    assert slow_s[solved] == pytest.approx(scale * times_s[solved], rel=1e-3)
    if chain.n_states > 3 and np.isfinite(relaxation_s(chain)):
        assert relaxation_s(slower) == pytest.approx(scale * relaxation_s(chain), rel=1e-3)


@given(
    st.integers(1, 8),
    st.floats(0.01, 10.0),
    st.floats(0.01, 30.0),
    st.floats(1.0, 3.0),
)
def test_longer_queues_and_less_patience_time_out_more(servers, service_s, patience, factor):
    def chances(timeout_s):
        return timeout_chances(
            servers=servers, service_s=service_s, timeout_s=timeout_s, found_max=60
        )

    short, long = chances(patience * service_s), chances(factor * patience * service_s)
    assert short.min() >= 0.0
    assert short.max() <= 1.0
    assert np.all(np.diff(short) >= -1e-13)
    assert np.all(long <= short + 1e-13)


@given(chains())
def test_equilibria_alternate(chain):
    found = equilibria(chain)
    assert len(found) in {1, 3}
    assert [state.stable for state in found] == [True, False, True][: len(found)]
    queues = np.array([state.queue for state in found])
    assert np.all(np.diff(queues) > 0.0)
    assert balanced_load(chain, queues) == pytest.approx(chain.first_tries_rps, rel=1e-6)


@given(chains(retries=st.integers(1, 3)))
def test_more_retries_never_help_and_backoff_does_not_matter(chain):
    before = folds(chain)
    assume(before is not None)
    assert before is not None
    more = folds(replace(chain, retries=chain.retries + 1))
    assert more is not None
    assert more.lower_rps < before.lower_rps
    assert more.upper_rps <= before.upper_rps
    assert folds(replace(chain, backoff_s=chain.backoff_s + 1.0)) == before


@given(chains(retries=st.integers(1, 3)), st.integers(1, 10))
def test_more_room_never_raises_the_lower_fold(chain, more):
    before = folds(chain)
    assume(before is not None)
    assert before is not None
    after = folds(replace(chain, room=chain.room + more))
    assert after is not None
    assert after.lower_rps <= before.lower_rps + 1e-12
    assert after.upper_rps == pytest.approx(before.upper_rps, rel=1e-12)


@given(chains(retries=st.just(0)), st.floats(1.0, 1.5))
def test_without_retries_more_load_means_longer_queues(chain, factor):
    more = stationary(replace(chain, first_tries_rps=factor * chain.first_tries_rps))
    less = stationary(chain)
    assert more.in_system >= less.in_system - 1e-9
    assert more.success_frac <= less.success_frac + 1e-9


@given(chains(retries=st.integers(1, 3)), st.integers(1, 6))
def test_cuts_are_noticed_or_harmless(chain, bound):
    # With the orbit cut too low the solver refuses; otherwise the answer is that of the whole.
    assume(bound < chain.orbit_bound)
    cut = replace(chain, orbit_max=bound)
    whole = stationary(chain)
    if whole.mass[:, bound:].sum() > 1e-4:
        with pytest.raises(UsageError, match="raise orbit_max"):
            stationary(cut)
    elif whole.mass[:, bound:].sum() < 1e-8:
        assert stationary(cut).in_system == pytest.approx(whole.in_system, rel=1e-3)
