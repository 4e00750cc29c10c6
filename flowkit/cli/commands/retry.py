"""The command ``retry``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.failing import USAGE, CommandFailed
from flowkit.cli.many import Many, became, tell, with_many
from flowkit.cli.options import RunId, StepId, with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import Place, curtain_of, find_run
from flowkit.cli.words import count

if TYPE_CHECKING:
    from flowkit.runtime.runtime import Runtime


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False, type=RunId())
@click.argument("step_id", metavar="[STEP]", required=False, type=StepId())
@click.option("--force", is_flag=True, help="A running step too: its worker loses it.")
@with_many("retried", ("failed", "canceled"), unsaid=("failed",))
@with_store
@with_output
def retry(place: Place, out: Output, run_id: str | None, step_id: str | None, force: bool, many: Many) -> None:
    """Retry failed or canceled runs, or a step of one.

    Each step gets a fresh budget of attempts, and its history is kept. What
    was canceled because of it comes back too. Many are all that fit a filter.

    \b
    flowkit retry @last
    flowkit retry order-17 charge --force
    flowkit retry --package order --since 2h --yes
    """
    if (run_id is not None) == many.is_given:
        raise CommandFailed("name the run to retry, or filter many", hint="flowkit retry RUN, or --package NAME")
    if force and step_id is None:
        raise CommandFailed("--force is for one step", hint="flowkit retry RUN STEP --force", code=USAGE)
    with place.reading() as runtime:
        if run_id is None:
            tell(out, many, {one: became(runtime.retry_run, one) for one in many.runs(runtime)})
            return
        found = find_run(runtime, run_id, to_change=True)
        shape, told = _retried(runtime, found, step_id, force)
    if out.is_json:
        out.json(shape)
    else:
        out.line(told)


def _retried(runtime: Runtime, run_id: str, step_id: str | None, force: bool) -> tuple[dict[str, Any], str]:
    from flowkit.runtime.shapes import run_shape, step_shape

    if step_id is not None:
        step = curtain_of(runtime).step(runtime.retry_step(run_id, step_id, force=force))
        return step_shape(step), f"step {step.id} of run {run_id} is {step.status.value} again"
    run = curtain_of(runtime).run(runtime.retry_run(run_id))
    return run_shape(run), f"run {run.id} is {run.status.value} again, {count(run.steps.open, 'step')} to do"
