"""How functions are compiled, and when what was compiled before may be used again.

numba keeps compiled code beside the file of the function that was called, and looks at that file
alone to see whether it is stale. Here a kernel is spread over several files, and calls the decision
functions of :mod:`simulator.policies`: whatever of these changed last dates them all.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

_HERE = Path(__file__).parent
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
"""Nothing here allocates: without reference counting a step takes a third of the time."""


@functools.cache
def newest_source(plane: Path) -> tuple[float, int]:
    """Return date and total size of what compiled code of a data plane's folder may contain."""
    kernels = [f for f in plane.rglob("kernel*") if f.is_file() and f.suffix == ".py"]
    kernels += [f for folder in plane.glob("kernel*/") for f in folder.rglob("*.py")]
    policies = (_HERE / "policies").glob("*.py")
    stats = [file.stat() for file in {_HERE / "compiled.py", *kernels, *policies}]
    return max(s.st_mtime for s in stats), sum(s.st_size for s in stats)


def _dated(function: Any) -> Any:  # noqa: ANN401 - numba's dispatchers have no public type
    """Make the cache of a compiled function depend on all sources."""
    file = getattr(getattr(function, "_cache", None), "_cache_file", None)
    if file is not None:  # absent where numba is told to compile nothing, or to cache nothing
        source = Path(function.py_func.__code__.co_filename)
        plane = next((f for f in source.parents if f.parent == _HERE), _HERE)
        file._source_stamp = newest_source(plane)  # noqa: SLF001 - numba has no public way
    return function


def compiled(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - as above
    """Compile a function of arrays and scalars."""
    return _dated(njit(**_OPTIONS)(function))


def inlined(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - as above
    """Compile a function into its callers."""
    return _dated(njit(forceinline=True, **_OPTIONS)(function))
