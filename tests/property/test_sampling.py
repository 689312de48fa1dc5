from hypothesis import given
from hypothesis import strategies as st

from simulator.sampling import Constant, Exponential, Lognormal, Streams, Uniform

names = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=3).map(tuple)
seeds = st.integers(0, 2**128)
shares = st.floats(0.001, 0.999)
seconds = st.floats(0.001, 1e6).map(lambda value: f"{value:.6f}s")
distributions = st.one_of(
    st.builds(Constant, value=seconds),
    st.builds(Lognormal, median=seconds, sigma=st.floats(0, 3)),
    st.builds(Exponential, mean=seconds),
    st.builds(lambda value: Uniform(low=0.0, high=value), seconds),
)


@given(seeds, st.lists(names, min_size=2, max_size=5, unique=True), st.randoms())
def test_order_of_creation_and_of_draws_does_not_matter(seed, paths, shuffler):
    straight = Streams(seed)
    expected = {path: straight.stream(*path).random(3).tolist() for path in paths}
    shuffled = list(paths)
    shuffler.shuffle(shuffled)
    other = Streams(seed)
    drawn: dict[tuple[str, ...], list[float]] = {path: [] for path in paths}
    for _ in range(3):
        for path in shuffled:
            drawn[path].append(other.stream(*path).random())
    assert drawn == expected


@given(seeds, names, names)
def test_one_more_stream_changes_no_other(seed, path, extra):
    alone = Streams(seed).stream(*path).random(3).tolist()
    together = Streams(seed)
    if extra != path:
        together.stream(*extra).random(7)
    assert together.stream(*path).random(3).tolist() == alone


@given(seeds, names, names)
def test_different_names_give_different_numbers(seed, one, other):
    streams = Streams(seed)
    if one != other:
        assert streams.stream(*one).random(2).tolist() != streams.stream(*other).random(2).tolist()


@given(distributions, shares, shares)
def test_quantile_is_monotone(distribution, p, q):
    low, high = sorted((p, q))
    assert distribution.quantile(low) <= distribution.quantile(high)


@given(distributions)
def test_mean_is_the_integral_of_the_quantile(distribution):
    # Midpoint rule; the tail of the log-normal and of the exponential is cut off, so the sum must
    # not exceed the mean (beyond the rule's own error for the flat cases) and must come near it.
    n = 500
    total = sum(distribution.quantile((i + 0.5) / n) for i in range(n)) / n
    assert total <= distribution.mean * (1 + 1e-9)
    if not isinstance(distribution, Lognormal) or distribution.sigma < 1:
        assert total >= distribution.mean * 0.98


@given(seeds, distributions, distributions)
def test_streams_stay_aligned_when_the_distribution_changes(seed, one, other):
    first, second = (Streams(seed).stream("repair") for _ in range(2))
    one.sample(first)
    other.sample(second)
    assert first.random() == second.random()


@given(seeds, st.floats(1.0, 10.0))
def test_more_median_never_gives_less_time(seed, factor):
    values = {"kind": "lognormal", "sigma": 0.8}
    short = Lognormal.model_validate({**values, "median": "5s"})
    long = Lognormal.model_validate({**values, "median": f"{5 * factor:.6f}s"})
    draws = [d.sample(Streams(seed).stream("repair")) for d in (short, long)]
    assert draws[0] <= draws[1] * (1 + 1e-6)
