"""``simulator list``."""

import json

from simulator import registry
from simulator.cli import catalogue, main
from tests.handmade import SMALL


def test_every_kind_is_listed_with_its_summary(capsys):
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    listed = {(m["family"], m["kind"]): m["summary"] for m in found["mechanisms"]}
    there = {(f, k) for f in registry.FAMILIES for k in registry.kinds(f)}
    assert set(listed) == there
    assert all(listed.values())


def test_shipped_scenarios_are_listed_with_their_claims(capsys):
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["scenarios"]
    assert [s["id"] for s in found] == sorted(p.stem for p in catalogue.shipped())
    assert all(s["title"] and s["claim"] and "problem" not in s for s in found)


def test_a_broken_scenario_does_not_hide_the_others(capsys, tmp_path, monkeypatch):
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "good.yaml").write_text(SMALL)
    (tmp_path / "scenarios" / "bad.yaml").write_text("schema: 1\n")
    monkeypatch.chdir(tmp_path)
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert "good  Most of the front pool crashes" in text
    assert "cannot be loaded: scenarios/bad.yaml" in text


def test_plain_text_in_a_pipe(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 100
    assert not any(line != line.rstrip() for line in text.splitlines())
