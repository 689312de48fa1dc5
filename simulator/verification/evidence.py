"""The record of a measurement: as JSON, and as the tables of VALIDATION.md made from it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from simulator.errors import UsageError
from simulator.verification.catalogue import rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from simulator.verification.row import Reading, Row
    from simulator.verification.runner import Measured

__all__ = ["BEGIN", "END", "insert_tables", "merge", "read_evidence", "record", "tables", "to_text"]

SCHEMA: Final = 1
BEGIN: Final = "<!-- evidence: begin; made by simulator verify --markdown -->"
END: Final = "<!-- evidence: end -->"

Evidence = dict[str, Any]
"""``{"schema": 1, "rows": [{"id": …, "fidelities": {"flow": {"readings": [...], …}}, …}]}``"""


def record(measured: Iterable[Measured]) -> Evidence:
    """Return what was measured, with the statement of each row; without times, to be kept."""
    found: dict[str, dict[str, Any]] = {}
    for result in measured:
        found.setdefault(result.row_id, {})[result.fidelity] = {
            "passed": result.passed,
            "error": result.error,
            "readings": [_reading(reading) for reading in result.readings],
            "mutants": [{"name": name, "killed": killed} for name, killed in result.killed],
        }
    kept = [row for row in rows() if row.id in found]
    return {"schema": SCHEMA, "rows": [_row(row, found[row.id]) for row in kept]}


def _row(row: Row, fidelities: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "claim": row.claim,
        "formula": row.formula,
        "source": row.source,
        "inputs": row.inputs,
        "note": row.note,
        "fidelities": {name: fidelities[name] for name in row.fidelities if name in fidelities},
    }


def _reading(reading: Reading) -> dict[str, Any]:
    fields = asdict(reading)
    numbers = {k: v for k, v in fields.items() if isinstance(v, float)}
    derived = {"z": reading.z, "passed": reading.passed, "faults": list(reading.faults)}
    # JSON has no infinity; null stands for a number that is not finite.
    return fields | {k: v if math.isfinite(v) else None for k, v in numbers.items()} | derived


def merge(old: Evidence, new: Evidence) -> Evidence:
    """Lay a measurement over an earlier one; rows and fidelities that are no more are dropped."""
    before = {row["id"]: row["fidelities"] for row in old["rows"]}
    fresh = {row["id"]: row["fidelities"] for row in new["rows"]}
    known = {row.id: _laid(before.get(row.id, {}), fresh.get(row.id, {})) for row in rows()}
    return {"schema": SCHEMA, "rows": [_row(r, known[r.id]) for r in rows() if known[r.id]]}


def _laid(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Replace what was measured again; mutants stay known if nobody asked for them."""
    kept = {name: result["mutants"] for name, result in old.items()}
    again = {
        name: result | {"mutants": result["mutants"] or kept.get(name, [])}
        for name, result in new.items()
    }
    return old | again


def to_text(evidence: Evidence) -> str:
    """Return the JSON text of a record."""
    return json.dumps(evidence, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_evidence(text: str) -> Evidence:
    """Read a record.

    Raises
    ------
    UsageError
        If the text is no record of this version.
    """
    try:
        evidence = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"the evidence is not JSON: {error}"
        raise UsageError(msg) from error
    if not isinstance(evidence, dict) or evidence.get("schema") != SCHEMA:
        msg = f"this is no evidence of version {SCHEMA}"
        raise UsageError(msg)
    return evidence


# ---------------------------------------------------------------------------------- markdown


def tables(evidence: Evidence) -> str:
    """Return the tables: a line a row, then all readings, then what each row states."""
    kept = evidence["rows"]
    parts = [
        _table(["id", "claim", *FIDELITIES], [_summary(row) for row in kept]),
        "\nA cell: readings that hold, and the largest error as a share of its tolerance.\n",
        _folded("All readings", READING, [line for row in kept for line in _readings(row)]),
        _folded("What each row states", STATED, [_stated(row) for row in kept]),
    ]
    return "\n".join(parts)


FIDELITIES: Final = ("formula", "flow", "request", "direct")
READING: Final = (
    "id", "fidelity", "quantity", "n", "theory", "observed", "SE", "z", "tolerance", "",
)  # fmt: skip
STATED: Final = ("id", "formula", "inputs", "source", "deliberate errors it notices", "note")


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join((_line(head), "|---" * len(head) + "|", *map(_line, lines)))


def _folded(title: str, head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    table = _table(head, lines)
    return f"<details>\n<summary>{title}</summary>\n\n{table}\n\n</details>\n"


def _summary(row: dict[str, Any]) -> list[str]:
    cells = [_judged(row["fidelities"].get(name)) for name in FIDELITIES]
    return [row["id"], row["claim"], *cells]


def _judged(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    readings = result["readings"]
    held = sum(reading["passed"] for reading in readings)
    good = bool(readings) and held == len(readings) and not result["error"]
    text = f"{held}/{len(readings)}, {_used(readings)}"
    return text if good else f"**no**: {text}"


def _used(readings: list[dict[str, Any]]) -> str:
    """Return the largest error as a share of its tolerance."""
    shares = [
        math.inf
        if reading["observed"] is None
        else abs(reading["observed"] - reading["theory"]) / reading["tolerance"]
        for reading in readings
        if reading["tolerance"]
    ]
    worst = max(shares, default=0.0)
    return f"{worst:.0%}" if math.isfinite(worst) else "–"


def _readings(row: dict[str, Any]) -> Iterator[list[str]]:
    first = row["id"]
    for fidelity, result in row["fidelities"].items():
        for reading in result["readings"]:
            yield [first, fidelity, *_cells(reading)]
            first = ""
        if result["error"]:
            yield [first, fidelity, result["error"], *[""] * 6, "**no**"]


def _stated(row: dict[str, Any]) -> list[str]:
    return [row["id"], row["formula"], row["inputs"], row["source"], _mutants(row), row["note"]]


def _line(cells: Sequence[str]) -> str:
    text = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(text) + " |"


def _cells(reading: dict[str, Any]) -> list[str]:
    unit = reading["unit"]
    chance = reading["se"] is not None and reading["se"] > 0.0
    return [
        reading["quantity"],
        str(reading["n"]) if chance else "",
        show(reading["theory"], unit),
        show(reading["observed"], unit),
        show(reading["se"]) if chance else "",
        f"{reading['z']:.1f}" if reading["z"] is not None else "",
        show(reading["tolerance"]),
        "holds" if reading["passed"] else "**no**",
    ]


def _mutants(row: dict[str, Any]) -> str:
    found = [m for result in row["fidelities"].values() for m in result["mutants"]]
    names = (m["name"] if m["killed"] else f"**not {m['name']}**" for m in found)
    return "; ".join(dict.fromkeys(names))


def show(value: float | None, unit: str = "") -> str:
    """Return a number with six digits; a dash for one that is not finite."""
    if value is None or not math.isfinite(value):
        return "–"
    gap = " " if unit[:1].isalpha() else ""
    return f"{value:.6g}{gap}{unit}"


def insert_tables(text: str, evidence: Evidence) -> str:
    """Replace what stands between the two markers of a text.

    Raises
    ------
    UsageError
        If the markers are not there, once each and in order.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in head + tail:
        msg = f"the markers '{BEGIN}' and '{END}' must be there once, in this order"
        raise UsageError(msg)
    return f"{head}{BEGIN}\n\n{tables(evidence)}\n{END}{tail}"
