"""Measure rows: which ones, in what order, on how many processes, with or without their mutants.

A result is a function of row and fidelity alone, so the number of processes changes nothing but the
time. Results come in the order of the tasks: who stops half-way keeps a beginning without gaps.
"""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from difflib import get_close_matches
from time import perf_counter
from typing import TYPE_CHECKING

from simulator.errors import InvariantError, UsageError
from simulator.verification.catalogue import rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simulator.verification.row import Fidelity, Mutant, Reading, Row

__all__ = ["Measured", "Task", "is_killed", "plan", "run_task", "run_tasks"]


@dataclass(frozen=True, slots=True)
class Task:
    """One row in one fidelity."""

    row_id: str
    fidelity: Fidelity
    mutants: bool = False
    """Whether the row is measured under each of its mutants as well."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of a task."""

    row_id: str
    fidelity: Fidelity
    readings: tuple[Reading, ...]
    killed: tuple[tuple[str, bool], ...]
    """Name of a mutant, and whether it turned the row red."""
    wall_s: float
    error: str = ""
    """What was raised; a row that cannot be measured does not hold."""

    @property
    def passed(self) -> bool:
        """Whether there are readings, all of them hold, and no mutant survived."""
        held = bool(self.readings) and all(reading.passed for reading in self.readings)
        return held and not self.error and all(dead for _, dead in self.killed)


def plan(
    ids: Sequence[str] = (),
    *,
    fidelities: Sequence[str] = (),
    quick: bool = False,
    mutants: bool = False,
) -> tuple[Task, ...]:
    """Return the tasks of a selection, in the order of the catalogue.

    Parameters
    ----------
    ids : Sequence[str]
        Rows; none means all. Upper or lower case.
    fidelities : Sequence[str]
        Fidelities; none means all that a row has.
    quick : bool
        Leave out what takes more than a few seconds.
    mutants : bool
        Measure under each mutant as well.

    Raises
    ------
    UsageError
        If an id is unknown, or nothing is selected.
    """
    known = {row.id: row for row in rows()}
    chosen = {_known_id(name, known) for name in ids} or set(known)
    tasks = tuple(
        Task(name, fidelity, mutants)
        for name, row in known.items()
        for fidelity in row.fidelities
        if name in chosen
        and (not fidelities or fidelity in fidelities)
        and not (quick and fidelity in row.slow)
    )
    if not tasks:
        have = "; ".join(f"{name} has {_offers(known[name])}" for name in sorted(chosen)[:4])
        msg = f"no row is left by this selection ({have})"
        raise UsageError(msg)
    return tasks


def _known_id(name: str, known: dict[str, Row]) -> str:
    by_upper = {row_id.upper(): row_id for row_id in known}
    if name.upper() in by_upper:
        return by_upper[name.upper()]
    near = get_close_matches(name.upper(), by_upper, 1)
    hint = f"did you mean '{by_upper[near[0]]}'?" if near else f"known: {', '.join(known)}"
    msg = f"{name}: no such row ({hint})"
    raise UsageError(msg)


def _offers(row: Row) -> str:
    return ", ".join(f"{f} (slow)" if f in row.slow else f for f in row.fidelities)


def is_killed(row: Row, mutant: Mutant) -> bool:
    """Return whether some reading of the row fails under a mutant; the first one that does ends it.

    Raises
    ------
    Exception
        Whatever the measurement raises: a mutant that breaks the program proves nothing.
    """
    with mutant.patch():
        return any(not reading.passed for reading in row.measure(mutant.fidelity))


def run_task(task: Task) -> Measured:
    """Measure one row in one fidelity."""
    start_s = perf_counter()
    row = next(row for row in rows() if row.id == task.row_id)
    readings: tuple[Reading, ...] = ()
    killed: list[tuple[str, bool]] = []
    error = ""
    try:
        readings = tuple(row.measure(task.fidelity))
        if task.mutants:
            killed += [
                (m.name, is_killed(row, m)) for m in row.mutants if m.fidelity == task.fidelity
            ]
    except Exception as raised:  # one broken row must not hide the others
        error = f"{type(raised).__name__}: {raised}"
    wall_s = perf_counter() - start_s
    return Measured(row.id, task.fidelity, readings, tuple(killed), wall_s, error)


def run_tasks(tasks: Sequence[Task], jobs: int = 1) -> Iterator[Measured]:
    """Yield the results in the order of the tasks.

    Raises
    ------
    InvariantError
        If a process died (killed from outside, or out of memory).
    """
    if jobs <= 1:
        yield from map(run_task, tasks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker)
    try:
        yield from pool.map(run_task, tasks)
    except BrokenProcessPool as error:
        msg = "a worker process died (killed, or out of memory?); try --jobs 1"
        raise InvariantError(msg) from error
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Die quietly on Ctrl-C: the parent tells the user."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
