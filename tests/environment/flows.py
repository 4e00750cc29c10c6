"""What the tests of the environment run: steps whose results take room."""

from __future__ import annotations

from flowkit import Retry, RunBuilder, StepContext, StepHandle, executor, package

RESULT_BYTES = 4000
MANY = Retry(max_attempts=1000, initial=0)
"""A clock that jumps may cost a step any number of attempts."""


@executor("environment/fill", retry=MANY)
def fill(step: StepContext, number: int) -> str:
    return chr(ord("a") + number % 26) * RESULT_BYTES


@executor("environment/count", retry=MANY)
def count(step: StepContext, *, pages: list[str]) -> int:
    return sum(len(page) for page in pages)


@package("fill")
def filling(run: RunBuilder, steps: int) -> StepHandle[int]:
    return run.step("count", count, pages=run.map("fill", fill, list(range(steps))))
