from hypothesis import given
from hypothesis import strategies as st

from simulator import units
from simulator.errors import QuantityError

durations = st.one_of(
    st.just(0.0),
    st.floats(units.DURATION_S_MIN, units.DURATION_S_MAX),
    st.floats(units.DURATION_S_MIN, 1e-6),
    st.floats(1e-6, 1.0),
    st.integers(1, 10**9).map(float),
    st.integers(1, 10**6).map(lambda ms: ms / 1000),
)
rates = st.one_of(
    st.just(0.0),
    st.floats(units.RATE_RPS_MIN, units.RATE_RPS_MAX),
    st.floats(units.RATE_RPS_MIN, 1.0),
    st.integers(1, 10**6).map(lambda n: n / 60),
    st.integers(1, 10**6).map(lambda n: n * 100.0),
)


@given(durations)
def test_duration_round_trip_is_exact(value):
    assert units.parse_duration(units.format_duration(value)) == value


@given(rates)
def test_rate_round_trip_is_exact(value):
    assert units.parse_rate(units.format_rate(value)) == value


@given(st.floats(0, 1))
def test_fraction_round_trip_is_exact(value):
    assert units.parse_fraction(units.format_fraction(value)) == value


@given(st.integers(0, units.COUNT_MAX))
def test_count_round_trip_is_exact(value):
    assert units.parse_count(units.format_count(value)) == value


@given(st.floats(0, units.MULTIPLIER_MAX))
def test_multiplier_round_trip_is_exact(value):
    assert units.parse_multiplier(units.format_multiplier(value)) == value


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_parts_add_up(days, hours, minutes, seconds):
    text = f"{days}d{hours}h{minutes}m{seconds}s"
    assert units.parse_duration(text) == days * 86_400 + hours * 3600 + minutes * 60 + seconds


def attempt(parse, value):
    """Return what was read and None, or NaN and the error."""
    try:
        return parse(value), None
    except QuantityError as error:
        return float("nan"), error


@given(
    st.one_of(
        st.text(max_size=80),
        st.text("0123456789.-+ kKmMsShd%x/eE:", max_size=12),
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.lists(st.integers(), max_size=2),
    )
)
def test_any_value_is_read_or_refused_with_a_message(value):
    parsers = [
        (units.parse_duration, units.DURATION_S_MAX),
        (units.parse_rate, units.RATE_RPS_MAX),
        (units.parse_fraction, 1.0),
        (units.parse_count, units.COUNT_MAX),
        (units.parse_multiplier, units.MULTIPLIER_MAX),
    ]
    for parse, limit in parsers:
        read, refused = attempt(parse, value)
        if refused is None:
            assert 0 <= read <= limit
        else:
            assert refused.reason
            assert refused.hint
