"""Run the programs in interleaved rounds, each run in a process of its own; keep what is right."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import c_loops
from answers import Run, complaints, wrong_mean
from environments import Environment, package_version, prepare
from programs import OURS, C, Program
from workloads import HORIZON_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    Key = tuple[str, str]

HERE = Path(__file__).parent
LIMIT_S = 600.0
"""Longest wall time of one process."""


@dataclass
class Results:
    """All runs by (workload, program), what is wrong with them, and why others are missing."""

    runs: dict[Key, list[Run]] = field(default_factory=dict)
    checks: dict[Key, list[Run]] = field(default_factory=dict)
    """Runs of W2 without retries; they are not timed."""
    missing: dict[Key, str] = field(default_factory=dict)
    versions: dict[Key, str] = field(default_factory=dict)

    def right(self, key: Key) -> list[Run]:
        """Return the runs whose answer is right."""
        return [run for run in self.runs.get(key, ()) if not run["wrong"]]

    def speeds(self, key: Key) -> dict[int, float]:
        """First tries per CPU second, by round."""
        rounds: dict[int, list[Run]] = {}
        for run in self.right(key) if key not in self.missing else ():
            rounds.setdefault(run["round"], []).append(run)
        return {
            n: sum(run["first"] for run in runs) / sum(run["cpu_s"] for run in runs)
            for n, runs in rounds.items()
        }

    def horizon_s(self, key: Key) -> float | None:
        """Return the simulated time of a program's runs."""
        return next((run["horizon_s"] for run in self.runs.get(key, ())), None)

    def ratio(self, workload: str, one: str, two: str) -> float | None:
        """Median over common rounds of how many times as fast the first program is."""
        ours, theirs = self.speeds((workload, one)), self.speeds((workload, two))
        common = ours.keys() & theirs.keys()
        return statistics.median(ours[n] / theirs[n] for n in common) if common else None


def environment_of(program: Program, known: dict[str, Environment]) -> Environment:
    """Return where a program runs; environments are built once."""
    name = program.environment
    if name not in known:
        if name == OURS:
            known[name] = Environment(sys.executable)
        elif name != C:
            known[name] = prepare(name)
        elif c_loops.compiler() is None:
            known[name] = Environment(None, "needs a C compiler (cc)")
        else:
            c_loops.build()
            known[name] = Environment(sys.executable)
    return known[name]


def version_of(program: Program, python: str) -> str:
    """Version of what is measured."""
    if program.environment == C:
        return c_loops.version()
    if program.environment == OURS:
        from simulator import __version__

        return platform.python_version() if program.name == "heapq" else __version__
    return package_version(python, program.package)


def call(program: Program, python: str, *, seed: int, repeat: int, retries: int) -> list[Run]:
    """Run a program in a process of its own; raise RuntimeError with the reason when it fails."""
    line = [python, str(HERE / program.script), *program.arguments, f"--seed={seed}"]
    line += [f"--repeat={repeat}", f"--horizon={program.horizon_s}", f"--retries={retries}"]
    env = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(  # noqa: S603 - our own scripts
            line, capture_output=True, text=True, timeout=LIMIT_S, check=True, env=env
        )
    except subprocess.TimeoutExpired:
        msg = f"stopped after {LIMIT_S:.0f} s"
        raise RuntimeError(msg) from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise RuntimeError(last) from None
    return [json.loads(text) | {"retries": retries} for text in done.stdout.splitlines()]


def attempt(program: Program, python: str, results: Results, n: int, *, timed: bool) -> None:
    """Do a program's runs of one round, and judge their answers."""
    key = program.workload, program.name
    retries, repeat = (3, program.repeat) if timed else (0, program.check_repeat)
    try:
        runs = call(program, python, seed=n, repeat=repeat, retries=retries)
    except RuntimeError as error:
        results.missing.setdefault(key, f"failed: {error}")
        return
    judged = [run | {"round": n, "wrong": complaints(program.workload, run)} for run in runs]
    kept = results.runs if timed else results.checks
    kept.setdefault(key, []).extend(judged)
    wrong = [run["wrong"][0] for run in judged if run["wrong"]]
    if wrong and not timed:
        results.missing.setdefault(key, f"wrong answer without retries: {wrong[0]}")


def places(programs: Sequence[Program], results: Results) -> dict[str, str]:
    """Build the environments; return the interpreter of each that works, note the others."""
    known: dict[str, Environment] = {}
    for program in programs:
        key = program.workload, program.name
        place = environment_of(program, known)
        if place.python is None:
            results.missing[key] = f"skipped: {place.why}"
        else:
            results.versions[key] = version_of(program, place.python)
    return {name: place.python for name, place in known.items() if place.python}


def measure(programs: Sequence[Program], rounds: int) -> Results:
    """Run everything; a program that failed once is not asked again."""
    results = Results()
    pythons = places(programs, results)
    for n in range(1, rounds + 1):
        for program in programs:
            if n > program.rounds or (program.workload, program.name) in results.missing:
                continue
            python, start = pythons[program.environment], time.perf_counter()
            attempt(program, python, results, n, timed=True)
            if n == 1 and program.workload == "W2" and program.horizon_s >= HORIZON_S:
                attempt(program, python, results, n, timed=False)
            took = time.perf_counter() - start
            tell(f"round {n} of {rounds}, {program.workload} {program.name}: {took:.1f} s")
    check_together(results)
    return results


def check_together(results: Results) -> None:
    """Judge the runs of a program together: whether any is right, and the mean of W1."""
    for key, runs in results.runs.items():
        right = results.right(key)
        if not right:
            results.missing[key] = f"wrong answer: {runs[0]['wrong'][0]}"
        elif key[0] == "W1":
            for text in wrong_mean(right):
                results.missing.setdefault(key, f"wrong answer: {text}")


def tell(text: str) -> None:
    """Say what was done, for those who wait."""
    print(text, file=sys.stderr, flush=True)
