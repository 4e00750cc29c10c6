"""The command ``queues``, with ``pause`` and ``resume``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flowkit.cli.failing import NOT_FOUND, CommandFailed
from flowkit.cli.options import with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import Place
from flowkit.cli.plain import Column
from flowkit.cli.words import limits

if TYPE_CHECKING:
    from flowkit.model.stats import QueueInfo

COLUMNS = [
    Column("QUEUE"),
    Column("STATE"),
    Column("READY", right=True),
    Column("LATER", right=True),
    Column("WAITING", right=True),
    Column("RUNNING", right=True),
    Column("TOKENS", right=True),
    Column("LIMITS"),
]


@click.group(invoke_without_command=True)
@with_store
@with_output
@click.pass_context
def queues(context: click.Context, place: Place, out: Output) -> None:
    """List the queues: what waits and runs in each, and its limits.

    READY steps could start now, LATER ones are delayed or between two
    tries, WAITING ones wait for other steps. TOKENS is how many may start
    before the rate limit holds them up.
    """
    if context.invoked_subcommand is None:
        _list(place, out)


def _list(place: Place, out: Output) -> None:
    from flowkit.runtime.shapes import queue_shape

    with place.reading() as runtime:
        found = runtime.queues()
    if out.is_json:
        out.json({"queues": [queue_shape(queue) for queue in found]})
        return
    if not found:
        out.note("there are no queues yet: a queue is there once a step was in it")
        return
    out.table(COLUMNS, [_row(queue) for queue in found])


def _row(queue: QueueInfo) -> list[str]:
    tokens = "" if queue.tokens is None else f"{queue.tokens:.1f}"
    depth = [str(number) for number in (queue.ready, queue.delayed, queue.pending, queue.running)]
    return [queue.name, "paused" if queue.paused else "open", *depth, tokens, limits(queue)]


@queues.command()
@click.argument("name")
@with_store
def pause(place: Place, name: str) -> None:
    """Start no more steps of a queue until it is resumed.

    What runs goes on. Every worker of the store obeys.
    """
    _set(place, name, paused=True)


@queues.command()
@click.argument("name")
@with_store
def resume(place: Place, name: str) -> None:
    """Let a paused queue go on."""
    _set(place, name, paused=False)


def _set(place: Place, name: str, *, paused: bool) -> None:
    from flowkit.errors import nearest

    with place.reading() as runtime:
        known = [queue.name for queue in runtime.queues()]
        if name not in known:
            near = nearest(name, known).removeprefix("; ")
            hint = f"{near} `flowkit queues` lists those that are there".strip()
            raise CommandFailed(f"there is no queue {name!r}", hint=hint, code=NOT_FOUND)
        (runtime.pause_queue if paused else runtime.resume_queue)(name)
    click.echo(f"queue {name} is {'paused' if paused else 'open'}")
