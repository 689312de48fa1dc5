"""A scenario shows itself in notebooks."""

from pathlib import Path

from simulator.scenario import load_scenario

STORY = Path(__file__).parents[2] / "scenarios" / "runaway-capacity-removal.yaml"


def test_html_names_what_acts_and_escapes():
    scenario = load_scenario(STORY).model_copy(update={"title": "a <b> & c"})
    shown = scenario._repr_html_()
    assert "a &lt;b&gt; &amp; c" in shown
    for word in (
        "debug-script",
        "on-call",
        "replacer, autoscaler",
        "34 pools",
        "1d6h",
        scenario.claim,
    ):
        assert word in shown
    assert (
        "<th style='text-align:left'>guardrails</th><td style='text-align:left'>none</td>" in shown
    )
