"""The command ``worker``."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

from flowkit.cli.failing import CommandFailed
from flowkit.cli.logs import LEVELS, log_to_stderr
from flowkit.cli.metrics import serving
from flowkit.cli.options import with_project
from flowkit.cli.output import Output
from flowkit.cli.parse import Duration, split_list
from flowkit.cli.place import Place, shown_url
from flowkit.cli.signals import INTERRUPTED, heeding, stopping_in
from flowkit.cli.words import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowkit.runtime.runtime import Runtime

KEPT = ("concurrency", "grace", "metrics_port", "metrics_host", "log_level")
"""The options that a worker which is started again gets too."""
PORT = click.IntRange(0, 65535)
LEVEL = click.Choice(LEVELS)


@click.command()
@click.option("--concurrency", metavar="N", type=int, help="How many attempts at once; by default by the cores.")
@click.option("--queues", metavar="NAME,...", multiple=True, help="Take steps from these queues alone.")
@click.option("--grace", metavar="TIME", type=Duration(days=1), default=10.0, help="How long attempts may go on: 10s.")
@click.option("--metrics-port", metavar="PORT", type=PORT, help="Serve metrics for Prometheus at this port.")
@click.option("--metrics-host", metavar="HOST", default="127.0.0.1", help="And address; by default to this host alone.")
@click.option("--log-level", metavar="LEVEL", type=LEVEL, help="What goes to stderr of its log: warnings, by default.")
@click.option("--reload", is_flag=True, help="For development: start again when a Python file changes.")
@with_project
def worker(
    place: Place,
    concurrency: int | None,
    queues: tuple[str, ...],
    grace: float,
    metrics_port: int | None,
    metrics_host: str,
    log_level: str | None,
    reload: bool,
) -> int:
    """Execute the steps of the kinds that the modules declare.

    SIGTERM or Ctrl-C stops it: what is running may end within the grace,
    the rest is handed to the next worker. A second one stops it at once.

    \b
    flowkit worker -m shop.flows --concurrency 8
    flowkit worker --queues mail,default
    """
    from flowkit.runtime.executing import serve_only

    if concurrency is not None and concurrency < 1:
        raise CommandFailed(f"--concurrency: expected 1 or more, got {concurrency}")
    if reload:
        return _reload(place)
    with (
        serving(metrics_host, metrics_port) as observers,
        place.working(max_workers=concurrency, observers=observers) as runtime,
    ):
        if not runtime.executors:
            hint = "name the module that declares them: -m MODULE, FLOWKIT_MODULES, or modules in [tool.flowkit]"
            raise CommandFailed("there are no executors to serve", hint=hint)
        # Only now: the modules, which may have configured it, are imported.
        log_to_stderr(log_level)
        out, only = Output(), _listed(queues)
        if only:
            serve_only(runtime, only)
            _tell_unknown(runtime, only, out)
        served = f"{count(len(runtime.executors), 'kind')} of steps" + (f" from {', '.join(only)}" if only else "")
        where = shown_url(place.settings.store_url())
        out.note(f"worker {runtime.worker_id} serves {served} in {where}; Ctrl-C stops it")
        stopped_by = _work(runtime, grace)
        out.note("the worker has stopped")
    return INTERRUPTED if stopped_by == signal.SIGINT else 0


def _listed(queues: Sequence[str]) -> list[str]:
    only = split_list(queues)
    if queues and not only:
        # As a variable of the shell gives it that is not set: a worker for all of them is not what was meant.
        raise CommandFailed("--queues: expected names of queues, got none; leave it out to serve all of them")
    return only


def _tell_unknown(runtime: Runtime, queues: Sequence[str], out: Output) -> None:
    from flowkit.errors import nearest

    known = {"default", *(found.name for found in runtime.queues())}
    known |= {found.queue for found in runtime.executors.values() if found.queue is not None}
    for name in queues:
        if name not in known:
            # Not refused: the steps of a queue that is named by whoever declares them may be yet to come.
            out.note(f"no step has come by way of queue {name!r} yet{nearest(name, known)}")


def _reload(place: Place) -> int:
    from flowkit.cli.reloading import Supervisor, refuse_missing_watcher

    refuse_missing_watcher()
    settings = place.settings
    settings.store_url()
    context = click.get_current_context()
    arguments = [*place.arguments]
    for name, given in context.params.items():
        if name in KEPT and given is not None:
            arguments += [f"--{name.replace('_', '-')}", str(given)]
    arguments += [part for name in context.params["queues"] for part in ("--queues", name)]
    out = Output()
    out.note(f"looking for changes below {settings.root.resolve()}")
    return Supervisor(["worker", *arguments]).watch(settings.root.resolve(), out)


def _work(runtime: Runtime, grace: float) -> int | None:
    """Work until a signal says to stop; returns which."""
    heard: list[int] = []

    def told(number: int, times: int) -> None:
        heard.append(number)
        runtime.shutdown(grace if times == 1 else 0.0)
        # Told last: where nobody reads it any more, the worker stops all the same.
        if times == 1:
            Output().note(stopping_in(grace))

    with heeding(told):
        runtime.start_workers()
    return heard[0] if heard else None
