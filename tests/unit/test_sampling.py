import math

import numpy as np
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from simulator.sampling import (
    Constant,
    Distribution,
    Lognormal,
    Streams,
    spawn_key,
)

PINNED_KEY = (
    *(1258139064, 1889122090, 4024693395, 2100812055),
    *(235662898, 635594305, 3016520722, 4141186317),
)
PINNED_DRAWS = [0.7254934783163803, 0.5045162208019419]

ADAPTER: TypeAdapter[Distribution] = TypeAdapter(Distribution)


def draw(streams, *path, n=4):
    return streams.stream(*path).random(n).tolist()


def test_same_name_gives_the_same_object():
    streams = Streams(1)
    assert streams.stream("fault", "a") is streams.stream("fault", "a")
    assert streams.names() == (("fault", "a"),)


def test_seed_and_name_decide_the_numbers():
    assert draw(Streams(1), "fault", "a") == draw(Streams(1), "fault", "a")
    assert draw(Streams(1), "fault", "a") != draw(Streams(2), "fault", "a")
    assert draw(Streams(1), "fault", "a") != draw(Streams(1), "fault", "b")


def test_streams_are_pinned():
    # Changing these numbers changes every result: say so under "Changes in results".
    assert spawn_key("fault", "zone-a") == PINNED_KEY
    assert draw(Streams(7), "fault", "zone-a", n=2) == PINNED_DRAWS


def test_parts_of_a_name_are_not_glued():
    assert spawn_key("a", "bc") != spawn_key("ab", "c")
    assert spawn_key("a", "b") != spawn_key("a1:b")
    assert len(spawn_key("a")) == 8


@pytest.mark.parametrize("path", [(), ("",), ("a", "")])
def test_a_stream_needs_a_name(path):
    with pytest.raises(ValueError, match="a stream needs a name"):
        Streams(1).stream(*path)


@pytest.mark.parametrize("seed", [-1, 1.0, True, None, "1"])
def test_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="a seed is a whole number, 0 or more"):
        Streams(seed)


def test_distribution_is_read_by_kind_with_units():
    assert ADAPTER.validate_python({"kind": "constant", "value": "5m"}) == Constant(value="5m")  # type: ignore[arg-type]
    read = ADAPTER.validate_python({"kind": "lognormal", "median": "13h", "sigma": 0.5})
    assert isinstance(read, Lognormal)
    assert read.median == 46_800.0
    assert ADAPTER.validate_json(ADAPTER.dump_json(read)) == read


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"kind": "normal"}, "does not match any of the expected tags"),
        ({"kind": "constant", "value": 5}, "duration 5 has no unit"),
        ({"kind": "constant", "value": "5s", "sigma": 1}, "Extra inputs are not permitted"),
        ({"kind": "uniform", "low": "2s", "high": "1s"}, "low is greater than high"),
        ({"kind": "lognormal", "median": "5s", "sigma": -1}, "multiplier -1 is negative"),
    ],
)
def test_distribution_refuses(value, text):
    with pytest.raises(ValidationError, match=text):
        ADAPTER.validate_python(value)


class Stub:
    def __init__(self, *values):
        self.values = list(values)

    def random(self):
        return self.values.pop(0)


ALL = [
    {"kind": "constant", "value": "5s"},
    {"kind": "lognormal", "median": "5s", "sigma": 0.7},
    {"kind": "exponential", "mean": "5s"},
    {"kind": "uniform", "low": "1s", "high": "9s"},
]


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec["kind"])
def test_a_draw_uses_one_uniform_number_and_is_its_quantile(spec):
    distribution = ADAPTER.validate_python(spec)
    source = Stub(0.3, 0.9)
    assert distribution.sample(source) == distribution.quantile(0.3)
    assert source.values == [0.9]


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec["kind"])
def test_the_extreme_uniform_numbers_are_finite(spec):
    distribution = ADAPTER.validate_python(spec)
    for extreme in (0.0, 1.0 - 2.0**-53):
        value = distribution.sample(Stub(extreme))
        assert math.isfinite(value)
        assert value >= 0


@pytest.mark.parametrize("p", [0.0, 1.0, -1.0, math.nan])
def test_quantile_is_open_at_both_ends(p):
    with pytest.raises(ValueError, match="0 < p < 1"):
        Constant(value=0.0).quantile(p)


def test_closed_forms():
    lognormal = ADAPTER.validate_python(ALL[1])
    assert lognormal.quantile(0.5) == 5.0
    assert lognormal.mean == pytest.approx(5 * math.exp(0.245))
    exponential = ADAPTER.validate_python(ALL[2])
    assert exponential.quantile(1 - math.exp(-2)) == pytest.approx(10.0)
    assert exponential.variance == 25.0
    uniform = ADAPTER.validate_python(ALL[3])
    assert (uniform.mean, uniform.quantile(0.25)) == (5.0, 3.0)
    assert uniform.variance == pytest.approx(64 / 12)


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec["kind"])
def test_sample_agrees_with_mean_variance_and_quantiles(spec):
    # Rule fixed in advance: |z| < 4, n = 40,000, fixed seed. The standard errors come from the
    # sample's own moments (up to the fourth), quantiles from the binomial law.
    distribution = ADAPTER.validate_python(spec)
    rng = Streams(20_260_101).stream("test", "sampling")
    n = 40_000
    sample = np.array([distribution.sample(rng) for _ in range(n)])
    centred = (sample - distribution.mean) ** 2
    slack = 1e-9
    assert abs(sample.mean() - distribution.mean) <= 4 * sample.std() / math.sqrt(n) + slack
    assert abs(centred.mean() - distribution.variance) <= 4 * centred.std() / math.sqrt(n) + slack
    if distribution.variance:
        for p in (0.1, 0.5, 0.9):
            below = float(np.mean(sample <= distribution.quantile(p)))
            assert abs(below - p) <= 4 * math.sqrt(p * (1 - p) / n)


def test_models_are_frozen():
    model: BaseModel = ADAPTER.validate_python(ALL[0])
    with pytest.raises(ValidationError, match="frozen"):
        model.value = 1.0  # type: ignore[attr-defined]
