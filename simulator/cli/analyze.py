"""``simulator analyze``: a small pool as a Markov chain over its queue and its orbit."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from simulator.cli.output import OutPath, try_output, writing
from simulator.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from simulator.analytic.chain import PoolChain
    from simulator.analytic.solve import Stationary
    from simulator.analytic.summary import Analysis

HELP: Final = """Solve a small pool with timeouts and retries as a Markov chain.

The chain's state is the queue and the orbit: attempts in the pool, and first tries whose last
attempt will time out or was rejected. Solved, not simulated: the loads at which the good and the
bad state end, the mean queue, how long each state lasts, and how fast the pool forgets.

SCENARIO is a file or the id of a shipped scenario with a pool that the chain can describe: one
service, no calls, exponential service, first in first out, dead work served. Without it, give the
parameters; with it, they count instead of those declared.

\b
Examples:
  simulator analyze --servers 1 --service-time 100ms --timeout 2s --retries 4 --room 60 --load 6/s
  simulator analyze --servers 10 --service-time 100ms --room 50 --load 80/s --json
  simulator analyze my-pool.yaml --pool front --load 2k/s --figure drift.png

\b
Exit codes: 0 done, 2 the input is wrong, 3 a bug of this program.
"""


# Generic only since click 8.3; without the brackets it also runs on what came before.
class _Quantity(click.ParamType):  # type: ignore[type-arg]
    """A number with a unit, read as in scenario files."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number in SI units."""
        from simulator import units
        from simulator.errors import QuantityError

        if isinstance(value, float):
            return value
        if self.name == "duration" and value in {"inf", "never"}:
            return math.inf
        try:
            return float(getattr(units, f"parse_{self.name}")(value))
        except QuantityError as error:
            self.fail(str(error), param, ctx)


_DURATION, _RATE = _Quantity("duration"), _Quantity("rate")


@click.command(help=HELP)
@click.argument("scenario", required=False)
@click.option("--pool", metavar="ID", help="The pool, where the region has several.")
@click.option("--load", "first_tries_rps", type=_RATE, help="First tries per second.")
@click.option("--servers", type=click.IntRange(min=1), help="Servers of the pool.")
@click.option("--service-time", "service_s", type=_DURATION, help="Mean service time.")
@click.option(
    "--timeout", "timeout_s", type=_DURATION, help="Patience of the client.  [default: never]"
)
@click.option("--retries", type=click.IntRange(0, 100), help="Mean retries.  [default: 0]")
@click.option("--backoff", "backoff_s", type=_DURATION, help="Mean backoff.  [default: 0s]")
@click.option("--room", type=click.IntRange(min=0), help="Waiting room; full, it rejects.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--figure", type=OutPath(), metavar="FILE", help="Draw the drift, as PNG.")
def cmd(
    scenario: str | None,
    pool: str | None,
    figure: Path | None,
    as_json: bool,  # noqa: FBT001 - click passes options by name
    **given: Any,  # noqa: ANN401 - click's
) -> None:
    """Run the verb."""
    changes = {name: value for name, value in given.items() if value is not None}
    chain = _chain(scenario, pool, changes)
    if figure is not None:
        _can_be_drawn(chain)
        try_output(figure)
    from simulator.analytic.summary import analyse

    analysis = analyse(chain)
    if figure is not None:
        from simulator.report.drift_figure import drift_png

        with writing(figure):
            figure.write_bytes(drift_png(analysis))
    if as_json:
        import json

        click.echo(json.dumps(numbers(analysis), indent=2, allow_nan=False))
    else:
        _print(analysis)
        if figure is not None:
            click.echo(f"Drawn in {figure}")


def _can_be_drawn(chain: PoolChain) -> None:
    if not chain.retries:
        msg = "without retries there is no orbit, and nothing to draw"
        raise UsageError(msg)


def _chain(scenario: str | None, pool: str | None, changes: dict[str, Any]) -> PoolChain:
    """Return the chain that is meant, from a scenario or from parameters alone."""
    if scenario is not None:
        from simulator.analytic.world import scenario_chain
        from simulator.cli.catalogue import find_scenario
        from simulator.scenario import load_scenario

        if "room" in changes:
            changes["unbounded"] = False
        return scenario_chain(load_scenario(find_scenario(scenario)), pool, **changes)
    if pool is not None:
        msg = "--pool names a pool of a scenario: give the scenario too"
        raise UsageError(msg)
    needed = {
        "first_tries_rps": "--load",
        "servers": "--servers",
        "service_s": "--service-time",
        "room": "--room",
    }
    missing = [option for name, option in needed.items() if name not in changes]
    if missing:
        msg = f"without a scenario the chain also needs {', '.join(missing)}"
        raise UsageError(msg)
    from simulator.analytic.chain import PoolChain

    return PoolChain(**changes)


# ------------------------------------------------------------------------------------- output


