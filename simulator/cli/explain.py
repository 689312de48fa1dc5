"""``simulator explain``: the causes of a saved run as a tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from simulator.report.tree import CauseNode
    from simulator.trace import TraceRecord

HELP: Final = """Show the causes of a saved run as a tree.

RUN is a folder that 'simulator run' wrote. The tree begins with the trigger and ends with the
services that failed; each line hangs on what brought it about, and repeats are one line. Times
count from the trigger (h:mm:ss). Below it: how the region came back.

\b
Example:
  simulator explain runs/runaway-capacity-removal-seed0-1

\b
Exit codes: 0 done, 2 no such folder or a damaged one, 3 a bug of this program.
"""

CHILDREN_MAX: Final = 12
"""Lines under one parent; further ones are counted."""
RECOVERY_MAX: Final = 40
"""Lines on the recovery."""


@click.command(help=HELP)
@click.argument("run", type=click.Path(path_type=Path))
def cmd(run: Path) -> int:
    """Run the verb and return its exit code."""
    from simulator.cli.console import make_console
    from simulator.report.rundir import open_run

    opened = open_run(run)
    console = make_console()
    if not opened.complete:
        click.echo(f"note: {run} is not complete (status: {opened.status})", err=True)
    facts = opened.metrics if (run / "metrics.json").is_file() else {}
    records = opened.records
    zero_s = float(facts.get("trigger_s") or 0.0)
    _print_causes(console, records, zero_s)
    _print_recovery(console, records, zero_s)
    _print_end(console, facts)
    return 0


def _print_causes(console: Console, records: list[TraceRecord], zero_s: float) -> None:
    from rich.text import Text
    from rich.tree import Tree

    from simulator.report.tree import cause_forest

    trigger = next((r.id for r in records if r.kind in {"fault", "script"} and r.t_s >= zero_s), -1)
    forest = [n for n in cause_forest(records, trigger) if n.first.t_s >= zero_s]
    console.print(Text("Causes", style="bold"))
    if not forest:
        console.print("  no pool or service was impaired")
    for node in forest:
        tree = Tree(_label(node, zero_s), guide_style="dim")
        _grow(tree, node, zero_s)
        console.print(tree)


def _grow(tree: Tree, node: CauseNode, zero_s: float) -> None:
    # Where not all fit, what did harm goes before what was refused.
    order = sorted(node.children, key=lambda child: child.first.kind == "refusal")
    shown = {id(child) for child in order[:CHILDREN_MAX]}
    rest = [child for child in node.children if id(child) not in shown]
    for child in node.children:
        if id(child) in shown:
            branch = tree.add(_label(child, zero_s))
            _grow(branch, child, zero_s)
    if rest:
        names = ", ".join(sorted({n.first.subject for n in rest})[:4])
        tree.add(f"and {len(rest)} more: {names}, …")


def _label(node: CauseNode, zero_s: float) -> Any:  # noqa: ANN401 - rich's
    from rich.text import Text

    from simulator.report.text import clock

    failed = node.is_impairment and node.first.data == (("what", "service"),)
    style = "bold red" if failed else ("yellow" if node.is_impairment else "")
    when = clock(node.first.t_s - zero_s)
    if node.records[-1].t_s > node.first.t_s:
        when += f"–{clock(node.records[-1].t_s - zero_s)}"
    return Text.assemble((when, "dim"), "  ", (node.text, style))


def _print_recovery(console: Console, records: list[TraceRecord], zero_s: float) -> None:
    from rich.text import Text

    from simulator.report.story import describe
    from simulator.report.text import clock
    from simulator.report.tree import recovery_records

    found = recovery_records(records, zero_s)
    console.print()
    console.print(Text("Recovery", style="bold"))
    for record in found[:RECOVERY_MAX]:
        line = f"  {clock(record.t_s - zero_s):>9}  {describe(record)}"
        console.print(Text(line, overflow="fold"))
    if len(found) > RECOVERY_MAX:
        console.print(f"             and {len(found) - RECOVERY_MAX} more")
    if not found:
        console.print("  nothing was seen and nothing was done")


def _print_end(console: Console, facts: dict[str, Any]) -> None:
    from simulator.metrics.expectations import show_duration

    if not facts:
        return
    if not facts.get("impacted"):
        console.print("  no service fell below its SLO because of the trigger")
    elif facts.get("recovered"):
        console.print(f"  recovered {show_duration(float(facts['ttr_s']))} after the trigger")
    else:
        watched = show_duration(float(facts["censored_at_s"]))
        console.print(f"  not recovered when the run ended, {watched} after the trigger")
