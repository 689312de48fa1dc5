"""Golden texts: what `simulator validate` says about broken input, word for word.

Every ``errors/NNN-name.yaml`` is a broken file, and ``errors/NNN-name.txt`` is the whole output.
Input that cannot be kept in a repository is made by the test; its text is ``errors/made-name.txt``.

After a change of wording run ``REGENERATE=1 python -m pytest tests/cli/test_errors.py`` and review
the difference like code: each message must say what is wrong, where, and what to write instead.
"""

import os
import re
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.scenario import files, yaml_reader

FOLDER = Path(__file__).parent / "errors"
CASES = sorted(FOLDER.glob("*.yaml"))
REGENERATE = bool(os.environ.get("REGENERATE"))
LOCATED = re.compile(r"^\S[^:]*:\d+:\d+: .+ \[S\d{3}\]( \(.+\))?$")
UNLOCATED = re.compile(r"^\S[^:]*: .+ \[S00[123]\]( \(.+\))?$")

MADE = {
    "empty-file": b"",
    "only-spaces": b"  \n \n",
    "binary": b"\x7fELF\x02\x01\x01\x00\x00",
    "picture": b"\x89PNG\r\n\x1a\n\xff\xfe",
    "latin-1": "id: s\ntitle: Störung\n".encode("latin-1"),
    "utf-16": "id: s\n".encode("utf-16"),
    "zero-byte-in-text": b"id: s\ntitle: a\x00b\n",
    "too-large": b"# " + b"x" * files.BYTES_MAX,
    "too-many-values": b"a: [" + b"1," * (yaml_reader.NODES_MAX + 1) + b"]",
    "deep": b"a: " + b"{a: " * 20_000,
}


def run(capsys, *words):
    code = main(["validate", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def compare(name, code, out, err):
    golden = FOLDER / f"{name}.txt"
    if REGENERATE:
        golden.write_text(out, encoding="utf-8")
    assert code == 2
    assert err == ""
    assert "Traceback" not in out
    *problems, summary = out.splitlines()
    assert re.fullmatch(rf"\S+: {len(problems)} problems?", summary)
    for line in problems:
        assert LOCATED.match(line) or UNLOCATED.match(line), line
    assert out == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_broken_file(case, monkeypatch, capsys):
    monkeypatch.chdir(FOLDER)
    compare(case.stem, *run(capsys, case.name))


@pytest.mark.parametrize("name", MADE)
def test_made_file(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("input.yaml").write_bytes(MADE[name])
    compare(f"made-{name}", *run(capsys, "input.yaml"))


def test_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("folder.yaml").mkdir()
    compare("made-folder", *run(capsys, "folder.yaml"))


def test_missing_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("retry-storm.yaml").touch()
    compare("made-missing", *run(capsys, "retrystorm.yaml"))


def test_pipe(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.yaml")
    compare("made-pipe", *run(capsys, "pipe.yaml"))


def test_file_that_may_not_be_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("secret.yaml").write_text("id: s\n")

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    code, out, err = run(capsys, "secret.yaml")
    monkeypatch.undo()
    compare("made-unreadable", code, out, err)


OVERRIDES = {
    "no-equals": ["horizon"],
    "empty-step": ["region..units=3"],
    "unknown-pool": ["region.pools.egde.units=3"],
    "unknown-index": ["region.pools.7.units=3"],
    "unknown-dependency": ["region.dependencies.edge->bd.timeout=1s"],
    "into-a-number": ["horizon.hours=3"],
    "empty-list": ["people.oncall.page_response=5min"],
    "unknown-key": ["region.pools.edge.unit=3", "demnd.shape.factor=2"],
    "wrong-value": ["region.pools.edge.units=lots", "horizon=13", "demand.stochastic=yes"],
    "not-yaml": ["trigger=[a, b"],
    "other-region": ["region=regions/none.yaml"],
    "drops-all": ["region.pools=[]", "region.services=[]"],
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_override(name, monkeypatch, capsys):
    monkeypatch.chdir(FOLDER)
    words = [word for override in OVERRIDES[name] for word in ("--set", override)]
    compare(f"set-{name}", *run(capsys, "parts/good.yaml", *words))


def test_there_are_enough_cases():
    assert len(CASES) >= 100


def test_every_golden_text_has_a_case():
    made = {f"made-{name}" for name in [*MADE, "folder", "missing", "pipe", "unreadable"]}
    names = {case.stem for case in CASES} | made | {f"set-{name}" for name in OVERRIDES}
    assert {path.stem for path in FOLDER.glob("*.txt")} == names


def test_cases_are_numbered_without_gaps():
    assert [int(case.stem[:3]) for case in CASES] == list(range(1, len(CASES) + 1))
