"""What is tortured: which packages of the user's modules, with which inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import attrs

from flowkit.dsl.decorators import definitions_of
from flowkit.errors import ConfigError, PackageNotRegistered
from flowkit.model.definitions import PackageDef
from flowkit.runtime.discovery import discover

ATTRIBUTE = "torture_inputs"
"""A module's own inputs: a dict of package names (or their functions) to lists of inputs, or a function giving one."""


@attrs.frozen
class Case:
    """One run that is started: a package and its input."""

    package: str
    input: Any = None


def cases_of(modules: Sequence[str], packages: Sequence[str] = (), inputs: Sequence[Any] = ()) -> tuple[Case, ...]:
    """Return what to run.

    Args:
        packages: only these, by name; without any, all that the modules declare.
        inputs: of the one package that is named; without any, those that the modules give in ``torture_inputs``, and
            none for a package that requires none.

    Raises:
        PackageNotRegistered: a package that is named is not there.
        ConfigError: inputs without exactly one package, a package that requires an input and has none, or none at all.
        DiscoveryError: a module cannot be imported.
    """
    known = {definition.name: definition for definition in _packages(modules)}
    for name in packages:
        if name not in known:
            raise PackageNotRegistered(name, tuple(known))
    if inputs:
        if len(packages) != 1:
            raise ConfigError("torture: inputs are those of one package; name it, and no other")
        return tuple(Case(packages[0], one) for one in inputs)
    given = _given(modules, known)
    found = [case for name in packages or known for case in _of(known[name], given)]
    for name in packages:
        if not any(case.package == name for case in found):
            raise ConfigError(f"torture: package {name!r} requires an input; give one, or {_example(name)}")
    if not found:
        asked = ", ".join(map(repr, known)) or "none"
        name = next(iter(known), "order")
        raise ConfigError(f"torture: no package can be started without an input ({asked}); {_example(name)}")
    return tuple(found)


def _example(package: str) -> str:
    return f"write {ATTRIBUTE} = {{{package!r}: [...]}} in its module"


def _packages(modules: Iterable[str]) -> Iterator[PackageDef]:
    for function in discover(modules):
        yield from (one for one in definitions_of(function) if isinstance(one, PackageDef))


def _of(definition: PackageDef, given: Mapping[str, list[Any]]) -> list[Case]:
    if definition.name in given:
        return [Case(definition.name, one) for one in given[definition.name]]
    return [] if definition.signature().input_required else [Case(definition.name)]


def _given(modules: Iterable[str], known: Mapping[str, PackageDef]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for module in modules:
        given = getattr(import_module(module), ATTRIBUTE, {})
        given = given() if callable(given) else given
        if not isinstance(given, Mapping):
            raise ConfigError(f"torture: {module}.{ATTRIBUTE}: expected a dict of package to inputs, got {given!r}")
        for package, inputs in given.items():
            names = (
                [one.name for one in definitions_of(package) if isinstance(one, PackageDef)]
                if callable(package)
                else [package]
            )
            for name in names:
                if name not in known:
                    raise PackageNotRegistered(str(name), tuple(known))
                found.setdefault(name, []).extend(inputs)
    return found


def _names(package: Any) -> list[Any]:
    if not callable(package):
        return [package]
    return [one.name for one in definitions_of(package) if isinstance(one, PackageDef)]
