"""The command line: ``simulator VERB …``; one verb, one file.

Only click and the error tree are imported here. A verb's module, and with it the heavy packages,
is imported when that verb runs, so that ``--help`` and completion stay fast.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final

import click

from simulator import __version__
from simulator.errors import SimulatorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

__all__ = ["cli", "main"]

COMMANDS: Final = {
    "run": "Simulate one scenario with one seed and report what happened.",
    "explain": "Show the causes of a saved run as a tree.",
    "check": "Judge the claims of scenarios over many seeds.",
    "verify": "Hold the program against published theory, row by row.",
    "analyze": "Solve a small pool with timeouts and retries as a Markov chain.",
    "list": "List the shipped scenarios and the kinds of mechanisms.",
    "validate": "Check scenario and region files and report every problem at once.",
    "schema": "Write the JSON Schema (2020-12) of scenario and region files.",
}
"""Verb → summary, in the order of the help page."""

_MODULES: Final = {"list": "listing"}
"""Verbs whose module does not have their name: ``list`` here would hide the built-in one."""

OK, FAILED, BAD_INPUT, BUG, INTERRUPTED = 0, 1, 2, 3, 130
PIPE_CLOSED: Final = 141
"""As the shell reports a program that was stopped by a closed pipe."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"simulator.cli.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = module.cmd
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a verb; name the nearest one if it is unknown."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(COMMANDS)}."
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb; a reader that stops reading (head, less) ends it quietly."""
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Nothing may be written to the closed pipe at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(PIPE_CLOSED) from None
        return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a verb without importing any."""
        from click.shell_completion import CompletionItem

        verbs = [
            CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)


HELP: Final = """Simulate how a failure spreads through a cloud region, and how long recovery takes.

A scenario file describes the region, the change that goes wrong, the guardrails and the people, and
makes one claim that can fail. Start with:

\b
  simulator list
  simulator run runaway-capacity-removal
  simulator explain runs/runaway-capacity-removal-seed0-1
"""

EPILOG: Final = """\b
Exit codes: 0 done, 1 an expectation failed, 2 the input is wrong,
3 a bug of this program, 130 interrupted.
\b
Shell completion (bash): eval "$(_SIMULATOR_COMPLETE=bash_source simulator)"
"""


@click.group(
    cls=LazyGroup,
    help=HELP,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="simulator")
def cli() -> None:
    """Hold the verbs."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Parameters
    ----------
    args : Sequence[str], optional
        Words after the program's name; by default those of the process.
    """
    words = None if args is None else list(args)
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 shows '?' for a bar; it must not end the program.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        result = cli.main(words, prog_name="simulator", standalone_mode=False)
    except click.Abort as error:
        _say("interrupted", *_notes(error.__cause__))
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return BAD_INPUT
    except Exception as error:
        if isinstance(error, SimulatorError) and error.exit_code == BAD_INPUT:
            _say(*(f"error: {line}" for line in str(error).splitlines()), *_notes(error))
            return BAD_INPUT
        return _bug(error)
    return result if isinstance(result, int) else OK


def _notes(error: BaseException | None) -> list[str]:
    return list(getattr(error, "__notes__", []))


def _bug(error: Exception) -> int:
    notes = _notes(error)
    error.__notes__ = []
    traceback.print_exception(error)
    _say(
        "",
        f"This is a bug of simulator {__version__}, not of your input: "
        f"{type(error).__name__}: {error}",
        *notes,
    )
    return BUG


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(line, err=True)
