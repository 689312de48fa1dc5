"""Help: fast, worth reading, and without the heavy packages."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context

from simulator.cli import COMMANDS, cli, main
from simulator.cli.catalogue import shipped

HEAVY = (
    "numba", "numpy", "pandas", "matplotlib", "scipy", "networkx", "simpy", "pydantic", "pyarrow",
    "rich", "yaml",
)  # fmt: skip


def imported(env, *args):
    """Return the modules that a command line imports."""
    code = (
        f"import sys; sys.argv = ['simulator', *{args!r}]; from simulator.cli import main; main()"
    )
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("args", [("--help",), ("-h",), ("--version",)])
def test_help_imports_nothing_heavy(subprocess_env, args):
    names = imported(subprocess_env, *args)
    assert "click" in names
    assert not names & set(HEAVY)


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_of_a_verb_imports_nothing_heavy(subprocess_env, verb):
    assert not imported(subprocess_env, verb, "--help") & set(HEAVY)


def test_help_names_every_verb_and_the_exit_codes(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for verb, summary in COMMANDS.items():
        assert f"{verb} " in text
        assert summary in " ".join(text.split())
    assert "Exit codes: 0 done, 1 an expectation failed, 2 the input is wrong," in text


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_of_a_verb_has_examples_and_exit_codes(capsys, verb):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example" in text
    assert f"  simulator {verb}" in text
    assert "Exit codes: 0 " in text
    assert max(len(line) for line in text.splitlines()) <= 100


def _examples(text):
    """Return the words of the command lines of this program in a help page."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line.startswith("simulator ")]
    return [shlex.split(line.partition("|")[0].partition("    ")[0]) for line in lines]


@pytest.mark.parametrize("verb", ["", *COMMANDS])
def test_what_examples_name_exists(capsys, monkeypatch, verb):
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    assert main([*([verb] if verb else []), "--help"]) == 0
    examples = _examples(capsys.readouterr().out)
    assert examples
    known = {path.stem for path in shipped()}
    for words in examples:
        assert words[1] in COMMANDS
        for name in words[2:]:
            if name.startswith("scenarios/"):
                assert list(root.glob(name)), name
            elif words[1] == "explain":
                assert name.removeprefix("runs/").partition("-seed")[0] in known
        named = [w for w in words[2:3] if not w.startswith("-") and words[1] in {"run", "check"}]
        assert all(Path(name).stem in known for name in named), words


def test_changes_in_examples_can_be_made(capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    for verb in ("run", "validate"):
        assert main([verb, "--help"]) == 0
        found = [w for w in _examples(capsys.readouterr().out) if "--set" in w]
        assert found
        for words in found:
            at = words.index("--set")
            assert main(["validate", words[2], *words[at : at + 2]]) == 0
            capsys.readouterr()


def test_python_m_runs_the_command_line(subprocess_env):
    done = subprocess.run(
        [sys.executable, "-m", "simulator", "--version"],
        capture_output=True, text=True, env=subprocess_env, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("simulator, version ")


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_summary_of_a_verb_is_its_own_first_sentence(verb):
    command = cli.get_command(Context(cli), verb)
    assert command is not None
    first = " ".join((command.help or "").split("\n\n")[0].split())
    assert first.startswith(COMMANDS[verb].rstrip("."))


def test_version(capsys):
    from simulator import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"simulator, version {__version__}\n"


def test_no_verb_shows_the_help(capsys):
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["rum"], "No such command 'rum'. Did you mean 'run'?"),
        (["xyzzy"], "No such command 'xyzzy'. Known: run, explain"),
        (["--colour"], "No such option '--colour'"),
        (["run"], "Missing argument 'SCENARIO'"),
        (["run", "x", "--seed", "-1"], "-1 is not in the range"),
        (["check", "--seeds", "0"], "0 is not in the range"),
    ],
)
def test_wrong_use_is_told_with_a_hint(capsys, args, said):
    assert main(args) == 2
    assert said in capsys.readouterr().err


def test_completion_of_verbs_imports_no_verb(subprocess_env):
    env = {
        **subprocess_env,
        "_SIMULATOR_COMPLETE": "bash_complete",
        "COMP_WORDS": "simulator ",
        "COMP_CWORD": "1",
    }
    code = (
        "import sys\nfrom simulator.cli import main\n"
        "try:\n    main()\nfinally:\n"
        f"    assert not set(sys.modules) & set({HEAVY!r})\n"
        "    assert 'simulator.cli.run' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert {line.removeprefix("plain,") for line in done.stdout.split()} == set(COMMANDS)
