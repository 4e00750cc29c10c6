"""Which failures are retried, how often, and after how long."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from flowkit import Permanent, Retry, Retryable, Runtime, StepContext, executor, optional
from flowkit.clock import SECOND
from flowkit.testing import FakeClock
from tests.stories.telling import busy, code_of, outcomes, start


class NetworkDown(OSError):
    """A kind of OSError."""


def attempts_of(runtime: Runtime, clock: FakeClock, error: BaseException, retry: Retry | None) -> list[str | None]:
    """Run a step that always raises *error* to its end and return what its attempts came to."""

    @executor("raise")
    def raise_it(step: StepContext) -> None:
        raise error

    run = start(runtime, lambda run: run.step("a", raise_it, retry=retry), raise_it)
    while runtime.drain().processed:
        clock.advance(3600)
    return [outcome for _, outcome in outcomes(runtime, run.id, "a")]


@pytest.mark.parametrize(
    ("error", "retry", "expected"),
    [
        (ValueError(), None, ["failed"]),
        (Permanent("p"), None, ["failed"]),
        (Retryable("r"), None, ["retried", "retried", "failed"]),
        (Retryable("r"), Retry(max_attempts=1), ["failed"]),
        (Retryable("r"), Retry(max_attempts=5), ["retried"] * 4 + ["failed"]),
        (ValueError(), Retry(on=(ValueError,)), ["retried", "retried", "failed"]),
        (NetworkDown(), Retry(on=(OSError,)), ["retried", "retried", "failed"]),
        (OSError(), Retry(on=(NetworkDown,)), ["failed"]),
        (Permanent("p"), Retry(on=(Permanent, Exception)), ["failed"]),
        (KeyError(), Retry(on=(ValueError, KeyError)), ["retried", "retried", "failed"]),
    ],
)
def test_a_failure_is_retried_as_its_policy_says(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, error: BaseException, retry: Any, expected: list[str]
) -> None:
    assert attempts_of(flowkit_runtime, flowkit_clock, error, retry) == expected


@pytest.mark.parametrize(
    ("retry", "delays"),
    [
        (Retry(max_attempts=5), [1, 2, 4, 8]),
        (Retry(max_attempts=5, initial=2, multiplier=3, maximum=20), [2, 6, 18, 20]),
        (Retry(max_attempts=4, backoff="linear", initial=2, multiplier=1), [2, 4, 6]),
        (Retry(max_attempts=4, backoff="fixed", initial=7), [7, 7, 7]),
        (Retry(max_attempts=3, initial=0), [0, 0]),
    ],
)
def test_the_delays_between_attempts_grow_as_the_policy_says(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, retry: Retry, delays: list[int]
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", busy, retry=retry), busy)
    found = []
    flowkit_runtime.run_once()
    while run.status() == "running":
        step = flowkit_runtime.step(run.id, "a")
        assert step.ready_at is not None
        found.append((step.ready_at - flowkit_clock.now()) / SECOND)
        if found[-1]:
            flowkit_clock.advance(found[-1] - 0.001)
            assert flowkit_runtime.run_once().processed == 0
            flowkit_clock.advance(0.001)
        flowkit_runtime.run_once()
    assert found == delays


def test_retry_after_replaces_the_computed_delay_and_may_exceed_its_maximum(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock
) -> None:
    @executor("limited")
    def limited(step: StepContext) -> int:
        if step.attempt == 1:
            raise Retryable("rate_limited", retry_after=500)
        return step.attempt

    run = start(flowkit_runtime, lambda run: run.step("a", limited, retry=Retry(maximum=10)), limited)
    flowkit_runtime.drain()
    flowkit_clock.advance(499)
    assert flowkit_runtime.drain().processed == 0
    flowkit_clock.advance(1)
    flowkit_runtime.drain()
    assert run.result() == 2


class Told(Retryable):
    """Asks for what the response's header says."""

    def __init__(self, header: Any) -> None:
        super().__init__("rate_limited")
        self.retry_after = header


