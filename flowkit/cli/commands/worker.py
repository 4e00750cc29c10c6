"""The command ``worker``."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

from flowkit.cli.failing import CommandFailed
from flowkit.cli.metrics import serving
from flowkit.cli.options import with_project
from flowkit.cli.output import Output
from flowkit.cli.parse import Duration
from flowkit.cli.place import Place
from flowkit.cli.signals import INTERRUPTED, heeding
from flowkit.cli.words import count

if TYPE_CHECKING:
    from flowkit.runtime.runtime import Runtime

PORT = click.IntRange(0, 65535)


@click.command()
@click.option("--concurrency", metavar="N", type=int, help="How many attempts at once; by default by the cores.")
@click.option("--grace", metavar="TIME", type=Duration(), default=10.0, help="How long attempts may go on: 10s.")
@click.option("--metrics-port", metavar="PORT", type=PORT, help="Serve metrics for Prometheus at this port.")
@click.option("--metrics-host", metavar="HOST", default="127.0.0.1", help="And address; by default to this host alone.")
@with_project
def worker(
    place: Place, concurrency: int | None, grace: float, metrics_port: int | None, metrics_host: str
) -> int:
    """Execute the steps of the kinds that the modules declare.

    SIGTERM or Ctrl-C stops it: what is running may end within the grace,
    the rest is handed to the next worker. A second one stops it at once.

    \b
    flowkit worker -m shop.flows --concurrency 8
    """
    with (
        serving(metrics_host, metrics_port) as observers,
        place.working(max_workers=concurrency, observers=observers) as runtime,
    ):
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
    heard: list[int] = []

    def told(number: int, times: int) -> None:
        heard.append(number)
        if times == 1:
            Output().note(f"stopping: what runs has {grace:g} seconds to end; once more stops it at once")
        runtime.shutdown(grace if times == 1 else 0.0)

    with heeding(told):
        runtime.start_workers()
    return heard[0] if heard else None
