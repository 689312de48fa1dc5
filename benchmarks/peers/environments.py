"""Environments of the peers: one per set of packages, built on demand from pinned files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LOCKS = HERE / "environments"
HOME = HERE / ".venv"
MINIMUM = {"simpy": (3, 11), "happysim": (3, 13), "asyncflow": (3, 12)}
"""Lowest Python of each environment, as its packages ask."""
KNOWN = ((3, 13), (3, 12))
"""Versions looked for when the running one is too old."""


@dataclass(frozen=True)
class Environment:
    """Where a program runs; ``python`` is None when it cannot, and ``why`` says why."""

    python: str | None
    why: str = ""


def version_of(python: str) -> tuple[int, int] | None:
    """Version of an interpreter, None when it does not start."""
    ask = [python, "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        told = subprocess.run(ask, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - an interpreter found on this machine
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor = told.stdout.split()
    return int(major), int(minor)


def candidates(version: tuple[int, int]) -> list[str]:
    """Interpreters of this version that may be on the machine."""
    name = "python" + ".".join(map(str, version))
    found = [shutil.which(name)]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders = sorted(root.glob(".".join(map(str, version)) + ".*"))
    found += [str(folder / "bin" / "python") for folder in folders]
    return [python for python in found if python]


def uv(*arguments: str) -> str:
    """Run uv of our own environment; return what it prints."""
    program = Path(sys.executable).parent / "uv"
    done = subprocess.run(  # noqa: S603 - pinned in our environment
        [str(program), *arguments], capture_output=True, text=True, timeout=600, check=True
    )
    return done.stdout.strip()


def find_python(minimum: tuple[int, int]) -> str | None:
    """Find an interpreter: the running one, one on the machine, or one that uv can install."""
    if sys.version_info[:2] >= minimum:
        return sys.executable
    for version in KNOWN:
        for python in candidates(version) if version >= minimum else ():
            if version_of(python) == version:
                return python
    wanted = ".".join(map(str, minimum))
    try:
        uv("python", "install", wanted)
        return uv("python", "find", wanted)
    except (OSError, subprocess.SubprocessError):
        return None


def prepare(name: str) -> Environment:
    """Return the environment ``name``, built if it is missing or its pinned file has changed."""
    folder, lock = HOME / name, LOCKS / f"{name}.lock"
    python, stamp = folder / "bin" / "python", folder / "installed.lock"
    if stamp.exists() and stamp.read_text() == lock.read_text() and version_of(str(python)):
        return Environment(str(python))
    base = find_python(MINIMUM[name])
    if base is None:
        return Environment(None, "needs Python ≥ " + ".".join(map(str, MINIMUM[name])))
    print(f"setting up the environment {name}", file=sys.stderr, flush=True)
    try:
        uv("venv", "--clear", "--python", base, str(folder))
        uv("pip", "install", "--python", str(python), "--require-hashes", "-r", str(lock))
    except subprocess.SubprocessError as error:
        return Environment(None, f"its packages could not be installed: {last_line(error)}")
    shutil.copyfile(lock, stamp)
    return Environment(str(python))


def last_line(error: subprocess.SubprocessError) -> str:
    """Last line that a failed command wrote, else what happened to it."""
    lines = str(getattr(error, "stderr", None) or error).strip().splitlines()
    return lines[-1] if lines else "no message"


def package_version(python: str, package: str) -> str:
    """Version of an installed package."""
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)  # noqa: S603 - as above
    return done.stdout.strip()
