"""What an executor may ask of its step: who it is, which attempt this is, and what came before it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError

from flowkit import InvalidTransition, Retry, Retryable, RunBuilder, Runtime, StepContext, executor, optional
from flowkit.testing import FakeClock
from tests.stories.telling import code_of, echo, fail, start


def asked(runtime: Runtime, ask: Any, describe: Any = None, *functions: Any) -> Any:
    """Return what a step ``asking`` learns from *ask*, which is called with its context."""
    learned: list[Any] = []

    @executor("asking", retry=Retry(1))
    def asking(step: StepContext) -> None:
        learned.append(ask(step))

    run = start(runtime, describe or (lambda run: run.step("asking", asking)), asking, *functions)
    runtime.drain()
    assert code_of(runtime, run.id, "asking") is None, runtime.result(run.id, "asking")
    return learned[0]


def test_a_step_knows_its_run_itself_its_lease_and_the_time(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    def ask(step: StepContext) -> Any:
        return [step.workflow, step.step, step.lease, step.now, step.attempt, step.run_id, step.step_id]

    run, step, lease, now, *names = asked(flowkit_runtime, ask)
    assert (run.package, run.status) == ("story", "running")
    assert (step.id, step.kind, step.status, step.queue) == ("asking", "asking", "running", "default")
    assert lease.worker_id == flowkit_runtime.worker_id
    assert (lease.acquired_at, lease.expires_at - lease.acquired_at) == (flowkit_clock.now(), 30_000_000)
    assert now == flowkit_clock.now()
    assert names == [1, run.id, "asking"]


def test_a_step_cannot_change_the_lease_that_proves_its_right_to_settle(flowkit_runtime: Runtime) -> None:
    def change(step: StepContext) -> str:
        try:
            step.lease.epoch += 1  # type: ignore[misc]
        except FrozenInstanceError as error:
            return type(error).__name__
        return "changed"

    assert asked(flowkit_runtime, change) == "FrozenInstanceError"


def test_the_idempotency_key_is_the_same_in_every_attempt_and_the_attempt_key_in_none(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock
) -> None:
    keys: list[tuple[str, str]] = []

    @executor("call")
    def call(step: StepContext) -> None:
        keys.append((step.idempotency_key, step.attempt_key))
        raise Retryable("again")

    run = start(flowkit_runtime, lambda run: run.step("a/b", call, retry=Retry(2)), call, run_id="r/1")
    flowkit_runtime.drain()
    flowkit_clock.advance(1)
    flowkit_runtime.drain()
    flowkit_runtime.retry_step(run.id, "a/b")
    flowkit_runtime.drain()
    idempotency, attempts = [key for key, _ in keys], [key for _, key in keys]
    assert idempotency == ["r%2F1/a%2Fb/0", "r%2F1/a%2Fb/0", "r%2F1/a%2Fb/1"]
    assert len(set(attempts)) == 3


def test_keys_of_steps_whose_ids_only_look_alike_differ(flowkit_runtime: Runtime) -> None:
    keys: list[str] = []

    @executor("call")
    def call(step: StepContext) -> None:
        keys.append(step.idempotency_key)

    start(flowkit_runtime, lambda run: run.step("b/c", call), call, run_id="a")
    start(flowkit_runtime, lambda run: run.step("c", call), run_id="a/b")
    flowkit_runtime.drain()
    assert len(set(keys)) == 2


def test_a_step_reads_the_data_of_what_it_waited_for(flowkit_runtime: Runtime) -> None:
    def ask(step: StepContext) -> Any:
        return [step.dependency("before"), step.dependency("before", list[float]), step.dependency_result("before")]

    def describe(run: RunBuilder) -> None:
        run.step("before", echo, [1, 2])
        run.step("asking", "asking", after="before")

    data, typed, result = asked(flowkit_runtime, ask, describe, echo)
    assert (data, typed) == ([1, 2], [1.0, 2.0])
    assert (result.step_id, result.status, result.json) == ("before", "succeeded", "[1,2]")


def test_a_step_reads_why_what_it_waited_for_failed(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        bad = run.step("before", fail, allow_failure=True)
        run.step("asking", "asking", after=optional(bad))

    result = asked(flowkit_runtime, lambda step: step.dependency_result("before"), describe, fail)
    assert (result.status, result.error.code) == ("failed", "broken")


def test_a_step_that_asks_for_what_has_not_ended_or_is_not_there_fails(flowkit_runtime: Runtime) -> None:
    @executor("asking")
    def asking(step: StepContext, name: str) -> None:
        step.dependency(name)

    def describe(run: RunBuilder) -> None:
        run.step("open", asking, "late")
        run.step("missing", asking, "ghost")
        bad = run.step("bad", fail, allow_failure=True)
        run.step("failed", asking, "bad", after=optional(bad))
        run.step("late", echo, 1, delay=60)

    run = start(flowkit_runtime, describe, asking, echo, fail)
    flowkit_runtime.drain()
    messages = {}
    for name in ("open", "missing", "failed"):
        result = flowkit_runtime.result(run.id, name)
        assert result is not None
        assert result.error is not None
        messages[name] = result.error.message.partition(":")[0]
    assert messages == {"open": "ResultNotFound", "missing": "StepNotFound", "failed": "ResultNotFound"}


def test_the_log_of_a_step_says_which_attempt_wrote_it(flowkit_runtime: Runtime) -> None:
    log = asked(flowkit_runtime, lambda step: step.log)
    assert {"run_id", "step_id", "kind", "attempt"} <= set(log._context)


def test_an_attempt_that_nobody_stopped_goes_on(flowkit_runtime: Runtime) -> None:
    def ask(step: StepContext) -> Any:
        step.raise_if_canceled()
        return step.canceled

    assert asked(flowkit_runtime, ask) is False


LATE: list[Any] = [
    lambda step: step.result(1),
    lambda step: step.record("marks", "it", 1),
    lambda step: step.artifact("note", b"x"),
    lambda step: step.store_artifact("note", b"x"),
    lambda step: step.emit("child", echo, 1),
    lambda step: step.map("children", echo, [1]),
    lambda step: step.progress(1),
]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("raises", [False, True])
def test_what_is_handed_over_after_the_executor_is_over_is_refused_rather_than_lost(
    flowkit_runtime: Runtime, is_async: bool, raises: bool
) -> None:
    left_behind: list[StepContext] = []

    @executor("leaving", retry=Retry(1))
    def leaving(step: StepContext) -> None:
        left_behind.append(step)
        if raises:
            raise ValueError("broken")

    @executor("leaving", retry=Retry(1))
    async def leaving_async(step: StepContext) -> None:
        leaving(step)

    chosen: Any = leaving_async if is_async else leaving
    start(flowkit_runtime, lambda run: run.step("a", chosen), chosen, echo, run_id="r")
    flowkit_runtime.drain()
    for hand_over in LATE:
        with pytest.raises(InvalidTransition, match=r"^attempt 1 of step 'a' of run 'r' has ended: .* would be lost"):
            hand_over(left_behind[0])
    assert left_behind[0].step.status == ("failed" if raises else "succeeded")
