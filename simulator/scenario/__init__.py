"""The declared world: scenario and region files, read with positions and checked as a whole.

A *region file* has the fields of :class:`Region` and may have

- ``templates:`` — parts of pools by name; a pool or fleet takes one with ``template: name``;
- ``fleets:`` — lists of alike pools (:class:`simulator.scenario.region.Fleet`).

A *scenario file* has the fields of :class:`Scenario`. Its ``region`` is the path of a region file
(relative to the scenario file), or a mapping with ``file`` and changes, or a region written out.
Mechanisms are flat: ``healing: [{id: replacer, kind: unhealthy_replacer, period: 60s}]``.

Both may begin with ``extends: other.yaml``: the file is laid over the other one. Mappings merge;
lists of items with ``id`` (dependencies: ``from`` and ``to``) merge by item, and
``{id: x, drop: true}`` removes one; other lists and scalars replace. See
:mod:`simulator.scenario.merge`.

Everything that is wrong is reported at once, as ``file:line:column: path: message [code] (hint)``;
the codes are those of :mod:`simulator.scenario.codes`.
"""

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
