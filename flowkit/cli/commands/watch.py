"""The command ``watch``."""

from __future__ import annotations

import click

from flowkit.cli.attending import Bystander, end_of
from flowkit.cli.following import view_of
from flowkit.cli.options import run_argument, with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.parse import Duration
from flowkit.cli.place import Place, find_run, get_run


@click.command()
@run_argument
@click.option("--timeout", metavar="TIME", type=Duration(), help="Watch for so long at most, then exit with 4: 5m.")
@click.option("--new", "only_new", is_flag=True, help="Do not begin with what has happened so far.")
@with_store
@with_output
def watch(place: Place, out: Output, run_id: str, timeout: float | None, only_new: bool) -> int:
    """Watch a run until it has ended.

    On a terminal with rich installed the run is drawn anew as it goes on;
    else there is a line for each thing that happens, with --json one of
    JSON. Times are UTC. Exits with 1 if the run failed or was canceled;
    Ctrl-C ends the watching, not the run.

    \b
    flowkit watch @last
    flowkit watch order-17 --timeout 5m --json
    """
    from flowkit.runtime.following import follow

    with place.reading() as runtime:
        run_id = find_run(runtime, run_id)
        since = len(runtime.history(run_id)) if only_new else 0
        with view_of(out, run_id) as view:
            look, drawn = Bystander(runtime, run_id, out).look, view.wants_running
            for news in follow(runtime, run_id, since=since, timeout=timeout, with_running=drawn, each=look):
                view.show(news)
        run = get_run(runtime, run_id)
    if out.is_live and not out.is_json:
        out.line(f"run {run.id} {run.status.value}")
    return end_of(run)
