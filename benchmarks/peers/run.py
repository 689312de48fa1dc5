"""Compare this simulator with other programs on the same two workloads, with one command.

Builds what is missing (environments, C programs), runs everything in interleaved rounds, checks
every answer before its time counts, prints the tables and says for each requirement whether it
holds::

    python benchmarks/peers/run.py            # about ten minutes
    python benchmarks/peers/run.py --quick    # two minutes; slow programs get a shorter time

A complete comparison renews results.json and the tables in benchmarks/README.md; a quick or partial
one only prints.

Speed is first tries per second of CPU time of the process, without the start of Python, imports,
compiling and reading of files. Exit code 1: a requirement that was measured does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

from measure import measure
from programs import PROGRAMS
from requirements import verdicts
from tables import row_of, text, write_between_marks

HERE = Path(__file__).parent


def machine() -> str:
    """Say what it runs on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = named[0] if named else model
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{platform.system()}, {os.cpu_count()} × {model}; load {load} at the end."


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two rounds, shorter where slow")
    parser.add_argument("--rounds", type=int, help="rounds (default: 5, with --quick 2)")
    parser.add_argument("--only", nargs="+", help="programs by name, such as simpy c request")
    parser.add_argument("--workload", choices=("W1", "W2"), help="one workload only")
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    chosen = [
        program.quick() if options.quick else program
        for program in PROGRAMS
        if (not options.only or program.name in options.only)
        and options.workload in (None, program.workload)
    ]
    results = measure(chosen, options.rounds or (2 if options.quick else 5))
    rows = [row_of(program, results) for program in chosen]
    judged = verdicts(results)
    shown = text(rows, judged, machine())
    print(shown)
    record = {
        "machine": machine(),
        "quick": options.quick,
        "programs": rows,
        "requirements": [asdict(verdict) for verdict in judged],
    }
    targets = [options.json] if options.json else []
    partial = options.quick or options.only or options.workload or options.rounds
    if not (partial or options.no_write):
        targets.append(HERE / "results.json")
        write_between_marks(HERE.parent / "README.md", shown)
    for target in targets:
        target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(any(verdict.holds is False for verdict in judged))


if __name__ == "__main__":
    sys.exit(main())
