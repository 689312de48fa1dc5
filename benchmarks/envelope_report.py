"""Figure and tables of the accuracy envelope, from ``benchmarks/envelope/results.json``.

Writes ``notebooks/figures/envelope.png`` and the part of VALIDATION.md between the markers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "envelope" / "results.json"
FIGURE = ROOT / "notebooks" / "figures" / "envelope.png"
VALIDATION = ROOT / "VALIDATION.md"
START, END = "<!-- envelope:start -->", "<!-- envelope:end -->"
MEASURES = ("queue", "attempts", "goodput")
WELL = 0.5
INSIDE, OUTSIDE = "#1f77b4", "#d62728"
Results = dict[str, dict[str, Any]]


def is_inside(case: dict[str, Any]) -> bool:
    """Tell whether the flow has no concern about a case."""
    return not case["concerns"]


def same_end(case: dict[str, Any]) -> bool:
    """Tell whether the flow ends as the majority of seeds does, well or stuck."""
    votes = [x > WELL for x in case["success"]["requests"]]
    return bool((case["success"]["flow"] > WELL) == (sum(votes) > len(votes) / 2))


def split_vote(case: dict[str, Any]) -> bool:
    """Tell whether the seeds themselves end differently."""
    return len({x > WELL for x in case["success"]["requests"]}) > 1


def mean_recovery(case: dict[str, Any]) -> float | None:
    """Return the mean time to recovery of the seeds; None if one never recovers."""
    times = case["recovery_s"]["requests"]
    return None if any(t is None for t in times) else float(np.mean(times))


def differences(cases: list[dict[str, Any]], of: str) -> np.ndarray:
    """Return flow less requests where both have a number, (n, 2): requests, flow."""
    if of == "recovery":
        pairs = [(mean_recovery(c), c["recovery_s"]["flow"]) for c in cases]
    else:
        pairs = [(c["tipping_s"]["requests"], c["tipping_s"]["flow"]) for c in cases if of in c]
    return np.array([p for p in pairs if None not in p], dtype=float).reshape(-1, 2)


def row(name: str, values: np.ndarray, form: str = "{:.1%}") -> str:
    """Return a line of the table: median, nine tenths, worst."""
    if len(values) == 0:
        return f"| {name} | 0 | – | – | – |"
    shown = [form.format(np.quantile(values, q)) for q in (0.5, 0.9, 1.0)]
    return f"| {name} | {len(values)} | {' | '.join(shown)} |"


def table(cases: list[dict[str, Any]]) -> list[str]:
    """Return the lines that compare the flow with requests and with fine steps."""
    lines = ["| measure | cases | median | 9 of 10 | worst |", "|---|---|---|---|---|"]
    for of, title in (
        ("against_requests", "flow against requests"),
        ("one_seed_against_mean", "one seed of requests against their mean"),
        ("against_fine_steps", "flow against steps 50 times finer"),
    ):
        lines += [row(f"{title}: {n}", np.array([c[of][n] for c in cases])) for n in MEASURES]
    gap = differences(cases, "recovery")
    lines.append(row("recovery edge, difference", np.abs(gap[:, 1] - gap[:, 0]), "{:.1f} s"))
    tip = differences(cases, "tipping_s")
    relative = np.abs(tip[:, 1] / tip[:, 0] - 1.0) if len(tip) else np.zeros(0)
    lines.append(row("tipping duration, difference", relative))
    return lines


def ends(cases: list[dict[str, Any]]) -> str:
    """Return in how many cases the final state is the same."""
    same = sum(same_end(c) for c in cases)
    return f"{same} of {len(cases)} ({same / max(1, len(cases)):.1%})"


def by_reason(cases: list[dict[str, Any]]) -> list[str]:
    """Return a table of the reasons for which a case is outside, and what goes wrong there."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        for reason in {r.split(":")[0].rstrip("0123456789. ") for r in case["concerns"]}:
            kinds.setdefault(general(reason), []).append(case)
    lines = [
        "| reason | cases | same final state | queue, median | worst |",
        "|---|---|---|---|---|",
    ]
    for reason in sorted(kinds):
        found = kinds[reason]
        queue = np.array([c["against_requests"]["queue"] for c in found])
        worst = f"{np.median(queue):.1%} | {queue.max():.1%}"
        lines.append(f"| {reason} | {len(found)} | {ends(found)} | {worst} |")
    return lines


