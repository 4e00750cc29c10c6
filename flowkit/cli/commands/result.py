"""The command ``result``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.attending import Bystander
from flowkit.cli.failing import FAILED, NOT_FOUND, TIMED_OUT, CommandFailed
from flowkit.cli.options import StepId, run_argument, with_output, with_reveal, with_store
from flowkit.cli.output import Output
from flowkit.cli.parse import Duration
from flowkit.cli.place import Place, curtain_of, find_run, get_run
from flowkit.cli.words import command

if TYPE_CHECKING:
    from flowkit.model.step import StepResult
    from flowkit.runtime.handle import RunHandle


@click.command()
@run_argument
@click.argument("step_id", metavar="[STEP]", required=False, type=StepId())
@click.option("--wait", is_flag=True, help="Wait until the run has ended, or the step.")
@click.option("--timeout", type=Duration(), help="Wait for this long at most: seconds, or like 15m or 2h.")
@with_reveal
@with_store
@with_output
def result(
    place: Place, out: Output, run_id: str, step_id: str | None, wait: bool, timeout: float | None, reveal: bool
) -> None:
    """Print a run's output as JSON, or the result of one of its steps.

    Exits with 1 if the run failed or was canceled, with 4 if it has not
    ended, or not in time. With --json: records, artifacts and errors too.

    \b
    flowkit result @last
    flowkit result order-17 charge --wait --timeout 5m
    """
    from flowkit.runtime.following import wait_for_end

    with place.reading() as runtime:
        run_id = find_run(runtime, run_id)
        handle = runtime.handle(run_id)
        if wait or timeout is not None:
            wait_for_end(runtime, run_id, step_id, timeout, Bystander(runtime, run_id, out).look)
        if step_id is not None:
            found = runtime.result(run_id, step_id)
            step = runtime.step(run_id, step_id)
            kind, reason = step.kind, step.reason
            _print_step(found and curtain_of(runtime, reveal).result(found, kind), step_id, out, reason)
            return
        run = get_run(runtime, run_id)
        if not run.is_ended:
            raise _not_ended(f"run {run_id!r} is {run.status.value}")
        output = curtain_of(runtime, reveal).output(run_id, _output(handle))
    out.json({"run": run_id, "status": run.status.value, "output": output} if out.is_json else output)


def _output(handle: RunHandle[Any]) -> Any:
    from flowkit.errors import ResultNotFound
    from flowkit.runtime.outputs import Unsuccessful

    try:
        return handle.result()
    except Unsuccessful as error:
        hint = f"`{command('show', handle.id, error.step.id)}` says more"
        raise CommandFailed(f"step {error.step.id!r} {error.told}", hint=hint, code=FAILED) from None
    except ResultNotFound:
        hint = f"return a handle from its entrypoint, or name a step: {command('result', handle.id)} STEP"
        raise CommandFailed(f"run {handle.id!r} names no output", hint=hint, code=NOT_FOUND) from None


def _print_step(found: StepResult | None, step_id: str, out: Output, reason: str | None) -> None:
    from flowkit.runtime.shapes import result_shape

    if found is None:
        raise _not_ended(f"step {step_id!r} has not ended")
    if not out.is_json and found.error is not None:
        what = f"step {step_id!r} failed: {found.error.code}: {found.error.message}"
        hint = f"`{command('show', found.run_id, step_id)}` has the traceback"
        raise CommandFailed(what, hint=hint, code=FAILED)
    if not out.is_json and found.status == "canceled":
        hint = f"`{command('explain', found.run_id, step_id)}` says why"
        raise CommandFailed(f"step {step_id!r} was canceled ({reason})", hint=hint, code=FAILED)
    out.json(result_shape(found) if out.is_json else found.data)


def _not_ended(what: str) -> CommandFailed:
    return CommandFailed(what, hint="--wait waits for its end", code=TIMED_OUT)