class Mute(Retryable):
    """Does not even say of what class it is."""

    def __init__(self) -> None:
        Exception.__init__(self)

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(name)


@pytest.mark.parametrize("is_async", [False, True], ids=["thread", "loop"])
@pytest.mark.parametrize("error", [partial(Told, "1"), partial(Told, math.nan), Mute])
def test_an_exception_that_was_made_odd_fails_its_attempt_and_no_more(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, error: Callable[[], Exception], is_async: bool
) -> None:
    @executor("odd")
    def odd() -> None:
        raise error()

    @executor("odd/async")
    async def odd_async() -> None:
        raise error()

    kind = odd_async if is_async else odd
    run = start(flowkit_runtime, lambda run: run.step("a", kind, retry=Retry(max_attempts=2)), odd, odd_async)
    while flowkit_runtime.drain().processed:
        flowkit_clock.advance(60)
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "retried"), (2, "failed")]


def test_jitter_only_shortens_a_delay(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    retry = Retry(backoff="fixed", initial=10, jitter=0.5)
    run = start(flowkit_runtime, lambda run: run.map("a", busy, [None] * 20, retry=retry) and None, busy)
    flowkit_runtime.drain()
    delays = [((step.ready_at or 0) - flowkit_clock.now()) / SECOND for step in flowkit_runtime.steps(run.id)]
    assert all(5 <= delay <= 10 for delay in delays)
    assert len(set(delays)) > 1


def test_a_delay_of_the_step_is_not_repeated_on_retries(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", busy, delay=100, retry=Retry(2, initial=1)), busy)
    flowkit_clock.advance(100)
    flowkit_runtime.drain()
    flowkit_clock.advance(1)
    flowkit_runtime.drain()
    assert run.status() == "failed"
    assert code_of(flowkit_runtime, run.id, "a") == "busy"


def test_a_delay_counts_from_when_the_dependencies_are_met(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    def describe(run: Any) -> None:
        run.step("a", busy, retry=Retry(1), allow_failure=True)
        run.step("b", busy, delay=10, after=optional("a"), retry=Retry(1))

    run = start(flowkit_runtime, describe, busy)
    flowkit_clock.advance(60)
    flowkit_runtime.drain()
    assert flowkit_runtime.step(run.id, "b").status == "ready"
    flowkit_clock.advance(10)
    flowkit_runtime.drain()
    assert flowkit_runtime.step(run.id, "b").status == "failed"


def test_what_is_said_with_the_step_wins_over_the_executor_and_that_over_the_default(flowkit_runtime: Runtime) -> None:
    @executor("patient", retry=Retry(7), queue="slow", priority=3, timeout=60)
    def patient(step: StepContext) -> None: ...

    def describe(run: Any) -> None:
        run.step("own", patient, retry=Retry(2), queue="fast", priority=0, timeout=5)
        run.step("executors", patient)
        run.step("default", busy)

    run = start(flowkit_runtime, describe, patient, busy)
    found = {
        step.id: (step.retry.max_attempts, step.queue, step.priority, (step.timeout or 0) // SECOND)
        for step in flowkit_runtime.steps(run.id)
    }
    assert found == {
        "own": (2, "fast", 0, 5),
        "executors": (7, "slow", 3, 60),
        "default": (3, "default", 0, 0),
    }


@pytest.mark.parametrize(
    ("error", "retry", "told"),
    [
        (ValueError("odd"), Retry(5), True),
        (ValueError("odd"), Retry(1), False),
        (Permanent("broken"), Retry(5), False),
    ],
    ids=["not listed", "no attempt left", "permanent"],
)
def test_explain_says_why_an_exception_is_not_tried_again(
    flowkit_runtime: Runtime, error: Exception, retry: Retry, *, told: bool
) -> None:
    @executor("raise")
    def raise_it() -> None:
        raise error

    run = start(flowkit_runtime, lambda run: run.step("a", raise_it, retry=retry), raise_it)
    flowkit_runtime.drain()
    text = flowkit_runtime.explain(run.id, "a").text
    assert ("it is not tried again, for no type of its exception is listed in Retry(on=...)" in text) == told
