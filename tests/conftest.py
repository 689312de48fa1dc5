"""Settings that all tests share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("dev", deadline=None, max_examples=50)
# The same examples on every machine and every day: a red run can be repeated.
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=100,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"),
)


@pytest.fixture(scope="session", autouse=True)
def guards_on() -> Iterator[None]:
    """Switch the simulator's own invariant checks on; users run without them."""
    before = os.environ.get("SIMULATOR_GUARDS")
    os.environ["SIMULATOR_GUARDS"] = "1"
    yield
    if before is None:
        del os.environ["SIMULATOR_GUARDS"]
    else:
        os.environ["SIMULATOR_GUARDS"] = before


@pytest.fixture(scope="session")
def subprocess_env() -> dict[str, str]:
    """Environment for a child process: with byte code, which makes imports fast."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
