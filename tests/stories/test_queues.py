"""Queues: their limits hold across every worker of the store, and none of them waits for another."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from flowkit import QueueConfig, RateLimit, Runtime, StepContext, executor
from flowkit.testing import Crash, FakeClock, WorkerCrashed
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, echo, eventually, in_background, standing, start, told


@pytest.fixture
def slow(meeting: Meeting) -> Any:
    @executor("slow")
    def slow(step: StepContext) -> None:
        meeting.wait()

    return slow


def running(runtime: Runtime, run_id: str) -> int:
    return len(runtime.steps(run_id, status="running"))


def test_one_slow_step_does_not_block_another_queue(open_runtime: OpenRuntime, slow: Any, meeting: Meeting) -> None:
    runtime = open_runtime(slow, echo, queues={"slow": QueueConfig(max_workers=1)})
    long = start(runtime, lambda run: run.map("slow", slow, [None] * 5, queue="slow") and None)
    with runtime.workers():
        meeting.expect()
        quick = start(runtime, lambda run: run.step("quick", echo, "done"))
        assert quick.result(timeout=30) == "done"
        assert running(runtime, long.id) == 1
        meeting.let_go()
        assert long.wait(timeout=30).status == "succeeded"


def test_a_backlog_takes_turns_with_a_step_that_came_just_now(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock
) -> None:
    runtime = open_runtime(echo, max_workers=1)
    backlog = start(runtime, lambda run: run.map("old", echo, [None] * 20, queue="backlog") and None)
    runtime.run_once()
    flowkit_clock.advance(1)
    fresh = start(runtime, lambda run: run.step("new", echo, 1))
    flowkit_clock.advance(1)
    runtime.run_once()
    runtime.run_once()
    assert fresh.status() == "succeeded"
    assert len(runtime.steps(backlog.id, status="ready")) == 18


def test_a_queue_runs_no_more_at_once_than_its_limit_in_all_workers_together(
    open_runtime: OpenRuntime, slow: Any, meeting: Meeting
) -> None:
    limit = {"default": QueueConfig(max_workers=3)}
    one, two = open_runtime(slow, queues=limit), open_runtime(slow, queues=limit)
    run = start(one, lambda run: run.map("slow", slow, [None] * 8) and None)
    with one.workers(), two.workers():
        for _ in range(3):
            meeting.expect()
        two.run_once()
        assert running(one, run.id) == 3
        meeting.let_go()
        assert run.wait(timeout=30).status == "succeeded"


def test_an_abandoned_step_holds_its_slot_until_its_lease_is_over(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock
) -> None:
    limit = {"default": QueueConfig(max_workers=1)}
    killed, other = open_runtime(echo, queues=limit), open_runtime(echo, queues=limit)
    run = start(killed, lambda run: run.map("a", echo, [1, 2]) and None)
    Crash(killed).at("after_lease")
    with pytest.raises(WorkerCrashed):
        killed.run_once()
    assert other.drain().processed == 0
    flowkit_clock.advance(31)
    assert other.drain().processed == 1
    flowkit_clock.advance(1)
    assert other.drain().processed == 1
    assert run.status() == "succeeded"


def test_a_rate_limit_holds_in_all_workers_together(open_runtime: OpenRuntime, flowkit_clock: FakeClock) -> None:
    limit = {"default": QueueConfig(rate_limit=RateLimit(rate_per_second=2, burst=3))}
    one, two = open_runtime(echo, queues=limit), open_runtime(echo, queues=limit)
    start(one, lambda run: run.map("a", echo, [None] * 20) and None)
    assert one.drain().processed + two.drain().processed == 3
    for _ in range(4):
        flowkit_clock.advance(1)
        assert two.drain().processed + one.drain().processed == 2


def test_a_rate_limit_survives_a_restart(open_runtime: OpenRuntime, flowkit_clock: FakeClock) -> None:
    limit = {"default": QueueConfig(rate_limit=RateLimit(1, burst=2))}
    first = open_runtime(echo, queues=limit)
    start(first, lambda run: run.map("a", echo, [None] * 5) and None)
    assert first.drain().processed == 2
    first.close()
    assert open_runtime(echo, queues=limit).drain().processed == 0


def test_a_clock_that_is_set_back_mints_no_tokens(open_runtime: OpenRuntime, flowkit_clock: FakeClock) -> None:
    runtime = open_runtime(echo, queues={"default": QueueConfig(rate_limit=RateLimit(1, burst=2))})
    start(runtime, lambda run: run.map("a", echo, [None] * 9) and None)
    assert runtime.drain().processed == 2
    flowkit_clock.step(-3600)
    assert runtime.drain().processed == 0
    flowkit_clock.advance(1)
    assert runtime.drain().processed == 1


def test_a_changed_rate_limit_mints_no_tokens(open_runtime: OpenRuntime, flowkit_clock: FakeClock) -> None:
    def limit(burst: int) -> dict[str, QueueConfig]:
        return {"default": QueueConfig(rate_limit=RateLimit(1, burst=burst))}

    first = open_runtime(echo, queues=limit(2))
    start(first, lambda run: run.map("a", echo, [None] * 20) and None)
    assert first.drain().processed == 2
    wider = open_runtime(echo, queues=limit(5))
    assert wider.drain().processed == 0
    flowkit_clock.advance(1)
    assert wider.drain().processed == 1
    flowkit_clock.advance(60)
    # Five are in the bucket by now, of which a smaller one has no room for three.
    assert open_runtime(echo, queues=limit(2)).drain().processed == 2


def test_a_worker_goes_on_when_its_rate_limit_allows_it(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock, flowkit_events: list[Any]
) -> None:
    limit = {"default": QueueConfig(rate_limit=RateLimit(1))}
    runtime = open_runtime(echo, queues=limit, observers=[flowkit_events.append], poll_interval=60)
    run = start(runtime, lambda run: run.map("a", echo, [1, 2]))
    with runtime.workers():
        eventually(lambda: "queue_rate_limited" in told(flowkit_events))
        flowkit_clock.advance(1)
        assert run.result(timeout=30) == [1, 2]


def test_smaller_priorities_run_first_and_then_what_is_ready_longest(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock
) -> None:
    order: list[str] = []

    @executor("note")
    def note(step: StepContext) -> None:
        order.append(step.step_id)

    runtime = open_runtime(note)

    def describe(run: Any) -> None:
        run.step("late", note, priority=7, delay=1)
        run.step("normal", note)
        run.step("urgent", note, priority=-1)
        run.step("low", note, priority=7, delay=2)

    start(runtime, describe)
    flowkit_clock.advance(3)
    runtime.drain()
    assert order == ["urgent", "normal", "late", "low"]


def test_a_paused_queue_starts_nothing_in_any_worker_until_it_is_resumed(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    other = open_runtime(echo)
    other.pause_queue("default")
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    assert flowkit_runtime.drain().processed + other.drain().processed == 0
    assert [queue.paused for queue in other.queues() if queue.name == "default"] == [True]
    flowkit_runtime.resume_queue("default")
    other.drain()
    assert run.result() == 1


def test_a_running_worker_is_woken_when_its_queue_is_resumed(flowkit_runtime: Runtime) -> None:
    flowkit_runtime.pause_queue("default")
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    with flowkit_runtime.workers(poll_interval=3600):
        flowkit_runtime.resume_queue("default")
        assert run.result(timeout=30) == 1


def test_what_runs_goes_on_when_its_queue_is_paused(flowkit_runtime: Runtime, slow: Any, meeting: Meeting) -> None:
    run = start(flowkit_runtime, lambda run: run.map("a", slow, [None] * 2) and None, slow)
    worker = in_background(flowkit_runtime.run_once)
    meeting.expect()
    flowkit_runtime.pause_queue("default")
    meeting.let_go()
    worker.join(30)
    assert standing(flowkit_runtime, run.id) == {"a[0]": "succeeded", "a[1]": "ready"}


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("flowkit").addHandler(handler)
    yield found
    logging.getLogger("flowkit").removeHandler(handler)


def test_of_two_configs_of_one_queue_the_last_to_open_wins_with_a_warning(
    open_runtime: OpenRuntime, warnings: list[str]
) -> None:
    first = open_runtime(echo, queues={"default": QueueConfig(max_workers=1)})
    assert warnings == []
    open_runtime(echo, queues={"default": QueueConfig(max_workers=5)})
    assert [("queue_config_changed" in text, "default" in text) for text in warnings] == [(True, True)]
    assert [queue.max_workers for queue in first.queues()] == [5]


@pytest.mark.parametrize("rate", [1 / 3, 0.1, 2.0, 7])
def test_the_same_config_again_is_no_change(open_runtime: OpenRuntime, warnings: list[str], rate: float) -> None:
    for _ in range(2):
        open_runtime(queues={"default": QueueConfig(max_workers=2, rate_limit=RateLimit(rate, burst=2))})
    assert warnings == []


def test_a_runtime_that_does_not_list_a_queue_obeys_what_is_stored(open_runtime: OpenRuntime) -> None:
    open_runtime(queues={"default": QueueConfig(rate_limit=RateLimit(1, burst=2))}).close()
    runtime = open_runtime(echo)
    start(runtime, lambda run: run.map("a", echo, [None] * 5) and None)
    assert runtime.drain().processed == 2


def test_a_queue_that_nobody_lists_is_bounded_by_max_workers_alone(
    open_runtime: OpenRuntime, slow: Any, meeting: Meeting
) -> None:
    runtime = open_runtime(slow, max_workers=2)
    run = start(runtime, lambda run: run.map("a", slow, [None] * 4) and None)
    with runtime.workers():
        meeting.expect()
        meeting.expect()
        assert running(runtime, run.id) == 2
        meeting.let_go()
        run.wait(timeout=30)
