"""Where a command works: its settings, the Runtime opened on them, and the run that its arguments mean."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import click

from flowkit.cli.failing import NOT_FOUND, CommandFailed, failure_of
from flowkit.cli.plain import printable
from flowkit.cli.settings import Settings, read_settings
from flowkit.cli.words import limits

if TYPE_CHECKING:
    from flowkit.model.run import Run
    from flowkit.runtime.curtain import Curtain
    from flowkit.runtime.runtime import Runtime

DRAWN = re.compile(r"(?<=-)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""The part of a run's id that flowkit draws where nobody chose one."""

LAST = "@last"
SHOWN = 5


@attrs.frozen
class Place:
    """What a command's arguments say about where it works."""

    store: str | None = None
    modules: tuple[str, ...] = ()

    @property
    def settings(self) -> Settings:
        """The settings, of which the arguments are the first.

        Raises:
            CommandFailed: the project's file is no good.
        """
        return read_settings(self.store, self.modules)

    @property
    def arguments(self) -> list[str]:
        """The arguments that another command needs to work at the same place."""
        store = ["--store", self.store] if self.store is not None else []
        return store + [part for module in self.modules for part in ("--module", module)]

    @contextmanager
    def reading(self) -> Iterator[Runtime]:
        """Open a store that is there, without importing the project's modules.

        Raises:
            CommandFailed: no store is named or there is none; or flowkit refused what was asked in the block.
        """
        settings = self.settings
        url = settings.store_url()
        with telling(url):
            refuse_missing(url)
            artifacts = _stores(settings)["artifact_store"]
            with _runtime(url, entry_points=False, artifact_store=artifacts) as runtime:
                yield runtime

    @contextmanager
    def working(self, *, observers: Sequence[Any] = (), **options: Any) -> Iterator[Runtime]:
        """Open the store, made if need be, with all that the project's modules register.

        Args:
            observers: of the Runtime; tracing is one more, where its extra is installed.
            options: further ones of the Runtime.

        Raises:
            CommandFailed: no store is named, a module cannot be imported; or flowkit refused what was asked.
        """
        settings = self.settings
        url = settings.store_url()
        with telling(url):
            make_importable(settings)
            options["observers"] = [*observers, *_tracing()]
            with _runtime(url, modules=settings.modules, **{**_stores(settings), **options}) as runtime:
                _tell_limits(runtime)
                yield runtime


    @property
    def has_store(self) -> bool:
        """Whether a store is named, and is there."""
        try:
            refuse_missing(self.settings.store_url())
        except CommandFailed:
            return False
        return True

    def looked_up(self, ask: Callable[[Runtime], str | None]) -> str | None:
        """Ask something of the store; None where there is no store to ask."""
        if not self.has_store:
            return None
        with self.reading() as runtime:
            return ask(runtime)

    @contextmanager
    def describing(self) -> Iterator[Runtime]:
        """Open what the project's modules register, for describing it: on the store if it is there, else on none."""
        settings = self.settings
        url = settings.store_url() if self.has_store else "sqlite://"
        with telling(url):
            make_importable(settings)
            with _runtime(url, modules=settings.modules) as runtime:
                yield runtime


def make_importable(settings: Settings) -> None:
    """Let the project's modules be imported from where its file is."""
    root = str(settings.root.resolve())
    if root not in sys.path:
        sys.path.insert(0, root)


@contextmanager
def telling(url: str) -> Iterator[None]:
    """Say of a failure in the block that it was in this store, unless it says itself where it was."""
    try:
        yield
    except Exception as error:
        failure = failure_of(error, shown_url(url))
        if failure is None:
            raise
        failure.what = failure.what.replace(url, shown_url(url))
        raise failure from error.__cause__


def _tell_limits(runtime: Runtime) -> None:
    from flowkit.runtime.executing import changed_limits

    for name, before, now in changed_limits(runtime):
        what = f"{limits(before)} is now {limits(now) or 'without limits'}"
        click.echo(printable(f"queue {name}: {what}, as this project says"), err=True)


