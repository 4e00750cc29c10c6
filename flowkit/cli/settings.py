"""The settings of a command: its arguments, else the environment, else the project's pyproject.toml or setup.cfg."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from flowkit.cli.failing import CommandFailed

NO_STORE = (
    "give --store URL, set FLOWKIT_STORE, or write store = \"sqlite:///var/flowkit.db\" into [tool.flowkit] "
    "of pyproject.toml or [flowkit] of setup.cfg"
)
KEYS = ("store", "modules", "artifacts", "projections", "queues")
QUEUE_KEYS = ("max_workers", "rate_per_second", "burst")


@attrs.frozen
class QueueLimits:
    """A queue's limits as the project's file gives them."""

    max_workers: int | None = None
    rate_per_second: float | None = None
    burst: int = 1


@attrs.frozen
class Settings:
    """What a command works with.

    Attributes:
        store: the URL, None where nothing names one.
        modules: the modules whose executors and packages are registered.
        artifacts, projections: the directories of the artifact store and of the projections, if there are any.
        queues: limits by name.
        root: where the project's file is, or the current directory; modules are imported from here.
        file: the project's file, if there is one.
    """

    store: str | None = None
    modules: tuple[str, ...] = ()
    artifacts: str | None = None
    projections: str | None = None
    queues: Mapping[str, QueueLimits] = attrs.field(factory=dict)
    root: Path = attrs.field(factory=Path)
    file: Path | None = None

    def store_url(self) -> str:
        """Return the store's URL.

        Raises:
            CommandFailed: nothing names a store; the hint says what could.
        """
        if not self.store:
            where = f"--store, FLOWKIT_STORE, and pyproject.toml and setup.cfg from {os.getcwd()} upwards"
            raise CommandFailed("no store is named", where=where, hint=NO_STORE)
        return self.store


def read_settings(store: str | None = None, modules: tuple[str, ...] = ()) -> Settings:
    """Return the settings that hold in the current directory.

    Args:
        store, modules: what the command's arguments say, which wins over all else.

    Raises:
        CommandFailed: the project's file cannot be read or has a setting that is none.
    """
    found = _of_project(Path.cwd())
    environment = os.environ
    return attrs.evolve(
        found,
        store=store or environment.get("FLOWKIT_STORE") or found.store,
        modules=modules or _listed(environment.get("FLOWKIT_MODULES", "")) or found.modules,
        artifacts=environment.get("FLOWKIT_ARTIFACTS") or found.artifacts,
        projections=environment.get("FLOWKIT_PROJECTIONS") or found.projections,
    )


def _of_project(directory: Path) -> Settings:
    for root in (directory, *directory.parents):
        for name, read in (("pyproject.toml", _read_toml), ("setup.cfg", _read_cfg)):
            file = root / name
            table = read(file) if file.is_file() else None
            if table is not None:
                return _settings_from(table, root, file)
    return Settings(root=directory)


def _read_toml(file: Path) -> dict[str, Any] | None:
    from importlib import import_module

    toml: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        content = toml.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandFailed(f"cannot read the settings: {error}", where=str(file)) from error
    table = content.get("tool", {}).get("flowkit")
    return dict(table) if isinstance(table, dict) else None


def _read_cfg(file: Path) -> dict[str, Any] | None:
    from configparser import ConfigParser, Error

    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, Error) as error:
        raise CommandFailed(f"cannot read the settings: {error}", where=str(file)) from error
    if not parser.has_section("flowkit"):
        return None
    prefix = "flowkit.queues."
    named = (section for section in parser.sections() if section.startswith(prefix))
    queues = {section[len(prefix) :]: dict(parser[section]) for section in named}
    return {**parser["flowkit"], **({"queues": queues} if queues else {})}


def _settings_from(table: dict[str, Any], root: Path, file: Path) -> Settings:
    _check_keys(table, KEYS, "", file)
    queues = table.get("queues", {})
    if not isinstance(queues, dict):
        raise CommandFailed(f"queues: expected a table of queues, got {queues!r}", where=str(file))
    return Settings(
        store=_beside(_text(table, "store", file), root),
        modules=_modules(table.get("modules", ()), file),
        artifacts=_path(_text(table, "artifacts", file), root),
        projections=_path(_text(table, "projections", file), root),
        queues={name: _limits(name, given, file) for name, given in queues.items()},
        root=root,
        file=file,
    )


def _check_keys(table: Any, known: tuple[str, ...], prefix: str, file: Path) -> None:
    if not isinstance(table, dict):
        raise CommandFailed(f"{prefix.rstrip('.')}: expected a table, got {table!r}", where=str(file))
    for key in table:
        if key not in known:
            from difflib import get_close_matches

            close = get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}? " if close else ""
            what = f"there is no setting {prefix + key!r}"
            raise CommandFailed(what, where=str(file), hint=f"{hint}the settings are {', '.join(known)}")


def _text(table: dict[str, Any], key: str, file: Path) -> str | None:
    value = table.get(key)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise CommandFailed(f"{key}: expected a text, got {value!r}", where=str(file))


def _modules(value: Any, file: Path) -> tuple[str, ...]:
    if isinstance(value, str):
        return _listed(value)
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) and one.strip() for one in value):
        return tuple(value)
    raise CommandFailed(f"modules: expected a list of module names, got {value!r}", where=str(file))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _limits(name: str, given: Any, file: Path) -> QueueLimits:
    _check_keys(given, QUEUE_KEYS, f"queues.{name}.", file)
    if "burst" in given and "rate_per_second" not in given:
        raise CommandFailed(f"queues.{name}: burst belongs to a rate: say rate_per_second too", where=str(file))
    try:
        return QueueLimits(
            max_workers=_number(given.get("max_workers"), int),
            rate_per_second=_number(given.get("rate_per_second"), float),
            burst=_number(given.get("burst", 1), int),
        )
    except ValueError as error:
        raise CommandFailed(f"queues.{name}: {error}", where=str(file)) from error


def _number(value: Any, kind: type[Any]) -> Any:
    # setup.cfg has texts alone.
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        value = str(value)
    return None if value is None else kind(value)


def _beside(url: str | None, root: Path) -> str | None:
    prefix = "sqlite:///"
    if url is None or not url.startswith(prefix) or url.startswith(prefix + "/"):
        return url
    return prefix + str(_path(url[len(prefix) :], root))


def _path(path: str | None, root: Path) -> str | None:
    # As seen from here: a command in a directory below the project's means the same files.
    return None if path is None else os.path.join(_seen_from_here(root), path)


def _seen_from_here(root: Path) -> str:
    here = os.path.relpath(root)
    return "" if here == os.curdir else here


