"""W1 and W2 as C event loops (w1.c, w2.c), called through ctypes; ``build`` compiles them."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

from workloads import W1, W2, Task, run

HERE = Path(__file__).parent
BUILD = HERE / ".venv" / "c"
FLAGS = "-O3", "-shared", "-fPIC"


class Params(ctypes.Structure):
    """``params_t`` of w2.c."""

    _fields_ = (
        *((name, ctypes.c_double) for name in ("rate", "end", "balancer_s", "app_s", "db_s")),
        *((name, ctypes.c_double) for name in ("timeout_s", "backoff_s")),
        *((name, ctypes.c_double) for name in ("cut_from_s", "cut_to_s")),
        *((name, ctypes.c_int64) for name in ("app_slots", "db_slots", "retries", "cut_slots")),
    )


def compiler() -> str | None:
    """Path of the C compiler, None without one."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def version() -> str:
    """Return name and version of the compiler."""
    ask = [compiler(), "--version"]
    told = subprocess.run(ask, capture_output=True, text=True, check=True)  # noqa: S603 - from PATH
    words = told.stdout.splitlines()[0].split()
    return f"{words[0]} {words[-1]}"


def build() -> None:
    """Compile both programs."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("w1", "w2"):
        line = [compiler(), *FLAGS, "-o", BUILD / f"{name}.so", HERE / f"{name}.c", "-lm"]
        subprocess.run(line, check=True)  # noqa: S603 - a compiler from PATH, our files


def w1(task: Task) -> dict[str, object]:
    lib = ctypes.CDLL(str(BUILD / "w1.so"))
    out = (ctypes.c_double * 2)()
    full = lib.w1_run(
        ctypes.c_uint64(task.seed),
        ctypes.c_int64(W1.servers),
        ctypes.c_double(W1.service_s),
        ctypes.c_double(W1.rate),
        ctypes.c_double(task.horizon_s),
        out,
    )
    if full:
        raise MemoryError
    return {"first": int(out[0]), "mean_wait_s": out[1] / out[0]}


def w2(task: Task) -> dict[str, object]:
    lib = ctypes.CDLL(str(BUILD / "w2.so"))
    given = {name: getattr(W2, name) for name, _ in Params._fields_ if hasattr(W2, name)}
    params = Params(**given, end=task.horizon_s, retries=task.retries)
    goodput, out = (ctypes.c_int64 * (int(task.horizon_s) + 1))(), (ctypes.c_int64 * 3)()
    if lib.w2_run(ctypes.c_uint64(task.seed), ctypes.byref(params), goodput, out):
        raise MemoryError
    return {"first": out[0], "attempts": out[1], "failed": out[2], "goodput": list(goodput)}


if __name__ == "__main__":
    run({"w1": w1, "w2": w2}[sys.argv[1]], sys.argv[2:])