def find_run(runtime: Runtime, text: str, *, to_change: bool = False) -> str:
    """Return the id of the run that is meant: by its id, by the beginning of only one id, or ``@last``.

    Args:
        to_change: of an id that somebody chose, such as ``order-170``, the beginning may be the id of another run,
            one that is gone; so it counts only as far as into an id that flowkit drew.

    Raises:
        CommandFailed: there is none, or several begin like this.
    """
    if text == LAST:
        newest = runtime.runs(limit=1)
        if not newest:
            raise CommandFailed("the store has no runs", hint="`flowkit run PACKAGE` starts one", code=NOT_FOUND)
        return newest[0].id
    if runtime.workflow(text) is not None:
        return text
    found = runtime.run_ids(text, limit=SHOWN + 1)
    if len(found) == 1:
        drawn = DRAWN.search(found[0])
        if not to_change or (drawn is not None and len(text) > drawn.start()):
            return found[0]
        hint = f"did you mean {found[0]!r}? What is to be changed is named in full"
        raise CommandFailed(f"run {text!r} is not in the store", hint=hint, code=NOT_FOUND)
    if found:
        shown = ", ".join(found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
        raise CommandFailed(f"several runs begin with {text!r}", hint=f"write more of the id: {shown}")
    raise CommandFailed(f"run {text!r} is not in the store", hint=_near_run(runtime, text), code=NOT_FOUND)


def curtain_of(runtime: Runtime, reveal: bool = False) -> Curtain:
    """Return what hides sensitive values, all of them unless *reveal* says so."""
    from flowkit.runtime.curtain import Curtain

    return Curtain(runtime, reveal=reveal)


def get_run(runtime: Runtime, run_id: str, reveal: bool = False) -> Run:
    """Return a run, its sensitive values hidden unless *reveal* says so.

    Raises:
        CommandFailed: there is none.
    """
    run = runtime.workflow(run_id)
    if run is None:
        raise CommandFailed(f"run {run_id!r} is not in the store", hint=_near_run(runtime, run_id), code=NOT_FOUND)
    return curtain_of(runtime, reveal).run(run)


def _near_run(runtime: Runtime, text: str) -> str:
    from flowkit.errors import nearest

    near = nearest(text, [run.id for run in runtime.runs(limit=200)]).removeprefix("; ")
    return f"{near} `flowkit runs` lists those that are there".strip()


def shown_url(url: str) -> str:
    """Return a store's URL without the password that may be in it."""
    from urllib.parse import urlsplit

    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@") if password else url


def _runtime(url: str, **options: Any) -> Runtime:
    from flowkit.runtime.runtime import Runtime

    return Runtime(url, **options)


def _tracing() -> list[Any]:
    # Without an SDK, which is for the program or `opentelemetry-instrument` to set up, it does nothing.
    from flowkit.errors import MissingExtra

    try:
        from flowkit.otel import OpenTelemetry
    except MissingExtra:
        return []
    return [OpenTelemetry()]


def refuse_missing(url: str) -> None:
    """Refuse a file that is not there, which opening it would make.

    Raises:
        CommandFailed: there is none.
    """
    from flowkit.store.stores import store_of

    path = getattr(store_of(url), "path", None)
    if path is None:
        return
    from pathlib import Path

    if path == ":memory:" or not Path(path).exists():
        hint = "`flowkit run` and `flowkit worker` make it; is the path right, seen from the current directory?"
        raise CommandFailed("there is no store", hint=hint, code=NOT_FOUND)


def _stores(settings: Settings) -> dict[str, Any]:
    from flowkit.artifacts import FileArtifactStore
    from flowkit.projections import SQLiteProjectionStore

    return {
        "artifact_store": FileArtifactStore(settings.artifacts) if settings.artifacts else None,
        "projection_store": SQLiteProjectionStore(settings.projections) if settings.projections else None,
        "queues": _queues(settings),
    }


def _queues(settings: Settings) -> dict[str, Any]:
    from flowkit.model.limits import QueueConfig, RateLimit

    found = {}
    for name, given in settings.queues.items():
        rate = given.rate_per_second
        found[name] = QueueConfig(given.max_workers, RateLimit(rate, given.burst) if rate is not None else None)
    return found
