"""A run goes the same way whoever tells the time: the host, or a clock that the program gives."""

from __future__ import annotations

from typing import Any

from flowkit import Retry, Retryable, RunBuilder, Runtime, StepContext, StepHandle, SystemClock, executor, package
from flowkit.testing import FakeClock
from tests.places import Lend


@executor("count", retry=Retry(initial=0))
def count(step: StepContext, number: int) -> int:
    if step.attempt == 1 and number % 2:
        raise Retryable("odd", "odd numbers fail once")
    return number


@executor("total")
def total(step: StepContext, *, numbers: list[int]) -> int:
    step.emit("after", count, sum(numbers))
    return sum(numbers)


@package("counting")
def counting(run: RunBuilder) -> StepHandle[int]:
    return run.step("total", total, numbers=run.map("n", count, [1, 2, 3]))


def told(url: str, clock: Any) -> list[Any]:
    """Run the package and return all that a program can see of it but the times."""
    with Runtime(url, modules=[__name__], entry_points=False, clock=clock, worker_id="w") as runtime:
        run = runtime.run(counting, run_id="one")
        history = [(event.seq, event.name, event.step_id, event.epoch) for event in runtime.history("one")]
        attempts = [
            (step.id, [one.outcome for one in runtime.attempts("one", step.id)]) for step in runtime.steps("one")
        ]
        return [run.status(), run.result(), history, attempts]


def test_a_run_goes_the_same_way_with_a_given_clock_and_without(lend: Lend) -> None:
    with lend() as place:
        without = told(place.url, None)
    assert without[1] == 6
    assert ("n[0]", ["retried", "succeeded"]) in without[3]
    for clock in (SystemClock(), FakeClock()):
        with lend() as place:
            assert told(place.url, clock) == without
