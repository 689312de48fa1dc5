"""Text of a file, or what is wrong with the file."""

from __future__ import annotations

import stat
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from simulator.scenario.codes import Code
from simulator.scenario.nodes import Mark, Node, Problems, quote

BYTES_MAX: Final = 8 << 20
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(
    path: str | Path, problems: Problems, *, asked: Node | None = None, asked_path: str = ""
) -> str | None:
    """Read a file as UTF-8 text; a problem and None where that fails."""
    name = str(path)
    at = Mark(name) if asked is None else asked.mark
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISREG(mode):
            with Path(path).open("rb") as stream:
                return _decode(stream.read(BYTES_MAX + 1), name, problems)
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        code, message, hint = Code.FILE_NOT_REGULAR, f"{quote(name)} is {what}", ""
    except FileNotFoundError:
        code, message, hint = Code.FILE_MISSING, f"there is no file {quote(name)}", _siblings(name)
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        code, message, hint = Code.FILE_UNREADABLE, f"cannot read {quote(name)}: {reason}", ""
    problems.add(code, at, message, path=asked_path, hint=hint)
    return None


def _siblings(name: str) -> str:
    """Return a hint with a file of a similar name in the same folder."""
    try:
        names = [entry.name for entry in Path(name).parent.iterdir()]
    except (OSError, ValueError):
        return "the folder does not exist either"
    close = get_close_matches(Path(name).name, names, n=1, cutoff=0.7)
    return f"did you mean {close[0]!r}?" if close else ""


def _decode(raw: bytes, name: str, problems: Problems) -> str | None:
    if len(raw) > BYTES_MAX:
        limit = f"larger than {BYTES_MAX >> 20} MiB"
        hint = "describe many alike pools with 'fleets'"
        problems.add(Code.FILE_TOO_LARGE, Mark(name, 1, 1), limit, hint=hint)
        return None
    if raw.startswith(_UTF16):
        problems.add(
            Code.FILE_ENCODING, Mark(name, 1, 1), "the file is UTF-16", hint="save it as UTF-8"
        )
        return None
    if b"\x00" in raw:
        at = _place(raw, raw.index(b"\x00"), name)
        problems.add(Code.FILE_BINARY, at, "not a text file: it has a zero byte")
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = _place(raw, error.start, name)
        byte = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        problems.add(Code.FILE_ENCODING, at, byte, hint="save the file as UTF-8")
        return None


def _place(raw: bytes, offset: int, name: str) -> Mark:
    """Return the place of a byte; columns count characters where they can be read."""
    line = raw.count(b"\n", 0, offset)
    start = raw.rfind(b"\n", 0, offset) + 1
    return Mark(name, line + 1, len(raw[start:offset].decode("utf-8", "replace")) + 1)
