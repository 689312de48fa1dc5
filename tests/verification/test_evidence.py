"""The table of VALIDATION.md is what was measured, and what was measured is still so."""

import math
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import UsageError
from simulator.verification import evidence
from simulator.verification.catalogue import rows
from simulator.verification.row import Reading

KEPT = Path(__file__).with_name("evidence.json")
PAGE = Path(__file__).parents[2] / "VALIDATION.md"
RECORD = evidence.read_evidence(KEPT.read_text(encoding="utf-8"))
BY_ID = {row["id"]: row for row in RECORD["rows"]}

DETERMINISTIC = [
    pytest.param(row, fidelity, id=f"{row.id}-{fidelity}")
    for row in rows()
    for fidelity in row.fidelities
    if fidelity in {"formula", "flow"} and fidelity not in row.slow
]


def test_the_page_shows_the_record():
    text = PAGE.read_text(encoding="utf-8")
    assert evidence.insert_tables(text, RECORD) == text


def test_the_record_holds_every_row_and_fidelity():
    assert list(BY_ID) == [row.id for row in rows()]
    for row in rows():
        assert list(BY_ID[row.id]["fidelities"]) == list(row.fidelities), row.id


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_the_record_says_what_the_row_says(row):
    kept = BY_ID[row.id]
    for field in ("claim", "formula", "source", "inputs", "note"):
        assert kept[field] == getattr(row, field), field
    for fidelity, result in kept["fidelities"].items():
        names = [m["name"] for m in result["mutants"]]
        assert names == [m.name for m in row.mutants if m.fidelity == fidelity]
        assert all(m["killed"] for m in result["mutants"]), row.id


@pytest.mark.parametrize(("row", "fidelity"), DETERMINISTIC)
def test_what_has_no_chance_is_measured_again(row, fidelity):
    kept = BY_ID[row.id]["fidelities"][fidelity]["readings"]
    now = list(row.measure(fidelity))
    assert [r.quantity for r in now] == [r["quantity"] for r in kept]
    for reading, was in zip(now, kept, strict=True):
        assert reading.theory == pytest.approx(was["theory"], rel=1e-9, abs=1e-12)
        assert reading.tolerance == pytest.approx(was["tolerance"], rel=1e-9, abs=1e-12)
        # Another processor may round differently, and a bisection may then take another turn.
        far = 0.05 * reading.tolerance + 1e-9
        assert reading.observed == pytest.approx(was["observed"], rel=1e-6, abs=far, nan_ok=True)


def test_the_verdicts_of_the_record_are_those_of_the_rule():
    for row in RECORD["rows"]:
        for result in row["fidelities"].values():
            for kept in result["readings"]:
                fields: dict[str, Any] = {
                    name: math.nan if kept[name] is None else kept[name]
                    for name in Reading.__slots__
                }
                assert Reading(**fields).passed == kept["passed"], (row["id"], kept["quantity"])


def test_a_page_needs_its_markers_once_and_in_order():
    good = f"a\n{evidence.BEGIN}\nb\n{evidence.END}\nc\n"
    assert evidence.insert_tables(good, RECORD).startswith(f"a\n{evidence.BEGIN}\n")
    bad = [good.replace(evidence.END, ""), good.replace(evidence.BEGIN, ""), good + good]
    bad.append(f"{evidence.END}\n{evidence.BEGIN}\n")
    for text in bad:
        with pytest.raises(UsageError, match="markers"):
            evidence.insert_tables(text, RECORD)
