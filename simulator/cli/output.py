"""Files that verbs write: tried before anything runs, and a clear line where it cannot be done."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OutPath", "try_output", "writing"]


class OutPath(click.Path):
    """A path to write to; unlike :class:`click.Path` it refuses an empty one."""

    def __init__(self, *, dir_okay: bool = False) -> None:
        super().__init__(dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401 - click's
        """Return the path."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return Path(os.fsdecode(super().convert(value, param, ctx)))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the file system in the body into one about the user's path.

    Raises
    ------
    UsageError
        If the body raised an :class:`OSError`.
    """
    try:
        yield
    except OSError as error:
        msg = f"{path}: cannot be written: {error.strerror or error}"
        raise UsageError(msg) from error


def try_output(path: Path, *, make_parents: bool = False) -> None:
    """See whether a file can be written, and leave nothing behind.

    Parameters
    ----------
    path : Path
        The file.
    make_parents : bool
        Missing folders will be made; the nearest that exists is tried.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    import tempfile

    with writing(path):
        if path.exists():
            with path.open("ab"):
                return
        folder = path.parent
        while make_parents and not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass
