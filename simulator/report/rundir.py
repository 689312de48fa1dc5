"""The run folder: what was run, what came of it, and proof that nothing is missing.

::

    runs/<name>/
      manifest.json     status, resolved scenario, its hash, seed, versions, hashes of the files
      scenario.yaml     the resolved scenario, ready to run again
      events.parquet    one row per record
      pools.parquet     one row per sample and pool
      services.parquet  one row per sample and service
      metrics.json      the numbers, and the verdict on the expectations
      figure.png        goodput, capacity and milestones over time

The manifest is there from the first moment with status ``running`` and is replaced last, with
status ``complete`` (or ``interrupted``) and the hash of every other file. Each file is written
beside its place, flushed to the disk and renamed. So a folder whose manifest says ``running`` was
cut off, and what a finished manifest lists is whole or :func:`open_run` says what is not.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from simulator import __version__
from simulator.errors import RunDirectoryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from simulator.trace import TraceRecord

__all__ = ["MANIFEST", "Run", "RunFolder", "create_run", "free_path", "open_run"]

MANIFEST: Final = "manifest.json"
SCHEMA: Final = 1
FREE_PATH_MAX: Final = 100_000
_VERSIONED: Final = ("numpy", "numba", "pandas", "pyarrow", "pydantic", "scipy", "simpy")
_TABLES: Final = ("events", "pools", "services")

Status = Literal["running", "complete", "interrupted"]


# ---------------------------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder that is being written."""

    path: Path
    manifest: Mapping[str, Any]

    def write(self, name: str, content: bytes) -> None:
        """Write one file: all of it or nothing.

        Raises
        ------
        UsageError
            If the file system refuses (full, read only).
        """
        with _refusals_told(self.path):
            _write_whole(self.path / name, content)

    def write_json(self, name: str, value: object) -> None:
        """Write one JSON file."""
        self.write(name, _json(value))

    def write_table(self, name: str, frame: pd.DataFrame) -> None:
        """Write one table as Parquet."""
        self.write(f"{name}.parquet", _parquet(frame))

    def finish(self, status: Status = "complete", **facts: object) -> None:
        """Replace the manifest; from here on the folder counts as finished."""
        files = {
            path.name: {"sha256": _sha256(path.read_bytes()), "bytes": path.stat().st_size}
            for path in sorted(self.path.iterdir())
            if path.name != MANIFEST and not path.name.endswith(".tmp")
        }
        manifest = {**self.manifest, **facts, "status": status, "files": files}
        self.write_json(MANIFEST, manifest)


def create_run(
    path: Path, *, scenario_yaml: str, scenario_hash: str, seed: int, argv: tuple[str, ...] = ()
) -> RunFolder:
    """Make a run folder that holds a manifest and the scenario.

    Raises
    ------
    UsageError
        If `path` exists (a run is never written over), or cannot be made.
    """
    manifest = {
        "schema": SCHEMA,
        "status": "running",
        "scenario_sha256": scenario_hash,
        # As text: a JSON number of that size would be rounded by many readers.
        "seed": str(seed),
        "versions": _versions(),
        "platform": platform.platform(),
        "argv": list(argv),
        "scenario": scenario_yaml,
    }
    with _refusals_told(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            msg = f"{path} exists already; a run is never written over (choose another --out)"
            raise UsageError(msg)
        _make_folder(path, manifest, scenario_yaml)
    return RunFolder(path, manifest)


@contextmanager
def _refusals_told(path: Path) -> Iterator[None]:
    """Turn an error of the file system into one about the user's folder."""
    try:
        yield
    except OSError as error:
        msg = f"{path}: cannot be written: {error.strerror or error} (choose another --out)"
        raise UsageError(msg) from error


def _make_folder(path: Path, manifest: Mapping[str, Any], scenario_yaml: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Filled beside its place and renamed, so that no folder is ever seen without its manifest.
    draft = path.parent / f".{path.name}.{os.getpid()}.tmp"
    draft.mkdir()
    try:
        _write_whole(draft / MANIFEST, _json(manifest))
        _write_whole(draft / "scenario.yaml", scenario_yaml.encode())
        # Fails if somebody filled the folder meanwhile.
        draft.rename(path)
    except BaseException:
        for left in draft.glob("*"):
            left.unlink()
        if draft.exists():
            draft.rmdir()
        raise
    _sync_folder(path.parent)


def free_path(folder: Path, stem: str) -> Path:
    """Return ``folder/stem-<n>`` with the smallest n from 1 that does not exist yet."""
    for n in range(1, FREE_PATH_MAX):
        path = folder / f"{stem}-{n}"
        if not path.exists():
            return path
    msg = f"{folder} holds too many runs named {stem}-<n>"
    raise UsageError(msg)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    units = json.dumps(frame.attrs.get("units", {}))
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"units": units})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _write_whole(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + ".tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _versions() -> dict[str, str]:
    found = {"simulator": __version__, "python": ".".join(str(n) for n in sys.version_info[:3])}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # pragma: no cover - a core dependency
            found[name] = "absent"
    return found


# ---------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Run:
    """A run folder that was opened and, if it says it is finished, checked."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def status(self) -> str:
        """``running`` (cut off, or still at work), ``complete`` or ``interrupted``."""
        return str(self.manifest["status"])

    @property
    def complete(self) -> bool:
        """Whether the run went to its end and everything was written."""
        return self.status == "complete"

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.manifest["seed"])

    @property
    def metrics(self) -> dict[str, Any]:
        """Content of ``metrics.json``."""
        return _read_json(self._existing("metrics.json"))

    @property
    def events(self) -> pd.DataFrame:
        """One row per record."""
        return self._table("events")

    @property
    def records(self) -> list[TraceRecord]:
        """The records of the trace, rebuilt from ``events``."""
        from simulator.trace import TraceRecord

        rows: list[Any] = self.events.to_dict(orient="records")
        return [TraceRecord(**{**row, "data": tuple(_data(row["data"]).items())}) for row in rows]

    @property
    def pools(self) -> pd.DataFrame:
        """One row per sample and pool."""
        return self._table("pools")

    @property
    def services(self) -> pd.DataFrame:
        """One row per sample and service."""
        return self._table("services")

    def _existing(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            state = "" if self.complete else f" (status: {self.status}; the run did not finish)"
            msg = f"{self.path}: {name} is missing{state}"
            raise RunDirectoryError(msg)
        return path

    def _table(self, name: str) -> pd.DataFrame:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._existing(f"{name}.parquet")
        try:
            table = pq.read_table(path)
            frame: pd.DataFrame = table.to_pandas()
        except (pa.ArrowException, OSError) as error:
            msg = f"{path} cannot be read as Parquet: {error}"
            raise RunDirectoryError(msg) from error
        frame.attrs["units"] = json.loads((table.schema.metadata or {}).get(b"units", b"{}"))
        return frame


def _data(text: str) -> dict[str, Any]:
    value = json.loads(text)
    return value if isinstance(value, dict) else {}


def open_run(path: Path | str) -> Run:
    """Open a run folder; a finished one is checked file by file.

    A folder with status ``running`` is returned too: look at ``Run.complete``.

    Raises
    ------
    RunDirectoryError
        If it is no run folder, of an unknown version, or damaged; the message names each file.
    """
    path = Path(path)
    if not path.is_dir():
        msg = f"{path}: no such run folder"
        raise RunDirectoryError(msg)
    if not (path / MANIFEST).is_file():
        msg = f"{path}: no {MANIFEST}, so this is no run folder"
        raise RunDirectoryError(msg)
    manifest = _read_json(path / MANIFEST)
    _check_manifest(path, manifest)
    if manifest["status"] != "running":
        found = [_damage(path, name, sha256) for name, sha256 in _files(path, manifest)]
        damage = "\n".join(f"{path}: {line}" for line in found if line)
        if damage:
            raise RunDirectoryError(damage)
    return Run(path, manifest)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not JSON: {error}"
        raise RunDirectoryError(msg) from error
    if not isinstance(value, dict):
        msg = f"{path} holds no JSON object"
        raise RunDirectoryError(msg)
    return value


def _check_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    if manifest.get("schema") != SCHEMA:
        msg = f"{path}: manifest schema {manifest.get('schema')!r}; this version reads {SCHEMA}"
        raise RunDirectoryError(msg)
    if manifest.get("status") not in {"running", "complete", "interrupted"}:
        msg = f"{path}: unknown status {manifest.get('status')!r} in {MANIFEST}"
        raise RunDirectoryError(msg)
    seed, text = manifest.get("seed"), manifest.get("scenario")
    if not (isinstance(seed, str) and seed.isdecimal() and isinstance(text, str)):
        msg = f"{path}: {MANIFEST} lacks the seed or the scenario"
        raise RunDirectoryError(msg)


def _files(path: Path, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    files = manifest.get("files")
    listed = isinstance(files, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str) for entry in files.values()
    )
    if not listed or not isinstance(files, dict):
        msg = f"{path}: {MANIFEST} does not list its files"
        raise RunDirectoryError(msg)
    return [(str(name), str(entry["sha256"])) for name, entry in sorted(files.items())]


def _damage(path: Path, name: str, sha256: str) -> str:
    file = path / name
    if Path(name).name != name:
        return f"{name!r} is no file name"
    if not file.is_file():
        return f"{name} is missing"
    if _sha256(file.read_bytes()) != sha256:
        return f"{name} was changed or damaged (its SHA-256 is not the one in {MANIFEST})"
    return ""
