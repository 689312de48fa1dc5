"""Tables of a trace: every column has its unit, in the table and in the documentation."""

import re

import pytest

from simulator.trace import Trace
from tests.handmade import outage


@pytest.mark.parametrize("name", ["events", "pools", "services"])
def test_every_column_is_documented_with_its_unit(name):
    frame = getattr(outage(), name)
    row = re.compile(r"^ +([a-z_]+) {2,}(\S.*?)(?: {2,}.*)?$", re.MULTILINE)
    documented = dict(row.findall(getattr(Trace, name).__doc__))
    assert set(frame.columns) <= set(documented)
    units = frame.attrs["units"]
    assert units == {column: documented[column] for column in units}
    numbers = set(frame.select_dtypes("number").columns) - {"id", "cause"}
    assert numbers == set(units)
