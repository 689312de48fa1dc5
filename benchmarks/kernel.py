"""Measure the compiled data plane: cost of a pool-step by size, against C, and compile time.

All pools are awake and step finely (``adaptive=False``), so this is the worst case: a layered
random graph, three incoming edges a pool, two retries, one pool in twenty overloaded. The same
loop in C (``kernel.c``, built with ``cc -O3`` when there is a compiler) runs on the same arrays in
the same rounds; the results must agree to 1e-9. Times are medians of interleaved rounds (all sizes,
kernel and C in turn), as CPU time, and in brackets as wall time.
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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from worlds import layered

from simulator.flow import kernel, layout
from simulator.flow.plane import FlowPlane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).parent
SIZES = (25, 250, 2500)
STEPS = 150_000
"""Pool-steps a round, about."""
RECORDS = {"ctl_t": layout.CONTROL, "pool_t": layout.POOL, "edge_t": layout.EDGE,
           "att_t": layout.ATTEMPT}  # fmt: skip
SHARED = (
    *("ctl", "pools", "edges", "atts", "in_edge", "out_edge"),
    *("waiting", "late", "dead", "line", "cross"),
)
LARGEST_SPREAD, LARGEST_RATIO, RTOL = 2.0, 3.0, 1e-9
"""Targets: cost of the dearest size to the cheapest, kernel to C, difference of the results."""


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


def advance_by_kernel(plane: FlowPlane, target: int) -> bool:
    """Go to a tick; False at a crossing."""
    rows = np.zeros((2, len(plane.arrays.pools), 7)), np.zeros((2, len(plane.arrays.edges), 5))
    return bool(kernel.advance(plane.arrays, target, *rows))


def advance_by_c(library: ctypes.CDLL, plane: FlowPlane, target: int) -> bool:
    """Do the same in C."""
    arrays = plane.arrays
    addresses = [ctypes.c_void_p(getattr(arrays, name).ctypes.data) for name in SHARED]
    sizes = (len(arrays.pools), len(arrays.edges), len(arrays.cross), target)
    library.advance.restype = ctypes.c_int64
    return bool(library.advance(*addresses, *map(ctypes.c_int64, sizes)))


def timed(advance: Callable[[FlowPlane, int], bool], plane: FlowPlane) -> tuple[float, float]:
    """Advance by about STEPS pool-steps; return (CPU, wall) nanoseconds per pool-step."""
    per_tick = float((1.0 / plane.arrays.pools["h_ticks"]).sum())
    target = int(plane.arrays.ctl[0]["tick"]) + max(10, round(STEPS / per_tick))
    before, wall, cpu = plane.steps, time.perf_counter(), time.process_time()
    advance(plane, target)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return 1e9 * cpu / (plane.steps - before), 1e9 * wall / (plane.steps - before)


def difference(one: FlowPlane, two: FlowPlane) -> float:
    """Return the largest relative difference of all numbers in the memory of two planes."""
    worst = 0.0
    for ours, theirs in zip(one.arrays, two.arrays, strict=True):
        for name in ours.dtype.names or (...,):
            x, y = np.asarray(ours[name], float), np.asarray(theirs[name], float)
            x, y = x[x != y], y[x != y]  # infinities are equal
            off = np.abs(x - y) / np.maximum(1.0, np.abs(y))
            worst = max(worst, float(off.max(initial=0.0)))
    return worst


def progress(text: str) -> None:
    """Overwrite the progress line; nothing when nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def measure(library: ctypes.CDLL | None, sizes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Time all sizes, by the kernel and in C, in interleaved rounds."""
    progress("building the regions")
    ways: dict[str, Callable[[FlowPlane, int], bool]] = {"kernel": advance_by_kernel}
    if library is not None:
        ways["c"] = partial(advance_by_c, library)
    planes = {(n, way): make_plane(n) for n in sizes for way in ways}
    times: dict[tuple[int, str], list[tuple[float, float]]] = {key: [] for key in planes}
    for i in range(rounds):
        for (n, way), plane in planes.items():
            progress(f"round {i + 1} of {rounds}, {n} pools, {way}")
            times[n, way].append(timed(ways[way], plane))
    progress("")
    rows = []
    for n in sizes:
        plane = planes[n, "kernel"]
        row: dict[str, Any] = {
            "pools": n,
            "edges": len(plane.arrays.edges),
            "megabytes": sum(array.nbytes for array in plane.arrays) / 1e6,
            "queueing": float((plane.arrays.pools["q"] > plane.arrays.pools["eff"]).mean()),
        }
        for way in ways:
            cpu, wall = np.median(np.array(times[n, way]), axis=0)
            row |= {f"{way}_ns": float(cpu), f"{way}_wall_ns": float(wall)}
        if library is not None:
            pairs = zip(times[n, "kernel"], times[n, "c"], strict=True)
            row["ratio"] = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
            row["difference"] = difference(plane, planes[n, "c"])
        rows.append(row)
    return rows


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


def verdicts(sizes: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    """Return (what, value, largest value allowed)."""
    costs = [row["kernel_ns"] for row in sizes]
    found = [("dearest size to cheapest", max(costs) / min(costs), LARGEST_SPREAD)]
    for row in sizes:
        if "ratio" in row:
            found.append((f"kernel to C, {row['pools']} pools", row["ratio"], LARGEST_RATIO))
            found.append((f"difference, {row['pools']} pools", row["difference"], RTOL))
    return found


def show(results: dict[str, Any]) -> None:
    print(
        "| pools | edges | MB | queueing | kernel, ns per pool-step | C -O3 | ratio | difference |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in results["sizes"]:
        cells = [f"{row['pools']}", f"{row['edges']}", f"{row['megabytes']:.1f}"]
        cells += [f"{row['queueing']:.0%}", f"{row['kernel_ns']:.0f} ({row['kernel_wall_ns']:.0f})"]
        if "ratio" in row:
            cells += [f"{row['c_ns']:.0f} ({row['c_wall_ns']:.0f})", f"{row['ratio']:.2f}"]
            cells += [f"{row['difference']:.1e}"]
        else:
            cells += ["-"] * 3
        print(f"| {' | '.join(cells)} |")
    print()
    if not results["compiler"]:
        print("no C compiler (cc) found: the comparison with C was left out")
    for what, value, limit in verdicts(results["sizes"]):
        print(f"{what}: {value:.2g}, at most {limit:g}{'' if value <= limit else '  MISSED'}")
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
        sizes = measure(library, options.sizes, options.rounds)
    compiled = {} if options.no_compile else compile_times()
    results = {"sizes": sizes, "compile": compiled, "compiler": library is not None}
    show(results)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
