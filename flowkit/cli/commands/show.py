"""The command ``show``."""

from __future__ import annotations

import click

from flowkit.cli.options import run_argument, with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import Place, find_run, get_run
from flowkit.cli.showing import attempts_table, run_fields, show_error, show_errors, step_fields, steps_table


@click.command()
@run_argument
@click.argument("step_id", metavar="[STEP]", required=False)
@click.option("--status", metavar="STATUS", multiple=True, help="Only steps in this status; may be given again.")
@click.option("--limit", metavar="N", type=int, default=200, show_default=True, help="How many steps at most.")
@with_store
@with_output
def show(place: Place, out: Output, run_id: str, step_id: str | None, status: tuple[str, ...], limit: int) -> None:
    """Show a run: its steps as a tree, and why some of them failed.

    RUN is the id of a run, the beginning of one, or @last for the newest.
    With STEP: that step alone, and each attempt at it.

    \b
    flowkit show @last
    flowkit show order-17 charge --json
    """
    if step_id is not None:
        _show_step(place, out, run_id, step_id)
    else:
        _show_run(place, out, run_id, status, limit)


def _show_run(place: Place, out: Output, text: str, status: tuple[str, ...], limit: int) -> None:
    from flowkit.cli.parse import split_list
    from flowkit.runtime.shapes import run_shape, step_shape

    wanted = split_list(status) or None
    with place.reading() as runtime:
        run_id = find_run(runtime, text)
        run = get_run(runtime, run_id)
        steps = runtime.steps(run_id, status=wanted, limit=limit)
        failed = runtime.steps(run_id, status="failed", limit=limit)
    if out.is_json:
        shown = {"run": run_shape(run), "steps": [step_shape(step) for step in steps], "more": steps.cursor is not None}
        out.json(shown)
        return
    out.fields(run_fields(run))
    out.line()
    steps_table(out, list(steps))
    show_errors(out, run, list(failed))
    if steps.cursor is not None:
        out.note(f"there are more steps: --limit {limit * 5} shows some of them, --status failed those that failed")


def _show_step(place: Place, out: Output, text: str, step_id: str) -> None:
    from flowkit.runtime.shapes import attempt_shape, step_shape

    with place.reading() as runtime:
        run_id = find_run(runtime, text)
        step = runtime.step(run_id, step_id)
        attempts = runtime.attempts(run_id, step_id)
    if out.is_json:
        out.json({"run": run_id, "step": step_shape(step), "attempts": [attempt_shape(one) for one in attempts]})
        return
    out.fields(step_fields(step))
    out.line()
    attempts_table(out, attempts)
    if step.error is not None:
        out.line()
        show_error(out, step, with_traceback=True)
