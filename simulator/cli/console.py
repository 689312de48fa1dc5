"""Terminals and pipes: how wide, and whether colours and progress bars make sense."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["make_console", "progress_bar", "say_compiling"]

PIPE_WIDTH: Final = 100
"""Columns when the output is no terminal: enough for every table."""


class _Trimmed:
    """A stream without the spaces by which tables fill their lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; each call holds whole lines."""
        self._stream.write(re.sub(r" +(?=\n)", "", text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Return False."""
        return False


class _Console(Console):
    """Leaves a closed pipe to the command line's own handling."""

    def on_broken_pipe(self) -> None:
        """Raise what was raised."""
        raise BrokenPipeError


def make_console(*, stderr: bool = False) -> Console:
    """Return a console for stdout or stderr; without colours and controls in a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return _Console(file=stream, highlight=False, soft_wrap=False)
    trimmed = cast("IO[str]", _Trimmed(stream))
    return _Console(
        file=trimmed, highlight=False, width=PIPE_WIDTH, force_terminal=False, color_system=None
    )


@contextmanager
def progress_bar(text: str, *, quiet: bool = False) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on stderr while the body runs; yields a setter of the share done.

    Nothing is written unless stderr is a terminal.
    """
    console = make_console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _frac: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # Whatever is printed meanwhile goes where it belongs, not to the bar's stream.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bar:
        task = bar.add_task(text, total=1.0)
        yield lambda frac: bar.update(task, completed=min(max(frac, 0.0), 1.0))


def say_compiling(*, quiet: bool = False) -> None:
    """Tell a person at a terminal why the very first run takes longer."""
    import simulator.flow

    cache = Path(simulator.flow.__path__[0]) / "__pycache__"
    if not quiet and sys.stderr.isatty() and not any(cache.glob("*.nbi")):
        text = "compiling the kernels of the data plane (once, up to a minute) …"
        make_console(stderr=True).print(text)
