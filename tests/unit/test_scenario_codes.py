"""Codes of problems: documented in one table, each of them seen in a golden text."""

import re
from pathlib import Path

from simulator.scenario import codes
from simulator.scenario.codes import Code

ROOT = Path(__file__).parents[2]
TABLE = dict(re.findall(r"^``(S\d{3})``  ``([A-Z_]+)``", codes.__doc__, re.MULTILINE))


def test_table_is_the_enumeration():
    assert {code.value: code.name for code in Code} == TABLE


def test_every_code_is_used_in_the_program():
    folder = ROOT / "simulator" / "scenario"
    source = "".join(p.read_text() for p in folder.glob("*.py") if p.name != "codes.py")
    assert {code.name for code in Code if f"Code.{code.name}" not in source} == set()


def test_every_code_is_shown_in_a_golden_text():
    texts = (ROOT / "tests" / "cli" / "errors").glob("*.txt")
    shown = set(re.findall(r"\[(S\d{3})\]", "".join(p.read_text(encoding="utf-8") for p in texts)))
    assert {code.value for code in Code} == shown
