"""The command ``worker``."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

import click

from flowkit.cli.failing import CommandFailed
from flowkit.cli.options import with_project
from flowkit.cli.output import Output
from flowkit.cli.parse import Duration
from flowkit.cli.place import Place
from flowkit.cli.words import count

if TYPE_CHECKING:
    from flowkit.runtime.runtime import Runtime

INTERRUPTED = 130


@click.command()
@click.option("--concurrency", metavar="N", type=int, help="How many attempts at once; by default by the cores.")
@click.option("--grace", metavar="TIME", type=Duration(), default=10.0, help="How long attempts may go on: 10s.")
@with_project
def worker(place: Place, concurrency: int | None, grace: float) -> int:
    """Execute the steps of the kinds that the modules declare.

    SIGTERM or Ctrl-C stops it: what is running may end within the grace,
    the rest is handed to the next worker. A second one stops it at once.

    \b
    flowkit worker -m shop.flows --concurrency 8
    """
    with place.working(max_workers=concurrency) as runtime:
        if not runtime.executors:
            hint = "name the module that declares them: -m MODULE, FLOWKIT_MODULES, or modules in [tool.flowkit]"
            raise CommandFailed("there are no executors to serve", hint=hint)
        out = Output()
        out.note(f"worker {runtime.worker_id} serves {count(len(runtime.executors), 'kind')} of steps; Ctrl-C stops it")
        stopped_by = _work(runtime, grace)
        out.note("the worker has stopped")
    return INTERRUPTED if stopped_by == signal.SIGINT else 0


def _work(runtime: Runtime, grace: float) -> int | None:
    """Work until a signal says to stop; returns which."""
    stop, heard = threading.Event(), list[int]()

    def handle(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        runtime.shutdown(grace if len(heard) == 1 else 0.0)
        # A signal may come before the loop has begun, which forgets what shutdown was told before.
        stop.set()

    before = [(number, signal.signal(number, handle)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        runtime.start_workers(stop=stop)
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    return heard[0] if heard else None
