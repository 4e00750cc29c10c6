"""The command ``show``."""

from __future__ import annotations

import click

from flowkit.cli.options import StepId, run_argument, with_output, with_reveal, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import Place, curtain_of, find_run, get_run
from flowkit.cli.showing import attempts_table, run_fields, show_error, show_errors, step_fields, steps_table


@click.command()
@run_argument
@click.argument("step_id", metavar="[STEP]", required=False, type=StepId())
@click.option("--status", metavar="STATUS", multiple=True, help="Only steps in this status; may be given again.")
@click.option("--limit", metavar="N", type=int, default=200, show_default=True, help="How many steps at most.")
@with_reveal
@with_store
@with_output
def show(
    place: Place, out: Output, run_id: str, step_id: str | None, status: tuple[str, ...], limit: int, reveal: bool
) -> None:
    """Show a run: its steps as a tree, and why some of them failed.

    RUN is the id of a run, the beginning of one, or @last for the newest.
    With STEP: that step alone, and each attempt at it.

    \b
    flowkit show @last
    flowkit show order-17 charge --json
    """
    if step_id is not None:
        _show_step(place, out, run_id, step_id, reveal)
    else:
        _show_run(place, out, run_id, (status, limit), reveal)


def _show_run(place: Place, out: Output, text: str, only: tuple[tuple[str, ...], int], reveal: bool) -> None:
    from flowkit.cli.parse import split_list
    from flowkit.runtime.shapes import run_shape, step_shape

    wanted, limit = split_list(only[0]) or None, only[1]
    with place.reading() as runtime:
        run_id = find_run(runtime, text)
        run, curtain = get_run(runtime, run_id, reveal), curtain_of(runtime, reveal)
        page = runtime.steps(run_id, status=wanted, limit=limit)
        steps = [curtain.step(step) for step in page]
        failed = [curtain.step(step) for step in runtime.steps(run_id, status="failed", limit=limit)]
    if out.is_json:
        shown = {"run": run_shape(run), "steps": [step_shape(step) for step in steps], "more": page.cursor is not None}
        out.json(shown)
        return
    out.fields(run_fields(run))
    out.line()
    steps_table(out, steps)
    show_errors(out, run, failed)
    if page.cursor is not None:
        out.note(f"there are more steps: --limit {limit * 5} shows some of them, --status failed those that failed")


def _show_step(place: Place, out: Output, text: str, step_id: str, reveal: bool) -> None:
    from flowkit.runtime.shapes import attempt_shape, step_shape

    with place.reading() as runtime:
        run_id = find_run(runtime, text)
        curtain = curtain_of(runtime, reveal)
        step = curtain.step(runtime.step(run_id, step_id))
        attempts = [curtain.attempt(one) for one in runtime.attempts(run_id, step_id)]
    if out.is_json:
        out.json({"run": run_id, "step": step_shape(step), "attempts": [attempt_shape(one) for one in attempts]})
        return
    out.fields(step_fields(step))
    out.line()
    attempts_table(out, attempts)
    if step.error is not None:
        out.line()
        show_error(out, step, with_traceback=True)
