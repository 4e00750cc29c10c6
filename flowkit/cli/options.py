"""Options that many commands share, each a decorator that gives the command one argument."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from flowkit.cli.output import Output
from flowkit.cli.parse import Param
from flowkit.cli.place import LAST, Place, find_run

Function = TypeVar("Function", bound=Callable[..., Any])

_store = click.option("--store", metavar="URL", help="The store, such as sqlite:///var/app.db.")
_module = click.option(
    "-m", "--module", "modules", metavar="MODULE", multiple=True, help="A module to register; may be given again."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def with_store(function: Function) -> Function:
    """Give the command its ``place``, for reading a store: the option ``--store``."""

    @wraps(function)
    def command(*arguments: Any, store: str | None, **given: Any) -> Any:
        return function(*arguments, place=Place(store), **given)

    return _store(command)  # type: ignore[return-value]


def with_project(function: Function) -> Function:
    """Give the command its ``place``, for working with a project's modules: ``--store`` and ``--module``."""

    @wraps(function)
    def command(*arguments: Any, store: str | None, modules: tuple[str, ...], **given: Any) -> Any:
        return function(*arguments, place=Place(store, modules), **given)

    return _store(_module(command))  # type: ignore[return-value]


def with_output(function: Function) -> Function:
    """Give the command where it prints, ``out``: the option ``--json``."""

    @wraps(function)
    def command(*arguments: Any, as_json: bool, **given: Any) -> Any:
        return function(*arguments, out=Output(is_json=as_json), **given)

    return _json(command)  # type: ignore[return-value]


def with_reveal(function: Function) -> Function:
    """Give the command ``reveal``: whether sensitive values are shown."""
    return click.option("--reveal", is_flag=True, help="Show values of sensitive fields too.")(function)


class RunId(Param):
    """A run, by its id, the beginning of it, or ``@last``; the shell completes it from the store."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the ids that begin like this."""
        found = _complete(ctx, lambda runtime: runtime.run_ids(incomplete, limit=50))
        return [CompletionItem(one) for one in ([LAST] if LAST.startswith(incomplete) else []) + found]


class StepId(Param):
    """A step of the run that stands before it; the shell completes it from the store."""

    name = "step"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the ids of the run's first steps that begin like this."""

        def read(runtime: Any) -> list[str]:
            steps = runtime.steps(find_run(runtime, ctx.params["run_id"]), limit=1000)
            return [step.id for step in steps if step.id.startswith(incomplete)][:50]

        return [CompletionItem(one) for one in _complete(ctx, read)]


class PackageName(Param):
    """A package; the shell completes it from the store's catalog, without importing the project."""

    name = "package"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the packages that begin like this."""
        names = _complete(ctx, lambda runtime: [one.name for one in runtime.catalog().packages])
        return [CompletionItem(one) for one in names if one.startswith(incomplete)]


def _complete(ctx: click.Context, read: Callable[[Any], Any]) -> list[str]:
    try:
        with Place(ctx.params.get("store")).reading() as runtime:
            return list(read(runtime))
    except Exception:  # a shell that completes a word has no use for an error
        return []


run_argument = click.argument("run_id", metavar="RUN", type=RunId())
