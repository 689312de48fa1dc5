"""Mechanisms by name: family and kind → class.

A mechanism registers itself where it is defined::

    @register("guardrail", "removal_velocity")
    class RemovalVelocity:
        \"\"\"Refuse to remove more than a number of units per window.\"\"\"

The files of this package's own folders are imported first, in sorted order, then the plug-ins
that installed distributions declare as entry points in the group ``simulator.mechanisms``. Both
happen on first use, so that importing this module costs nothing.
"""

import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeVar, get_args

from simulator.errors import DuplicateKindError, PluginError, RegistryError, UnknownKindError

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "ENTRY_POINT_GROUP",
    "FAMILIES",
    "REGISTRY",
    "Entry",
    "Family",
    "Registry",
    "config_of",
    "get",
    "kinds",
    "register",
    "summary",
]

Family = Literal["fault", "healing", "guardrail", "automation", "people", "policy"]
FAMILIES: Final[tuple[Family, ...]] = get_args(Family)
ENTRY_POINT_GROUP: Final = "simulator.mechanisms"

_FOLDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fault": "simulator.faults",
        "healing": "simulator.healing",
        "guardrail": "simulator.guardrails",
        "automation": "simulator.automation",
        "people": "simulator.people",
        "policy": "simulator.policies",
    }
)
_KIND = re.compile(r"[a-z][a-z0-9_]*")
_C = TypeVar("_C", bound=type)


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered mechanism."""

    family: Family
    kind: str
    cls: type

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (self.cls.__doc__ or "").strip().splitlines()[0].strip()

    @property
    def origin(self) -> str:
        """Full name of the class."""
        return f"{self.cls.__module__}.{self.cls.__qualname__}"


class Registry:
    """Family and kind → class; filled on first use.

    Parameters
    ----------
    folders : Mapping[str, str]
        Family → package whose modules are imported on first use. A package that does not exist is
        empty.
    plugins : Callable[[], Iterable[EntryPoint]]
        Where plug-ins come from.
    """

    def __init__(
        self,
        folders: Mapping[str, str] | None = None,
        plugins: Callable[[], Iterable[EntryPoint]] | None = None,
    ) -> None:
        self._folders = dict(folders or {})
        self._plugins = plugins or (lambda: ())
        self._entries: dict[tuple[str, str], Entry] = {}
        self._loaded = False

    def register(self, family: Family, kind: str) -> Callable[[_C], _C]:
        """Return a class decorator that registers under `family` and `kind`.

        Raises
        ------
        DuplicateKindError
            If another class has this kind already.
        RegistryError
            If the family or the form of the kind is unknown, or the class has no docstring.
        """
        _check_family(family)
        if not _KIND.fullmatch(kind):
            msg = f"{family} kind {kind!r} is not lower_snake_case"
            raise RegistryError(msg)

        def decorate(cls: _C) -> _C:
            entry = Entry(family, kind, cls)
            if not (cls.__doc__ or "").strip():
                msg = f"{family} {kind!r}: class {entry.origin} has no docstring"
                raise RegistryError(msg)
            known = self._entries.get((family, kind))
            # The same class again is a module executed twice (reload, retry), not a conflict.
            if known is not None and known.origin != entry.origin:
                msg = f"{family} {kind!r} is registered twice: {known.origin} and {entry.origin}"
                raise DuplicateKindError(msg)
            self._entries[family, kind] = entry
            return cls

        return decorate

    def kinds(self, family: Family) -> tuple[str, ...]:
        """Return the kinds of a family, sorted."""
        _check_family(family)
        self._load()
        return tuple(sorted(kind for of, kind in self._entries if of == family))

    def entry(self, family: Family, kind: str) -> Entry:
        """Return the entry of a kind.

        Raises
        ------
        UnknownKindError
            With the near miss and the kinds there are.
        """
        known = self.kinds(family)
        found = self._entries.get((family, kind))
        if found is None:
            nearest = next(iter(get_close_matches(str(kind), known, 1)), "")
            raise UnknownKindError(family, kind, known, nearest)
        return found

    def entries(self, family: Family) -> tuple[Entry, ...]:
        """Return the entries of a family, sorted by kind."""
        return tuple(self.entry(family, kind) for kind in self.kinds(family))

    def get(self, family: Family, kind: str) -> type:
        """Return the class of a kind."""
        return self.entry(family, kind).cls

    def summary(self, family: Family, kind: str) -> str:
        """Return the first docstring line of a kind."""
        return self.entry(family, kind).summary

    def config_of(self, family: Family, kind: str) -> "type[BaseModel]":
        """Return the ``Config`` of a kind: a pydantic model, frozen and closed.

        Raises
        ------
        RegistryError
            If the class has no such ``Config``.
        """
        entry = self.entry(family, kind)
        config: type[BaseModel] | None = getattr(entry.cls, "Config", None)
        settings: Mapping[str, object] = getattr(config, "model_config", {})
        if config is None or not settings.get("frozen") or settings.get("extra") != "forbid":
            msg = (
                f"{family} {kind!r}: {entry.origin}.Config must be a pydantic model with "
                "frozen=True and extra='forbid'"
            )
            raise RegistryError(msg)
        return config

    def _load(self) -> None:
        """Import built-in files, then plug-ins; once."""
        if self._loaded:
            return
        self._loaded = True
        try:
            for family in FAMILIES:
                if family in self._folders:
                    _import_folder(self._folders[family])
            for plugin in sorted(self._plugins(), key=lambda point: (point.name, point.value)):
                _import_plugin(plugin)
        except BaseException:
            self._loaded = False
            raise


def _check_family(family: str) -> None:
    if family not in FAMILIES:
        msg = f"unknown family {family!r} (known: {', '.join(FAMILIES)})"
        raise RegistryError(msg)


def _import_folder(package: str) -> None:
    """Import every module of a package, in sorted order."""
    try:
        folder = import_module(package)
    except ModuleNotFoundError as error:
        if error.name == package:
            return
        raise
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    for name in names:
        import_module(f"{package}.{name}")


def _import_plugin(plugin: EntryPoint) -> None:
    try:
        plugin.load()
    except RegistryError:
        raise
    except Exception as error:
        msg = f"plug-in {plugin.name!r} ({plugin.value}) cannot be loaded: {error}"
        raise PluginError(msg) from error


def _installed() -> Iterable[EntryPoint]:
    return entry_points(group=ENTRY_POINT_GROUP)


REGISTRY: Final = Registry(_FOLDERS, _installed)
"""The registry of the program; a test that needs another one makes it."""

register = REGISTRY.register
kinds = REGISTRY.kinds
get = REGISTRY.get
summary = REGISTRY.summary
config_of = REGISTRY.config_of
