import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from pydantic import BaseModel, ConfigDict

from simulator import registry
from simulator.errors import DuplicateKindError, PluginError, RegistryError, UnknownKindError
from simulator.registry import FAMILIES, REGISTRY, Registry


class Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def mechanism(name="Crash", config=Closed):
    namespace = {"__doc__": f"{name} of units.\n\n    More text.", "Config": config}
    return type(name, (), {**namespace, "__module__": f"tests.{name.lower()}"})


def test_register_returns_the_class_and_get_finds_it():
    own = Registry()
    crash = own.register("fault", "crash")(mechanism())
    assert crash.__name__ == "Crash"
    assert own.get("fault", "crash") is crash
    assert own.kinds("fault") == ("crash",)
    assert own.kinds("healing") == ()
    assert own.summary("fault", "crash") == "Crash of units."
    assert own.config_of("fault", "crash") is Closed


def test_kinds_are_sorted_and_families_are_apart():
    own = Registry()
    for kind in ("slow", "crash", "partition"):
        own.register("fault", kind)(mechanism(kind.title()))
    own.register("healing", "crash")(mechanism("Other"))
    assert own.kinds("fault") == ("crash", "partition", "slow")
    assert own.kinds("healing") == ("crash",)
    assert [entry.kind for entry in own.entries("fault")] == ["crash", "partition", "slow"]


def test_duplicate_names_both_classes():
    own = Registry()
    own.register("fault", "crash")(mechanism("One"))
    with pytest.raises(DuplicateKindError, match=r"'crash' .*tests\.one\.One and tests\.two\.Two"):
        own.register("fault", "crash")(mechanism("Two"))


def test_module_executed_again_is_no_duplicate():
    own = Registry()
    own.register("fault", "crash")(mechanism())
    again = own.register("fault", "crash")(mechanism())
    assert own.get("fault", "crash") is again


def test_unknown_kind_has_near_miss_and_known():
    own = Registry()
    own.register("fault", "crash")(mechanism())
    own.register("fault", "slow")(mechanism("Slow"))
    with pytest.raises(UnknownKindError) as caught:
        own.get("fault", "crsh")
    assert str(caught.value) == "unknown fault 'crsh' (did you mean 'crash'? known: crash, slow)"
    assert isinstance(caught.value, LookupError)


@pytest.mark.parametrize("kind", ["Crash", "two words", "", "1st", "a-b"])
def test_kind_must_be_snake_case(kind):
    with pytest.raises(RegistryError, match="lower_snake_case"):
        Registry().register("fault", kind)


def test_unknown_family_names_the_families():
    with pytest.raises(RegistryError, match=r"unknown family 'faults' \(known: fault, healing"):
        Registry().kinds("faults")  # type: ignore[arg-type]


def test_docstring_is_required():
    with pytest.raises(RegistryError, match="has no docstring"):
        Registry().register("fault", "crash")(type("Bare", (), {}))


@pytest.mark.parametrize(
    "config",
    [
        None,
        type("Open", (BaseModel,), {"model_config": ConfigDict(frozen=True)}),
        type("Mutable", (BaseModel,), {"model_config": ConfigDict(extra="forbid")}),
    ],
)
def test_config_must_be_closed_and_frozen(config):
    own = Registry()
    own.register("fault", "crash")(mechanism(config=config))
    with pytest.raises(RegistryError, match="frozen=True and extra='forbid'"):
        own.config_of("fault", "crash")


def make_package(folder, files):
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def test_files_of_the_folders_come_first_in_sorted_order_then_plugins(tmp_path, monkeypatch):
    log = "import builtins\nbuiltins.reg_log.append(__name__)\n"
    make_package(tmp_path / "reg_faults", {"beta": log, "alpha": log})
    (tmp_path / "reg_plugin.py").write_text(log)
    monkeypatch.syspath_prepend(str(tmp_path))
    seen: list[str] = []
    monkeypatch.setattr("builtins.reg_log", seen, raising=False)
    plugin = EntryPoint("plugin", "reg_plugin", registry.ENTRY_POINT_GROUP)
    own = Registry({"fault": "reg_faults", "healing": "reg_missing"}, lambda: [plugin])
    assert seen == []
    own.kinds("people")
    own.kinds("fault")
    assert seen == ["reg_faults.alpha", "reg_faults.beta", "reg_plugin"]


def test_missing_import_inside_a_mechanism_is_not_hidden(tmp_path, monkeypatch):
    make_package(tmp_path / "reg_broken", {"broken": "import reg_no_such_module\n"})
    monkeypatch.syspath_prepend(str(tmp_path))
    own = Registry({"fault": "reg_broken"})
    for _ in range(2):  # a failed load is not taken for a finished one
        with pytest.raises(ModuleNotFoundError, match="reg_no_such_module"):
            own.kinds("fault")


def test_missing_import_of_a_folder_is_not_taken_for_a_missing_folder(tmp_path, monkeypatch):
    make_package(tmp_path / "reg_broken_folder", {})
    (tmp_path / "reg_broken_folder" / "__init__.py").write_text("import reg_no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="reg_no_such_module"):
        Registry({"fault": "reg_broken_folder"}).kinds("fault")


def test_plugin_that_cannot_be_loaded_is_named():
    plugin = EntryPoint("acme", "reg_absent:Thing", registry.ENTRY_POINT_GROUP)
    with pytest.raises(PluginError, match=r"'acme' \(reg_absent:Thing\) cannot be loaded"):
        Registry({}, lambda: [plugin]).kinds("fault")


@pytest.mark.parametrize("family", FAMILIES)
def test_built_in_mechanisms_are_complete(family):
    for entry in REGISTRY.entries(family):
        assert entry.summary
        REGISTRY.config_of(family, entry.kind)


def test_importing_the_registry_is_cheap(subprocess_env):
    heavy = {"numpy", "pandas", "pydantic", "networkx", "simpy", "numba", "scipy"}
    code = f"import sys, simulator.registry; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=subprocess_env
    )
    assert done.stdout.strip() == "[]"
