"""``simulator run``: one scenario, one seed, one report, one folder."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import click

from simulator.cli.output import OutPath

if TYPE_CHECKING:
    from simulator.dataplane import Fidelity
    from simulator.metrics import Metrics, Verdict
    from simulator.report.rundir import RunFolder
    from simulator.scenario import Scenario
    from simulator.trace import Trace

HELP: Final = """Simulate one scenario with one seed and report what happened.

SCENARIO is a file, or the id of a shipped scenario (see 'simulator list'). The run is compared with
its control run: the same scenario and the same chance, without the trigger. The report says whether
the claim held, how long each phase of the recovery took, how far the failure spread and which
records mattered; everything is saved in a new folder under runs/.

An expectation on a quantile needs many seeds; one run cannot break it (see 'simulator check').

\b
Examples:
  simulator run runaway-capacity-removal
  simulator run scenarios/seoul-dns-2018.yaml --seed 7 --out runs/seoul
  simulator run steady-day --set region.pools.edge-lb.units=400
  simulator run runaway-capacity-removal --json | jq .ttr_s

\b
Exit codes: 0 done, 1 an expectation failed, 2 the input is wrong,
3 a bug of this program, 130 interrupted.
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What one run came to."""

    scenario: Scenario
    trace: Trace
    metrics: Metrics
    verdicts: tuple[Verdict, ...]
    wall_s: float

    @property
    def broken(self) -> bool:
        """Whether an expectation that one run can judge failed."""
        return any(not v.passed for v in self.verdicts if v.expectation.quantile is None)


@click.command(help=HELP)
@click.argument("scenario")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all chance."
)
@click.option(
    "--out",
    type=OutPath(dir_okay=True),
    help="Folder for the results; it must not exist.  [default: runs/<id>-seed<N>-<n>]",
)
@click.option(
    "--set",
    "changes",
    metavar="PATH=VALUE",
    multiple=True,
    help="Change the scenario, e.g. region.pools.edge-lb.units=400; may be repeated.",
)
@click.option(
    "--fidelity",
    type=click.Choice(["flow", "request", "auto"]),
    default="flow",
    show_default=True,
    help="How requests are simulated: as flows (fast), one by one, or one by one in those pools "
    "where flows are outside their region of validity.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a report.")
@click.option("--quiet", is_flag=True, help="Print only failed expectations and the folder.")
def cmd(scenario: str, seed: int, out: Path | None, **options: Any) -> int:  # noqa: ANN401 - click's
    """Run the verb and return its exit code."""
    from simulator.cli.catalogue import find_scenario
    from simulator.scenario import load_scenario

    changes: tuple[str, ...] = options["changes"]
    spec = load_scenario(find_scenario(scenario), overrides=changes)
    folder = _open_folder(spec, seed, out)
    try:
        quiet = options["quiet"] or options["as_json"]
        result = _simulate(spec, seed, folder, fidelity=options["fidelity"], quiet=quiet)
        _save(result, folder)
    except KeyboardInterrupt as stop:
        return _interrupted(folder, getattr(stop, "trace", None))
    except Exception as error:
        error.add_note("To repeat it: " + replay_line(scenario, seed, changes, options["fidelity"]))
        raise
    if options["as_json"]:
        click.echo(json.dumps(summary(result), indent=2))
    else:
        _print(result, folder.path, quiet=options["quiet"])
    return 1 if result.broken else 0


def replay_line(
    scenario: str, seed: int, changes: tuple[str, ...] = (), fidelity: Fidelity = "flow"
) -> str:
    """Return the command that repeats a run."""
    sets = [word for change in changes for word in ("--set", change)]
    sets += ["--fidelity", fidelity] if fidelity != "flow" else []
    return shlex.join(["simulator", "run", scenario, *sets, "--seed", str(seed)])


def _open_folder(spec: Scenario, seed: int, out: Path | None) -> RunFolder:
    from simulator.report.rundir import create_run, free_path
    from simulator.scenario.dump import dump_scenario, scenario_hash

    return create_run(
        out if out is not None else free_path(Path("runs"), f"{spec.id}-seed{seed}"),
        scenario_yaml=dump_scenario(spec),
        scenario_hash=scenario_hash(spec),
        seed=seed,
        argv=tuple(sys.argv[1:]),
    )


def _simulate(
    spec: Scenario, seed: int, folder: RunFolder, *, fidelity: Fidelity, quiet: bool
) -> Result:
    """Run the scenario and its control run; save the trace as soon as it is there."""
    from simulator.cli.console import progress_bar, say_compiling
    from simulator.engine import control_run, simulate
    from simulator.metrics import compute_metrics, evaluate

    say_compiling(quiet=quiet)
    start_s = perf_counter()
    runs = 2 if spec.trigger else 1
    with progress_bar(f"{spec.id}, seed {seed}", quiet=quiet) as done:
        trace = simulate(
            spec,
            seed=seed,
            fidelity=fidelity,
            progress=lambda t_s, end_s: done(t_s / end_s / runs),
        )
        _save_tables(trace, folder)
        control = (
            control_run(
                spec,
                seed,
                fidelity=fidelity,
                progress=lambda t_s, end_s: done((1.0 + t_s / end_s) / runs),
            )
            if spec.trigger
            else None
        )
    metrics = compute_metrics(trace, control)
    verdicts = tuple(evaluate(e, metrics) for e in spec.expectations)
    return Result(spec, trace, metrics, verdicts, perf_counter() - start_s)


def _interrupted(folder: RunFolder, trace: Trace | None) -> int:
    """Save what had happened until Ctrl-C."""
    if trace is not None:
        _save_tables(trace, folder)
    folder.finish("interrupted")
    click.echo(f"interrupted; what there is was saved in {folder.path}", err=True)
    return 130


def _save_tables(trace: Trace, folder: RunFolder) -> None:
    for name in ("events", "pools", "services"):
        folder.write_table(name, getattr(trace, name))


def _save(result: Result, folder: RunFolder) -> None:
    from simulator.report.figure import figure_png

    judged = [
        {
            "expectation": v.statement,
            "value": v.shown_value,
            "passed": v.passed,
            "over_seeds": v.over_seeds,
        }
        for v in result.verdicts
    ]
    numbers = {**result.metrics.to_dict(), "digest": result.trace.digest, "expectations": judged}
    folder.write_json("metrics.json", numbers)
    folder.write("figure.png", figure_png(result.trace, result.metrics))
    folder.finish("complete", digest=result.trace.digest)


def summary(result: Result) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    metrics = result.metrics.to_dict()
    blast = metrics["blast_radius"]
    same = (
        "scenario", "seed", "baseline", "impacted", "recovered", "ttr_s", "ttr_from_impact_s",
        "censored_at_s", "phases_s", "milestones_s", "lost_first_tries", "error_budget_min",
        "cascade_depth", "peak_amplification", "actions_refused", "alarms",
    )  # fmt: skip
    return {
        **{name: metrics[name] for name in same},
        "blast_radius": {k: v for k, v in blast.items() if k.endswith("_frac")},
        "expectations": [
            {"expectation": v.statement, "passed": v.passed, "over_seeds": v.over_seeds}
            for v in result.verdicts
        ],
        "fidelity": result.trace.provenance["fidelity"],
        "requests_of": list(result.trace.provenance["requests_of"]),
        "concerns": [{"pool": p, "reason": r} for p, r in result.trace.provenance["concerns"]],
        "digest": result.trace.digest,
        "wall_s": round(result.wall_s, 3),
    }


def _print(result: Result, path: Path, *, quiet: bool) -> None:
    from simulator.cli.console import make_console
    from simulator.report.text import run_report, verdict_table

    console = make_console()
    if quiet:
        broken = [v for v in result.verdicts if not v.passed and not v.over_seeds]
        if broken:
            console.print(verdict_table(broken))
    else:
        for part in run_report(result.trace, result.metrics, result.verdicts):
            console.print(part)
    click.echo(f"Saved in {path}  (simulated in {result.wall_s:.1f} s)")
    if not quiet:
        click.echo(f"Causes: simulator explain {shlex.quote(str(path))}")
