"""Test your own workflows: `pytest examples/testing_workflows.py`. Time never sleeps in these tests."""

import subprocess
import sys

import pytest

from flowkit import Event, Retry, Retryable, RunBuilder, Runtime, StepContext, StepHandle, executor, package
from flowkit.testing import Crash, FakeClock, WorkerCrashed


@executor("bill/send", retry=Retry(max_attempts=5, initial=3600, maximum=86_400))
def send(step: StepContext, customer: str) -> str:
    if step.attempt < 3:
        raise Retryable("mailbox_full", f"{customer} does not empty it")
    return f"sent to {customer}"


@package("bill")
def bill(run: RunBuilder, customer: str) -> StepHandle[str]:
    return run.step("send", send, customer, delay=30 * 24 * 3600)


# The fixtures come with flowkit. Which modules they register can stand in the ini option flowkit_modules, too.
pytestmark = pytest.mark.flowkit(modules=[__name__])


def test_a_bill_is_sent_after_a_month_and_two_attempts(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    run = flowkit_runtime.start_run(bill, "Ada")
    assert flowkit_runtime.drain().processed == 0

    for seconds in (30 * 24 * 3600, 3600, 7200):
        flowkit_clock.advance(seconds)
        flowkit_runtime.drain()

    assert run.result() == "sent to Ada"
    attempts = flowkit_runtime.attempts(run.id, "send")
    assert [attempt.outcome for attempt in attempts] == ["retried", "retried", "succeeded"]


def test_a_worker_that_dies_is_replaced(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, flowkit_crash: Crash, flowkit_events: list[Event]
) -> None:
    run = flowkit_runtime.start_run(bill, "Grace")
    flowkit_clock.advance(30 * 24 * 3600)
    flowkit_crash.at("after_lease")
    with pytest.raises(WorkerCrashed):
        flowkit_runtime.drain()

    flowkit_clock.advance(31)  # nothing is known of the dead worker until its lease is over
    flowkit_runtime.drain()

    assert flowkit_runtime.attempts(run.id, "send")[0].outcome == "lost"
    assert "lease_expired" in [event.name for event in flowkit_events]


def test_an_executor_is_a_plain_function() -> None:
    assert bill.__name__ == "bill"
    assert send.__name__ == "send"


def main() -> int:
    return subprocess.call([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__])


if __name__ == "__main__":
    sys.exit(main())
