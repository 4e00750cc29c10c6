"""The command ``move``."""

from __future__ import annotations

import click

from flowkit.cli.options import with_output
from flowkit.cli.output import Output
from flowkit.cli.place import refuse_missing, shown_url, telling
from flowkit.cli.words import count


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@with_output
def move(out: Output, source: str, target: str) -> None:
    """Copy a store to another one, unfinished runs included.

    Both are URLs, each of SQLite or PostgreSQL. TO is made, or is there and
    has no runs yet. Stop the workers first: while one is at FROM, nothing is
    moved. Rows are counted and compared before they are committed, all in
    one transaction. Then start the workers at TO; the runs go on there.

    FROM stays as it was, as a backup: remove it, so that nobody works on it.
    Artifact files and projections are no part of a store and stay where
    they are.

    \b
    flowkit move sqlite:///var/app.db postgresql://db.example/app
    """
    from flowkit.runtime.moving import move_store

    with telling(source):
        refuse_missing(source)
    with telling(f"{shown_url(source)} -> {shown_url(target)}"):
        moved = move_store(source, target)
    if out.is_json:
        out.json({"rows": dict(moved.rows), "unfinished": moved.unfinished})
        return
    runs, steps = count(moved.rows["runs"], "run"), count(moved.rows["steps"], "step")
    out.text(f"moved {runs} ({moved.unfinished} unfinished) with {steps}; every row was compared")
    out.note(f"start the workers at {shown_url(target)}, and remove {shown_url(source)} when they run")
