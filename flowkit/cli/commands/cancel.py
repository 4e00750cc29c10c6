"""The command ``cancel``."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.failing import FAILED, CommandFailed
from flowkit.cli.options import RunId, with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.parse import Instant, parsed_entries, split_list
from flowkit.cli.place import Place, find_run
from flowkit.cli.words import count

if TYPE_CHECKING:
    from flowkit.runtime.runtime import Runtime

OPEN, UNDER_WAY = ("pending", "running"), ("canceling", "canceled")


@click.command()
@click.argument("run_ids", metavar="[RUN]...", nargs=-1, type=RunId())
@click.option("--status", metavar="STATUS", multiple=True, help="Many: pending or running ones.")
@click.option("--package", metavar="NAME", help="Many: those of this package.")
@click.option("--metadata", metavar="KEY=VALUE", multiple=True, help="Many: those with this entry.")
@click.option("--since", type=Instant(), help="Many: those created then or later.")
@click.option("--until", type=Instant(), help="Many: those created before then.")
@click.option("--yes", is_flag=True, help="Do not ask, however many there are.")
@with_store
@with_output
def cancel(
    place: Place,
    out: Output,
    run_ids: tuple[str, ...],
    status: tuple[str, ...],
    package: str | None,
    metadata: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    yes: bool,
) -> None:
    """Cancel runs: those named, or all that fit a filter.

    What waits ends at once. What runs is told to stop, and whatever it
    still delivers is discarded.

    \b
    flowkit cancel @last
    flowkit cancel --package order --until 2h --yes
    """
    wanted = split_list(status)
    entries = parsed_entries("--metadata", metadata)
    is_filtered = bool(wanted or package or entries or since or until)
    if bool(run_ids) == is_filtered:
        raise CommandFailed("name the runs to cancel, or filter them", hint="flowkit cancel RUN, or --package NAME")
    with place.reading() as runtime:
        if is_filtered:
            _check_open(wanted)
            only = {"package": package, "metadata": entries or None, "since": since, "until": until}
            run_ids = tuple(_matching(runtime, wanted or OPEN, only))
            _confirm(len(run_ids), yes)
            ended = {run_id: _canceled(runtime, run_id) for run_id in run_ids}
        else:
            found = [find_run(runtime, run_id, to_change=True) for run_id in run_ids]
            ended = {run_id: _canceled(runtime, run_id) for run_id in found}
    _tell(ended, out, is_filtered=is_filtered)
    late = {run_id: became for run_id, became in ended.items() if became not in UNDER_WAY}
    if late and not is_filtered:
        # Whoever names a run is told that it was not canceled; all the others are, in whatever order they were named.
        raise CommandFailed(f"too late: {', '.join(late.values())}", where=f"run {', '.join(late)}", code=FAILED)


def _tell(ended: dict[str, str], out: Output, *, is_filtered: bool) -> None:
    if out.is_json:
        out.json({"runs": [{"id": run_id, "status": status} for run_id, status in ended.items()]})
    elif is_filtered:
        done = sum(became in UNDER_WAY for became in ended.values())
        late = f", {len(ended) - done} had ended meanwhile" if done < len(ended) else ""
        out.line(f"{count(done, 'run')} canceled{late}")
    else:
        for run_id, became in ended.items():
            if became in UNDER_WAY:
                out.line(f"run {run_id} is {became}")


def _check_open(wanted: list[str]) -> None:
    for one in wanted:
        if one not in OPEN:
            raise CommandFailed(f"--status: expected pending or running, got {one!r}: no other run can be canceled")


def _matching(runtime: Runtime, statuses: Any, only: dict[str, Any]) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = runtime.runs(status=statuses, limit=1000, cursor=cursor, **only)
        found += [run.id for run in page]
        cursor = page.cursor
        if cursor is None:
            return found


def _confirm(number: int, yes: bool) -> None:
    if yes or not number:
        return
    runs = count(number, "run")
    if not sys.stdin.isatty():
        raise CommandFailed(f"{runs} would be canceled, and there is nobody to ask", hint="say --yes to cancel them")
    click.confirm(f"Cancel {runs}?", abort=True, err=True)


def _canceled(runtime: Runtime, run_id: str) -> str:
    from flowkit.errors import InvalidTransition, RunNotFound

    try:
        return runtime.cancel_run(run_id).status.value
    except (InvalidTransition, RunNotFound) as error:
        # It ended, or was pruned, since it was looked for: nothing of it is left to cancel.
        return getattr(error, "status", None) or "gone"
