"""The command ``prune``."""

from __future__ import annotations

import click

from flowkit.cli.failing import CommandFailed
from flowkit.cli.options import with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.parse import Duration
from flowkit.cli.place import Place
from flowkit.cli.words import count

ENDED = ("succeeded", "failed", "canceled")


@click.command()
@click.option("--older-than", type=Duration(), required=True, help="Since they ended: 30d, 12h, 90m, or seconds.")
@click.option(
    "--status", "statuses", type=click.Choice(ENDED), multiple=True, help="Only ended like this; may be repeated."
)
@click.option(
    "--grace",
    type=Duration(),
    default="1d",
    show_default=True,
    help="Artifact files younger than this stay; longer than any lease.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_store
@with_output
def prune(
    place: Place, out: Output, older_than: float, statuses: tuple[str, ...], grace: float, yes: bool
) -> None:
    """Remove old runs with all that belongs to them.

    Says first how many there are, and asks. Runs that have not ended stay,
    whatever their age. Then artifact files that no run refers to are removed
    too, where the settings name a directory of artifacts.
    """
    from flowkit.runtime.upkeep import prunable, sweep_artifacts

    wanted = statuses or ENDED
    with place.reading() as runtime:
        due = prunable(runtime, older_than=older_than, statuses=wanted)
        if due and not yes:
            _ask(out, f"{count(due, 'run')} would be removed for good")
        removed = runtime.prune(older_than=older_than, statuses=wanted) if due else 0
        swept = sweep_artifacts(runtime, grace=grace)
    if out.is_json:
        out.json({"runs": removed, "artifacts": swept.artifacts, "unfinished": swept.unfinished, "bytes": swept.size})
        return
    files = swept.artifacts + swept.unfinished
    out.line(f"removed {count(removed, 'run')} and {count(files, 'artifact file')} ({count(swept.size, 'byte')})")


def _ask(out: Output, what: str) -> None:
    import sys

    if out.is_json or not sys.stdin.isatty():
        raise CommandFailed(what, where="flowkit prune", hint="--yes removes them without asking")
    click.confirm(f"{what}; go on?", abort=True, err=True)
