"""What was compiled before is used again only while none of its sources has changed."""

import subprocess
import sys
from pathlib import Path

import pytest

from simulator import compiled

PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from simulator.flow import kernel
print(kernel.answer(), sum(kernel.answer.stats.cache_hits.values()))
"""


@pytest.fixture
def package(tmp_path):
    """Make a package of the same form: a kernel that calls a policy's function."""
    root = tmp_path / "simulator"
    for folder in (root, root / "flow", root / "policies"):
        folder.mkdir()
        (folder / "__init__.py").write_text("")
    (root / "compiled.py").write_text(Path(compiled.__file__).read_text(encoding="utf-8"))
    (root / "policies" / "rule.py").write_text("def rule():\n    return 41\n")
    (root / "flow" / "kernel.py").write_text(
        "from simulator.compiled import compiled, inlined\n"
        "from simulator.policies import rule\n"
        "decide = inlined(rule.rule)\n"
        "@compiled\n"
        "def answer():\n"
        "    return decide() + 1\n"
    )
    return tmp_path


def answer(package, env):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(root=str(package))],
        capture_output=True,
        text=True,
        check=True,
        env=env,
        cwd=package,
    )
    value, hits = done.stdout.split()
    return int(value), int(hits)


def test_a_changed_policy_is_compiled_anew(package, subprocess_env):
    env = subprocess_env
    assert answer(package, env) == (42, 0)
    assert answer(package, env) == (42, 1)
    rule = package / "simulator" / "policies" / "rule.py"
    rule.write_text("def rule():\n    return 100\n")
    assert answer(package, env) == (101, 0)
    assert answer(package, env) == (101, 1)
