"""JUnit XML: one suite per scenario, one case per expectation."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

__all__ = ["Case", "Suite", "junit_xml"]


@dataclass(frozen=True, slots=True)
class Case:
    """One statement that was judged."""

    name: str
    passed: bool
    message: str


@dataclass(frozen=True, slots=True)
class Suite:
    """All statements on one scenario."""

    name: str
    wall_s: float
    cases: tuple[Case, ...]


def junit_xml(suites: tuple[Suite, ...]) -> bytes:
    """Return the report that CI servers read."""
    root = ET.Element("testsuites")
    for suite in suites:
        failures = sum(not case.passed for case in suite.cases)
        node = ET.SubElement(
            root,
            "testsuite",
            name=suite.name,
            tests=str(len(suite.cases)),
            failures=str(failures),
            errors="0",
            time=f"{suite.wall_s:.3f}",
        )
        for case in suite.cases:
            item = ET.SubElement(node, "testcase", classname=suite.name, name=case.name)
            if case.passed:
                ET.SubElement(item, "system-out").text = case.message
            else:
                ET.SubElement(item, "failure", message=case.message)
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"
