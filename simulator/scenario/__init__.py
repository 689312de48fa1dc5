"""The declared world: scenario and region files, read with positions and checked as a whole."""

from simulator.scenario.dump import dump_region, dump_scenario, scenario_data, scenario_hash
from simulator.scenario.loader import (
    load_any,
    load_region,
    load_scenario,
    parse_region,
    parse_scenario,
)
from simulator.scenario.region import Region
from simulator.scenario.schema import Mechanism, Scenario
from simulator.scenario.typed import SECTIONS

__all__ = [
    "SECTIONS",
    "Mechanism",
    "Region",
    "Scenario",
    "dump_region",
    "dump_scenario",
    "load_any",
    "load_region",
    "load_scenario",
    "parse_region",
    "parse_scenario",
    "scenario_data",
    "scenario_hash",
]
