"""When a step started and ended is what its attempt says, not when a cycle came round to store it."""

from __future__ import annotations

from flowkit import Retry, Runtime, StepContext, executor
from flowkit.clock import SECOND
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, eventually, start


def test_steps_that_are_stored_together_have_completion_times_of_their_own(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock
) -> None:
    @executor("tick")
    def tick(step: StepContext, seconds: int) -> None:
        flowkit_clock.step(seconds)

    run = start(flowkit_runtime, lambda run: run.map("a", tick, [1, 2, 3]) and None, tick)
    begun = flowkit_clock.now()
    flowkit_runtime.run_once()
    steps = flowkit_runtime.steps(run.id)
    results = [flowkit_runtime.result(run.id, step.id) for step in steps]
    assert [(step.ended_at or 0) - begun for step in steps] == [1 * SECOND, 3 * SECOND, 6 * SECOND]
    assert [(result.completed_at if result else 0) for result in results] == [step.ended_at for step in steps]


def test_an_attempt_during_which_the_clock_was_set_back_lasted_no_time(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock
) -> None:
    @executor("back")
    def back(step: StepContext) -> str:
        flowkit_clock.step(-3)
        return "done"

    run = start(flowkit_runtime, lambda run: run.step("a", back), back)
    flowkit_runtime.run_once()
    assert run.result() == "done"
    (attempt,) = flowkit_runtime.attempts(run.id, "a")
    assert attempt.ended_at == attempt.started_at == flowkit_runtime.step(run.id, "a").ended_at


def test_an_attempt_that_waits_to_be_stored_ended_when_it_ended(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    """While one worker's loop is held up by a slow observer, attempts end; their times do not suffer."""
    held: list[str] = []

    def hold_up(event: object) -> None:
        if getattr(event, "step_id", None) == "first" and getattr(event, "name", "") == "step_succeeded":
            held.append("here")
            meeting.wait()

    ended: list[int] = []

    @executor("work")
    def work(step: StepContext) -> None:
        if step.step_id == "second":
            eventually(lambda: held)
            ended.append(flowkit_clock.now())

    runtime = open_runtime(observers=[hold_up])
    run = start(runtime, lambda run: [run.step("first", work), run.step("second", work)], work)
    with runtime.workers():
        meeting.expect()
        eventually(lambda: ended)
        flowkit_clock.step(10)
        meeting.let_go()
        run.wait(timeout=30)
    assert runtime.step(run.id, "second").ended_at == ended[0]


def test_the_attempts_of_a_step_tell_when_each_began_and_ended(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock
) -> None:
    @executor("flaky")
    def flaky(step: StepContext) -> None:
        flowkit_clock.step(2)
        if step.attempt == 1:
            raise TimeoutError

    run = start(
        flowkit_runtime,
        lambda run: run.step("a", flaky, retry=Retry(on=(TimeoutError,), initial=5)),
        flaky,
    )
    begun = flowkit_clock.now()
    flowkit_runtime.drain()
    flowkit_clock.advance(5)
    flowkit_runtime.drain()
    attempts = flowkit_runtime.attempts(run.id, "a")
    times = [((one.started_at - begun) // SECOND, ((one.ended_at or 0) - begun) // SECOND) for one in attempts]
    assert times == [(0, 2), (7, 9)]
