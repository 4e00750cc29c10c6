"""Finds marked functions: modules by name with all their submodules, and what installed distributions announce."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from flowkit.dsl.decorators import definitions_of
from flowkit.errors import ConfigError, DiscoveryError

GROUP = "flowkit.modules"


def discover(modules: Iterable[str | ModuleType]) -> Iterator[Any]:
    """Yield the marked functions of these modules and of all submodules of those that are packages.

    Raises:
        ConfigError: something is neither a module nor the name of one.
        DiscoveryError: a module cannot be imported; its cause is kept.
    """
    seen: set[str] = set()
    for named in modules:
        for module in _with_submodules(_imported(named)):
            if module.__name__ not in seen:
                seen.add(module.__name__)
                yield from _marked(module)


def announced() -> list[str]:
    """Return the modules that installed distributions announce under the entry-point group ``flowkit.modules``."""
    return [entry.value for entry in entry_points(group=GROUP)]


def _imported(named: str | ModuleType) -> ModuleType:
    if isinstance(named, ModuleType):
        return named
    if not isinstance(named, str) or not named.strip():
        raise ConfigError(f"modules: expected module names or modules, got {named!r}")
    try:
        return importlib.import_module(named)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise DiscoveryError(named, f"{type(error).__name__}: {error}{_place_of(error)}") from error


def _place_of(error: BaseException) -> str:
    """Say in which line of the program an import failed; nothing where none of it was reached."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and not frame.filename.startswith("<frozen ")]
    own = [frame for frame in own if frame.filename != importlib.__file__]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


def _with_submodules(module: ModuleType) -> Iterator[ModuleType]:
    yield module
    path = getattr(module, "__path__", None)
    if path is None:
        return
    for found in pkgutil.walk_packages(path, f"{module.__name__}.", onerror=_refuse):
        if found.name.rpartition(".")[2] != "__main__":
            yield _imported(found.name)


def _refuse(name: str) -> None:
    _imported(name)


def _marked(module: ModuleType) -> Iterator[Any]:
    for value in list(vars(module).values()):
        # Only functions carry marks: asking any object for an attribute may run its code.
        if callable(value) and getattr(type(value), "__name__", "") == "function" and definitions_of(value):
            yield value
