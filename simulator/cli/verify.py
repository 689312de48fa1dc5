"""``simulator verify``: the program against published theory, row by row."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import click

from simulator.cli.output import OutPath, try_output, writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from simulator.report.junit import Suite
    from simulator.verification.evidence import Evidence
    from simulator.verification.row import Reading
    from simulator.verification.runner import Measured, Task

HELP: Final = """Hold the program against published theory, row by row.

Each row states a claim, its formula, where it was published, the inputs and the largest error.
The rule was fixed before anything was measured: the error is within the tolerance; where chance is
involved it is less than four standard errors, and the tolerance is at least four of them, so that
a row which could not notice an error does not pass. With --mutants the program is broken on purpose
in the ways that each row must notice; one that goes unnoticed fails the row.

\b
Examples:
  simulator verify
  simulator verify --quick
  simulator verify V02 V14 --mutants
  simulator verify --fidelity formula --json
  simulator verify --save evidence.json --markdown VALIDATION.md

\b
Exit codes: 0 all rows hold, 1 a row does not, 2 the input is wrong,
3 a bug of this program, 130 interrupted.
"""

_FILE: Final = OutPath()


@click.command(help=HELP)
@click.argument("row", nargs=-1, metavar="[ID]...")
@click.option("--quick", is_flag=True, help="Leave out what takes more than a few seconds.")
@click.option(
    "--fidelity",
    type=click.Choice(["formula", "flow", "request", "direct"]),
    multiple=True,
    help="Only this fidelity; may be repeated.",
)
@click.option("--mutants", is_flag=True, help="Break the program on purpose as well.")
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option("--junit", type=_FILE, help="Write a JUnit XML report.")
@click.option("--save", type=_FILE, help="Keep the results in a JSON file, beside those it has.")
@click.option(
    "--markdown",
    type=_FILE,
    help="Renew the tables between the markers of this file (from --save).",
)
def cmd(row: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401 - click's
    """Run the verb and return its exit code."""
    from simulator.verification.runner import plan

    tasks = plan(
        row, fidelities=options["fidelity"], quick=options["quick"], mutants=options["mutants"]
    )
    known = _try_outputs(options)
    measured: list[Measured] = []
    stopped = False
    try:
        for group in _measure(tasks, options["jobs"], measured):
            if not options["as_json"]:
                _print(group)
    except KeyboardInterrupt:
        stopped = True
    except Exception:
        _write(measured, known, options)
        raise
    _write(measured, known, options)
    if stopped:
        return _interrupted(len(measured), len(tasks))
    return _conclude(measured, quiet=options["as_json"])


def _measure(
    tasks: Sequence[Task], jobs: int, measured: list[Measured]
) -> Iterator[list[Measured]]:
    """Yield the results of one row after the other; each is noted as soon as it is there."""
    from simulator.cli.console import progress_bar, say_compiling
    from simulator.verification.runner import run_tasks

    say_compiling()
    results = run_tasks(tasks, min(jobs, len(tasks)))
    done = 0
    for name, group in groupby(tasks, key=lambda task: task.row_id):
        found: list[Measured] = []
        wanted = len(list(group))
        # One bar a row: its results are printed before the next bar is drawn.
        with progress_bar(f"{name}, {done} of {len(tasks)} done") as share:
            while len(found) < wanted:
                found.append(next(results))
                measured.append(found[-1])
                share(len(found) / wanted)
        done += wanted
        yield found


def _try_outputs(options: dict[str, Any]) -> Evidence | None:
    """See before anything is measured whether results can be written; return those of before."""
    from simulator.verification.evidence import insert_tables, read_evidence, record

    page: Path | None = options["markdown"]
    if page is not None:
        with writing(page):
            insert_tables(page.read_text(encoding="utf-8"), record([]))
    save: Path | None = options["save"]
    known = None
    if save is not None and save.exists():
        with writing(save):
            known = read_evidence(save.read_text(encoding="utf-8"))
    for name in ("junit", "save", "markdown"):
        if options[name] is not None:
            try_output(options[name])
    return known


def _write(measured: list[Measured], known: Evidence | None, options: dict[str, Any]) -> None:
    from simulator.verification.evidence import insert_tables, merge, record, to_text

    evidence = record(measured)
    if options["as_json"]:
        click.echo(to_text(evidence), nl=False)
    if options["junit"] is not None:
        from simulator.report.junit import junit_xml

        with writing(options["junit"]):
            options["junit"].write_bytes(junit_xml(tuple(_suite(m) for m in measured)))
    save: Path | None = options["save"]
    if save is not None:
        evidence = evidence if known is None else merge(known, evidence)
        with writing(save):
            save.write_text(to_text(evidence), encoding="utf-8")
    page: Path | None = options["markdown"]
    if page is not None:
        with writing(page):
            text = insert_tables(page.read_text(encoding="utf-8"), evidence)
            page.write_text(text, encoding="utf-8")


def _interrupted(done: int, wanted: int) -> int:
    from simulator.cli import INTERRUPTED

    click.echo(f"interrupted; {done} of {wanted} measurements were made", err=True)
    return INTERRUPTED


def _conclude(measured: list[Measured], *, quiet: bool) -> int:
    from simulator.report.text import counted

    ids = dict.fromkeys(m.row_id for m in measured)
    failed = [name for name in ids if any(m.row_id == name and not m.passed for m in measured)]
    held = len(ids) - len(failed)
    verb = "holds" if len(ids) == 1 else "hold"
    if not quiet:
        named = f"; not: {', '.join(failed)}" if failed else ""
        click.echo(f"{held} of {counted(len(ids), 'row')} {verb}{named}")
    return 1 if failed else 0


# ------------------------------------------------------------------------------------ report


def _print(group: list[Measured]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from simulator.cli.console import make_console
    from simulator.verification.catalogue import rows

    row = next(row for row in rows() if row.id == group[0].row_id)
    console = make_console()
    wall_s = sum(measured.wall_s for measured in group)
    console.print(Text.assemble((f"{row.id}  {row.claim}", "bold"), f"  ({wall_s:.1f} s)"))
    console.print(Padding(Text(f"{row.formula}  [{row.source}]", style="dim"), (0, 0, 0, 2)))
    console.print(Padding(_table(group), (0, 0, 0, 2)))
    for measured in group:
        for line in _remarks(measured):
            console.print(Padding(line, (0, 0, 0, 2)))
    if row.note and not all(m.passed for m in group):
        console.print(Padding(Text(f"note: {row.note}"), (0, 0, 0, 2)))
    console.print()


def _table(group: list[Measured]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("fidelity", no_wrap=True)
    table.add_column("quantity", overflow="fold")
    for name in ("n", "theory", "observed", "SE", "z", "tolerance"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for measured in group:
        for reading in measured.readings:
            table.add_row(measured.fidelity, *_cells(reading))
    return table


def _cells(reading: Reading) -> list[RenderableType]:
    from rich.text import Text

    from simulator.verification.evidence import show

    chance = reading.z is not None
    verdict = Text("holds", style="green")
    if not reading.passed:
        verdict = Text("NO", style="bold red")
    return [
        Text(reading.quantity),
        str(reading.n) if chance else "",
        show(reading.theory, reading.unit),
        show(reading.observed, reading.unit),
        show(reading.se) if chance else "",
        "" if reading.z is None else f"{reading.z:.1f}",
        show(reading.tolerance),
        verdict,
    ]


def _remarks(measured: Measured) -> Iterator[RenderableType]:
    from rich.text import Text

    if measured.error:
        yield Text(f"{measured.fidelity}: {measured.error}", style="bold red")
    elif not measured.readings:
        yield Text(f"{measured.fidelity}: nothing was measured", style="bold red")
    for reading in measured.readings:
        if not reading.passed:
            why = f"{measured.fidelity}, {reading.quantity}: {', '.join(reading.faults)}"
            yield Text(why, style="bold red")
    for name, killed in measured.killed:
        word = "noticed" if killed else "NOT NOTICED"
        style = "green" if killed else "bold red"
        yield Text.assemble(f"mutant ({measured.fidelity}) {name}: ", (word, style))


def _suite(measured: Measured) -> Suite:
    from simulator.report.junit import Case, Suite
    from simulator.verification.evidence import show

    cases = [
        Case(
            reading.quantity,
            reading.passed,
            f"theory {show(reading.theory, reading.unit)}, observed "
            f"{show(reading.observed, reading.unit)}, tolerance {show(reading.tolerance)}"
            + "".join(f"; {fault}" for fault in reading.faults),
        )
        for reading in measured.readings
    ]
    cases += [Case(f"mutant: {name}", killed, "") for name, killed in measured.killed]
    if measured.error:
        cases.append(Case("measured at all", passed=False, message=measured.error))
    return Suite(f"{measured.row_id}.{measured.fidelity}", measured.wall_s, tuple(cases))
