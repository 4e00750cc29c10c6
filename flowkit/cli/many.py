"""Many runs at once, chosen by a filter: what ``cancel`` and ``retry`` do alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from flowkit.cli.failing import CommandFailed
from flowkit.cli.options import PackageName
from flowkit.cli.output import Output
from flowkit.cli.parse import Instant, parsed_entries, split_list
from flowkit.cli.words import count

if TYPE_CHECKING:
    from flowkit.runtime.runtime import Runtime

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--package", metavar="NAME", type=PackageName(), help="Many: those of this package."),
    click.option("--metadata", metavar="KEY=VALUE", multiple=True, help="Many: those with this entry."),
    click.option("--since", type=Instant(), help="Many: those created then or later."),
    click.option("--until", type=Instant(), help="Many: those created before then."),
    click.option("--yes", is_flag=True, help="Do not ask, however many there are."),
)


class Many(NamedTuple):
    """A filter that chooses runs; where none is given, it chooses nothing.

    Attributes:
        done: what is done with them, such as ``canceled``.
        statuses: those that are meant.
        only: the other filters, as ``rt.runs`` takes them.
        is_given: whether anything was said.
        yes: whether nobody needs be asked.
    """

    done: str
    statuses: Sequence[str]
    only: dict[str, Any]
    is_given: bool
    yes: bool

    def runs(self, runtime: Runtime) -> list[str]:
        """Return the ids of the runs that fit, once somebody has agreed to what is done with so many."""
        found: list[str] = []
        cursor = None
        while True:
            page = runtime.runs(status=self.statuses, limit=1000, cursor=cursor, **self.only)
            found += [run.id for run in page]
            cursor = page.cursor
            if cursor is None:
                self._ask(len(found))
                return found

    def _ask(self, number: int) -> None:
        if self.yes or not number:
            return
        what = f"{count(number, 'run')} would be {self.done}"
        if not sys.stdin.isatty():
            raise CommandFailed(f"{what}, and there is nobody to ask", hint="say --yes if that is meant")
        click.confirm(f"{what}: go on?", abort=True, err=True)


def with_many(done: str, statuses: Sequence[str], *, unsaid: Sequence[str]) -> Callable[[Function], Function]:
    """Give the command ``many``, a filter over runs, by options of its own.

    Args:
        statuses: those in which a run can be.
        unsaid: those that are meant where none is named.
    """
    named = " or ".join(statuses)

    def decorate(function: Function) -> Function:
        @wraps(function)
        def command(*arguments: Any, **given: Any) -> Any:
            wanted = split_list(given.pop("status"))
            for one in wanted:
                if one not in statuses:
                    raise CommandFailed(f"--status: expected {named}, got {one!r}: no other run can be {done}")
            entries = parsed_entries("--metadata", given.pop("metadata"))
            only = {"metadata": entries or None, **{name: given.pop(name) for name in ("package", "since", "until")}}
            is_given = bool(wanted) or any(only.values())
            many = Many(done, wanted or unsaid, only, is_given, given.pop("yes"))
            return function(*arguments, many=many, **given)

        decorated: Any = command
        said = "" if unsaid == statuses else f"; {' and '.join(unsaid)} ones, unless said"
        status = click.option("--status", metavar="STATUS", multiple=True, help=f"Many: {named} ones{said}.")
        for option in reversed((status, *_OPTIONS)):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


class Became(NamedTuple):
    """What became of a run: its status, and whether it was done, or the run had moved on since it was chosen."""

    status: str
    is_done: bool


def became(call: Callable[[str], Any], run_id: str) -> Became:
    """Do something with a run."""
    from flowkit.errors import InvalidTransition, RunNotFound

    try:
        return Became(call(run_id).status.value, True)
    except (InvalidTransition, RunNotFound) as error:
        return Became(getattr(error, "status", None) or "gone", False)


def shape(ended: Mapping[str, Became]) -> dict[str, Any]:
    """Return the JSON that says what became of runs."""
    return {"runs": [{"id": run_id, "status": one.status} for run_id, one in ended.items()]}


def tell(out: Output, many: Many, ended: Mapping[str, Became]) -> None:
    """Say with how many runs it was done, and with how many not."""
    if out.is_json:
        out.json(shape(ended))
        return
    done = sum(one.is_done for one in ended.values())
    late = f", {len(ended) - done} had moved on meanwhile" if done < len(ended) else ""
    out.line(f"{count(done, 'run')} {many.done}{late}")
