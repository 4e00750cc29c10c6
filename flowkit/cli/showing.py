"""A run and its steps as text: fields, the tree of steps, and the errors of those that failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowkit.cli.output import Output
from flowkit.cli.plain import Column
from flowkit.cli.words import command, count, duration, when

if TYPE_CHECKING:
    from flowkit.model.run import Run
    from flowkit.model.step import Attempt, Step

TRACEBACKS = 3
"""Of how many failed steps the tracebacks are shown with the run."""

STEPS = [
    Column("STEP"),
    Column("STATUS"),
    Column("TRIES", right=True),
    Column("TOOK", right=True),
    Column("KIND"),
    Column("NOTE", shrinks=True),
]
ATTEMPTS = [
    Column("TRY", right=True),
    Column("OUTCOME"),
    Column("STARTED (UTC)"),
    Column("TOOK", right=True),
    Column("WORKER"),
    Column("ERROR", shrinks=True),
]


def run_fields(run: Run) -> dict[str, str]:
    """Return what is known of a run, without its steps."""
    fields = {
        "run": run.id,
        "status": run.status.value,
        "package": run.package,
        "name": run.name or "",
        "created": f"{when(run.created_at)} UTC",
        "took": duration(run.ended_at - run.created_at) if run.ended_at is not None else "",
        "steps": _counted(run),
        "metadata": _entries(run.metadata),
        "input": run.input or "",
    }
    return {name: text for name, text in fields.items() if text}


def _counted(run: Run) -> str:
    ended, failed = run.steps.total - run.steps.open, run.steps.failed
    return f"{ended} of {count(run.steps.total, 'step')} ended" + (f", {failed} failed" if failed else "")


def step_fields(step: Step) -> dict[str, str]:
    """Return what is known of a step, without its attempts."""
    fields = {
        "step": step.id,
        "run": step.run_id,
        "status": step.status.value,
        "kind": step.kind,
        "queue": step.queue,
        "tries": _tries(step),
        "took": _took(step),
        "parent": step.parent_id or "",
        "priority": str(step.priority) if step.priority else "",
        "metadata": _entries(step.metadata),
        "note": note_of(step),
    }
    return {name: text for name, text in fields.items() if text}


def steps_table(out: Output, steps: Sequence[Step]) -> None:
    """Print steps as a tree: what a step emitted stands below it."""
    from flowkit.model.tree import tree

    rows = [
        [branch + step.id, step.status.value, _tries(step), _took(step), step.kind, note_of(step)]
        for branch, step in tree(steps)
    ]
    out.table(STEPS if any(row[-1] for row in rows) else STEPS[:-1], rows)


def note_of(step: Step) -> str:
    """Say in a few words what is worth knowing of a step besides its status."""
    if step.error is not None:
        return step.error.code
    if step.progress is not None and not step.status.is_ended:
        total = f"/{step.progress.total:g}" if step.progress.total is not None else ""
        return f"{step.progress.done:g}{total} {step.progress.message}".strip()
    kind, _, culprit = (step.reason or "").partition(":")
    if kind == "dependency":
        return f"requires {culprit}"
    if kind == "run":
        return "the run was canceled"
    if step.status.value == "running":
        return f"since {when(step.started_at)} by {step.worker_id}"
    return f"waits for {step.waits_for}" if step.status.value == "pending" and step.waits_for else ""


def show_errors(out: Output, run: Run, failed: Sequence[Step]) -> None:
    """Print why steps failed, the first few with their tracebacks."""
    for place, step in enumerate(failed):
        out.line()
        show_error(out, step, with_traceback=place < TRACEBACKS)
    if len(failed) > TRACEBACKS:
        out.line()
        out.text(f"`{command('show', run.id)} STEP` has the traceback of any other")


def show_error(out: Output, step: Step, *, with_traceback: bool) -> None:
    """Print why a step failed; the lines of a traceback stay as they are."""
    from flowkit.model.outcome import GIVEN_UP, is_given_up

    error = step.error
    if error is None:
        return
    message = f": {error.message}" if error.message != error.code else ""
    out.text(f"{step.id} {step.status.value}: {error.code}{message}")
    if is_given_up(error, step.attempt, step.retry.max_attempts):
        out.text(GIVEN_UP, indent="  ")
    if error.details is not None:
        out.text(f"details: {_plain(error.details)}", indent="  ")
    if with_traceback:
        for line in (error.traceback or "").rstrip().splitlines():
            out.line(f"  {line}")


def attempts_table(out: Output, attempts: Sequence[Attempt]) -> None:
    """Print a step's attempts; those of an earlier life, before an operator's retry, say so."""
    rows = [_attempt_row(one) for one in attempts]
    if rows:
        out.table(ATTEMPTS, rows)
    else:
        out.line("no attempt was made yet")


def _attempt_row(one: Attempt) -> list[str]:
    number = f"{one.generation}.{one.attempt}" if one.generation else str(one.attempt)
    took = duration(one.ended_at - one.started_at) if one.ended_at is not None else ""
    error = f"{one.error.code}: {one.error.message}" if one.error is not None else ""
    return [number, one.outcome or "running", when(one.started_at), took, one.worker_id or "", error]


def _tries(step: Step) -> str:
    return f"{step.attempt}/{step.retry.max_attempts}"


def _took(step: Step) -> str:
    if step.started_at is None or step.ended_at is None:
        return ""
    return duration(step.ended_at - step.started_at)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _entries(metadata: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_plain(value)}" for key, value in metadata.items())
