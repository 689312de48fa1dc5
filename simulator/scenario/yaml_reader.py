"""YAML text -> nodes: every value with its place, YAML 1.2 scalars, and a limit on everything.

Built on the events of PyYAML's parser, because its constructors take the last of two equal keys,
read ``no`` as false and ``12:30`` as 750, and expand any bomb. Differences from plain YAML:

- scalars follow the core schema of YAML 1.2; a whole number with a leading zero is refused;
- a key that occurs twice is refused, with both places; keys are always text;
- tags are refused, unless the caller names them;
- aliases are copied, so that no two places share a value; copies count towards the limits;
- the merge key ``<<`` works as in YAML 1.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from simulator.scenario.codes import Code
from simulator.scenario.files import BYTES_MAX, read_text
from simulator.scenario.nodes import Mark, Node, Problems, Scalar, quote
from simulator.scenario.yaml_syntax import note_syntax, note_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

DEPTH_MAX = 48
NODES_MAX = 500_000
ALIASES_MAX = 1_000
DIGITS_MAX = 400
PATH_STEPS_MAX = 8

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL_11 = re.compile(r"[-+]?0[0-9]+\Z")
_OCT = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NUMBER_STARTS = frozenset("-+.0123456789")

_CORE = "tag:yaml.org,2002:"
_CORE_NAMES = ("str", "int", "float", "bool", "null", "map", "seq")
_CORE_TAGS = frozenset({None, "!", *map(_CORE.__add__, _CORE_NAMES)})
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def scalar(text: str) -> Scalar:
    """Return the value of a plain scalar by the core schema of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS or len(text) > DIGITS_MAX:
        return text
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    return int(text, 0) if _OCT.match(text) or _HEX.match(text) else text


def is_octal(text: str) -> bool:
    """Tell whether text is a number with a leading zero, which YAML 1.1 reads to the base 8."""
    return _OCTAL_11.match(text) is not None


def read_file(
    path: str | Path, problems: Problems, *, asked: Node | None = None, asked_path: str = ""
) -> Node | None:
    """Read a file with one document.

    Parameters
    ----------
    path : str | Path
        The file, as the user named it.
    problems : Problems
        Takes what is wrong.
    asked : Node, optional
        Value of another file that asks for this one; a file that cannot be read is reported there.
    asked_path : str
        Path of that value.

    Returns
    -------
    Node | None
        The document, or None when it cannot be used at all.
    """
    text = read_text(path, problems, asked=asked, asked_path=asked_path)
    return None if text is None else parse_text(text, str(path), problems)


def parse_text(
    text: str, name: str, problems: Problems, *, tags: Collection[str] = ()
) -> Node | None:
    """Parse text that holds one document; None when it cannot be used at all."""
    documents = parse_documents(text, name, problems, tags=tags, most=1)
    if documents is None:
        return None
    if not documents or documents[0].value is None:
        problems.add(Code.FILE_EMPTY, Mark(name, 1, 1), "the file is empty")
        return None
    return documents[0]


def parse_documents(
    text: str, name: str, problems: Problems, *, tags: Collection[str] = (), most: int = 10_000
) -> list[Node] | None:
    """Parse text that may hold several documents (for importers of other formats).

    Parameters
    ----------
    text : str
        The text.
    name : str
        What to call it in messages.
    problems : Problems
        Takes what is wrong.
    tags : Collection[str]
        Tags that are read as if they were not there; every other tag is a problem.
    most : int
        Documents that are allowed.

    Returns
    -------
    list[Node] | None
        The documents, or None when the text cannot be used at all.
    """
    if len(text) > BYTES_MAX:
        problems.add(Code.FILE_TOO_LARGE, Mark(name, 1, 1), f"larger than {BYTES_MAX >> 20} MiB")
        return None
    builder = _Builder(name, problems, frozenset(tags), most)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except _StopReadingError:
        return None
    except yaml.MarkedYAMLError as error:
        note_syntax(error, text, name, problems)
        return None
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        note_unreadable(error, text, name, problems)
        return None
    return builder.documents


class _StopReadingError(Exception):
    """The rest of the text cannot be understood or is too much; the problem was noted."""


@dataclass(slots=True)
class _Frame:
    """A container that is being read."""

    node: Node
    anchor: str | None
    height: int = 0
    """Levels of containers below this one, so far."""
    size: int = 1
    """Values in this container and itself, so far, aliases expanded."""
    key: str | None = None
    key_mark: Mark | None = None
    merging: bool = False
    """The key is an unquoted ``<<``."""
    seen: dict[str, Mark] = field(default_factory=dict)
    """Keys written in this mapping (merged ones are not)."""
    step: str | int = ""
    """Key or index under which the parent holds this container."""