def general(reason: str) -> str:
    """Return a reason without its numbers."""
    return "short timeout" if reason.startswith("timeout of only") else reason


def section(results: Results) -> str:
    """Return the text between the markers."""
    pools = [c for name, c in results.items() if name.startswith("pool")]
    graphs = [c for name, c in results.items() if name.startswith("graph")]
    inside = [c for c in results.values() if is_inside(c)]
    outside = [c for c in results.values() if not is_inside(c)]
    wrong = [name for name, c in results.items() if is_inside(c) and not same_end(c)]
    split = sum(split_vote(c) for c in inside)
    what = (
        f"{len(pools)} single pools and {len(graphs)} graphs, {len(inside)} of them inside the "
        "region of validity. Differences are root mean squares over the 100 s of a run by second, "
        "relative to the largest value in requests (mean of five seeds)."
    )
    state = (
        f"**Final state (well or stuck) equal inside: {ends(inside)}**; outside: {ends(outside)}."
    )
    if wrong:
        state += f" Inside and different: {', '.join(wrong)}."
    state += f" In {split} of the cases inside, the seeds differ among themselves."
    why = "Why cases are outside (one may have several reasons):"
    parts = [START, what, state, "Inside:", "\n".join(table(inside)), "Outside:"]
    parts += ["\n".join(table(outside)), why, "\n".join(by_reason(outside)), END]
    return "\n\n".join(parts)


def draw(results: Results, path: Path) -> None:
    """Draw the envelope: errors against load, their distribution, tipping and recovery."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    pools = [c for name, c in results.items() if name.startswith("pool")]
    groups = (("inside", INSIDE, True), ("outside", OUTSIDE, False))
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for label, colour, kind in groups:
        some = [c for c in pools if is_inside(c) is kind]
        axes[0, 0].scatter(
            [c["inputs"]["load"] for c in some],
            [c["against_requests"]["goodput"] for c in some],
            s=16, color=colour, alpha=0.7, label=label,
        )  # fmt: skip
        every = [c for c in results.values() if is_inside(c) is kind]
        for name, style in zip(MEASURES, ("-", "--", ":"), strict=True):
            x = np.sort([c["against_requests"][name] for c in every])
            y = np.arange(1, len(x) + 1) / max(1, len(x))
            axes[0, 1].step(x, y, style, color=colour, where="post", label=f"{name}, {label}")
        tip = differences(every, "tipping_s")
        axes[1, 0].scatter(tip[:, 0], tip[:, 1], s=20, color=colour, label=label)
        gap = differences(every, "recovery")
        axes[1, 1].scatter(gap[:, 0], gap[:, 1], s=16, color=colour, alpha=0.7, label=label)
    floor = [c["one_seed_against_mean"]["goodput"] for c in results.values()]
    axes[0, 0].axhline(np.median(floor), color="0.5", lw=1, label="one seed against the mean")
    axes[0, 0].set(xlabel="load (share of capacity)", ylabel="difference of goodput", yscale="log",
                   title="Flow against requests: goodput of single pools")  # fmt: skip
    axes[0, 1].set(xlabel="difference", ylabel="share of cases", xscale="log", xlim=(1e-3, 2.0),
                   title="Distribution over all cases")  # fmt: skip
    for axis, what in (
        (axes[1, 0], "tipping duration"),
        (axes[1, 1], "recovery after the trigger"),
    ):
        high = max(*axis.get_xlim(), *axis.get_ylim())
        axis.plot([0, high], [0, high], color="0.5", lw=1)
        axis.set(
            xlabel=f"{what}, requests (s)", ylabel=f"{what}, flow (s)", title=what.capitalize()
        )
    for axis in axes.flat:
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8, framealpha=0.9, edgecolor="none")
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--print", action="store_true", help="print the section, write nothing")
    parser.add_argument("--json", action="store_true", help="print the headline numbers only")
    args = parser.parse_args()
    results: Results = json.loads(args.results.read_text(encoding="utf-8"))
    text = section(results)
    if args.json:
        inside = [c for c in results.values() if is_inside(c)]
        same = sum(same_end(c) for c in inside)
        print(json.dumps({"cases": len(results), "inside": len(inside), "same_final_state": same}))
        return
    if args.print:
        print(text)
        return
    draw(results, FIGURE)
    before, _, rest = VALIDATION.read_text(encoding="utf-8").partition(START)
    VALIDATION.write_text(before + text + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
