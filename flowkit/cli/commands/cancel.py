"""The command ``cancel``."""

from __future__ import annotations

import click

from flowkit.cli.failing import FAILED, CommandFailed
from flowkit.cli.many import Many, became, shape, tell, with_many
from flowkit.cli.options import RunId, with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import Place, find_run

OPEN = ("pending", "running")


@click.command()
@click.argument("run_ids", metavar="[RUN]...", nargs=-1, type=RunId())
@with_many("canceled", OPEN, unsaid=OPEN)
@with_store
@with_output
def cancel(place: Place, out: Output, run_ids: tuple[str, ...], many: Many) -> None:
    """Cancel runs: those named, or all that fit a filter.

    What waits ends at once. What runs is told to stop, and whatever it
    still delivers is discarded.

    \b
    flowkit cancel @last
    flowkit cancel --package order --until 2h --yes
    """
    if bool(run_ids) == many.is_given:
        raise CommandFailed("name the runs to cancel, or filter them", hint="flowkit cancel RUN, or --package NAME")
    with place.reading() as runtime:
        if many.is_given:
            tell(out, many, {run_id: became(runtime.cancel_run, run_id) for run_id in many.runs(runtime)})
            return
        found = [find_run(runtime, run_id, to_change=True) for run_id in run_ids]
        ended = {run_id: became(runtime.cancel_run, run_id) for run_id in found}
    if out.is_json:
        out.json(shape(ended))
    else:
        for run_id, one in ended.items():
            if one.is_done:
                out.line(f"run {run_id} is {one.status}")
    late = {run_id: one.status for run_id, one in ended.items() if not one.is_done}
    if late:
        # Whoever names a run is told that it was not canceled; all the others are, in whatever order they were named.
        raise CommandFailed(f"too late: {', '.join(late.values())}", where=f"run {', '.join(late)}", code=FAILED)
