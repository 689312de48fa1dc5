"""The shipped scenarios: where they lie, and how a name on the command line finds one."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

import simulator
from simulator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["find_scenario", "nearest", "scenario_folders", "shipped"]

REGIONS: Final = "regions"
"""Name of the folders whose files describe regions and not scenarios."""


def scenario_folders() -> tuple[Path, ...]:
    """Return the folders that hold scenarios, the one that counts first.

    They are ``scenarios`` of the working directory, ``scenarios`` of the checkout, and the copy
    inside an installed package. Folders without a scenario are left out.
    """
    package = Path(simulator.__file__).resolve().parent
    folders = (Path("scenarios"), package.parent / "scenarios", package / "_scenarios")
    return tuple(folder for folder in folders if any(_files(folder)))


def _files(folder: Path) -> Iterator[Path]:
    """Return the scenarios of a folder and of its subfolders; regions are none."""
    return (f for f in folder.rglob("*.yaml") if REGIONS not in f.relative_to(folder).parts[:-1])


def shipped() -> tuple[Path, ...]:
    """Return one file for each id in any of the folders, sorted by id."""
    known: dict[str, Path] = {}
    for folder in scenario_folders():
        for file in _files(folder):
            known.setdefault(file.stem, file)
    return tuple(known[name] for name in sorted(known))


def nearest() -> tuple[Path, ...]:
    """Return the files of the first folder that holds any, sorted by id."""
    folders = scenario_folders()
    return tuple(sorted(_files(folders[0]), key=lambda f: f.stem)) if folders else ()


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
