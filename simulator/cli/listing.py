"""``simulator list``: shipped scenarios and kinds of mechanisms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click

from simulator.errors import ScenarioError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType
    from rich.table import Table

HELP: Final = """List the shipped scenarios and the kinds of mechanisms.

'simulator run ID' runs a scenario; --long shows the claim that it puts to the test. Kinds of
mechanisms are what scenario files can name under faults, healing, guardrails, automation and
people, those of installed plug-ins among them.

\b
Examples:
  simulator list
  simulator list --long
  simulator list --json | jq '.scenarios[].id'

\b
Exit codes: 0 done, 2 a plug-in is broken, 3 a bug of this program.
"""


@click.command(help=HELP)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--long", is_flag=True, help="Show the claims of the scenarios too.")
def cmd(as_json: bool, long: bool) -> int:  # noqa: FBT001 - click passes flags by name
    """Run the verb and return its exit code."""
    scenarios, mechanisms = _scenarios(), _mechanisms()
    if as_json:
        click.echo(json.dumps({"scenarios": scenarios, "mechanisms": mechanisms}, indent=2))
    else:
        _print(scenarios, mechanisms, long=long)
    return 0


def _scenarios() -> list[dict[str, str]]:
    from simulator.cli.catalogue import shipped

    return [_entry(path) for path in shipped()]


def _entry(path: Path) -> dict[str, str]:
    """Return one scenario; a broken one is listed too, with what is wrong."""
    from simulator.scenario import load_scenario

    entry = {"id": path.stem, "file": str(path)}
    try:
        spec = load_scenario(path)
    except ScenarioError as error:
        return {**entry, "title": "", "claim": "", "problem": str(error.problems[0])}
    return {**entry, "title": spec.title, "claim": " ".join(spec.claim.split())}


def _mechanisms() -> list[dict[str, str]]:
    from simulator.registry import FAMILIES, REGISTRY

    return [
        {"family": family, "kind": entry.kind, "summary": entry.summary}
        for family in FAMILIES
        for entry in REGISTRY.entries(family)
    ]


def _print(
    scenarios: list[dict[str, str]], mechanisms: list[dict[str, str]], *, long: bool
) -> None:
    from rich.text import Text

    from simulator.cli.console import make_console

    console = make_console()
    console.print(Text("Scenarios", style="bold"))
    if long:
        for entry in scenarios:
            console.print(_claimed(entry))
    elif scenarios:
        console.print(_titles(scenarios))
    else:
        console.print("  none (no folder 'scenarios' here)")
    console.print()
    console.print(Text("Kinds of mechanisms", style="bold"))
    console.print(_kinds(mechanisms))


def _titles(scenarios: list[dict[str, str]]) -> Table:
    """Return one line per scenario; a title that does not fit goes on below its beginning."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for entry in scenarios:
        table.add_row(Text(f"  {entry['id']}", style="cyan"), Text(_title(entry)))
    return table


def _title(entry: dict[str, str]) -> str:
    return entry["title"] or f"cannot be loaded: {entry.get('problem', '')}"


def _claimed(entry: dict[str, str]) -> RenderableType:
    """Return id, title and claim of a scenario, each on its own indented lines."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts = (Text(text) for text in (_title(entry), entry["claim"]) if text)
    return Group(
        Text(f"  {entry['id']}", style="cyan"), *(Padding(part, (0, 0, 0, 6)) for part in parts)
    )


def _kinds(mechanisms: list[dict[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    family = ""
    for entry in mechanisms:
        shown = "" if entry["family"] == family else entry["family"]
        family = entry["family"]
        cells = (f"  {shown}", entry["kind"], entry["summary"])
        table.add_row(
            *(Text(cell, style=s) for cell, s in zip(cells, ("", "cyan", ""), strict=True))
        )
    return table
