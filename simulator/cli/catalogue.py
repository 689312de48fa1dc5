"""The shipped scenarios: where they lie, and how a name on the command line finds one."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import simulator
from simulator.errors import UsageError

__all__ = ["find_scenario", "scenario_folder", "shipped"]


def scenario_folder() -> Path | None:
    """Return the folder ``scenarios``: of the working directory, else of the checkout."""
    checkout = Path(simulator.__file__).resolve().parents[1]
    for base in (Path(), checkout):
        folder = base / "scenarios"
        if folder.is_dir():
            return folder
    return None


def shipped() -> tuple[Path, ...]:
    """Return the files of the shipped scenarios, sorted by name."""
    folder = scenario_folder()
    return (
        () if folder is None else tuple(sorted(folder.glob("*.yaml"), key=lambda file: file.stem))
    )


def find_scenario(name: str) -> Path:
    """Return the file that a user means by a path or by the id of a shipped scenario.

    Raises
    ------
    UsageError
        With the nearest name, if there is no such file.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = {file.stem: file for file in shipped()}
    if name in known:
        return known[name]
    near = get_close_matches(path.stem, known, 1)
    hint = f"did you mean '{near[0]}'?" if near else "see 'simulator list'"
    what = "is a folder" if path.is_dir() else "no such scenario file or shipped scenario"
    msg = f"{name}: {what} ({hint})"
    raise UsageError(msg)
