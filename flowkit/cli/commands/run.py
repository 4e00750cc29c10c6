"""The command ``run``."""

from __future__ import annotations

import click

from flowkit.cli.failing import FAILED
from flowkit.cli.options import PackageName, with_output, with_project
from flowkit.cli.output import Output
from flowkit.cli.parse import parsed_entries, read_input
from flowkit.cli.place import Place, get_run
from flowkit.cli.words import count


@click.command()
@click.argument("package", metavar="PACKAGE", type=PackageName())
@click.option("--input", "given", metavar="JSON|@FILE|-", help="The input: JSON, a file of it, or stdin.")
@click.option("--wait", is_flag=True, help="Execute the run's steps here, until it has ended.")
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
    run_id: str | None,
    name: str | None,
    metadata: tuple[str, ...],
) -> int:
    """Start a run of a package.

    Without --wait it is only stored, and waits for a worker.

    \b
    flowkit run hello --input '{"message": "hi"}' --wait
    flowkit run order --input @order.json --run-id order-17
    """
    from flowkit.runtime.shapes import run_shape

    value, entries = read_input(given), parsed_entries("--metadata", metadata)
    with place.working() as runtime:
        start = runtime.run if wait else runtime.start_run
        handle = start(package, value, run_id=run_id, name=name, metadata=entries)
        found = get_run(runtime, handle.id)
    if out.is_json:
        out.json(run_shape(found))
    elif found.is_ended:
        out.line(f"run {found.id} {found.status.value}")
        out.note(f"flowkit show {found.id} tells more")
    else:
        out.line(f"run {found.id} is stored")
        steps = count(found.steps.open, "step")
        out.note(f"it waits for a worker, with {steps} to do: start one with flowkit worker, or say --wait")
    return FAILED if found.is_ended and found.status != "succeeded" else 0
