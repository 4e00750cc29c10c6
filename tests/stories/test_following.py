"""A run is followed while it happens, and executed by itself; what another worker serves is left to it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flowkit import RunNotFound, Runtime, StepContext, WaitTimeout, executor
from flowkit.model.events import HistoryEvent
from flowkit.runtime.executing import executing, takers
from flowkit.runtime.following import follow
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, echo, eventually, fail, in_background, register, standing, start


@executor("spread")
def spread(step: StepContext) -> None:
    step.map("child", echo, [1, 2, 3])


def told(runtime: Runtime, run_id: str, **options: Any) -> list[HistoryEvent]:
    return [event for news in follow(runtime, run_id, **options) for event in news.events]


def test_a_run_is_followed_event_by_event_until_it_has_ended(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", spread), spread, echo)
    heard: list[HistoryEvent] = []
    follower = in_background(lambda: heard.extend(told(flowkit_runtime, run.id)))
    eventually(lambda: bool(heard) or flowkit_runtime.run_once() is not None)
    flowkit_runtime.drain()
    follower.join(30)
    assert tuple(heard) == flowkit_runtime.history(run.id)
    assert heard[-1].name == "run_finished"


def test_what_was_told_before_is_not_told_again(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", spread), spread, echo)
    flowkit_runtime.drain()
    history = flowkit_runtime.history(run.id)
    heard = told(flowkit_runtime, run.id, since=2)
    assert tuple(heard) == history[2:]
    emitted = next(event for event in heard if event.name == "steps_added")
    assert emitted.fields["parent"] == "a"
    assert emitted.fields["step_ids"] == ["child[0]", "child[1]", "child[2]"]


def test_the_steps_that_run_are_brought_with_their_progress(flowkit_runtime: Runtime, meeting: Meeting) -> None:
    @executor("long")
    def long(step: StepContext) -> None:
        meeting.wait()

    run = start(flowkit_runtime, lambda run: run.step("a", long), long)
    with flowkit_runtime.workers():
        meeting.expect()
        news = next(iter(follow(flowkit_runtime, run.id, with_running=True)))
        assert [step.id for step in news.running] == ["a"]
        meeting.let_go()


def test_following_ends_when_its_time_is_over(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    over: list[str] = []
    follower = in_background(lambda: over.append(outcome_of(flowkit_runtime, run.id)))
    eventually(lambda: flowkit_clock.advance(1) or bool(over))
    follower.join(30)
    assert over == [f"run {run.id!r} is pending after 5 s; it goes on"]


def outcome_of(runtime: Runtime, run_id: str) -> str:
    try:
        told(runtime, run_id, timeout=5)
    except WaitTimeout as error:
        return str(error)
    return "it ended"


def test_a_run_that_is_not_there_cannot_be_followed(flowkit_runtime: Runtime) -> None:
    with pytest.raises(RunNotFound):
        next(iter(follow(flowkit_runtime, "nobody")))


def test_one_run_is_executed_and_no_other(flowkit_runtime: Runtime) -> None:
    other = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    run = start(flowkit_runtime, lambda run: run.step("a", spread), spread)
    with executing(flowkit_runtime, run.id):
        assert run.wait(30).status == "succeeded"
    assert standing(flowkit_runtime, other.id) == {"a": "ready"}


def test_steps_of_one_run_are_executed_side_by_side(flowkit_runtime: Runtime) -> None:
    meet = threading.Barrier(2, timeout=30)

    @executor("both")
    def both() -> None:
        meet.wait()

    run = start(flowkit_runtime, lambda run: [run.step("a", both), run.step("b", both)], both)
    with executing(flowkit_runtime, run.id):
        assert run.wait(30).status == "succeeded"


def test_whoever_executes_one_run_does_not_offer_others_to(flowkit_runtime: Runtime, meeting: Meeting) -> None:
    @executor("long")
    def long(step: StepContext) -> None:
        meeting.wait()

    run = start(flowkit_runtime, lambda run: run.step("a", long), long)
    with executing(flowkit_runtime, run.id):
        meeting.expect()
        assert flowkit_runtime.stats().workers == ()
        assert takers(flowkit_runtime, run.id) == ()
        meeting.let_go()
        run.wait(30)


def test_a_run_is_seen_to_by_workers_that_together_serve_all_that_is_ready(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    def two(run: Any) -> None:
        run.step("a", echo, 1, queue="elsewhere", delay=3600)
        run.step("b", fail, delay=3600)

    register(flowkit_runtime, echo, fail)
    run = start(flowkit_runtime, two)
    half = open_runtime(echo)
    assert takers(flowkit_runtime, run.id) == ()
    with half.workers():
        eventually(lambda: len(flowkit_runtime.stats().workers) == 1)
        assert takers(flowkit_runtime, run.id) == ()
        with open_runtime(fail).workers():
            eventually(lambda: len(flowkit_runtime.stats().workers) == 2)
            assert len(takers(flowkit_runtime, run.id)) == 2
    assert takers(flowkit_runtime, run.id) == ()
