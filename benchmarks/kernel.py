"""Measure the compiled data plane: cost of a pool-step by size, against C, and compile time.

All pools are awake and step finely (``adaptive=False``), so this is the worst case: a layered
random graph, three incoming edges a pool, two retries, one pool in twenty overloaded. The same
loop in C (``kernel.c``, built with ``cc -O3`` when there is a compiler) runs on the same arrays in
the same rounds; the results must agree to 1e-9. Medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from worlds import layered

from simulator.flow import kernel, layout
from simulator.flow.plane import FlowPlane

HERE = Path(__file__).parent
SIZES = (25, 250, 2500)
STEPS = 150_000
"""Pool-steps a round, about."""
RECORDS = {"ctl_t": layout.CONTROL, "pool_t": layout.POOL, "edge_t": layout.EDGE,
           "att_t": layout.ATTEMPT}  # fmt: skip
SHARED = ("ctl", "pools", "edges", "atts", "in_edge", "out_edge", "waiting", "late", "dead", "line")
COMPARED = {
    "pools": ("offered", "served", "ok", "bad", "q", "d_old"),
    "edges": ("first", "ok", "failed", "attempts", "in_flight"),
}


def header() -> str:
    """Write the numpy records as C structs."""
    lines = ["#include <stdint.h>"]
    for name, record in RECORDS.items():
        kinds = {"f": "double", "i": "int64_t"}
        fields = [f"{kinds[record[field].kind]} {field};" for field in record.names or ()]
        lines += [f"typedef struct {{ {' '.join(fields)} }} {name};"]
    return "\n".join(lines) + "\n"


def build_c(folder: Path) -> ctypes.CDLL | None:
    """Compile kernel.c; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    (folder / "layout.h").write_text(header(), encoding="utf-8")
    library = folder / "kernel.so"
    command = [compiler, "-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC",
               f"-I{folder}", str(HERE / "kernel.c"), "-o", str(library), "-lm"]  # fmt: skip
    subprocess.run(command, check=True)  # noqa: S603 - our own file, compiler found on PATH
    return ctypes.CDLL(str(library))


def make_plane(n_pools: int) -> FlowPlane:
    """Make a region of this size that has run for 20 s, with samples switched off."""
    topology = layered(n_pools)
    plane = FlowPlane(topology, sample_period_s=1e6, adaptive=False, guards=False)
    for edge in np.flatnonzero(topology.edge_caller < 0):
        plane.set_demand(int(edge), 1000.0)
    plane.advance(20.0)
    return plane


def run_kernel(plane: FlowPlane, ticks: int) -> float:
    """Advance by ticks; return seconds per pool-step."""
    steps, target = plane.steps, int(plane.arrays.ctl[0]["tick"]) + ticks
    rows = np.zeros((2, len(plane.arrays.pools), 7)), np.zeros((2, len(plane.arrays.edges), 5))
    start = time.perf_counter()
    kernel.advance(plane.arrays, target, *rows)
    return (time.perf_counter() - start) / (plane.steps - steps)


def run_c(library: ctypes.CDLL, plane: FlowPlane, ticks: int) -> float:
    """Do the same in C."""
    steps, target = plane.steps, int(plane.arrays.ctl[0]["tick"]) + ticks
    addresses = [ctypes.c_void_p(getattr(plane.arrays, name).ctypes.data) for name in SHARED]
    sizes = [ctypes.c_int64(n) for n in (len(plane.arrays.pools), target)]
    start = time.perf_counter()
    library.advance(*addresses, *sizes)
    return (time.perf_counter() - start) / (plane.steps - steps)


def difference(one: FlowPlane, two: FlowPlane) -> float:
    """Return the largest relative difference of all cumulative counters and queues."""
    worst = 0.0
    for array, names in COMPARED.items():
        for name in names:
            x, y = (getattr(plane.arrays, array)[name] for plane in (one, two))
            worst = max(worst, float((np.abs(x - y) / np.maximum(1.0, np.abs(y))).max()))
    return worst


def measure(library: ctypes.CDLL | None, n_pools: int, rounds: int) -> dict[str, Any]:
    """Time one size in interleaved rounds."""
    ours, theirs = make_plane(n_pools), make_plane(n_pools)
    per_tick = float((1.0 / ours.arrays.pools["h_ticks"]).sum())
    ticks = max(10, round(STEPS / per_tick))
    numba_s, c_s = [], []
    for _ in range(rounds):
        numba_s.append(run_kernel(ours, ticks))
        if library is not None:
            c_s.append(run_c(library, theirs, ticks))
    result: dict[str, Any] = {"pools": n_pools, "edges": len(ours.arrays.edges)}
    result["kernel_ns"] = 1e9 * statistics.median(numba_s)
    if library is not None:
        result["c_ns"] = 1e9 * statistics.median(c_s)
        result["ratio"] = statistics.median(a / b for a, b in zip(numba_s, c_s, strict=True))
        result["difference"] = difference(ours, theirs)
    return result


FIRST_CALL = """
import time
start = time.perf_counter()
from simulator.flow.plane import FlowPlane
imported = time.perf_counter()
from worlds import one_pool
plane = FlowPlane(one_pool())
plane.set_demand(0, 500.0)
plane.advance(10.0)
plane.totals()
print(imported - start, time.perf_counter() - imported)
"""


def compile_times() -> dict[str, float]:
    """Time import and first use in fresh processes, with an empty and a full cache."""
    times = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold", "cached"):
            env = os.environ | {"NUMBA_CACHE_DIR": cache}
            command = [sys.executable, "-c", FIRST_CALL]
            done = subprocess.run(  # noqa: S603 - the text above
                command, check=True, capture_output=True, text=True, cwd=HERE, env=env
            )
            imported, first = map(float, done.stdout.split())
            times[f"import_{name}_s"], times[f"first_use_{name}_s"] = imported, first
    return times


def show(results: dict[str, Any]) -> None:
    print("| pools | edges | kernel, ns per pool-step | C -O3 | ratio | difference |")
    print("|---|---|---|---|---|---|")
    for row in results["sizes"]:
        c = [f"{row['c_ns']:.0f}", f"{row['ratio']:.2f}", f"{row['difference']:.1e}"]
        cells = c if "c_ns" in row else ["-"] * 3
        print(f"| {row['pools']} | {row['edges']} | {row['kernel_ns']:.0f} | {' | '.join(cells)} |")
    costs = [row["kernel_ns"] for row in results["sizes"]]
    print(f"\nper pool-step, dearest size to cheapest: {max(costs) / min(costs):.2f}")
    for name, value in results["compile"].items():
        print(f"{name}: {value:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--no-compile", action="store_true", help="skip the compile times")
    parser.add_argument("--json", help="also write the numbers to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = build_c(Path(folder))
        sizes = [measure(library, n, options.rounds) for n in options.sizes]
    compiled = {} if options.no_compile else compile_times()
    results = {"sizes": sizes, "compile": compiled}
    show(results)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
