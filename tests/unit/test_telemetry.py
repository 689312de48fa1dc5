import math

import numpy as np
import pytest

from simulator.model import build_topology
from simulator.scenario.region import Region
from simulator.scenario.schema import Alarm, Telemetry
from simulator.state import Facts
from simulator.telemetry import AlarmBook, SampleBook
from tests.engine_world import REGION

TOPOLOGY = build_topology(Region.model_validate(REGION))
API, CONTROL, STORE = range(3)
GOOD = (50.0, 50.0, 1.0, 0.0, 0.0, 100.0, 0.0)


def make(*, facts=None, **spec):
    telemetry = Telemetry.model_validate({"sample_period": "60s", "delay": "30s"} | spec)
    known = facts or {}
    return SampleBook(TOPOLOGY, telemetry, lambda pool, _t_s: known.get(pool, Facts(10, 0, 0.1)))


def feed(book, *, pool=API, rows=(), edges=()):
    """Add one sample per row of a pool, and of the service ``read``."""
    n = max(len(rows), len(edges))
    pools = np.tile(np.array(GOOD), (n, TOPOLOGY.n_pools, 1))
    services = np.zeros((n, TOPOLOGY.n_edges, 5))
    for i, row in enumerate(rows):
        pools[i, pool] = row
    for i, (ok, failed) in enumerate(edges):
        services[i, TOPOLOGY.service_edge("read"), 1:3] = ok, failed
    t_s = 60.0 * np.arange(book.n_taken + 1, book.n_taken + n + 1)
    book.extend(t_s, pools, services)
    return book


# ---------------------------------------------------------------------- age and loss
def test_nothing_is_visible_before_the_first_sample():
    view = make().view(10.0)
    assert not view.visible
    assert view.age_s == math.inf
    answers = [
        view.success_frac("read"),
        view.utilisation_frac("api"),
        view.queue_wait_s("api"),
        view.units("api"),
        view.units_frac("api"),
        view.health_fail_frac("api", 1.0),
    ]
    assert answers == [None] * 6


def test_a_sample_is_visible_after_the_delay_and_not_before():
    book = feed(make(), rows=[GOOD] * 3)
    assert book.view(89.9).sample is None
    assert book.view(90.0).sample.t_s == 60.0
    assert book.view(149.9).sample.t_s == 60.0
    assert book.view(150.0).sample.t_s == 120.0
    assert book.view(150.0).age_s == 30.0
    assert book.view(150.0).now_s == 150.0


def test_a_view_goes_blind_five_periods_after_the_last_sample():
    book = feed(make(), rows=[GOOD])
    assert book.view(60.0 + 330.0).visible
    assert not book.view(60.0 + 331.0).visible


def test_samples_are_lost_for_good_while_the_carrier_is_ill():
    ill = (50.0, 50.0, 0.4, 0.0, 0.0, 100.0, 0.0)
    book = feed(make(carried_by="store"), pool=STORE, rows=[GOOD, ill, ill, GOOD])
    seen = [book.view(60.0 * k + 30.0).sample.t_s for k in (1, 2, 3, 4)]
    assert seen == [60.0, 60.0, 60.0, 240.0]
    assert (book.n_taken, book.n_lost) == (4, 2)


def test_a_share_at_the_threshold_is_not_lost():
    edge = (50.0, 50.0, 0.5, 0.0, 0.0, 100.0, 0.0)
    book = feed(make(carried_by="store", lost_below="50%"), pool=STORE, rows=[edge])
    assert book.n_lost == 0


def test_a_carrier_without_capacity_carries_nothing_even_if_nobody_called():
    book = feed(make(carried_by="store"), pool=STORE, rows=[(0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)])
    assert book.n_lost == 1


