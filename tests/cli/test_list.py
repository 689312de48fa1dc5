"""``simulator list``."""

import json
import re
import tomllib
from pathlib import Path

import pytest

import simulator
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
    assert re.search(r"^  good  +Most of the front pool crashes$", text, re.MULTILINE)
    assert "cannot be loaded: scenarios/bad.yaml" in " ".join(text.split())
    assert "the region is well again within an hour" not in text
    assert main(["list", "--long"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "the region is well again within an hour" in text
    assert "cannot be loaded: scenarios/bad.yaml" in text


def test_plain_text_in_a_pipe(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 100
    assert not any(line != line.rstrip() for line in text.splitlines())
    # Only headings begin at the margin: nothing wraps to it.
    margin = [line for line in text.splitlines() if line[:1].strip()]
    assert margin == ["Scenarios", "Kinds of mechanisms"]


# ------------------------------------------------------------------- where scenarios are found


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package outside a checkout, and a working directory elsewhere."""
    package, here = tmp_path / "lib" / "simulator", tmp_path / "here"
    for folder in (package / "_scenarios", here):
        folder.mkdir(parents=True)
    for name in ("calm", "storm"):
        (package / "_scenarios" / f"{name}.yaml").write_text(SMALL)
    monkeypatch.setattr(simulator, "__file__", str(package / "__init__.py"))
    monkeypatch.chdir(here)
    return tmp_path


def test_an_installed_package_brings_its_scenarios(installed):
    package = installed / "lib" / "simulator" / "_scenarios"
    assert catalogue.find_scenario("storm") == package / "storm.yaml"
    assert [p.stem for p in catalogue.shipped()] == ["calm", "storm"]


def test_an_unrelated_folder_hides_nothing(installed):
    Path("scenarios").mkdir()
    Path("scenarios/notes.txt").touch()
    assert [p.stem for p in catalogue.nearest()] == ["calm", "storm"]


def test_own_scenarios_go_before_the_checkout_and_that_before_the_package(installed):
    Path("scenarios").mkdir()
    (installed / "lib" / "scenarios").mkdir()
    Path("scenarios/storm.yaml").write_text(SMALL)
    (installed / "lib" / "scenarios" / "storm.yaml").write_text(SMALL)
    (installed / "lib" / "scenarios" / "flood.yaml").write_text(SMALL)
    found = {p.stem: p.parent for p in catalogue.shipped()}
    assert found == {
        "calm": installed / "lib" / "simulator" / "_scenarios",
        "flood": installed / "lib" / "scenarios",
        "storm": Path("scenarios"),
    }
    assert catalogue.nearest() == (Path("scenarios/storm.yaml"),)


def test_scenarios_in_subfolders_are_found_and_regions_are_none(installed):
    package = installed / "lib" / "simulator" / "_scenarios"
    for folder in ("storms", "regions", "storms/regions"):
        (package / folder).mkdir()
        (package / folder / f"in-{Path(folder).name}.yaml").write_text(SMALL)
    assert catalogue.find_scenario("in-storms") == package / "storms" / "in-storms.yaml"
    assert [p.stem for p in catalogue.shipped()] == ["calm", "in-storms", "storm"]
    assert [p.stem for p in catalogue.nearest()] == ["calm", "in-storms", "storm"]


def test_no_two_shipped_scenarios_have_one_name():
    root = Path(__file__).parents[2] / "scenarios"
    names = [f.stem for f in root.rglob("*.yaml")]
    assert len(names) == len(set(names))
    assert {f.stem for f in root.glob("metastability/*.yaml")} <= {
        f.stem for f in catalogue.shipped()
    }


def test_the_wheel_and_the_source_archive_hold_the_scenarios():
    root = Path(__file__).parents[2]
    build = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    wheel = build["targets"]["wheel"]
    assert "scenarios" in wheel["only-include"]
    assert wheel["sources"] == {"scenarios": "simulator/_scenarios"}
    assert "/scenarios" in build["targets"]["sdist"]["include"]
