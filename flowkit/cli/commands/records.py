"""The command ``records``."""

from __future__ import annotations

import json

import click

from flowkit.cli.options import RunId, with_output, with_reveal, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import Place, curtain_of, find_run
from flowkit.cli.plain import Column

COLUMNS = [Column("KEY"), Column("STEP"), Column("DATA", shrinks=True)]


@click.command()
@click.argument("collection")
@click.option("--run", "run_id", metavar="RUN", type=RunId(), help="Only the records of this run.")
@click.option("--limit", metavar="N", type=int, default=100, show_default=True, help="How many at most.")
@click.option("--cursor", help="Go on where a listing with --json ended.")
@with_reveal
@with_store
@with_output
def records(
    place: Place, out: Output, collection: str, run_id: str | None, limit: int, cursor: str | None, reveal: bool
) -> None:
    """List the records of a collection, in the order they were stored.

    \b
    flowkit records parcels
    flowkit records parcels --run @last --json
    """
    from flowkit.runtime.shapes import record_shape

    with place.reading() as runtime:
        run_id = find_run(runtime, run_id) if run_id is not None else None
        page = runtime.records(run_id, collection=collection, limit=limit, cursor=cursor)
        found = list(map(curtain_of(runtime, reveal).record, page))
    if out.is_json:
        out.json({"records": [record_shape(record) for record in found], "cursor": page.cursor})
        return
    if not page:
        out.note(f"there are no records in collection {collection!r}")
        return
    columns, rows = COLUMNS, [[one.key, one.step_id, json.dumps(one.data, ensure_ascii=False)] for one in found]
    if run_id is None:
        columns, rows = [Column("RUN"), *columns], [[one.run_id, *row] for one, row in zip(found, rows)]
    out.table(columns, rows)
    if page.cursor is not None:
        out.note(f"there are more: --limit {limit * 10} shows some of them")
