"""In a test, ``run()`` waits for nothing: the clock is set to when there is something to do."""

from __future__ import annotations

import threading

import pytest

from flowkit import (
    Event,
    QueueConfig,
    RateLimit,
    Retry,
    Retryable,
    RunBuilder,
    RunFailed,
    Runtime,
    StepContext,
    StepGroup,
    StepHandle,
    executor,
    package,
)
from flowkit.clock import SECOND
from flowkit.testing import FakeClock, Stuck

DAY = 24 * 3600

pytestmark = pytest.mark.flowkit(modules=[__name__])


@executor("month/poll", retry=Retry(max_attempts=201, initial=30 * DAY / 200, maximum=DAY, backoff="fixed"))
def poll(step: StepContext) -> int:
    if step.attempt <= 200:
        raise Retryable("not_yet", "the parcel is under way")
    return step.attempt


@executor("month/remind", timeout=60)
def remind(step: StepContext, *, attempts: int) -> str:
    return f"arrived after {attempts} looks"


@package("parcel")
def parcel(run: RunBuilder) -> StepHandle[str]:
    return run.step("remind", remind, attempts=run.step("poll", poll), delay=DAY, queue="mail")


def test_a_month_with_two_hundred_retries_is_over_at_once(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, flowkit_events: list[Event]
) -> None:
    begun = flowkit_clock.now()

    assert flowkit_runtime.run("parcel").result() == "arrived after 201 looks"

    assert flowkit_clock.now() - begun == 31 * DAY * SECOND
    assert [event.name for event in flowkit_events].count("step_retried") == 200


def test_the_times_that_are_stored_are_those_of_the_clock(flowkit_runtime: Runtime) -> None:
    run = flowkit_runtime.run("parcel")
    poll, remind = (flowkit_runtime.step(run.id, name) for name in ("poll", "remind"))
    assert poll.ended_at is not None
    assert remind.started_at is not None
    assert remind.started_at - poll.ended_at == DAY * SECOND


def test_a_run_that_nothing_brings_forward_says_what_it_waits_for(flowkit_runtime: Runtime) -> None:
    flowkit_runtime.pause_queue("mail")
    with pytest.raises(Stuck, match="remind: queue 'mail' is paused"):
        flowkit_runtime.run("parcel")


@pytest.mark.flowkit(modules=[__name__], queues={"mail": QueueConfig(rate_limit=RateLimit(0.5))})
def test_the_pauses_of_a_rate_limit_are_skipped_too(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    @executor("month/send", queue="mail")
    def send(number: int) -> int:
        return number

    @package("letters")
    def letters(run: RunBuilder) -> StepGroup[int]:
        return run.map("send", send, range(5))

    flowkit_runtime.register_executor(send)
    flowkit_runtime.register_package(letters)
    begun = flowkit_clock.now()

    assert flowkit_runtime.run("letters").result() == [0, 1, 2, 3, 4]

    assert flowkit_clock.now() - begun == 8 * SECOND


def test_while_workers_run_in_the_background_time_is_the_tests_own(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock
) -> None:
    begun, running, go_on = flowkit_clock.now(), threading.Event(), threading.Event()

    @executor("month/wait")
    def wait(step: StepContext) -> str:
        running.set()
        assert go_on.wait(30)
        return "done"

    @package("waiting")
    def waiting(run: RunBuilder) -> StepHandle[str]:
        return run.step("wait", wait)

    flowkit_runtime.register_executor(wait)
    flowkit_runtime.register_package(waiting)
    with flowkit_runtime.workers():
        flowkit_runtime.start_run("waiting", run_id="one")
        assert running.wait(30)
        threading.Timer(0.05, go_on.set).start()
        assert flowkit_runtime.run("waiting", run_id="one").result() == "done"
    assert flowkit_clock.now() == begun


def test_an_executor_cannot_skip_the_time_of_its_own_lease(flowkit_runtime: Runtime) -> None:
    @executor("month/nested")
    def nested(step: StepContext) -> str:
        return str(flowkit_runtime.run("parcel").result())

    @package("nesting")
    def nesting(run: RunBuilder) -> StepHandle[str]:
        return run.step("nested", nested)

    flowkit_runtime.register_executor(nested)
    flowkit_runtime.register_package(nesting)
    with pytest.raises(RunFailed, match="Stuck: .* inside an executor"):
        flowkit_runtime.run("nesting").result()