def numbers(analysis: Analysis) -> dict[str, Any]:
    """Return what ``--json`` prints; what is infinite or unknown is null."""
    chain = analysis.chain
    given = {name: _finite(value) for name, value in asdict(chain).items()}
    passages = analysis.passages
    return {
        "parameters": given,
        "capacity_rps": chain.capacity_rps,
        "zombie_line": _finite(chain.zombie_line),
        "states": chain.n_states,
        "folds": asdict(analysis.folds) if analysis.folds else None,
        "upper_noisy_rps": analysis.upper_noisy_rps,
        "equilibria": [asdict(state) for state in analysis.equilibria],
        "stationary": _means(analysis.whole),
        "stationary_missing": analysis.whole_missing,
        "good_state": _means(analysis.good),
        "collapse_s": _finite(passages.collapse_s) if passages else None,
        "escape_s": _finite(passages.escape_s) if passages else None,
        "relaxation_s": _finite(analysis.relaxation_s),
        "doubts": list(analysis.doubts),
    }


def _finite(value: Any) -> Any:  # noqa: ANN401 - numbers of any kind pass through
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _means(state: Stationary | None) -> dict[str, float] | None:
    if state is None:
        return None
    names = (
        "in_system", "waiting", "orbit", "attempts_rps", "served_rps", "good_rps", "success_frac",
        "wasted_frac", "stuck_frac", "cut_mass",
    )  # fmt: skip
    return {name: getattr(state, name) for name in names}


def _print(analysis: Analysis) -> None:
    from simulator.cli.console import make_console

    console = make_console()
    console.print(_table(analysis))
    if analysis.whole is None:
        console.print(f"No stationary state is given: {analysis.whole_missing}.")
    if analysis.passages is None and analysis.chain.retries:
        console.print("The room ends below the zombie line: there is no backlog to be stuck in.")
    for doubt in analysis.doubts:
        console.print(f"[bold]Doubtful:[/bold] {doubt}.")


def _table(analysis: Analysis) -> Table:
    from rich.table import Table

    chain = analysis.chain
    table = Table(title=f"{chain.n_states:,} states of queue and orbit", title_justify="left")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    table.add_column("meaning", style="dim")
    for row in (*_loads(analysis), *_states(analysis), *_times(analysis)):
        table.add_row(*row)
    return table


Cells = tuple[str, str, str]


def _loads(analysis: Analysis) -> list[Cells]:
    """Return the rows about loads."""
    chain = analysis.chain
    rows = [
        ("load", f"{chain.first_tries_rps:,.4g}/s", "first tries"),
        ("capacity", f"{chain.capacity_rps:,.4g}/s", "servers / service time"),
    ]
    if analysis.folds is not None:
        rows += [
            ("lower fold", f"{analysis.folds.lower_rps:,.4g}/s", "the bad state ends below it"),
            ("upper fold", f"{analysis.folds.upper_rps:,.4g}/s", "the good state ends above it"),
        ]
    if analysis.upper_noisy_rps is not None:
        rows.append(
            ("  with noise", f"{analysis.upper_noisy_rps:,.4g}/s", "the same, the queue at random")
        )
    return rows


def _states(analysis: Analysis) -> list[Cells]:
    """Return the rows about stationary means."""
    rows: list[Cells] = []
    for name, state in (("stationary", analysis.whole), ("good state", analysis.good)):
        if state is None:
            continue
        rows += [
            (name, f"{state.waiting:,.4g}", "mean number waiting"),
            ("", f"{state.attempts_rps:,.4g}/s", "attempts"),
            ("", f"{100.0 * state.success_frac:.4g} %", "first tries answered in time"),
        ]
        if state is analysis.whole and analysis.passages is not None:
            stuck = f"{100.0 * state.stuck_frac:.4g} %"
            rows.append(("", stuck, "time at or above the zombie line"))
    return rows


def _times(analysis: Analysis) -> list[Cells]:
    """Return the rows about times."""
    from simulator.analytic.solve import longest_s

    def shown(time_s: float) -> str:
        if math.isfinite(time_s):
            return _time(time_s)
        return f"over {_time(longest_s(analysis.chain))}"

    rows: list[Cells] = []
    if analysis.passages is not None:
        rows += [
            ("collapse", shown(analysis.passages.collapse_s), "mean, from empty to zombie line"),
            ("escape", shown(analysis.passages.escape_s), "mean, from full to nobody waiting"),
        ]
    rows.append(("relaxation", shown(analysis.relaxation_s), "1 / spectral gap"))
    return rows


_UNITS: Final = ((365.25 * 86_400.0, "years"), (86_400.0, "days"), (3_600.0, "h"), (60.0, "min"))


def _time(time_s: float) -> str:
    """Return a time with three digits, in the largest unit that fits twice."""
    scale_s, unit = next(((s, u) for s, u in _UNITS if time_s >= 2.0 * s), (1.0, "s"))
    return f"{float(f'{time_s / scale_s:.3g}'):,g} {unit}"
