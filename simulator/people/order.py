"""Order in which people bring pools back."""

from collections.abc import Iterable


def recovery_order(
    pools: Iterable[str], first: Iterable[str], dependencies: Iterable[tuple[str, str]]
) -> tuple[str, ...]:
    """Return the pools so that callees come before callers, and what ``first`` needs before all.

    Parameters
    ----------
    pools : Iterable[str]
        All pools.
    first : Iterable[str]
        Pools that are needed in order to act; they and everything that they call come first.
    dependencies : Iterable[tuple[str, str]]
        (caller, callee) pairs. Cycles are cut where the walk, in sorted order, closes them.
    """
    callees: dict[str, list[str]] = {pool: [] for pool in sorted(pools)}
    for caller, callee in sorted(dependencies):
        callees[caller].append(callee)
    order: dict[str, None] = {}
    seen: set[str] = set()
    for root in (*sorted(first), *callees):
        _visit(root, callees, seen, order)
    return tuple(order)


def _visit(
    root: str, callees: dict[str, list[str]], seen: set[str], order: dict[str, None]
) -> None:
    """Walk depth first from ``root``; a pool is appended after everything that it calls."""
    if root in seen:
        return
    seen.add(root)
    stack = [(root, iter(callees[root]))]
    while stack:
        pool, rest = stack[-1]
        below = next((c for c in rest if c not in seen), None)
        if below is None:
            order[pool] = None
            stack.pop()
        else:
            seen.add(below)
            stack.append((below, iter(callees[below])))
