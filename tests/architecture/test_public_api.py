"""The front door: small, silent, lazy."""

import json
import subprocess
import sys

import pytest

import simulator

HEAVY = (
    "click",
    "matplotlib",
    "networkx",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "rich",
    "scipy",
    "simpy",
    "yaml",
)


def test_all_is_pinned():
    assert simulator.__all__ == [
        "Metrics",
        "Scenario",
        "Trace",
        "__version__",
        "compute_metrics",
        "control_run",
        "load_scenario",
        "simulate",
    ]


def test_every_name_has_one_home():
    assert set(simulator._HOME) == set(simulator.__all__) - {"__version__"}
    assert set(simulator.__all__) <= set(dir(simulator))


@pytest.mark.parametrize("name", simulator.__all__)
def test_every_name_can_be_imported(name):
    assert getattr(simulator, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'simulator' has no attribute 'simulat'"):
        simulator.simulat  # noqa: B018 - the access is the test


def test_import_is_silent_and_light(subprocess_env):
    code = (
        f"import json, sys, simulator; print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=subprocess_env,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == []
