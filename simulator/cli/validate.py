"""``simulator validate``: report every problem of scenario and region files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.errors import Problem
    from simulator.scenario import Region, Scenario

BAD_INPUT: Final = 2


HELP: Final = """Check scenario and region files and report every problem at once.

A problem is one line, FILE:LINE:COLUMN: path: what is wrong [code] (what to write). The codes are
stable and listed in simulator/scenario/codes.py. A shipped scenario may be named by its id.

\b
Examples:
  simulator validate my-scenario.yaml
  simulator validate scenarios/*.yaml --json
  simulator validate steady-day --set demand.shape.factor=1.2

Exit codes: 0 all files are valid, 2 some file has a problem, 3 a bug of this program.
"""


@click.command(
    name="validate", help=HELP, short_help="Report every problem of scenario and region files."
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a value before the file is checked; may be given many times.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document instead of text.")
@click.pass_context
def cmd(ctx: click.Context, files: Sequence[str], overrides: Sequence[str], as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Check files; print what they are, or every problem."""
    results = [_check(file, overrides) for file in files]
    if as_json:
        import json

        click.echo(json.dumps({"files": results}, indent=2, ensure_ascii=False))
    else:
        for result in results:
            click.echo(_shown(result))
    if any(result["problems"] for result in results):
        ctx.exit(BAD_INPUT)


def _check(file: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Load one file; return what it is and what is wrong with it."""
    from simulator.errors import ScenarioError
    from simulator.scenario import load_any

    try:
        loaded = load_any(_path(file), overrides=overrides)
    except ScenarioError as error:
        return {"file": file, "problems": [_plain(problem) for problem in error.problems]}
    return {"file": file, "problems": [], **_counts(loaded)}


def _path(name: str) -> str:
    """Return the file of a shipped scenario that is named by its id, else the name itself."""
    from pathlib import Path

    from simulator.cli.catalogue import shipped

    known = {} if Path(name).exists() else {file.stem: str(file) for file in shipped()}
    return known.get(name, name)


def _plain(problem: Problem) -> dict[str, Any]:
    names = ("file", "line", "column", "path", "code", "message", "hint")
    return {**{name: getattr(problem, name) for name in names}, "text": str(problem)}


def _counts(loaded: Scenario | Region) -> dict[str, Any]:
    """Say what a file holds."""
    from simulator.scenario import Scenario

    region = loaded.region if isinstance(loaded, Scenario) else loaded
    counts = {
        "pools": len(region.pools),
        "dependencies": len(region.dependencies),
        "services": len(region.services),
    }
    if not isinstance(loaded, Scenario):
        return {"kind": "region", "id": loaded.id, "counts": counts}
    from simulator.scenario import SECTIONS, scenario_hash

    counts["mechanisms"] = sum(len(getattr(loaded, section)) for section in SECTIONS)
    return {
        "kind": "scenario",
        "id": loaded.id,
        "sha256": scenario_hash(loaded),
        "counts": counts,
    }


def _shown(result: dict[str, Any]) -> str:
    problems = result["problems"]
    if not problems:
        counts = ", ".join(_number(n, what) for what, n in result["counts"].items())
        return f"{result['file']}: OK, {result['kind']} {result['id']} with {counts}"
    lines = [problem["text"] for problem in problems]
    return "\n".join([*lines, f"{result['file']}: {_number(len(problems), 'problems')}"])


def _number(count: int, plural: str) -> str:
    if count != 1:
        return f"{count:,} {plural}"
    return f"1 {plural[:-3]}y" if plural.endswith("ies") else f"1 {plural.removesuffix('s')}"
