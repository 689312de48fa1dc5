"""Whole runs with the real data plane."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import simulator
from simulator.dataplane import make_plane
from simulator.engine import RunInterrupted, control_run, simulate
from simulator.engine.run import Run, without_trigger
from simulator.errors import UnknownKindError, UsageError
from simulator.mechanism import Action, Effect, Verdict
from simulator.scenario.schema import Mechanism
from simulator.trace import POOL_COLUMNS
from tests.engine_world import MECHANISMS, World, acts, chain, records

CRASH = [Effect(300.0, "crash", pool="store", count=6), Effect(600.0, "repair", pool="store")]


def late(view):
    return [Action("add", "api", count=1)] if view.now_s > 1700.0 else []


def world(**parts):
    return World(
        faults={"crash": CRASH},
        trigger=("crash",),
        loops={"loop": (60.0, late)},
        telemetry={
            "sample_period": "10s",
            "alarms": [{"id": "low", "service": "read", "below": 0.9, "hold": "1min"}],
        },
        horizon="30min",
        **parts,
    )  # fmt: skip


def run(spec, *, guards=True, backend="compiled", seed=None, progress=None):
    def make(topology, streams):
        scenario = spec.scenario()
        return make_plane(
            topology,
            np.zeros(topology.n_pools, bool),
            streams=streams,
            sample_period_s=scenario.telemetry.sample_period,
            stochastic=scenario.demand.stochastic,
            backend=backend,
            guards=guards,
        )

    return Run(
        spec.scenario(),
        seed=spec.seed if seed is None else seed,
        make_plane=make,
        guards=guards,
        progress=progress,
        find=MECHANISMS.get,
    ).go({})


def test_a_failure_spreads_is_seen_and_is_explained():
    trace = run(world())
    ills = {r.subject: r for r in records(trace, "impaired")}
    assert set(ills) == {"store", "api", "read", "write"}, "nobody calls the control pool"
    assert all(300.0 < r.t_s < 330.0 for r in ills.values())
    for name in ills:
        assert chain(trace, ills[name])[-1] == "fault store", name
    back = {r.subject: r.t_s for r in records(trace, "restored")}
    assert set(back) == set(ills)
    assert 700.0 < back["store"] < 800.0, "booted at 700, warm at 740"
    assert min(back["api"], back["read"]) > back["store"], "callers have a backlog to work off"
    (alarm,) = records(trace, "alarm", "read")
    assert 300.0 + 60.0 + 30.0 <= alarm.t_s <= 300.0 + 60.0 + 30.0 + 2 * 10.0 + 1.0


SHOP = {
    "id": "shop",
    "zones": ["a"],
    "pools": [
        # In the order of their ids, callers come before callees.
        {"id": name, "units": 10, "concurrency": concurrency, "service_time": "50ms"}
        for name, concurrency in (("basket", 200), ("checkout", 200), ("directory", 4))
    ],
    "dependencies": [
        {"from": "basket", "to": "checkout", "timeout": "2s"},
        {"from": "checkout", "to": "directory", "timeout": "1s"},
    ],
    "services": [
        {"id": name, "entry": "basket", "first_tries": "250/s", "timeout": "3s", "slo": slo,
         "customers": 0.5}
        for name, slo in (("browse", 0.99), ("buy", 0.999))
    ],
    "control_planes": [],
}  # fmt: skip
ORDER = ["directory", "checkout", "basket", "browse", "buy"]


@pytest.mark.parametrize("backend", ["compiled", "reference"])
@pytest.mark.parametrize("frac", [1.0, 0.6, 0.5])
def test_a_failure_climbs_from_callee_to_caller_to_service(frac, backend):
    spec = World(
        region=SHOP,
        faults={"crash": [Effect(30.3, "crash", pool="directory", frac=frac)]},
        trigger=("crash",),
        horizon="90s",
    )
    trace = run(spec, backend=backend)
    ills = {r.subject: r for r in records(trace, "impaired")}
    pools, services = list(ills)[:3], list(ills)[3:]
    assert (pools, sorted(services)) == (ORDER[:3], ORDER[3:])
    steps = ["impaired basket", "impaired checkout", "impaired directory"]
    for name in services:
        assert chain(trace, ills[name])[1:4] == steps


def test_a_pool_is_watched_at_the_slo_of_the_services_that_depend_on_it(monkeypatch):
    scenario = World(region=SHOP).scenario()
    watched: dict[str, float] = {}

    def make(topology, streams):
        plane = make_plane(
            topology,
            np.zeros(topology.n_pools, bool),
            streams=streams,
            sample_period_s=scenario.telemetry.sample_period,
        )
        watch = plane.watch_pool

        def watch_pool(pool, *, below):
            watched[topology.pool_ids[pool]] = below
            return watch(pool, below=below)

        monkeypatch.setattr(plane, "watch_pool", watch_pool)
        return plane

    Run(scenario, seed=1, make_plane=make)
    assert watched == {"basket": 0.999, "checkout": 0.999, "directory": 0.999}
    assert list(watched) == ORDER[:3]


def test_series_have_their_shapes_and_columns():
    trace = run(world())
    assert trace.end_s == 1800.0
    assert trace.sample_t_s[0] == pytest.approx(10.0)
    assert trace.sample_t_s[-1] == pytest.approx(1800.0)
    n = len(trace.sample_t_s)
    assert trace.pool_series.shape == (n, 3, len(POOL_COLUMNS))
    assert trace.service_series.shape == (n, 2, 5)
    store = trace.pools.query("pool == 'store'").set_index("t_s")
    assert store["units"].loc[300.0:310.0].tolist()[-1] == 0.0
    assert store["capacity_rps"].iloc[-1] == pytest.approx(600.0)
    read = trace.services.query("service == 'read'")
    assert read["first_rps"].mean() == pytest.approx(100.0, rel=1e-6)


def test_totals_balance():
    totals = run(world()).totals
    assert totals["first"] == pytest.approx(1800.0 * 110.0, rel=1e-3)
    assert totals["ok"] + totals["failed"] + totals["in_flight"] == pytest.approx(totals["first"])
    assert 0.0 < totals["failed"] < totals["first"]


def test_a_run_can_be_repeated_to_the_last_bit():
    spec = world()
    assert run(spec).digest == run(spec).digest


def test_guards_and_progress_change_nothing():
    told: list[Any] = []
    spec = world()
    watched = run(spec, guards=True, progress=lambda *at: told.append(at))
    assert run(spec, guards=False).digest == watched.digest
    assert told
    assert all(horizon_s == 1800.0 for _, horizon_s in told)


def test_the_seed_counts_where_there_is_chance():
    noisy = World(demand={"stochastic": True}, horizon="2min")
    assert run(noisy, seed=1).digest == run(noisy, seed=1).digest
    assert run(noisy, seed=1).digest != run(noisy, seed=2).digest
    calm = world()
    assert run(calm, seed=1).digest == run(calm, seed=2).digest


def test_the_reference_twin_tells_the_same_story():
    spec = World(faults={"crash": [replace(e, at_s=e.at_s - 270.0) for e in CRASH]}, horizon="90s")
    story = [
        [(r.kind, r.subject, r.cause) for r in run(spec, backend=name).records]
        for name in ("compiled", "reference")
    ]
    assert story[0] == story[1]
    assert len(story[0]) > 5


def test_an_interrupted_run_hands_over_what_it_has():
    def stop(_now_s, _horizon_s):
        raise KeyboardInterrupt

    with pytest.raises(RunInterrupted) as caught:
        run(world(), progress=stop)
    trace = caught.value.trace
    assert trace.end_s < 1800.0
    assert trace.provenance["interrupted"] is True
    assert len(trace.digest) == 64
    assert isinstance(caught.value, KeyboardInterrupt)


# ---------------------------------------------------------------------- neutrality
def test_a_guardrail_that_never_fires_changes_nothing():
    spec = world(scripts={"it": (100.0, acts(Action("remove", "api", count=1)))})
    plain = run(spec).digest
    spec.guardrails = {"idle": lambda _action, _inventory: Verdict("allow")}
    assert run(spec).digest == plain
    spec.guardrails = {"no": lambda _action, _inventory: Verdict("refuse")}
    assert run(spec).digest != plain


def test_the_order_of_the_file_changes_nothing():
    scripts = {
        name: (100.0, acts(Action("remove", "api", count=i))) for i, name in enumerate("abc")
    }
    spec = world(scripts=scripts)
    plain = run(spec).digest
    spec.scripts = dict(reversed(scripts.items()))
    assert run(spec).digest == plain


# ---------------------------------------------------------------------- public calls
def plain_scenario():
    return World(horizon="2min", telemetry={"sample_period": "10s"}).scenario()


def test_simulate_states_where_its_result_comes_from():
    trace = simulate(plain_scenario(), seed=7)
    origin = trace.provenance
    assert (trace.seed, origin["seed"], origin["backend"]) == (7, 7, "compiled")
    assert origin["versions"]["simulator"] == simulator.__version__
    assert set(origin["versions"]) == {"simulator", "python", "simpy", "numpy", "numba"}
    assert len(origin["scenario_hash"]) == 64
    assert origin["platform"]
    assert trace.records == ()
    failed, first = trace.service_series[:, :, 2], trace.service_series[:, :, 0]
    assert (failed < 1e-4 * first).all(), "next to nothing fails in a healthy region"


def test_unknown_backends_and_kinds_are_refused():
    with pytest.raises(UsageError, match="'magic'"):
        simulate(plain_scenario(), seed=1, backend="magic")  # type: ignore[arg-type]
    odd = Mechanism(family="fault", kind="no_such_kind", id="x", config=None)
    with pytest.raises(UnknownKindError):
        simulate(plain_scenario().model_copy(update={"faults": (odd,)}), seed=1)


def test_the_control_run_lacks_the_trigger_and_nothing_else():
    spec = world(scripts={"it": (100.0, acts()), "bad": (100.0, acts())})
    spec.trigger = ("crash", "bad")
    rest = without_trigger(spec.scenario())
    assert (rest.faults, rest.trigger) == ((), ())
    assert [m.id for m in rest.automation] == ["it"]
    assert [m.id for m in rest.healing] == ["loop"]
    assert control_run(plain_scenario(), 7).digest == simulate(plain_scenario(), seed=7).digest


def test_a_path_is_not_a_scenario():
    with pytest.raises(UsageError, match="read one with load_scenario"):
        simulate("scenarios/steady-day.yaml", seed=1)  # type: ignore[arg-type]
