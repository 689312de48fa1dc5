"""``simulator schema``: write the JSON Schema of scenario files."""

from __future__ import annotations

import click


@click.command(name="schema", short_help="Write the JSON Schema of scenario files.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Write to a file instead of the terminal.",
)
def cmd(out: str | None) -> None:
    r"""Write the JSON Schema (2020-12) of scenario and region files.

    It knows every mechanism that is installed. Editors with a YAML language server read it where
    the first line of a file says so:

    \b
      # yaml-language-server: $schema=schema.json

    The path is relative to the file. The copy of the repository is renewed with
    simulator schema --out scenarios/schema.json
    """
    from pathlib import Path

    from simulator.scenario.json_schema import schema_text

    if out is None:
        click.echo(schema_text(), nl=False)
    else:
        Path(out).write_text(schema_text(), encoding="utf-8")
