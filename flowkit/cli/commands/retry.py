"""The command ``retry``."""

from __future__ import annotations

import click

from flowkit.cli.failing import USAGE, CommandFailed
from flowkit.cli.options import StepId, run_argument, with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import Place, curtain_of, find_run
from flowkit.cli.words import count


@click.command()
@run_argument
@click.argument("step_id", metavar="[STEP]", required=False, type=StepId())
@click.option("--force", is_flag=True, help="A running step too: its worker loses it.")
@with_store
@with_output
def retry(place: Place, out: Output, run_id: str, step_id: str | None, force: bool) -> None:
    """Retry a failed or canceled run, or one of its steps.

    Each step gets a fresh budget of attempts, and its history is kept. What
    was canceled because of it comes back too.

    \b
    flowkit retry @last
    flowkit retry order-17 charge --force
    """
    from flowkit.runtime.shapes import run_shape, step_shape

    if force and step_id is None:
        raise CommandFailed("--force is for one step", hint="flowkit retry RUN STEP --force", code=USAGE)
    with place.reading() as runtime:
        run_id = find_run(runtime, run_id, to_change=True)
        if step_id is not None:
            step = curtain_of(runtime).step(runtime.retry_step(run_id, step_id, force=force))
            shape, told = step_shape(step), f"step {step.id} of run {run_id} is {step.status.value} again"
        else:
            run = curtain_of(runtime).run(runtime.retry_run(run_id))
            shape = run_shape(run)
            told = f"run {run.id} is {run.status.value} again, {count(run.steps.open, 'step')} to do"
    if out.is_json:
        out.json(shape)
    else:
        out.line(told)
