import pickle

import pytest

from simulator import errors
from simulator.errors import (
    InvariantError,
    Problem,
    QuantityError,
    ScenarioError,
    SimulatorError,
    UnknownKindError,
)

PROBLEM = Problem("a.yaml", 8, 13, "faults.1.facter", "unknown_key", "unknown key 'facter'")


def test_problem_shows_position_path_code_and_hint():
    with_hint = Problem(
        "a.yaml", 8, 13, "faults.1.at", "quantity", "duration 5 has no unit", "write '5s'"
    )
    assert str(with_hint) == (
        "a.yaml:8:13: faults.1.at: duration 5 has no unit [quantity] (write '5s')"
    )
    assert str(PROBLEM) == "a.yaml:8:13: faults.1.facter: unknown key 'facter' [unknown_key]"


def test_problem_without_position_or_path_leaves_them_out():
    assert str(Problem("a.yaml", 0, 0, "", "empty", "empty file")) == "a.yaml: empty file [empty]"


def test_scenario_error_keeps_all_problems_in_file_order():
    earlier = Problem("a.yaml", 2, 1, "id", "missing", "no id")
    error = ScenarioError([PROBLEM, earlier])
    assert error.problems == (earlier, PROBLEM)
    assert str(error).splitlines() == [str(earlier), str(PROBLEM)]


def test_scenario_error_without_problem_is_our_bug():
    with pytest.raises(AssertionError):
        ScenarioError([])


def test_every_error_is_in_the_drawn_tree():
    drawn = errors.__doc__ or ""
    raised = [
        name
        for name in errors.__all__
        if isinstance(value := getattr(errors, name), type) and issubclass(value, Exception)
    ]
    assert len(raised) > 5
    for name in raised:
        assert name in drawn
        assert issubclass(getattr(errors, name), SimulatorError)


def test_exit_codes_tell_input_from_bug():
    assert ScenarioError([PROBLEM]).exit_code == 2
    assert QuantityError("duration", "empty duration").exit_code == 2
    assert InvariantError("flow is not conserved").exit_code == 3


def test_unknown_kind_names_the_near_miss_and_the_known():
    error = UnknownKindError("fault", "crsh", ["crash", "slow"], "crash")
    assert str(error) == "unknown fault 'crsh' (did you mean 'crash'? known: crash, slow)"
    assert str(UnknownKindError("fault", "x", [])) == "unknown fault 'x' (known: none)"


@pytest.mark.parametrize(
    "error",
    [
        ScenarioError([PROBLEM]),
        QuantityError("rate", "empty rate", "write '5/s'"),
        UnknownKindError("fault", "crsh", ["crash"], "crash"),
    ],
)
def test_errors_cross_process_borders(error):
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is type(error)
    assert str(copy) == str(error)
