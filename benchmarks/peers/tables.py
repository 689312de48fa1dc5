"""Results as tables: on the terminal, in the README, as JSON."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from answers import ATTEMPTS_PER_FIRST, wait_sd_s
from programs import CANNOT, Program
from workloads import W1

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from measure import Results
    from requirements import Verdict

HEAD = (
    *("program", "version", "Python", "requests/s", "rounds from … to"),
    *("request fidelity is … × as fast", "runs", "answer"),
)
TITLES = {
    "W1": f"W1, open queue (answer: mean wait, exact {1e6 * W1.mean_wait_s:.1f} µs)",
    "W2": f"W2, retry storm (answer: attempts per first try, {ATTEMPTS_PER_FIRST} in 60 s)",
}
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


def figure(value: float) -> str:
    """Three figures and a prefix."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * unit:
            return figure(value / unit) + name
    return f"{value:.0f}" if value >= 99.95 else f"{value:.3g}"


def row_of(program: Program, results: Results) -> dict[str, Any]:
    """One program's figures."""
    key = program.workload, program.name
    row: dict[str, Any] = {"workload": program.workload, "program": program.name}
    row |= {"title": program.title, "version": results.versions.get(key, "")}
    row["horizon_s"] = program.horizon_s
    speeds, runs = results.speeds(key), results.right(key)
    wrong = [run["wrong"][0] for run in results.runs.get(key, ()) if run["wrong"]]
    if key in results.missing or not speeds:
        return row | {"missing": results.missing.get(key, "not run")}
    own = list(speeds.values())
    answer = statistics.fmean(
        1e6 * run["mean_wait_s"] if program.workload == "W1" else run["attempts"] / run["first"]
        for run in runs
    )
    return row | {
        "python": runs[0]["python"],
        "requests_per_cpu_s": statistics.median(own),
        "slowest": min(own),
        "fastest": max(own),
        "request_is_times_as_fast": results.ratio(program.workload, "request", program.name),
        "rounds": len(speeds),
        "runs": len(runs),
        "cpu_s_per_run": statistics.median(run["cpu_s"] for run in runs),
        "wall_s_per_run": statistics.median(run["wall_s"] for run in runs),
        "peak_mb": max(run["peak_mb"] for run in runs),
        "wrong_runs": wrong,
        "answer": answer,
        "answer_sd": 1e6 * wait_sd_s(runs[0]) / len(runs) ** 0.5 if program.workload == "W1" else 0,
    }


def cells(row: dict[str, Any]) -> list[str]:
    """Texts of a row of the table."""
    short = "" if row["horizon_s"] >= 60.0 else f" ({row['horizon_s']:.0f} s)"
    start = [row["title"] + short, row["version"]]
    if "missing" in row:
        return [*start, "", "", "", "", "", row["missing"]]
    span = f"{figure(row['slowest'])} to {figure(row['fastest'])}" if row["rounds"] > 1 else ""
    ratio = row["request_is_times_as_fast"]
    answer = f"{row['answer']:.3f}"
    if row["workload"] == "W1":
        answer = f"{row['answer']:.1f} ± {row['answer_sd']:.1f} µs"
    if row["wrong_runs"]:
        answer += f"; WRONG in {len(row['wrong_runs'])} more: {row['wrong_runs'][0]}"
    return [
        *start,
        row["python"],
        figure(row["requests_per_cpu_s"]),
        span,
        "-" if ratio is None else figure(ratio),
        f"{row['runs']} in {row['rounds']} rounds" if row["rounds"] > 1 else f"{row['runs']}",
        answer,
    ]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def text(rows: list[dict[str, Any]], judged: Sequence[Verdict], machine: str) -> str:
    """All tables, fastest program first."""
    parts = [f"{machine}\n"]
    for workload, title in TITLES.items():
        mine = [row for row in rows if row["workload"] == workload]
        if not mine:
            continue
        mine.sort(key=lambda row: -row.get("requests_per_cpu_s", 0.0))
        lines = [cells(row) for row in mine]
        if workload == "W2":
            lines += [
                [name, "", "", "", "", "", "", f"cannot express it: {why}"]
                for name, why in CANNOT.items()
            ]
        parts.append(f"**{title}**\n\n{markdown(HEAD, lines)}")
    verdict_rows = [[v.what, v.measured, v.word] for v in judged]
    parts.append(markdown(("requirement", "measured", "verdict"), verdict_rows))
    return "\n".join(parts)


def write_between_marks(path: Path, generated: str) -> None:
    """Replace what stands between the two marks of a file."""
    old = path.read_text(encoding="utf-8")
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{generated}{END}{after}", encoding="utf-8")
