"""What a failed test's report says of the Runtime: its runs as trees, and why steps failed or do not run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowkit.model.run import Run
from flowkit.model.step import Step
from flowkit.model.tree import tree

RUNS, STEPS, FAILURES = 5, 200, 5
"""How many runs, steps of a run and errors of a run are shown."""


def story_of(runtime: Any) -> str:
    """Tell of the newest runs of a Runtime."""
    page = runtime.runs(limit=RUNS)
    lines = [line for run in page for line in _run_lines(runtime, run)]
    if page.cursor is not None:
        lines.append(f"and more: only the newest {RUNS} runs are shown")
    return "\n".join(lines or ["no run was started"])


def _run_lines(runtime: Any, run: Run) -> Iterator[str]:
    yield f"run {run.id}: {run.status.value}"
    page = runtime.steps(run.id, limit=STEPS)
    rows = [(branch + step.id, step) for branch, step in tree(page.items)]
    width = max((len(name) for name, _ in rows), default=0)
    for name, step in rows:
        tries = f"{step.attempt}/{step.retry.max_attempts}"
        yield f"  {name:<{width}}  {step.status.value:<9}  {tries:>5}  {_note(runtime, step)}".rstrip()
    if page.cursor is not None:
        yield f"  and more: only the first {STEPS} steps are shown"
    failed = [step for step in page if step.error is not None]
    for step in failed[:FAILURES]:
        yield from _error_lines(step)
    if len(failed) > FAILURES:
        yield f"  and {len(failed) - FAILURES} more errors"
    yield ""


def _note(runtime: Any, step: Step) -> str:
    if step.error is not None and step.status.is_ended:
        return f"{step.error.code}: {_first_line(step.error.message)}"
    if step.status.value == "succeeded":
        return ""
    return _first_line(runtime.explain(step.run_id, step.id).text)


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _error_lines(step: Step) -> Iterator[str]:
    error = step.error
    assert error is not None
    yield ""
    yield f"  {step.id}, attempt {step.attempt}: {error.code}: {error.message}"
    for line in (error.traceback or "").rstrip().splitlines():
        yield f"    {line}"
