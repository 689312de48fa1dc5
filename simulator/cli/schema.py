"""``simulator schema``: write the JSON Schema of scenario files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from simulator.cli.output import OutPath, writing

if TYPE_CHECKING:
    from pathlib import Path

HELP: Final = """Write the JSON Schema (2020-12) of scenario and region files.

It knows every mechanism that is installed. Editors with a YAML language server read it where the
first line of a file says so, with a path that is relative to the file:

\b
  # yaml-language-server: $schema=schema.json

\b
Examples:
  simulator schema | jq .title
  simulator schema --out scenarios/schema.json    renews the copy of the repository

Exit codes: 0 done, 2 the input is wrong, 3 a bug of this program.
"""


@click.command(name="schema", help=HELP, short_help="Write the JSON Schema of scenario files.")
@click.option(
    "--out",
    type=OutPath(),
    metavar="FILE",
    help="Write to a file instead of the terminal.",
)
def cmd(out: Path | None) -> None:
    """Write the JSON Schema to a file or to the terminal."""
    from simulator.scenario.json_schema import schema_text

    if out is None:
        click.echo(schema_text(), nl=False)
    else:
        with writing(out):
            out.write_text(schema_text(), encoding="utf-8")
