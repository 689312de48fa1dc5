"""``simulator check``: the claims of scenarios, judged over many seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from simulator.cli.output import OutPath, try_output, writing
from simulator.errors import ScenarioError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simulator.cli.batch import Outcome
    from simulator.dataplane import Fidelity
    from simulator.errors import Problem
    from simulator.metrics import Metrics, Verdict
    from simulator.metrics.gate import Gate
    from simulator.report.junit import Suite
    from simulator.scenario import Scenario

HELP: Final = """Judge the claims of scenarios over many seeds.

Runs each SCENARIO (file or id; default: all in the folder 'scenarios', or else all that are
shipped) with the seeds 1 to N and evaluates its expectations. One with a quantile is judged on that
quantile, any other must hold in every run. Runs that had not recovered count as infinitely long and
are never dropped.

With --baseline, runs are compared with those of an earlier version, paired by seed. It fails when
fewer runs recover, when the median time to recovery rises by more than 10 % and a paired
permutation test says that this is no chance (p at most 0.05; needs five seeds), or when the median
share of customers affected rises by more than 10 percentage points.

\b
Examples:
  simulator check
  simulator check seoul-dns-2018 --seeds 50 --junit report.xml
  simulator check --baseline benchmarks/recovery/baseline.json
  simulator check --update-baseline --reason "boot time of units is now drawn"

