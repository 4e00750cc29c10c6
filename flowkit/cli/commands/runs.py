"""The command ``runs``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.options import with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.parse import Instant, parsed_entries, split_list
from flowkit.cli.place import Place, curtain_of
from flowkit.cli.plain import Column
from flowkit.cli.words import duration, when

if TYPE_CHECKING:
    from flowkit.model.run import Run

COLUMNS = [
    Column("RUN"),
    Column("STATUS"),
    Column("STEPS", right=True),
    Column("CREATED (UTC)"),
    Column("TOOK", right=True),
    Column("NAME", shrinks=True),
]


@click.command()
@click.option("--status", metavar="STATUS", multiple=True, help="Only runs in this status; may be given again.")
@click.option("--package", metavar="NAME", help="Only runs of this package.")
@click.option("--metadata", metavar="KEY=VALUE", multiple=True, help="Only runs with this entry; may be given again.")
@click.option("--since", type=Instant(), help="Only runs created then or later: a date and time, or an age like 2h.")
@click.option("--until", type=Instant(), help="Only runs created before then.")
@click.option("--limit", metavar="N", type=int, default=20, show_default=True, help="How many at most.")
@with_store
@with_output
def runs(
    place: Place,
    out: Output,
    status: tuple[str, ...],
    package: str | None,
    metadata: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> None:
    """List runs, the newest first.

    \b
    flowkit runs --status failed --since 24h
    flowkit runs --package order --metadata customer=17 --json
    """
    from flowkit.runtime.shapes import run_shape

    wanted: Any = split_list(status) or None
    entries = parsed_entries("--metadata", metadata) or None
    with place.reading() as runtime:
        page = runtime.runs(status=wanted, package=package, metadata=entries, since=since, until=until, limit=limit)
        found = list(map(curtain_of(runtime).run, page))
    if out.is_json:
        out.json({"runs": [run_shape(run) for run in found], "more": page.cursor is not None})
        return
    if not page:
        out.note("no run is like that" if wanted or package or entries or since or until else "there are no runs yet")
        return
    out.table(COLUMNS, [row_of(run) for run in page])
    if page.cursor is not None:
        out.note(f"there are more: --limit {limit * 5} shows some of them")


def row_of(run: Run) -> list[str]:
    """Return a run's row."""
    took = duration(run.ended_at - run.created_at) if run.ended_at is not None else ""
    steps = f"{run.steps.total - run.steps.open}/{run.steps.total}"
    return [run.id, run.status.value, steps, when(run.created_at), took, run.name or ""]
