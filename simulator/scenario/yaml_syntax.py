"""What the YAML parser says, in words for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simulator.scenario.codes import Code
from simulator.scenario.nodes import Mark, Problems

if TYPE_CHECKING:
    import yaml

_SYNTAX = {
    "mapping values are not allowed in this context": (
        "': ' is not expected here",
        "quote a text that contains ': ', or compare the indentation with the lines above",
    ),
    "did not find expected key": (
        "this does not fit the lines above",
        "compare the indentation with the lines above",
    ),
    "did not find expected '-' indicator": (
        "an item of the list above was expected",
        "compare the indentation with the lines above",
    ),
    "could not find expected ':'": ("a key without ': '", "write key: value"),
    "did not find expected ',' or '}'": ("a mapping in { } does not end", "close it with '}'"),
    "did not find expected ',' or ']'": ("a list in [ ] does not end", "close it with ']'"),
    "found unexpected end of stream": ("a quoted text does not end", "close the quotes"),
}
"""What the parser says → message and hint. All but the first three are reported at the start
of what is wrong, not at the place where the parser gave up."""
_AT_THE_PLACE = frozenset(list(_SYNTAX)[:3])


def note_syntax(error: yaml.MarkedYAMLError, text: str, name: str, problems: Problems) -> None:
    """Say what is not YAML, and where."""
    what = str(error.problem or error.context or "unreadable")
    message, hint = _SYNTAX.get(what, (f"not valid YAML: {what}", ""))
    mark = error.problem_mark or error.context_mark
    if what in _SYNTAX and what not in _AT_THE_PLACE:
        mark = error.context_mark or mark
    if mark is None:
        problems.add(Code.YAML_SYNTAX, Mark(name, 1, 1), message, hint=hint)
        return
    at = Mark(name, mark.line + 1, mark.column + 1)
    if "cannot start any token" in what:
        lines = text.splitlines()
        character = lines[mark.line][mark.column : mark.column + 1] if lines else ""
        message, hint = f"a text cannot begin with {character!r}", "put it in quotes"
        if character == "\t":
            message, hint = "a tab cannot indent", "indent with spaces"
    problems.add(Code.YAML_SYNTAX, at, message, hint=hint)


def note_unreadable(error: Exception, text: str, name: str, problems: Problems) -> None:
    """Say which character YAML does not allow."""
    bad = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    at, message, hint = Mark(name, 1, 1), f"not valid YAML: {error}", ""
    if bad is not None:
        start = text.rfind("\n", 0, bad.start()) + 1
        at = Mark(name, text.count("\n", 0, bad.start()) + 1, bad.start() - start + 1)
        message = f"character {bad[0]!a} is not allowed"
        hint = "remove it, or write the text in double quotes with an escape"
    problems.add(Code.YAML_SYNTAX, at, message, hint=hint)
