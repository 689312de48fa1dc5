"""Shapes of demand: short forms written out, files of points read in."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

from simulator.scenario.codes import Code
from simulator.scenario.files import read_text
from simulator.scenario.merge import replace_at
from simulator.scenario.nodes import Mark, Node, Problems, nearest, quote
from simulator.units import MULTIPLIER_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.scenario.nodes import Loc
    from simulator.scenario.resolve import Resolver

ROWS_MAX = 100_000
COLUMNS = ("t_s", "factor")


def complete_demand(root: Node, resolver: Resolver, problems: Problems) -> Node:
    """Return the scenario with every shape of demand written out.

    A shape without ``kind`` is constant. A shape of kind ``csv`` gets its ``points`` from its file,
    unless it has them already (as in a scenario that was written by the program).
    """
    for place, shape in list(_shapes(root)):
        keys = shape.mapping()
        if "kind" not in keys and keys.keys() <= {"factor"}:
            constant = Node("constant", shape.mark)
            root = replace_at(root, place, Node({"kind": constant, **keys}, shape.mark, shape.key))
        elif shape.text("kind") == "csv" and "file" in keys and "points" not in keys:
            path = ".".join(map(str, place))
            points = _points(keys["file"], resolver, problems, f"{path}.file")
            root = replace_at(root, place, Node({**keys, "points": points}, shape.mark, shape.key))
    return root


def _shapes(root: Node) -> Iterator[tuple[Loc, Node]]:
    demand = root.mapping().get("demand")
    if demand is None:
        return
    common = demand.mapping().get("shape")
    if common is not None and isinstance(common.value, dict):
        yield ("demand", "shape"), common
    services = demand.mapping().get("services")
    for name, shape in services.mapping().items() if services is not None else ():
        if isinstance(shape.value, dict):
            yield ("demand", "services", name), shape


def _points(file: Node, resolver: Resolver, problems: Problems, path: str) -> Node:
    """Read the points of a shape; what is wrong is reported in the file of points."""
    empty = Node([], file.mark)
    name = resolver.path_of(file, path)
    text = None if name is None else read_text(name, problems, asked=file, asked_path=path)
    if name is None or text is None:
        return empty
    rows = _Rows(name, path, problems)
    return Node(rows.read(text.splitlines()), file.mark)


class _Rows:
    """Reads the lines of one file of points."""

    def __init__(self, name: str, path: str, problems: Problems) -> None:
        self._name = name
        self._path = path
        self._problems = problems

    def read(self, lines: list[str]) -> list[Node]:
        """Return the points as nodes; empty if the columns are wrong."""
        reader = csv.reader(lines)
        header = [cell.strip() for cell in self._cells(reader)]
        missing = [column for column in COLUMNS if column not in header]
        for column in missing:
            hint = nearest(column, header) if any(header) else "the first line is 't_s,factor'"
            self._wrong(1, f"column {column!r} is missing", hint)
        if missing:
            return []
        if len(lines) > ROWS_MAX:
            self._wrong(ROWS_MAX + 1, f"more than {ROWS_MAX:,} rows", "thin them out")
            return []
        columns = [header.index(column) for column in COLUMNS]
        points: list[Node] = []
        last_s = -1.0
        while (cells := self._cells(reader)) or reader.line_num < len(lines):
            line = reader.line_num
            point = self._point(cells, columns, line) if cells else None
            if point is None:
                continue
            self._check_time(point[0], last_s, line, first=not points)
            last_s = point[0]
            mark = Mark(self._name, line, 1)
            points.append(Node([Node(number, mark) for number in point], mark))
        if not points and not self._problems:
            self._wrong(1, "there is no row below the header", "")
        return points

    def _cells(self, reader: Iterator[list[str]]) -> list[str]:
        try:
            return next(reader, [])
        except csv.Error as error:
            self._wrong(1, f"not a table: {error}", "")
            return []

    def _point(self, cells: list[str], columns: list[int], line: int) -> list[float] | None:
        """Return time and factor of a row."""
        numbers = []
        for column, index in zip(COLUMNS, columns, strict=True):
            cell = cells[index].strip() if index < len(cells) else ""
            number = _number(cell)
            if number is None:
                self._wrong(line, f"{column}: {quote(cell)} is not a number", "")
                return None
            numbers.append(number)
        if not 0 <= numbers[1] <= MULTIPLIER_MAX:
            self._wrong(line, f"factor {numbers[1]:g} is out of range", "0 or more")
            return None
        return numbers

    def _check_time(self, t_s: float, last_s: float, line: int, *, first: bool) -> None:
        if first and t_s != 0:
            self._wrong(line, f"the first row is at {t_s:g} s", "it must be at 0")
        elif t_s <= last_s:
            message = f"time {t_s:g} s is not after {last_s:g} s of the row before"
            self._wrong(line, message, "sort the rows by t_s")

    def _wrong(self, line: int, message: str, hint: str) -> None:
        mark = Mark(self._name, line, 1)
        self._problems.add(Code.CSV, mark, message, path=self._path, hint=hint)


def _number(cell: str) -> float | None:
    """Return the number in a cell; None for anything else, also for infinity."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in cell else None
