"""The seed story says what it takes from the press account, and takes nothing else."""

from pathlib import Path

import pytest

from simulator.scenario import load_scenario

FOLDER = Path(__file__).parents[2] / "scenarios"
STORY = FOLDER / "runaway-capacity-removal.yaml"
OVERLAYS = sorted(p for p in FOLDER.glob("*.yaml") if "extends: " + STORY.name in p.read_text())


@pytest.fixture(scope="module")
def story():
    return load_scenario(STORY)


def test_the_file_says_that_it_rests_on_a_press_account():
    text = STORY.read_text(encoding="utf-8")
    for words in ("PRESS ACCOUNT", "not a post-mortem", "contradicts", "duration", "assumptions"):
        assert words in text


def test_both_sides_are_among_the_sources(story):
    refs = [s.ref for s in story.sources]
    assert any("ft.com" in ref for ref in refs)
    assert any("aboutamazon.com" in ref for ref in refs)


def test_thirteen_hours_are_a_band_of_the_outcome(story):
    (band,) = [e for e in story.expectations if e.metric == "ttr_s"]
    assert (band.quantile, band.at_least, band.at_most) == (0.5, "11h", "15h")


def test_the_trigger_is_a_script_and_no_curve(story):
    assert story.faults == ()
    assert story.trigger == tuple(m.id for m in story.automation)
    assert [m.kind for m in story.automation] == ["runaway_removal"]


def test_the_script_reaches_every_pool_that_there_was(story):
    (script,) = story.automation
    assert set(script.config.scope) == {p.id for p in story.region.pools}
    assert set(script.config.target) < set(script.config.scope)


def test_free_parameters_are_declared(story):
    assert story.free_parameters
    for path in story.free_parameters:
        section, name, field = path.split(".")
        (owner,) = [m for m in getattr(story, section) if m.id == name]
        assert hasattr(owner.config, field)


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda p: p.stem)
def test_an_overlay_changes_what_it_names_and_keeps_the_rest(story, path):
    overlay = load_scenario(path)
    assert overlay.id == path.stem
    assert overlay.claim != story.claim
    if overlay.trigger:
        assert overlay.automation == story.automation
        assert overlay.horizon == story.horizon
    assert {p.id for p in overlay.region.pools} >= {p.id for p in story.region.pools}


def test_out_of_band_pools_call_nothing_and_no_script_reaches_them():
    scenario = load_scenario(FOLDER / "runaway-capacity-removal-out-of-band-control.yaml")
    (script,) = scenario.automation
    assert {c.pool for c in scenario.region.control_planes} == {"out-of-band"}
    assert scenario.telemetry.carried_by == "out-of-band"
    assert "out-of-band" not in script.config.scope
    assert "out-of-band" not in {d.caller for d in scenario.region.dependencies}


def test_a_steady_day_has_nobody_who_acts_without_cause():
    scenario = load_scenario(FOLDER / "steady-day.yaml")
    assert scenario.trigger == ()
    assert scenario.automation == ()
    assert scenario.faults == ()
