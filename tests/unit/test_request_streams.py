import itertools

import numpy as np
import pytest

from simulator.policies.tables import edge_table
from simulator.request.kernel import events
from simulator.request.streams import GAMMA, edge_names, mix, stream_keys, uniform, uniforms
from tests.parity.worlds import E, P, build


def test_the_numbers_are_those_of_the_published_generator():
    # SplitMix64 with seed 1234567: output i is mix(seed + i * GAMMA), i from 1.
    first = [mix((1234567 + i * GAMMA) & (2**64 - 1)) for i in range(1, 6)]
    assert first == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_kernel_and_twin_draw_the_same_numbers():
    key = 0xDEADBEEF12345678
    state = np.array([key], np.uint64)
    drawn = [events.uniform(state, 0) for _ in range(100)]
    assert drawn == list(itertools.islice(uniforms(key), 100))


def test_numbers_are_strictly_between_0_and_1():
    # the smallest and the largest of what is left of 64 bits
    assert 0.0 < (0 + 0.5) * 2.0**-52 < 1.0
    assert 0.0 < ((2**52 - 1) + 0.5) * 2.0**-52 < 1.0
    drawn = np.array(list(itertools.islice(uniforms(7), 20_000)))
    assert drawn.mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * 20_000))
    assert uniform(7, 3) == drawn[3]


def keys(pools, edges, seed=1):
    return stream_keys(build(pools, edges), np.random.default_rng(seed))


def test_keys_depend_on_seed_and_names_alone():
    few = keys({"a": P(), "b": P()}, [E("b", caller="a"), E("a")])
    more = keys({"a": P(), "b": P(), "c": P()}, [E("b", caller="a"), E("c", caller="a"), E("a")])
    assert few.service.tolist() == more.service[:2].tolist()
    assert few.first.tolist() == more.first[[0, 2]].tolist()
    assert few.choices.tolist() == more.choices[[0, 2]].tolist()
    other = keys({"a": P(), "b": P()}, [E("b", caller="a"), E("a")], seed=2)
    drawn = [x for part in (*few, *other) for x in part.tolist()]
    assert len(set(drawn)) == len(drawn)


def test_an_edge_is_named_by_what_it_connects():
    topology = build({"a": P(), "b": P()}, [E("b", caller="a"), E("a"), E("b", kind=4)])
    names = edge_names(topology)
    assert names == [("a", "b"), ("service", "s0", ""), ("control plane", "c0", "")]


def test_without_a_source_of_chance_it_says_what_it_needs():
    topology = build({"a": P()}, [E("a")])
    assert len(edge_table([])) == 0
    with pytest.raises(ValueError, match="needs rng"):
        stream_keys(topology, None)
