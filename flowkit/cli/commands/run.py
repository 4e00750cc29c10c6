"""The command ``run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.attending import Attendance, end_of, named
from flowkit.cli.failing import TIMED_OUT, CommandFailed
from flowkit.cli.options import PackageName, with_output, with_project
from flowkit.cli.output import Output
from flowkit.cli.parse import Duration, parsed_entries, read_input
from flowkit.cli.place import Place, curtain_of, get_run
from flowkit.cli.showing import show_error
from flowkit.cli.signals import Stopped
from flowkit.cli.words import command, count

if TYPE_CHECKING:
    from flowkit.model.run import Run
    from flowkit.runtime.runtime import Runtime

IN_MEMORY = "sqlite://"
FAILURES = 3
"""Of how many failed steps the errors are told."""


@click.command()
@click.argument("package", metavar="PACKAGE", type=PackageName())
@click.option("--input", "given", metavar="JSON|@FILE|-", help="The input: JSON, a file of it, or stdin.")
@click.option("--wait", is_flag=True, help="Wait for its end; execute it here if no live worker serves it.")
@click.option("--timeout", metavar="TIME", type=Duration(), help="Wait for so long at most, then exit with 4: 5m.")
@click.option("--run-id", metavar="ID", help="Its id: started again with the same input, it is the same run.")
@click.option("--name", metavar="TEXT", help="What people call it.")
@click.option("--metadata", metavar="KEY=VALUE", multiple=True, help="An entry of its metadata; may be given again.")
@with_project
@with_output
def run(
    place: Place,
    out: Output,
    package: str,
    given: str | None,
    wait: bool,
    timeout: float | None,
    run_id: str | None,
    name: str | None,
    metadata: tuple[str, ...],
) -> int:
    """Start a run of a package.

    Without --wait it is only stored, and waits for a worker. With --wait,
    a live worker that serves it executes it; where there is none, this
    process does. Exits with 1 if the run fails or is canceled. Ctrl-C lets
    what runs here end within 10 seconds, and stores the rest for later.

    \b
    flowkit run hello --input '{"message": "hi"}' --wait
    flowkit run order --input @order.json --run-id order-17
    """
    value, entries = read_input(given), parsed_entries("--metadata", metadata)
    executes = wait or timeout is not None
    if not executes and place.settings.store_url() == IN_MEMORY:
        raise CommandFailed("a run that is stored in memory is gone at once", hint="name a file, or say --wait")
    # Who only starts something leaves the limits alone that the workers obey.
    limits: dict[str, Any] = {} if executes else {"queues": None}
    with place.working(**limits) as runtime:
        handle = runtime.start_run(package, value, run_id=run_id, name=name, metadata=entries)
        if not executes:
            _tell_stored(runtime, handle.id, out)
            return 0
        try:
            _wait(runtime, handle.id, timeout, out)
        except Stopped as stopped:
            return _tell_stopped(runtime, handle.id, stopped, out)
        return _tell_ended(runtime, get_run(runtime, handle.id), out)


def _wait(runtime: Runtime, run_id: str, timeout: float | None, out: Output) -> None:
    from flowkit.cli.following import view_of
    from flowkit.errors import WaitTimeout
    from flowkit.runtime.following import follow

    aside = Output(is_aside=True)
    attendance = Attendance(runtime, run_id, aside)
    try:
        with view_of(aside, run_id) as view, attendance:
            options: dict[str, Any] = {"timeout": timeout, "with_running": view.wants_running}
            for news in follow(runtime, run_id, each=attendance.attend, **options):
                view.show(news)
    except WaitTimeout as error:
        what, _, rest = str(error).partition("; ")
        hint = f"it goes on with the next worker: flowkit worker, or flowkit run ... --run-id {run_id} --wait"
        raise CommandFailed(what, hint=hint if attendance.is_here else rest, code=TIMED_OUT) from error


def _tell_stored(runtime: Runtime, run_id: str, out: Output) -> None:
    from flowkit.runtime.executing import takers
    from flowkit.runtime.shapes import run_shape

    found = get_run(runtime, run_id)
    serving = () if found.is_ended else takers(runtime, run_id)
    if out.is_json:
        out.json(run_shape(found))
    elif found.is_ended:
        out.line(f"run {run_id} {found.status.value}")
        out.note("it was started before, with the same input")
    else:
        out.line(f"run {run_id} is stored")
        steps = count(found.steps.open, "step")
        nobody = f"it waits for a worker, with {steps} to do: start one with flowkit worker, or say --wait"
        out.note(f"{named(serving)}: {command('watch', run_id)}" if serving else nobody)


def _tell_ended(runtime: Runtime, found: Run, out: Output) -> int:
    from flowkit.runtime.shapes import run_shape

    if out.is_json:
        out.json(run_shape(found))
        return end_of(found)
    out.line(f"run {found.id} {found.status.value}")
    if found.status.value == "failed":
        for step in runtime.steps(found.id, status="failed", limit=FAILURES):
            show_error(Output(is_aside=True), curtain_of(runtime).step(step), with_traceback=False)
    out.note(f"{command('show', found.id)} tells more")
    return end_of(found)


def _tell_stopped(runtime: Runtime, run_id: str, stopped: Stopped, out: Output) -> int:
    found = get_run(runtime, run_id)
    if found.is_ended:
        return _tell_ended(runtime, found, out)
    steps = count(found.steps.open, "step")
    out.note(f"stopped: run {run_id} is {found.status.value} with {steps} to do, and goes on with the next worker")
    return stopped.code