\b
Exit codes: 0 all hold, 1 an expectation or the baseline failed, 2 the input is wrong,
3 a bug of this program, 130 interrupted.
"""

BASELINE: Final = Path("benchmarks/recovery/baseline.json")
BASELINE_SCHEMA: Final = 1
_FILE: Final = OutPath()


@dataclass(frozen=True, slots=True)
class Checked:
    """All that is known of one scenario after its runs."""

    name: str
    scenario: Scenario
    runs: tuple[Metrics, ...]
    wall_s: float
    verdicts: tuple[Verdict, ...]
    gate: Gate | None = None

    @property
    def passed(self) -> bool:
        """Whether every expectation holds and recovery did not get slower."""
        return all(v.passed for v in self.verdicts) and (self.gate is None or self.gate.passed)


@click.command(help=HELP)
@click.argument("scenario", nargs=-1)
@click.option(
    "--seeds",
    type=click.IntRange(1, 100_000),
    default=10,
    show_default=True,
    help="Run the seeds 1 to N.",
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes.  [default: one per core]")
@click.option(
    "--fidelity",
    type=click.Choice(["flow", "request", "auto"]),
    default="flow",
    show_default=True,
    help="How requests are simulated (see 'simulator run').",
)
@click.option("--junit", type=_FILE, help="Write a JUnit XML report.")
@click.option("--baseline", type=_FILE, help="Compare times and customers with this file.")
@click.option(
    "--update-baseline",
    is_flag=True,
    help=f"Write the times to the baseline  [default file: {BASELINE}].",
)
@click.option("--reason", default="", help="Why the baseline changes; kept in it.")
def cmd(scenario: tuple[str, ...], seeds: int, **options: Any) -> int:  # noqa: ANN401 - click's
    """Run the verb and return its exit code."""
    from simulator.report.text import counted

    update: bool = options["update_baseline"]
    if update and not options["reason"].strip():
        msg = "--update-baseline needs --reason: why do times to recovery change?"
        raise UsageError(msg)
    file: Path | None = options["baseline"] or (BASELINE if update else None)
    known = _read_baseline(file, may_lack=update) if file is not None else {}
    specs = _load(scenario)
    _try_outputs(options["junit"], file if update else None)
    checked = []
    for result in _run(specs, seeds, options["jobs"], options["fidelity"]):
        checked.append(result if update else _against(result, known, compared=file is not None))
        _print(checked[-1])
    if options["junit"] is not None:
        _write_junit(options["junit"], checked)
    if update and file is not None:
        _write_baseline(file, known, checked, options["reason"].strip())
    failed = [c.name for c in checked if not c.passed]
    held = len(checked) - len(failed)
    verb = "holds" if len(checked) == 1 else "hold"
    click.echo(f"{held} of {counted(len(checked), 'scenario')} {verb}{_failed(failed)}")
    return 1 if failed else 0


def _try_outputs(junit: Path | None, baseline: Path | None) -> None:
    """See before the runs, which take long, whether their results can be written."""
    if junit is not None:
        try_output(junit)
    if baseline is not None:
        try_output(baseline, make_parents=True)


def _write_junit(file: Path, checked: list[Checked]) -> None:
    from simulator.report.junit import junit_xml

    with writing(file):
        file.write_bytes(junit_xml(tuple(_suite(c) for c in checked)))


def _failed(names: list[str]) -> str:
    return f"; failed: {', '.join(names)}" if names else ""


def _load(names: tuple[str, ...]) -> dict[str, Scenario]:
    """Load all scenarios; all problems of all files at once."""
    from simulator.cli.catalogue import find_scenario, nearest
    from simulator.scenario import load_scenario

    files = {name: find_scenario(name) for name in names} or {p.stem: p for p in nearest()}
    if not files:
        msg = "there are no shipped scenarios here; name a file"
        raise UsageError(msg)
    loaded: dict[str, Scenario] = {}
    problems: list[Problem] = []
    for name, path in files.items():
        try:
            loaded[name] = load_scenario(path)
        except ScenarioError as error:
            problems += error.problems
    if problems:
        raise ScenarioError(problems)
    return loaded


def _run(
    specs: dict[str, Scenario], seeds: int, jobs: int | None, fidelity: Fidelity
) -> Iterator[Checked]:
    """Run everything in one pool; yield each scenario as soon as its runs are done."""
    from simulator.cli.batch import Task, default_jobs, run_tasks
    from simulator.cli.console import progress_bar, say_compiling

    tasks = [
        Task(name, spec, seed, fidelity)
        for name, spec in specs.items()
        for seed in range(1, seeds + 1)
    ]
    say_compiling()
    outcomes = run_tasks(tasks, jobs or default_jobs(len(tasks)))
    for name, spec in specs.items():
        found: list[Outcome] = []
        # One bar for each scenario: its results are printed before the next bar is drawn.
        with progress_bar(f"{name}, {seeds} runs") as done:
            for outcome in islice(outcomes, seeds):
                found.append(outcome)
                done(len(found) / seeds)
        yield _judge(name, spec, found)


def _judge(name: str, spec: Scenario, outcomes: list[Outcome]) -> Checked:
    from simulator.metrics import evaluate_over, metric_value

    runs = tuple(outcome.metrics for outcome in outcomes)
    verdicts = tuple(
        evaluate_over(e, [metric_value(m, e.metric) for m in runs]) for e in spec.expectations
    )
    return Checked(name, spec, runs, sum(o.wall_s for o in outcomes), verdicts)


# --------------------------------------------------------------------------------- baseline


def _read_baseline(file: Path, *, may_lack: bool) -> dict[str, Any]:
    if may_lack and not file.exists():
        return {}
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        msg = f"{file}: {error.strerror} (make it with --update-baseline)"
        raise UsageError(msg) from error
    except ValueError as error:
        msg = f"{file} is not JSON: {error}"
        raise UsageError(msg) from error
    known = content.get("scenarios") if isinstance(content, dict) else None
    if not isinstance(known, dict) or content.get("schema") != BASELINE_SCHEMA:
        msg = f"{file} is no baseline of schema {BASELINE_SCHEMA}"
        raise UsageError(msg)
    return known


def _against(result: Checked, known: dict[str, Any], *, compared: bool) -> Checked:
    """Add the comparison with the baseline, where it knows the scenario."""
    from dataclasses import replace

    from simulator.metrics.gate import compare, read_customers, read_entry
    from simulator.scenario.dump import scenario_hash

    entry = known.get(result.scenario.id)
    if entry is None:
        if compared:
            click.echo(f"note: the baseline does not know {result.scenario.id}", err=True)
        return result
    same = entry.get("scenario_sha256") == scenario_hash(result.scenario)
    before = read_entry(entry, result.scenario.id)
    customers = read_customers(entry)
    gate = compare(before, result.runs, same_scenario=same, customers_before=customers)
    return replace(result, gate=gate)


def _write_baseline(file: Path, known: dict[str, Any], checked: list[Checked], reason: str) -> None:
    from simulator import __version__
    from simulator.metrics.gate import baseline_entry
    from simulator.scenario.dump import scenario_hash

    fresh = {
        c.scenario.id: baseline_entry(
            c.runs, scenario_hash=scenario_hash(c.scenario), version=__version__, reason=reason
        )
        for c in checked
    }
    content = {"schema": BASELINE_SCHEMA, "scenarios": dict(sorted({**known, **fresh}.items()))}
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    click.echo(f"baseline written to {file}")


# ----------------------------------------------------------------------------------- report


def _print(checked: Checked) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from simulator.cli.console import make_console
    from simulator.report.text import counted, verdict_table

    console = make_console()
    title = f"{checked.name}  ({counted(len(checked.runs), 'seed')}, {checked.wall_s:.1f} s)"
    console.print(Text(title, style="bold"))
    console.print(Padding(verdict_table(checked.verdicts), (0, 0, 0, 2)))
    console.print(Text(f"  {_spread(checked.runs)}"))
    if checked.gate is not None:
        mark = "pass" if checked.gate.passed else "FAIL"
        text = Text(f"{mark}  against the baseline: {checked.gate.text}")
        console.print(Padding(text, (0, 0, 0, 2)))
    console.print()


def _spread(runs: Sequence[Metrics]) -> str:
    """Return the quantiles of the time to recovery; runs without impact count as 0 s."""
    import math

    from simulator.metrics.expectations import quantile, show_value

    times = [math.inf if m.ttr_s is None else m.ttr_s for m in runs]
    shown = (f"p{q} {show_value('ttr_s', quantile(times, q / 100))}" for q in (10, 50, 90))
    well = sum(m.recovered for m in runs)
    spared = sum(not m.impacted for m in runs)
    note = f"; not impacted in {spared} of {len(runs)}" if spared else ""
    return f"time to recovery: {', '.join(shown)}; recovered {well} of {len(runs)}{note}"


def _suite(checked: Checked) -> Suite:
    from simulator.report.junit import Case, Suite
    from simulator.report.text import counted

    cases = [
        Case(v.statement, v.passed, f"{v.shown_value} over {counted(v.runs, 'run')}")
        for v in checked.verdicts
    ]
    if checked.gate is not None:
        cases.append(Case("recovery against the baseline", checked.gate.passed, checked.gate.text))
    return Suite(checked.scenario.id, checked.wall_s, tuple(cases))
