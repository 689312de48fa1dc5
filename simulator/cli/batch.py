"""Runs of several scenarios over many seeds, on one or more processes.

Results come in the order of the tasks, never of completion. A run is a function of scenario and
seed alone, so the number of processes changes nothing but the time.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

from simulator.errors import InvariantError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simulator.dataplane import Fidelity
    from simulator.metrics import Metrics
    from simulator.scenario import Scenario

__all__ = ["Outcome", "Task", "default_jobs", "run_task", "run_tasks"]

JOBS_MAX: Final = 8
"""Processes by default at most: each takes some 300 MB."""


@dataclass(frozen=True, slots=True)
class Task:
    """One run that is to be made."""

    name: str
    """The scenario as the user named it; for the line that repeats a failed run."""
    scenario: Scenario
    seed: int
    fidelity: Fidelity = "flow"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to, and how long it took."""

    metrics: Metrics
    wall_s: float


def default_jobs(tasks: int) -> int:
    """Return the number of processes: one per core, but not more than are of use."""
    return max(1, min(os.cpu_count() or 1, JOBS_MAX, tasks))


def run_task(task: Task) -> Outcome:
    """Run a scenario and its control run, and measure."""
    from simulator.engine import control_run, simulate
    from simulator.metrics import compute_metrics

    start_s = perf_counter()
    try:
        trace = simulate(task.scenario, seed=task.seed, fidelity=task.fidelity)
        control = (
            control_run(task.scenario, task.seed, fidelity=task.fidelity)
            if task.scenario.trigger
            else None
        )
        metrics = compute_metrics(trace, control)
    except Exception as error:
        how = "" if task.fidelity == "flow" else f" --fidelity {task.fidelity}"
        error.add_note(f"To repeat it: simulator run {task.name} --seed {task.seed}{how}")
        raise
    return Outcome(metrics, perf_counter() - start_s)


def run_tasks(tasks: Sequence[Task], jobs: int) -> Iterator[Outcome]:
    """Yield the outcomes in the order of the tasks.

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
