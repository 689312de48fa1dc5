"""Every row of evidence holds, and every deliberate error turns its row red."""

import pytest

from simulator.verification.catalogue import rows
from simulator.verification.runner import is_killed

ROWS = rows()
KNOWN_RED: set[tuple[str, str]] = set()
"""Rows that do not hold; their notes say why. One that holds again must leave this list."""


def marks(row, fidelity):
    found = [pytest.mark.slow] if fidelity in row.slow else []
    if (row.id, fidelity) in KNOWN_RED:
        found.append(pytest.mark.xfail(strict=True, reason=row.note))
    return found


MEASUREMENTS = [
    pytest.param(row, fidelity, id=f"{row.id}-{fidelity}", marks=marks(row, fidelity))
    for row in ROWS
    for fidelity in row.fidelities
]
MUTANTS = [
    pytest.param(
        row,
        mutant,
        id=f"{row.id}-{mutant.fidelity}-{mutant.name}",
        marks=[pytest.mark.slow] if mutant.fidelity in row.slow else [],
    )
    for row in ROWS
    for mutant in row.mutants
]


@pytest.mark.parametrize(("row", "fidelity"), MEASUREMENTS)
def test_the_row_holds(row, fidelity):
    readings = list(row.measure(fidelity))
    assert readings, "nothing was measured"
    wrong = [
        f"{r.quantity}: {r.observed:g} for {r.theory:g}, {r.faults}"
        for r in readings
        if not r.passed
    ]
    assert not wrong


@pytest.mark.parametrize(("row", "mutant"), MUTANTS)
def test_the_row_notices_the_error(row, mutant):
    assert is_killed(row, mutant)


def test_there_are_rows_and_errors_to_test():
    assert len(ROWS) >= 25
    assert len(MUTANTS) >= len(ROWS)
    quick = [row for row in ROWS if set(row.fidelities) - row.slow]
    assert len(quick) >= 20
    found = {fidelity for row in ROWS for fidelity in row.fidelities}
    assert found == {"formula", "flow", "request", "direct"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_says_what_it_holds_and_where_it_comes_from(row):
    assert all((row.id, row.claim, row.formula, row.source, row.inputs))
    assert row.mutants
    assert len(set(row.fidelities)) == len(row.fidelities)
    assert row.slow <= set(row.fidelities)
    assert {m.fidelity for m in row.mutants} <= set(row.fidelities)
    names = [(m.name, m.fidelity) for m in row.mutants]
    assert len(set(names)) == len(names)


def test_known_red_rows_exist():
    assert {(row.id, f) for row in ROWS for f in row.fidelities} >= KNOWN_RED