def test_without_a_carrier_nothing_is_lost():
    dead = (50.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert feed(make(), pool=STORE, rows=[dead]).n_lost == 0


# ---------------------------------------------------------------------- values
def test_success_of_services_and_pools():
    book = feed(make(), rows=[(50.0, 50.0, 0.7, 0.0, 0.0, 100.0, 0.0)], edges=[(3.0, 1.0)])
    view = book.view(90.0)
    assert view.success_frac("read") == 0.75
    assert view.success_frac("api") == 0.7
    assert view.success_frac("write") is None, "nobody asked, nobody knows"


@pytest.mark.parametrize(
    ("offered", "queue", "capacity", "load", "wait_s"),
    [
        (50.0, 20.0, 100.0, 0.5, 0.2),
        (300.0, 0.0, 100.0, 3.0, 0.0),
        (50.0, 20.0, 0.0, math.inf, math.inf),
        (0.0, 0.0, 0.0, None, None),
    ],
)
def test_load_and_wait(offered, queue, capacity, load, wait_s):
    row = (offered, 0.0, 1.0, queue, 0.0, capacity, 0.0)
    view = feed(make(), rows=[row]).view(90.0)
    assert view.utilisation_frac("api") == load
    assert view.queue_wait_s("api") == wait_s


def test_units_over_declared():
    view = feed(make(facts={API: Facts(4, 3, 0.1)}), rows=[GOOD]).view(90.0)
    assert view.units("api") == 4
    assert view.units_frac("api") == 0.4


# ---------------------------------------------------------------------- health checks
def fails(row, timeout_s, *, facts=None, pool="api"):
    p = TOPOLOGY.pool(pool)
    book = feed(make(facts={p: facts or Facts(10, 0, 0.1)}), pool=p, rows=[row])
    return book.view(90.0).health_fail_frac(pool, timeout_s)


def test_checks_of_an_idle_pool_fail_with_the_tail_of_the_service_time():
    assert fails(GOOD, 1.0) == pytest.approx(math.exp(-10.0))


def test_checks_fail_for_broken_units_and_for_good_ones_behind_a_long_queue():
    assert fails(GOOD, 1.0, facts=Facts(6, 4, 0.1)) == pytest.approx(0.4, abs=1e-4)
    queued = (150.0, 100.0, 0.2, 300.0, 0.0, 100.0, 0.0)
    assert fails(queued, 1.0, facts=Facts(6, 4, 0.1)) == 1.0
    assert fails(queued, 4.0) == pytest.approx(math.exp(-10.0)), "3 s of waiting leave 1 s"


def test_checks_of_a_pool_without_units_say_nothing():
    assert fails(GOOD, 1.0, facts=Facts(0, 0, 0.1)) is None


def test_checks_fail_where_nothing_is_served():
    assert fails((50.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 1.0) == 1.0


def variant(**changes):
    region = {**REGION, "pools": [REGION["pools"][0] | changes, *REGION["pools"][1:]]}
    return build_topology(Region.model_validate(region))


def test_checks_are_rejected_at_a_full_queue():
    topology = variant(queue_per_unit=5)
    book = SampleBook(topology, Telemetry(), lambda _p, _t: Facts(10, 0, 0.1))
    pools = np.tile(np.array((200.0, 50.0, 0.2, 50.0, 0.0, 100.0, 0.0)), (1, 3, 1))
    book.extend(np.array([60.0]), pools, np.zeros((1, topology.n_edges, 5)))
    view = book.view(90.0)
    assert view.health_fail_frac("api", 100.0) == pytest.approx(0.75)
    assert view.health_fail_frac("control", 100.0) == pytest.approx(0.0), "no bound, no rejection"


def test_a_deterministic_service_time_has_no_tail():
    topology = variant(service_distribution="deterministic")
    book = SampleBook(topology, Telemetry(), lambda _p, _t: Facts(10, 0, 0.1))
    pools = np.tile(np.array((50.0, 50.0, 1.0, 10.0, 0.0, 100.0, 0.0)), (1, 3, 1))
    book.extend(np.array([60.0]), pools, np.zeros((1, topology.n_edges, 5)))
    view = book.view(90.0)
    assert view.health_fail_frac("api", 0.21) == 0.0
    assert view.health_fail_frac("api", 0.19) == 1.0


# ---------------------------------------------------------------------- alarms
LOW = Alarm(id="low", service="read", below=0.9, hold="2min")  # type: ignore[arg-type]


def fired(alarms, edges, *, rows=(), carried_by=None):
    """Return (time of the sample, alarms) for every firing, one evaluation per sample."""
    book, alarm_book, log = make(carried_by=carried_by), AlarmBook(alarms), []
    for i, edge in enumerate(edges):
        feed(book, pool=STORE, rows=[rows[i] if rows else GOOD], edges=[edge])
        now = alarm_book.evaluate(book.view(60.0 * (i + 1) + 30.0))
        log += [(i + 1, a.id) for a in now]
    return log, alarm_book


WELL, BAD, NONE = (10.0, 0.0), (5.0, 5.0), (0.0, 0.0)


def test_an_alarm_fires_once_its_condition_has_held():
    log, book = fired([LOW], [WELL, BAD, BAD, BAD, BAD, BAD])
    assert log == [(4, "low")], "2 min after the first bad sample, and only once"
    assert book.active == {"low"}


def test_a_good_sample_starts_the_hold_anew_and_ends_the_alarm():
    log, book = fired([LOW], [BAD, BAD, WELL, BAD, BAD, BAD, WELL, BAD, BAD, BAD])
    assert log == [(6, "low"), (10, "low")]
    assert book.active == {"low"}


def test_a_missing_value_neither_starts_nor_ends_a_condition():
    log, _ = fired([LOW], [NONE, BAD, NONE, BAD, NONE])
    assert log == [(4, "low")]


def test_lost_samples_say_nothing():
    ill = (50.0, 50.0, 0.1, 0.0, 0.0, 100.0, 0.0)
    bad = [BAD] * 6
    log, _ = fired([LOW], bad, rows=[ill] * 6, carried_by="store")
    assert log == [], "nobody sees it"
    log, _ = fired([LOW], bad, rows=[GOOD, ill, ill, ill, GOOD, GOOD], carried_by="store")
    assert log == [(5, "low")], "seen again: it has held all the time as far as anybody knows"


def test_an_old_sample_is_not_judged_twice():
    book, alarms = (
        feed(make(), edges=[BAD]),
        AlarmBook([Alarm(id="x", service="read", below=0.9, hold=0.0)]),
    )
    assert [a.id for a in alarms.evaluate(book.view(90.0))] == ["x"]
    alarms.active.clear()
    assert alarms.evaluate(book.view(100.0)) == []


def test_alarms_above_and_on_units_and_load():
    alarms = [
        Alarm(id="load", pool="store", metric="utilisation_frac", above=0.8, hold=0.0),
        Alarm(id="few", pool="api", metric="units_frac", below=0.8, hold=0.0),
        Alarm(id="pool", pool="store", below=0.8, hold=0.0),
    ]
    book = make(facts={API: Facts(7, 0, 0.1)})
    feed(book, pool=STORE, rows=[(90.0, 90.0, 0.7, 0.0, 0.0, 100.0, 0.0)])
    assert [a.id for a in AlarmBook(alarms).evaluate(book.view(90.0))] == ["few", "load", "pool"]
    book = make()
    feed(book, pool=STORE, rows=[(80.0, 80.0, 0.8, 0.0, 0.0, 100.0, 0.0)])
    assert AlarmBook(alarms).evaluate(book.view(90.0)) == []
