"""The compiled request plane and its SimPy twin do the same, event by event.

Counts are equal exactly and times to 1e-9. Which random number goes to whom follows from the order
of events, so a single event in another place makes it another story.
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.model import (
    ASYNCHRONOUS,
    CANCEL,
    CONTROL,
    DEADLINE_AWARE,
    FIFO,
    LIFO,
    NO_BUDGET,
    OPTIONAL,
    PER_FIRST_TRY,
    PER_SUCCESS,
    REQUIRED,
    ZOMBIE,
)
from tests.parity.request_story import agree, first_difference, pair, same
from tests.parity.worlds import E, P, build, capacity, demand, tell

POOL = P(rate=50.0, workers=40.0, s=0.1)
"""Five processors, and a service time of 0.1 s."""


def entry(topology):
    return topology.service_edge("s0")


def outage(topology, rate, *, start_s=2.0, length_s=2.0):
    """Demand on the first service, and a while in which the last pool serves nothing."""
    last = topology.n_pools - 1
    return [
        demand(0.0, entry(topology), rate),
        (0.0, "watch_edge", {"edge": entry(topology), "below": 0.9}),
        (0.0, "watch_pool", {"pool": last, "below": 0.95}),
        capacity(start_s, last, 0.0, workers=40.0),
        capacity(start_s + length_s, last, 50.0, workers=40.0),
    ]


SINGLE = {
    "fifo": (POOL, E("a", retries=3)),
    "no retry": (POOL, E("a")),
    "lifo": (dataclasses.replace(POOL, discipline=LIFO), E("a", retries=3)),
    "cancel": (dataclasses.replace(POOL, late=CANCEL), E("a", retries=3)),
    "lifo cancel": (dataclasses.replace(POOL, discipline=LIFO, late=CANCEL), E("a", retries=2)),
    "deadline": (dataclasses.replace(POOL, late=DEADLINE_AWARE), E("a", retries=3)),
    "lifo deadline": (
        dataclasses.replace(POOL, late=DEADLINE_AWARE, discipline=LIFO),
        E("a", retries=1),
    ),
    "hopeless": (dataclasses.replace(POOL, late=DEADLINE_AWARE), E("a", timeout=0.09, retries=2)),
    "room": (dataclasses.replace(POOL, room=30.0), E("a", retries=3)),
    "odd room": (dataclasses.replace(POOL, room=3.7), E("a", retries=3)),
    "no room": (dataclasses.replace(POOL, room=0.0), E("a", retries=2)),
    "no room, at once": (dataclasses.replace(POOL, room=0.0), E("a", retries=4)),
    "per first try": (POOL, E("a", retries=3, budget=PER_FIRST_TRY, bucket=7.0)),
    "per success": (POOL, E("a", retries=3, budget=PER_SUCCESS, bucket=7.0)),
    "fixed": (POOL, E("a", retries=3, backoff=0.7)),
    "exponential": (POOL, E("a", retries=5, backoff=0.1, exponential=True, cap=1.0)),
    "jitter": (POOL, E("a", retries=3, backoff=0.5, exponential=True, jitter=True)),
    "jitter, room": (
        dataclasses.replace(POOL, room=9.0),
        E("a", retries=3, backoff=0.1, jitter=True),
    ),
    "deterministic": (dataclasses.replace(POOL, deterministic=True), E("a", retries=3)),
    "ties": (
        dataclasses.replace(POOL, deterministic=True, room=6.0),
        E("a", timeout=0.2, retries=3, backoff=0.1),
    ),
    "one processor": (P(rate=50.0, workers=40.0, s=0.004), E("a", retries=2)),
    "few workers": (dataclasses.replace(POOL, workers=3.0), E("a", retries=1)),
    "odd timeout": (POOL, E("a", timeout=0.73, retries=2, backoff=0.2)),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("rate", [24.0, 71.0])
def test_one_pool(name, rate):
    pool, edge = SINGLE[name]
    topology = build({"a": pool}, [edge])
    told = agree(topology, outage(topology, rate), 9.0)
    assert told.plane.totals()["first"][0] > 100.0


def test_two_timeouts_in_one_pool():
    edges = [
        E("a", timeout=0.5, retries=2, backoff=0.1),
        E("a", timeout=3.0, retries=1, budget=PER_SUCCESS),
    ]
    for late in (ZOMBIE, CANCEL, DEADLINE_AWARE):
        topology = build({"a": dataclasses.replace(POOL, late=late)}, edges)
        agree(topology, [*outage(topology, 20.0), demand(0.0, 1, 22.0)], 9.0)


REGIONS = {
    "chain": (
        {
            "a": dataclasses.replace(POOL, late=DEADLINE_AWARE),
            "b": POOL,
            "c": P(80, 80.0, 80.0, 0.05),
        },
        [
            E("a", timeout=4.0, retries=1),
            E("b", "a", timeout=2.0, retries=2, backoff=0.1),
            E("c", "b", retries=2, backoff=0.2, jitter=True, exponential=True),
        ],
    ),
    "numbers of calls": (
        {"a": POOL, "b": POOL, "c": POOL, "d": dataclasses.replace(POOL, rate=80.0)},
        [
            E("a", timeout=3.0),
            E("b", "a", calls=0.5, retries=1),
            E("c", "a", calls=1.0, retries=1, backoff=0.1),
            E("d", "a", calls=2.5, retries=2),
        ],
    ),
    "diamond": (
        {"a": POOL, "b": POOL, "c": POOL, "d": dataclasses.replace(POOL, room=20.0)},
        [
            E("a", timeout=5.0),
            E("b", "a", calls=0.5, timeout=2.0, retries=1),
            E("c", "a", calls=1.7, timeout=2.0, retries=1, backoff=0.1),
            E("d", "b", retries=2),
            E("d", "c", calls=0.3, timeout=1.5, retries=1, budget=PER_FIRST_TRY),
        ],
    ),
    "cycle": (
        {"a": POOL, "b": dataclasses.replace(POOL, deterministic=True)},
        [
            E("a", timeout=4.0, retries=1),
            E("b", "a", timeout=2.0, retries=1, backoff=0.3),
            E("a", "b", calls=0.4, retries=1),
        ],
    ),
    "optional and asynchronous": (
        dict.fromkeys("abcd", POOL),
        [
            E("a", timeout=3.0, retries=1),
            E("b", "a", kind=OPTIONAL, retries=1),
            E("c", "a", kind=ASYNCHRONOUS, calls=2.0, retries=2),
            E("d", "a", kind=REQUIRED, timeout=0.5),
        ],
    ),
    "all at the same instants": (
        {
            name: dataclasses.replace(POOL, deterministic=True, room=8.0, late=CANCEL)
            for name in "abcd"
        },
        [
            E("a", timeout=0.8, retries=2),
            E("b", "a", kind=OPTIONAL, timeout=0.2, retries=2),
            E("c", "a", kind=ASYNCHRONOUS, calls=3.0, timeout=0.2, retries=1),
            E("d", "a", kind=ASYNCHRONOUS, calls=2.0, timeout=0.2, retries=3, backoff=0.1),
            E("d", "c", timeout=0.1, retries=1),
        ],
    ),
    "blocked callers": (
        {"a": P(100, 500.0, 20.0, 0.01), "b": POOL},
        [E("a", timeout=4.0, retries=1), E("b", "a", retries=1, timeout=1.0)],
    ),
    "operations": (
        {"a": POOL, "b": P(10, 20.0, 4.0, 0.05, room=30.0)},
        [
            E("a", timeout=3.0),
            E("b", "a", calls=0.2),
            E("b", kind=CONTROL, timeout=1.0),
            E("b", kind=CONTROL, timeout=2.0),
        ],
    ),
}


def full_script(topology):
    """Everything that the engine may ask of a plane."""
    last, first = topology.n_pools - 1, entry(topology)
    script = [
        *(demand(0.0, topology.service_edge(s), 31.0) for s in topology.service_ids),
        (0.0, "watch_edge", {"edge": first, "below": 0.9}),
        (0.0, "watch_pool", {"pool": last, "below": 0.95}),
        capacity(2.0, last, 7.0, workers=6.4),
        (4.0, "set_service_time", {"pool": 0, "service_s": 0.23}),
        demand(4.03, first, 47.0),
        (5.0, "set_admission", {"edge": first, "frac": 0.4}),
        capacity(6.0, last, 60.0, workers=50.0),
        (6.5, "set_service_time", {"pool": 0, "service_s": 0.1}),
        (8.0, "set_admission", {"edge": first, "frac": 1.0}),
        demand(8.0, first, 0.0),
        demand(8.6, first, 20.0),
    ]
    for i, name in enumerate(topology.control_plane_ids):
        edge = topology.control_edge(name)
        script += [
            (t, "inject", {"edge": edge, "requests": n + i})
            for t, n in ((1.0, 25.0), (1.0, 0.7), (2.0, 9.4), (7.1, 50.0))
        ]
    return script


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("seed", [1, 2])
def test_regions(name, seed):
    topology = build(*REGIONS[name])
    told = agree(topology, full_script(topology), 12.0, seed=seed)
    assert any(crossing.below for crossing in told.crossings)


@pytest.mark.parametrize("plane", [0, 1], ids=["compiled", "twin"])
@given(cuts=st.lists(st.floats(0.0, 12.0), max_size=12))
@settings(max_examples=6)
def test_cuts_of_an_advance_change_nothing(plane, cuts):
    topology = build(*REGIONS["operations"])
    script = full_script(topology)
    whole = tell(pair(topology)[plane], script, 12.0)
    stops = [(t, "outlook", {"edge": 0}) for t in cuts]
    same(tell(pair(topology)[plane], [*stops, *script], 12.0), whole, topology)


def test_a_difference_would_be_found():
    # One retry more: the tools of these tests must notice it, and when it begins.
    one = build({"a": POOL}, [E("a", timeout=0.3, retries=1)])
    two = build({"a": POOL}, [E("a", timeout=0.3, retries=2)])
    script = [demand(0.0, 0, 60.0)]
    fast, slow = pair(one)[0], pair(two)[1]
    with pytest.raises(AssertionError):
        same(tell(fast, script, 5.0), tell(slow, script, 5.0), one)
    assert first_difference(one, script, 5.0) is None


@st.composite
def regions(draw):
    """A region of one to four pools, any edges (cycles too), anything that a pool may be.

    Half of the regions have round numbers: there, many things happen at the same instant.
    """
    names = "abcd"[: draw(st.integers(1, 4))]
    is_round = draw(st.booleans())
    spans = [0.1, 0.2, 0.4] if is_round else [0.011, 0.052, 0.107, 0.31]
    pools = {
        name: P(
            units=draw(st.sampled_from([1, 10, 100])),
            rate=draw(st.sampled_from([10.0, 40.0] if is_round else [13.7, 41.3, 77.1])),
            workers=draw(st.sampled_from([2.0, 7.0, 100.0])),
            s=draw(st.sampled_from(spans)),
            deterministic=is_round or draw(st.booleans()),
            room=draw(st.sampled_from([np.inf, 0.0, 4.0, 20.0])),
            discipline=draw(st.sampled_from([FIFO, LIFO])),
            late=draw(st.sampled_from([ZOMBIE, CANCEL, DEADLINE_AWARE])),
        )
        for name in names
    }

    def edge(callee, caller=None, kind=3):
        return E(
            callee,
            caller,
            kind=draw(st.sampled_from([REQUIRED, OPTIONAL, ASYNCHRONOUS])) if caller else kind,
            calls=draw(st.sampled_from([0.5, 1.0, 2.5])) if caller else 1.0,
            timeout=draw(st.sampled_from([0.2, 0.4, 1.0] if is_round else [0.21, 0.43, 1.37])),
            retries=draw(st.integers(0, 3)) if kind != CONTROL else 0,
            backoff=draw(st.sampled_from([0.0, 0.1, 0.6])),
            exponential=draw(st.booleans()),
            jitter=draw(st.booleans()),
            budget=draw(st.sampled_from([NO_BUDGET, PER_FIRST_TRY, PER_SUCCESS])),
            bucket=draw(st.sampled_from([1.0, 6.0])),
        )

    pairs = [(x, y) for x in names for y in names if x != y]
    inner = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=5)) if pairs else []
    edges = [edge("a"), *(edge(y, x) for x, y in inner)]
    if draw(st.booleans()):
        edges.append(edge(names[-1], kind=CONTROL))
    return build(pools, edges)


@st.composite
def scripts(draw, topology):
    """What the engine may do to a region within five seconds, at any instants."""
    pool = st.integers(0, topology.n_pools - 1)
    script = [demand(0.0, entry(topology), draw(st.sampled_from([9.0, 33.0, 61.0])))]
    moments = st.one_of(st.floats(0.0, 5.0), st.sampled_from([1.0, 2.0, 3.0]))
    for _ in range(draw(st.integers(0, 6))):
        t_s, what = draw(moments), draw(st.integers(0, 5))
        if what == 0:
            rate, workers = (
                draw(st.sampled_from([0.0, 9.3, 90.0])),
                draw(st.sampled_from([1.4, 9.0])),
            )
            script.append(capacity(t_s, draw(pool), rate, workers=workers))
        elif what == 1:
            span = {"pool": draw(pool), "service_s": draw(st.sampled_from([0.02, 0.1, 0.33]))}
            script.append((t_s, "set_service_time", span))
        elif what == 2:
            script.append(demand(t_s, entry(topology), draw(st.sampled_from([0.0, 21.0, 80.0]))))
        elif what == 3:
            share = {"edge": entry(topology), "frac": draw(st.sampled_from([0.0, 0.3, 1.0]))}
            script.append((t_s, "set_admission", share))
        elif what == 4:
            script.append((t_s, "watch_pool", {"pool": draw(pool), "below": 0.9}))
        elif topology.control_plane_ids:
            work = {"edge": topology.control_edge("c0"), "requests": draw(st.floats(0.0, 30.0))}
            script.append((t_s, "inject", work))
    return script


@given(st.data(), st.integers(0, 2**32), st.lists(st.floats(0.0, 5.0), max_size=3))
def test_any_small_region(data, seed, cuts):
    topology = data.draw(regions())
    agree(topology, data.draw(scripts(topology)), 5.0, seed=seed, cuts=cuts)
