"""Test your own workflows: `pytest examples/testing_workflows.py`. Time never sleeps in these tests."""

import subprocess
import sys

import pytest

from flowkit import Event, Retry, Retryable, RunBuilder, Runtime, StepContext, StepHandle, executor, package
from flowkit.clock import SECOND
from flowkit.testing import Crash, FakeClock, Stubs, WorkerCrashed

DAY = 24 * 3600


@executor("bill/send", retry=Retry(max_attempts=5, initial=3600, maximum=DAY))
def send(step: StepContext, customer: str) -> str:
    if step.attempt < 3:
        raise Retryable("mailbox_full", f"{customer} does not empty it")
    return f"sent to {customer}"


@executor("bill/paid", retry=Retry(max_attempts=201, backoff="fixed", initial=DAY / 8, maximum=DAY))
def paid(step: StepContext, *, letter: str) -> str:
    if step.attempt <= 200:
        raise Retryable("no_money_yet")
    return f"{letter}, paid at last"


@package("bill")
def bill(run: RunBuilder, customer: str) -> StepHandle[str]:
    letter = run.step("send", send, customer, delay=5 * DAY)
    return run.step("paid", paid, letter=letter)


# The fixtures come with flowkit. Which modules they register can stand in the ini option flowkit_modules, too.
pytestmark = pytest.mark.flowkit(modules=[__name__])


def test_a_month_and_two_hundred_attempts_are_over_at_once(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    begun = flowkit_clock.now()

    run = flowkit_runtime.run(bill, "Ada")  # the clock is set to whenever there is something to do

    assert run.result() == "sent to Ada, paid at last"
    assert flowkit_clock.now() - begun >= 30 * DAY * SECOND
    assert len(flowkit_runtime.attempts(run.id, "paid")) == 201


def test_the_steps_between_are_looked_at_one_by_one(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    run = flowkit_runtime.start_run(bill, "Ada")
    assert flowkit_runtime.drain().processed == 0

    for seconds in (5 * DAY, 3600, 7200):
        flowkit_clock.advance(seconds)
        flowkit_runtime.run_once()

    attempts = flowkit_runtime.attempts(run.id, "send")
    assert [attempt.outcome for attempt in attempts] == ["retried", "retried", "succeeded"]


def test_an_executor_is_replaced_by_a_stub(flowkit_runtime: Runtime, flowkit_stub: Stubs) -> None:
    post = flowkit_stub(send, returns="sent by pigeon")
    flowkit_stub(paid, does=lambda step, *, letter: f"{letter}, paid at once")

    assert flowkit_runtime.run(bill, "Ada").result() == "sent by pigeon, paid at once"
    assert post.inputs == ["Ada"]


def test_a_worker_that_dies_is_replaced(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, flowkit_crash: Crash, flowkit_events: list[Event]
) -> None:
    run = flowkit_runtime.start_run(bill, "Grace")
    flowkit_clock.advance(5 * DAY)
    flowkit_crash.at("after_lease")
    with pytest.raises(WorkerCrashed):
        flowkit_runtime.drain()

    flowkit_clock.advance(31)  # nothing is known of the dead worker until its lease is over
    flowkit_runtime.drain()

    assert flowkit_runtime.attempts(run.id, "send")[0].outcome == "lost"
    assert "lease_expired" in [event.name for event in flowkit_events]


def main() -> int:
    return subprocess.call([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__])


if __name__ == "__main__":
    sys.exit(main())