class _Builder:
    """Turns events into nodes."""

    def __init__(self, name: str, problems: Problems, tags: frozenset[str], most: int) -> None:
        self.documents: list[Node] = []
        self._name = name
        self._problems = problems
        self._tags = tags
        self._most = most
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Frame] = {}
        self._nodes = 0
        self._aliases = 0
        self._handlers: dict[type, Callable[[Any, Mark], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._open,
            yaml.SequenceStartEvent: self._open,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }

    def take(self, event: yaml.Event) -> None:
        """Take the next event of the parser."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            start = event.start_mark
            assert start is not None
            handler(event, Mark(self._name, start.line + 1, start.column + 1))

    def _stop(self, code: Code, mark: Mark, message: str, hint: str = "") -> _StopReadingError:
        self._note(code, mark, message, hint)
        return _StopReadingError()

    def _note(self, code: Code, mark: Mark, message: str, hint: str = "") -> None:
        steps = [str(frame.step) for frame in self._stack[1:]]
        if self._stack and self._stack[-1].key is not None:
            steps.append(self._stack[-1].key)
        path = ".".join(steps[:PATH_STEPS_MAX]) + "..." * (len(steps) > PATH_STEPS_MAX)
        self._problems.add(code, mark, message, path=path, hint=hint)

    def _document(self, _event: Any, mark: Mark) -> None:  # noqa: ANN401 (PyYAML is untyped)
        self._anchors.clear()
        if len(self.documents) >= self._most:
            raise self._stop(
                Code.YAML_DOCUMENTS, mark, "a second document starts here", "one file, one document"
            )

    def _scalar(self, event: Any, mark: Mark) -> None:  # noqa: ANN401
        self._check_tag(event.tag, mark)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.node.value, dict) and frame.key is None:
            self._take_key(frame, event, mark)
            return
        node = Node(self._value(event, mark), mark)
        if event.anchor:
            self._anchors[event.anchor] = _Frame(node, None)
        self._count(1, mark)
        self._put(node, height=0, size=1)

    def _value(self, event: Any, mark: Mark) -> Scalar:  # noqa: ANN401
        text: str = event.value
        plain = event.implicit[0] or (event.tag not in {None, "!", _CORE + "str"})
        if not plain:
            return text
        if not event.style and is_octal(text):
            hint = f"write {int(text)}, or '{text}' in quotes for text"
            self._note(Code.YAML_OCTAL, mark, f"{text} is not a clear number", hint)
        return scalar(text)

    def _take_key(self, frame: _Frame, event: Any, mark: Mark) -> None:  # noqa: ANN401
        key: str = event.value
        first = frame.seen.get(key)
        frame.key, frame.key_mark = key, mark
        frame.merging = key == "<<" and not event.style
        if first is not None:
            where = f"first at line {first.line}, column {first.column}"
            self._note(Code.YAML_DUPLICATE_KEY, mark, f"key {quote(key)} is there twice", where)
        else:
            frame.seen[key] = mark

    def _open(self, event: Any, mark: Mark) -> None:  # noqa: ANN401
        self._check_tag(event.tag, mark)
        self._refuse_as_key(mark)
        if len(self._stack) >= DEPTH_MAX:
            raise self._stop(Code.YAML_DEPTH, mark, f"nested more than {DEPTH_MAX} levels deep")
        node = Node({} if isinstance(event, yaml.MappingStartEvent) else [], mark)
        self._count(1, mark)
        step: str | int = ""
        if self._stack:
            above = self._stack[-1]
            step = above.key if above.key is not None else len(above.node.items())
        self._stack.append(_Frame(node, event.anchor, step=step))

    def _close(self, _event: Any, _mark: Mark) -> None:  # noqa: ANN401
        frame = self._stack.pop()
        frame.height += 1
        if frame.anchor:
            self._anchors[frame.anchor] = frame
        self._put(frame.node, height=frame.height, size=frame.size)

    def _alias(self, event: Any, mark: Mark) -> None:  # noqa: ANN401
        self._refuse_as_key(mark)
        self._aliases += 1
        if self._aliases > ALIASES_MAX:
            raise self._stop(Code.YAML_ALIASES, mark, f"more than {ALIASES_MAX:,} aliases")
        if event.anchor not in self._anchors:
            raise self._stop(
                Code.YAML_ALIAS,
                mark,
                f"alias *{event.anchor} stands for nothing",
                f"put the anchor &{event.anchor} before it; a value cannot contain itself",
            )
        target = self._anchors[event.anchor]
        if len(self._stack) + target.height > DEPTH_MAX:
            raise self._stop(Code.YAML_DEPTH, mark, f"nested more than {DEPTH_MAX} levels deep")
        self._count(target.size, mark)  # before the copy: a bomb must not be built to be refused
        node = target.node.copy()
        node.mark = mark
        self._put(node, height=target.height, size=target.size)

    def _put(self, node: Node, *, height: int, size: int) -> None:
        """Hang a finished value under its parent."""
        if not self._stack:
            self.documents.append(node)
            return
        frame = self._stack[-1]
        frame.height = max(frame.height, height)
        frame.size += size
        into = frame.node.value
        if isinstance(into, list):
            into.append(node)
            return
        assert isinstance(into, dict)
        assert frame.key is not None
        key, node.key = frame.key, frame.key_mark
        if frame.merging:
            self._merge(frame, node)
        elif frame.seen[key] == frame.key_mark:  # the first of two equal keys stays
            into[key] = node
        frame.key = None

    def _merge(self, frame: _Frame, node: Node) -> None:
        """Take over the keys of ``<<`` that the mapping does not have itself."""
        into = frame.node.mapping()
        for source in node.items() if isinstance(node.value, list) else [node]:
            if not isinstance(source.value, dict):
                self._note(Code.YAML_MERGE, source.mark, "'<<' takes a mapping, or a list of them")
                continue
            for key, child in source.value.items():
                into.setdefault(key, child)

    def _refuse_as_key(self, mark: Mark) -> None:
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.node.value, dict) and frame.key is None:
            raise self._stop(Code.YAML_KEY, mark, "a key must be a word, not a list or a mapping")

    def _check_tag(self, tag: str | None, mark: Mark) -> None:
        if tag not in _CORE_TAGS and tag not in self._tags:
            shown = str(tag).replace(_CORE, "!!")
            self._note(Code.YAML_TAG, mark, f"tag {quote(shown)} is not allowed", "remove the tag")

    def _count(self, more: int, mark: Mark) -> None:
        self._nodes += more
        if self._nodes > NODES_MAX:
            raise self._stop(
                Code.YAML_NODES, mark, f"more than {NODES_MAX:,} values, aliases expanded"
            )
