"""Observers are told what happened, in order and after the commit; what they do hurts nobody."""

from __future__ import annotations

from typing import Any

import pytest

from flowkit import Event, QueueConfig, RateLimit, Retry, RunBuilder, Runtime
from flowkit.testing import Crash, FakeClock, WorkerCrashed
from flowkit.testing.skipping import Skipping
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import busy, echo, eventually, fail, start, told


def test_events_come_in_the_order_in_which_things_happened(
    flowkit_runtime: Runtime, flowkit_events: list[Event], flowkit_clock: FakeClock
) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("a", busy, retry=Retry(2, initial=0), allow_failure=True)
        run.step("b", echo, 1, after="a")

    run = start(flowkit_runtime, describe, busy, echo)
    flowkit_runtime.drain()
    assert [(event.name, event.step_id) for event in flowkit_events] == [
        ("run_created", None),
        ("step_leased", "a"),
        ("step_retried", "a"),
        ("step_leased", "a"),
        ("step_failed", "a"),
        ("step_canceled", "b"),
        ("run_finished", None),
    ]
    assert {event.run_id for event in flowkit_events} == {run.id}
    assert flowkit_events[-1].fields["status"] == "succeeded"
    assert [event.attempt for event in flowkit_events if event.step_id == "a"] == [1, 1, 2, 2]
    failed = flowkit_events[4]
    assert (failed.kind, failed.queue, failed.worker_id) == ("busy", "default", flowkit_runtime.worker_id)
    assert (failed.fields["code"], failed.at) == ("busy", flowkit_clock.now())


def test_operators_commands_are_told(flowkit_runtime: Runtime, flowkit_events: list[Event]) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    flowkit_runtime.cancel_run(run.id)
    flowkit_runtime.retry_step(run.id, "a")
    flowkit_runtime.drain()
    assert told(flowkit_events) == [
        "run_created",
        "step_canceled",
        "run_updated",
        "run_finished",
        "run_updated",
        "step_leased",
        "step_succeeded",
        "run_finished",
    ]


def test_an_expired_lease_is_told(
    flowkit_runtime: Runtime, flowkit_events: list[Event], flowkit_crash: Crash, flowkit_clock: FakeClock
) -> None:
    start(flowkit_runtime, lambda run: run.step("a", echo, 1, retry=Retry(1)), echo)
    flowkit_crash.at("after_lease")
    with pytest.raises(WorkerCrashed):
        flowkit_runtime.drain()
    flowkit_clock.advance(31)
    flowkit_runtime.drain()
    assert told(flowkit_events)[-3:] == ["lease_expired", "step_failed", "run_finished"]


def test_an_event_is_told_only_when_what_it_tells_is_stored(open_runtime: OpenRuntime) -> None:
    seen: list[tuple[str, Any]] = []
    other = open_runtime()

    def look(event: Event) -> None:
        if event.run_id and event.name in ("run_created", "step_succeeded", "run_finished"):
            run = other.workflow(event.run_id)
            seen.append((event.name, run.status if run else None))

    runtime = open_runtime(echo, observers=[look])
    start(runtime, lambda run: run.step("a", echo, 1))
    runtime.drain()
    assert seen == [("run_created", "pending"), ("step_succeeded", "succeeded"), ("run_finished", "succeeded")]


def test_an_observer_that_raises_never_breaks_anything(open_runtime: OpenRuntime) -> None:
    events: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("broken")

    runtime = open_runtime(echo, fail, observers=[broken, events.append])
    run = start(runtime, lambda run: [run.step("a", echo, 1), run.step("b", fail)])
    with runtime.workers():
        assert run.wait(timeout=30).status == "failed"
    assert told(events)[0] == "run_created"
    assert "run_finished" in told(events)


def test_an_idle_worker_says_so_once(open_runtime: OpenRuntime) -> None:
    events: list[Event] = []
    runtime = open_runtime(echo, observers=[events.append], poll_interval=0.001)
    with runtime.workers():
        eventually(lambda: told(events) == ["idle"])
        run = start(runtime, lambda run: run.step("a", echo, 1))
        run.wait(timeout=30)
        eventually(lambda: told(events)[-1] == "idle")
    assert told(events).count("idle") == 2


def test_a_queue_that_its_rate_holds_back_is_told_with_the_time_it_goes_on(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock
) -> None:
    events: list[Event] = []
    limit = {"default": QueueConfig(rate_limit=RateLimit(1))}
    runtime = open_runtime(echo, observers=[events.append], queues=limit)
    start(runtime, lambda run: run.map("a", echo, range(2)))
    with runtime.workers():
        eventually(lambda: "queue_rate_limited" in told(events))
    event = next(event for event in events if event.name == "queue_rate_limited")
    assert (event.queue, event.fields["until"]) == ("default", flowkit_clock.now() + 1_000_000)


def test_passes_in_the_programs_own_thread_tell_once_of_each_wait_for_a_token(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock
) -> None:
    events: list[Event] = []
    limit = {"default": QueueConfig(rate_limit=RateLimit(1)), "other": QueueConfig(rate_limit=RateLimit(1, burst=9))}
    runtime = open_runtime(echo, observers=[events.append], queues=limit)
    start(runtime, lambda run: [*run.map("a", echo, range(3)), run.step("b", echo, 1, queue="other")])
    first = flowkit_clock.now() + 1_000_000
    assert runtime.run_once().processed == 2
    assert told(events)[-1] == "queue_rate_limited"
    assert [runtime.run_once().processed, runtime.drain().processed] == [0, 0]
    flowkit_clock.advance(1)
    assert runtime.drain().processed == 1
    flowkit_clock.advance(1)
    assert runtime.drain().processed == 1
    held = [(event.queue, event.fields["until"]) for event in events if event.name == "queue_rate_limited"]
    assert held == [("default", first), ("default", first + 1_000_000)]


def test_a_queue_that_is_paused_is_not_told_as_held_back_by_its_rate(open_runtime: OpenRuntime) -> None:
    events: list[Event] = []
    runtime = open_runtime(echo, observers=[events.append], queues={"default": QueueConfig(rate_limit=RateLimit(1))})
    start(runtime, lambda run: run.map("a", echo, range(2)))
    runtime.pause_queue("default")
    runtime.drain()
    assert told(events) == ["run_created"]


def test_a_run_that_is_executed_on_the_spot_tells_of_its_waits_for_a_token(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock
) -> None:
    events: list[Event] = []
    runtime = open_runtime(echo, observers=[events.append], queues={"default": QueueConfig(rate_limit=RateLimit(1))})
    Skipping(runtime, flowkit_clock)
    start(runtime, lambda run: run.step("a", echo, 1))
    runtime.run_once()
    assert told(events, "queue_rate_limited") == []
    runtime.run("story")
    limited = [event for event in events if event.name == "queue_rate_limited"]
    assert [event.queue for event in limited] == ["default"]
    assert told(events)[-1] == "run_finished"


def test_an_observer_hears_of_its_own_runtimes_doings_alone(open_runtime: OpenRuntime) -> None:
    mine: list[Event] = []
    runtime, other = open_runtime(echo, observers=[mine.append]), open_runtime(echo)
    start(runtime, lambda run: run.step("a", echo, 1))
    other.drain()
    assert told(mine) == ["run_created"]
