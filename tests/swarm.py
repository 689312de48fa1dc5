"""Swarm test: random valid regions, random mechanisms, random faults, all guards on.

A case is a number: it decides the region, which mechanisms and policies are switched on (a random
subset, so that they meet in ever new ways), the schedule of faults, the fidelity and the seed. A
case passes when the run ends without an error, the laws that the guards check hold, causes precede
effects, and the same case gives the same digest again (every fourth one).

    python -m tests.swarm --minutes 3
    python -m tests.swarm --case 4711        # one case again

A failure prints the line that repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from simulator.engine import control_run, simulate
from simulator.metrics import compute_metrics
from simulator.sampling import Streams
from simulator.scenario import parse_scenario

if TYPE_CHECKING:
    from simulator.dataplane import Fidelity

HORIZON_S = 1800
AGAIN_EVERY = 4
Rng = np.random.Generator


def chance(rng: Rng, share: float) -> bool:
    """Throw a coin."""
    return bool(rng.random() < share)


def one_of(rng: Rng, *choices: Any) -> Any:
    """Choose one."""
    return choices[int(rng.integers(len(choices)))]


def some(rng: Rng, ids: list[str]) -> list[str]:
    """Choose at least one of several."""
    found = [name for name in ids if chance(rng, 0.4)]
    return found or [one_of(rng, *ids)]


def seconds(rng: Rng, low: float, high: float) -> str:
    """Draw a duration."""
    return f"{rng.uniform(low, high):.3f}s"


def retry(rng: Rng) -> dict[str, Any]:
    """Draw retries, with a budget or a preset."""
    if chance(rng, 0.2):
        names = ("aws_standard", "finagle", "grpc", "sre_per_client", "brooker_token_bucket")
        return {"preset": one_of(rng, *names)}
    found = {
        "retries_max": int(rng.integers(0, 4)),
        "backoff": one_of(rng, "fixed", "linear", "exponential"),
        "backoff_base": seconds(rng, 0.0, 0.5),
        "jitter": one_of(rng, "none", "full", "equal", "decorrelated"),
    }
    if chance(rng, 0.3):
        deposit = one_of(rng, "per_first_try", "per_success", "windowed", "throttle")
        found["budget"] = {"deposit": deposit, "ratio": 0.1, "bucket": 20}
    return found


def caller_policies(rng: Rng, *, inner: bool) -> dict[str, Any]:
    """Draw policies of an edge."""
    choices: dict[str, Any] = {
        "adaptive_throttling": {"k": 1.5, "window": "30s"},
        "circuit_breaker": {"calls_min": 10, "window": "10s", "open_for": "5s", "probes": 3},
        "bulkhead": {"limit": int(rng.integers(1, 200))},
        "hedging": {"delay": seconds(rng, 0.05, 0.5)},
        "clients": int(rng.integers(1, 20)),
        "priority": int(rng.integers(0, 4)),
    }
    if inner:
        choices["deadline"] = {"reserve": "10ms"}
        choices["fallback"] = {"success_frac": 0.7, "work": 0.5}
        choices["cache"] = {"hit_max": "80%", "keys": 5000, "hit_start": "10%"}
    return {name: value for name, value in choices.items() if chance(rng, 0.12)}


def pool(rng: Rng, name: str, rate: float) -> dict[str, Any]:
    """Draw a pool for about so many requests per second."""
    service_s = rng.uniform(0.005, 0.2)
    units = int(rng.integers(2, 40))
    per_unit = max(1, round(rate * service_s / rng.uniform(0.3, 1.1) / units))
    found: dict[str, Any] = {
        "id": name,
        "units": units,
        "concurrency": per_unit * int(rng.integers(1, 4)),
        "service_time": f"{service_s:.4f}s",
        "unit_rate": f"{per_unit / service_s:.3f}/s",
        "late_work": one_of(rng, "zombie", "cancel", "deadline_aware"),
        "discipline": one_of(rng, "fifo", "fifo", "lifo", "adaptive_lifo", "priority", "codel"),
        "boot_time": "1min",
        "service_distribution": one_of(
            rng,
            "exponential",
            "deterministic",
            {"kind": "lognormal", "cv": 2.0},
            {"kind": "bimodal"},
            {"kind": "hyperexponential", "cv": 2.0},
        ),
    }
    if chance(rng, 0.7):
        found["queue_per_unit"] = int(rng.integers(1, 200))
    choices: dict[str, Any] = {
        "rate_limit": {"rate": f"{rate:.1f}/s"},
        "concurrency_limit": {"limit": 100, "adaptive": chance(rng, 0.5)},
        "load_shedding": {},
        "rejection": {"work": 0.2},
        "contention": {"per_attempt": f"{service_s / 500:.6f}s"},
        "memory_pressure": {"full_attempts": 500},
        "fidelity": one_of(rng, "flow", "request"),
        "warmup": "2min",
    }
    return found | {name: value for name, value in choices.items() if chance(rng, 0.12)}


def region(rng: Rng) -> dict[str, Any]:
    """Draw a region; calls may go round in circles."""
    n = int(rng.integers(1, 8))
    ids = [f"p{i}" for i in range(n)]
    rates = {name: rng.uniform(10.0, 150.0) for name in ids}
    pairs = {(a, b) for a in ids for b in ids if a != b and chance(rng, 0.8 / n)}
    dependencies = [
        {
            "from": a,
            "to": b,
            "kind": one_of(rng, "required", "required", "optional", "asynchronous"),
            "calls": round(rng.uniform(0.1, 1.5 if a < b else 0.2), 3),
            "timeout": seconds(rng, 0.2, 5.0),
            "retry": retry(rng),
            **caller_policies(rng, inner=True),
        }
        for a, b in sorted(pairs)
    ]
    services = [
        {
            "id": f"s{i}",
            "entry": one_of(rng, *ids),
            "first_tries": f"{rng.uniform(1.0, 60.0):.2f}/s",
            "customers": f"{100 // 3}%",
            "timeout": seconds(rng, 0.5, 10.0),
            "retry": retry(rng),
            **caller_policies(rng, inner=False),
        }
        for i in range(int(rng.integers(1, 4)))
    ]
    verbs = (
        "describe",
        "add",
        "remove",
        "replace",
        "restart",
        "drain",
        "throttle",
        "pause",
        "resume",
    )
    plane = {"id": "cp", "pool": one_of(rng, *ids), "operations": {v: {"work": 5} for v in verbs}}
    return {
        "id": "swarm",
        "basis": {"*": "drawn"},
        "zones": ["a", "b"],
        "pools": [pool(rng, name, rates[name]) for name in ids],
        "dependencies": dependencies,
        "services": services,
        "control_planes": [plane],
    }


def faults(rng: Rng, ids: list[str]) -> list[dict[str, Any]]:
    """Draw a schedule of faults."""
    found = []
    for i in range(int(rng.integers(1, 4))):
        at = {"id": f"f{i}", "at": seconds(rng, 60.0, 1200.0)}
        lasts = {"for": seconds(rng, 1.0, 600.0)}
        found.append(
            at
            | one_of(
                rng,
                {"kind": "crash", "pools": some(rng, ids), "frac": "50%", "repair_after": "5min"},
                {"kind": "capacity_factor", "pools": some(rng, ids), "factor": 0.3, **lasts},
                {"kind": "slow_down", "pools": some(rng, ids), "factor": 3, **lasts},
                {"kind": "zone_loss", "zone": one_of(rng, "a", "b"), **lasts},
            )
        )
    return found


def scenario(case: int) -> tuple[dict[str, Any], Fidelity, int]:
    """Return the scenario of a case, its fidelity and its seed."""
    rng = Streams(case).stream("swarm")
    place = region(rng)
    ids = [p["id"] for p in place["pools"]]
    pace = {"kind": "exponential", "mean": "20s"}
    parts: dict[str, list[dict[str, Any]]] = {
        "healing": [
            {"id": "scale", "kind": "autoscaler"},
            {"id": "heal", "kind": "unhealthy_replacer"},
        ],
        "guardrails": [
            {"id": "floor", "kind": "capacity_floor"},
            {"id": "pace", "kind": "removal_velocity"},
        ],
        "automation": [
            {
                "id": "script",
                "kind": "runaway_removal",
                "start": "5min",
                "target": some(rng, ids),
                "goal_frac": "30%",
                "batch_units": 2,
                "pace": pace,
                "defects": [one_of(rng, "unbounded_loop", "ignored_errors")],
            }
        ],
        "people": [{"id": "on-call", "kind": "incident_response"}],
    }
    chosen = {name: [m for m in items if chance(rng, 0.5)] for name, items in parts.items()}
    shape = one_of(
        rng,
        {"kind": "constant"},
        {"kind": "step", "steps": [{"at": "10min", "factor": 2}, {"at": "15min", "factor": 0.5}]},
        {"kind": "ramp", "start": "5min", "end": "15min", "to": 1.8},
    )
    spec: dict[str, Any] = {
        "id": f"swarm-{case}",
        "title": "A case of the swarm",
        "claim": "It ends without an error.",
        "horizon": f"{HORIZON_S}s",
        "region": place,
        "demand": {"shape": shape, "stochastic": chance(rng, 0.3)},
        "telemetry": {"sample_period": "30s"},
        "faults": faults(rng, ids),
        **{name: items for name, items in chosen.items() if items},
    }
    spec["trigger"] = [spec["faults"][0]["id"]]
    fidelity: Fidelity = one_of(rng, "flow", "flow", "request", "auto")
    return spec, fidelity, int(rng.integers(1_000_000))


def check(case: int) -> None:
    """Run a case.

    Raises
    ------
    Exception
        Whatever goes wrong.
    """
    data, fidelity, seed = scenario(case)
    spec = parse_scenario(yaml.safe_dump(data, sort_keys=False), name=f"swarm-{case}.yaml")
    trace = simulate(spec, seed=seed, fidelity=fidelity, guards=True)
    metrics = compute_metrics(trace, control_run(spec, seed, fidelity=fidelity, guards=True))
    assert all(r.cause < r.id for r in trace.records), "an effect came before its cause"
    times = [r.t_s for r in trace.records]
    assert times == sorted(times), "time turned back"
    for series in (trace.pool_series, trace.service_series):
        assert np.isfinite(series).all(), "a series is not finite"
        assert (series >= -1e-6).all(), "a series is negative"
    assert 0.0 <= metrics.blast_radius.customers_frac <= 1.0
    if case % AGAIN_EVERY == 0:
        again = simulate(spec, seed=seed, fidelity=fidelity, guards=True)
        assert again.digest == trace.digest, "the same case gave another digest"


def main() -> int:
    """Run cases until the time is up; return 1 at a failure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="how long  [default: 3]")
    parser.add_argument("--start", type=int, default=0, help="first case  [default: 0]")
    parser.add_argument("--case", type=int, help="only this one")
    parser.add_argument("--show", action="store_true", help="print the scenario of --case")
    args = parser.parse_args()
    if args.case is not None:
        if args.show:
            print(yaml.safe_dump(scenario(args.case)[0], sort_keys=False))
        check(args.case)
        return 0
    end_s, case, failed = time.monotonic() + 60.0 * args.minutes, args.start, []
    while time.monotonic() < end_s:
        try:
            check(case)
        except Exception:
            traceback.print_exc(limit=-2)
            print(f"FAILED: python -m tests.swarm --case {case}", flush=True)
            failed.append(case)
        case += 1
        if sys.stderr.isatty():
            print(f"\r{case - args.start} cases, {len(failed)} failed", end="", file=sys.stderr)
    print(f"\n{case - args.start} cases from {args.start} on, {len(failed)} failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
