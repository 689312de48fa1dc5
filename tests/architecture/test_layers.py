"""Imports: what import-linter checks, and two rules that it cannot say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "simulator"
MECHANISMS = ("automation", "faults", "guardrails", "healing", "people")


def imported(source):
    """Return the dotted names that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def outside(names, allowed):
    """Return the names of this package that are not below `allowed`."""
    own = {name for name in names if name.split(".")[0] == "simulator"}
    return sorted(name for name in own if not f"{name}.".startswith(f"{allowed}."))


def inside(names, forbidden):
    """Return the names at or below one of `forbidden`."""
    return sorted(n for n in names if any(f"{n}.".startswith(f"{top}.") for top in forbidden))


def test_the_judge_sees_imports():
    names = imported("import simulator.model\nfrom simulator.flow import contract\nimport numpy")
    assert outside(names, "simulator.flow") == ["simulator.model"]
    assert inside(names, ["simulator.flow"]) == ["simulator.flow.contract"]
    assert imported("def f():\n    from simulator.faults import crash") == {
        "simulator.faults.crash"
    }


def test_import_linter_passes(subprocess_env):
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=subprocess_env,
    )
    assert done.returncode == 0, done.stdout


def test_kernels_see_arrays_only():
    for plane in ("flow", "request"):
        kernels = sorted((PACKAGE / plane).glob("kernel*"))
        files = [file for kernel in kernels for file in [kernel, *kernel.rglob("*.py")]]
        assert files
        allowed = [f"simulator.{plane}", "simulator.compiled", "simulator.policies"]
        for file in files:
            if file.suffix == ".py":
                names = imported(file.read_text(encoding="utf-8"))
                foreign = {n for n in names if n.startswith("simulator.")} - set(
                    inside(names, allowed)
                )
                assert foreign == set(), file.name


@pytest.mark.parametrize("layer", ["engine", "control_plane", "mechanism", "metrics", "scenario"])
def test_core_names_no_mechanism(layer):
    forbidden = [f"simulator.{folder}" for folder in MECHANISMS]
    for file in [*PACKAGE.glob(f"{layer}.py"), *(PACKAGE / layer).rglob("*.py")]:
        assert inside(imported(file.read_text(encoding="utf-8")), forbidden) == [], file.name
