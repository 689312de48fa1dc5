"""A few cases of the swarm in every run; `make swarm` goes on for minutes."""

import pytest

from tests import swarm


@pytest.mark.parametrize("case", range(3))
def test_a_case_of_the_swarm(case):
    swarm.check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", range(100, 120))
def test_more_cases_of_the_swarm(case):
    swarm.check(case)


def test_cases_differ_and_repeat():
    assert swarm.scenario(1) == swarm.scenario(1)
    assert swarm.scenario(1) != swarm.scenario(2)


def test_a_failure_prints_the_line_that_repeats_it(monkeypatch, capsys):
    def broken(case):
        raise ValueError(case)

    monkeypatch.setattr(swarm, "check", broken)
    monkeypatch.setattr("sys.argv", ["swarm", "--minutes", "0.0001", "--start", "7"])
    assert swarm.main() == 1
    assert "FAILED: python -m tests.swarm --case 7" in capsys.readouterr().out
