"""A store that cannot be written for a while: nothing is lost, and work goes on by itself when it can be again."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from flowkit import LeaseLost, Retry, RunBuilder, RunHandle, Runtime, StepContext, StoreFull, StoreUnavailable, executor
from flowkit.testing import FakeClock
from tests.places import Place
from tests.stories.conftest import OpenRuntime
from tests.stories.frail import FrailStore
from tests.stories.telling import LEASE_SECONDS, Meeting, echo, eventually, in_background, outcomes, standing, start


@pytest.fixture
def store(sound: Place) -> FrailStore:
    return FrailStore(sound)


@pytest.fixture
def runtime(store: FrailStore, flowkit_clock: FakeClock) -> Iterator[Runtime]:
    with Runtime(store, entry_points=False, clock=flowkit_clock) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "error"), [("database or disk is full", StoreFull), ("disk I/O error", StoreUnavailable)]
)
def test_a_command_says_what_is_wrong_with_the_store(
    runtime: Runtime, store: FrailStore, text: str, error: type[Exception]
) -> None:
    run = start(runtime, lambda run: run.step("a", echo, 1), echo)
    store.broken = text
    with pytest.raises(error):
        runtime.start_run("story")
    with pytest.raises(error):
        runtime.run_once()
    assert run.status() == "pending"
    store.broken = ""
    assert runtime.drain().processed == 1


def test_a_worker_waits_until_the_store_can_be_written_again(
    runtime: Runtime, store: FrailStore, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    calls: list[int] = []

    @executor("slow")
    def slow(step: StepContext) -> str:
        calls.append(step.attempt)
        meeting.wait()
        return "kept"

    run = start(runtime, lambda run: run.step("a", slow), slow)
    with runtime.workers():
        meeting.expect()
        store.broken = "database or disk is full"
        meeting.let_go()
        for _ in range(3):
            flowkit_clock.advance(1)
        assert standing(runtime, run.id) == {"a": "running"}
        store.broken = ""
        eventually(lambda: flowkit_clock.advance(1) or run.status() == "succeeded")
    assert run.result() == "kept"
    assert calls == [1]


def test_a_worker_that_begins_while_the_store_cannot_be_written_waits_too(
    runtime: Runtime, store: FrailStore, flowkit_clock: FakeClock
) -> None:
    run = start(runtime, lambda run: run.step("a", echo, 1), echo)
    store.broken = "disk I/O error"
    with runtime.workers():
        for _ in range(3):
            flowkit_clock.advance(1)
        assert run.status() == "pending"
        store.broken = ""
        eventually(lambda: flowkit_clock.advance(1) or run.status() == "succeeded")


def test_a_worker_asks_ever_more_seldom_a_store_that_refuses(
    runtime: Runtime, store: FrailStore, flowkit_clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="flowkit")
    run = start(runtime, lambda run: run.step("a", echo, 1), echo)
    store.broken = "disk I/O error"

    def pauses() -> list[float]:
        return [float(found[1]) for found in re.finditer(r"retry_in=([0-9.]+)", caplog.text)]

    with runtime.workers():
        eventually(lambda: flowkit_clock.advance(1) or len(pauses()) >= 9)
        store.broken = ""
        eventually(lambda: flowkit_clock.advance(1) or run.status() == "succeeded")
    assert pauses()[:9] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_an_attempt_whose_lease_cannot_be_extended_is_told_to_stop_before_another_may_take_the_step(
    runtime: Runtime, store: FrailStore, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    stopped_at: list[int] = []

    @executor("patient")
    def patient(step: StepContext) -> str:
        if step.attempt == 1 and not stopped_at:
            meeting.wait()
            eventually(lambda: step.canceled)
            stopped_at.append(flowkit_clock.now())
            store.broken = ""
            with pytest.raises(LeaseLost):
                step.raise_if_canceled()
            step.raise_if_canceled()
        return "done"

    run = start(runtime, lambda run: run.step("a", patient), patient)
    worker = in_background(runtime.run_once)
    meeting.expect()
    expires_at = runtime.step(run.id, "a").lease_expires_at
    store.broken = "disk I/O error"
    meeting.let_go()
    # A sixth of the lease is kept back: it cannot have been taken by another yet.
    flowkit_clock.advance(LEASE_SECONDS * 5 / 6)
    worker.join(30)
    assert expires_at is not None
    assert stopped_at[0] < expires_at
    assert outcomes(runtime, run.id, "a") == [(1, "released")]
    runtime.drain()
    assert run.result() == "done"


def test_a_result_that_was_finished_meanwhile_is_offered_all_the_same(
    runtime: Runtime, store: FrailStore, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    @executor("stubborn")
    def stubborn(step: StepContext) -> str:
        meeting.wait()
        eventually(lambda: step.canceled)
        store.broken = ""
        return "finished"

    run = start(runtime, lambda run: run.step("a", stubborn), stubborn)
    worker = in_background(runtime.run_once)
    meeting.expect()
    store.broken = "disk I/O error"
    meeting.let_go()
    eventually(lambda: not worker.is_alive() or flowkit_clock.advance(LEASE_SECONDS / 30))
    assert outcomes(runtime, run.id, "a") == [(1, "succeeded")]
    assert run.result() == "finished"


def leased_but_unreadable(runtime: Runtime, store: FrailStore, calls: list[int], retry: Retry) -> RunHandle[Any]:
    """Start a run whose last step is leased when the result of its first can no longer be read."""

    @executor("breaks")
    def breaks(step: StepContext) -> int:
        store.unreadable = "disk I/O error"
        return 2

    @executor("sum", retry=retry)
    def add(step: StepContext, *, a: int, b: int) -> int:
        calls.append(step.attempt)
        return a + b

    def describe(run: RunBuilder) -> Any:
        a = run.step("a", echo, 1)
        return run.step("sum", add, a=a, b=run.step("b", breaks, after=a))

    return start(runtime, describe, echo, breaks, add)


@pytest.mark.parametrize("in_background", [False, True], ids=["inline", "workers"])
def test_a_leased_step_whose_input_cannot_be_read_at_once_is_attempted_when_it_can_be(
    runtime: Runtime, store: FrailStore, flowkit_clock: FakeClock, *, in_background: bool
) -> None:
    calls: list[int] = []
    run = leased_but_unreadable(runtime, store, calls, Retry(max_attempts=1))
    if in_background:
        with runtime.workers():
            eventually(lambda: store.refusals)
            for _ in range(3):
                flowkit_clock.advance(1)
            store.unreadable = ""
            eventually(lambda: flowkit_clock.advance(0.1) or run.status() == "succeeded")
    else:
        with pytest.raises(StoreUnavailable):
            runtime.drain()
        with pytest.raises(StoreUnavailable):
            runtime.run_once()
        store.unreadable = ""
        assert runtime.drain().processed == 1
    assert (run.result(), calls) == (3, [1])


def test_a_worker_that_stops_gives_back_a_leased_step_that_it_could_not_read(
    runtime: Runtime, store: FrailStore, flowkit_clock: FakeClock
) -> None:
    calls: list[int] = []
    run = leased_but_unreadable(runtime, store, calls, Retry(max_attempts=1))
    with runtime.workers():
        eventually(lambda: store.refusals)
        runtime.shutdown(grace=5)
        flowkit_clock.advance(1)
        store.unreadable = ""
        eventually(lambda: flowkit_clock.advance(0.1) or standing(runtime, run.id)["sum"] != "running")
    runtime.drain()
    assert (run.result(), calls) == (3, [1])


def test_a_leased_step_that_could_not_be_read_for_as_long_as_its_lease_is_left_to_whoever_takes_it_back(
    runtime: Runtime, store: FrailStore, flowkit_clock: FakeClock
) -> None:
    calls: list[int] = []
    run = leased_but_unreadable(runtime, store, calls, Retry())
    with pytest.raises(StoreUnavailable):
        runtime.drain()
    flowkit_clock.advance(LEASE_SECONDS)
    store.unreadable = ""
    runtime.drain()
    flowkit_clock.advance(60)
    runtime.drain()
    assert outcomes(runtime, run.id, "sum") == [(1, "lost"), (2, "succeeded")]
    assert (run.result(), calls) == (3, [2])


def test_a_leased_step_that_could_not_be_read_yet_keeps_its_slot(store: FrailStore, flowkit_clock: FakeClock) -> None:
    in_flight: list[str] = []

    @executor("breaks")
    def breaks(step: StepContext) -> int:
        store.unreadable = "disk I/O error"
        return 2

    @executor("look")
    def look(step: StepContext, *, a: int, b: int) -> None:
        in_flight.extend(one.id for one in runtime.steps(step.run_id, status="running"))

    def describe(run: RunBuilder) -> None:
        a = run.step("a", echo, 1)
        run.step("look", look, a=a, b=run.step("b", breaks, after=a))
        run.step("other", echo, 1, priority=1)

    with Runtime(store, entry_points=False, clock=flowkit_clock, max_workers=1) as runtime:
        run = start(runtime, describe, echo, breaks, look)
        with runtime.workers():
            eventually(lambda: store.refusals)
            flowkit_clock.advance(1)
            store.unreadable = ""
            eventually(lambda: flowkit_clock.advance(0.1) or run.status() == "succeeded")
    assert in_flight == ["look"]


def test_of_two_steps_that_a_pass_runs_the_first_is_settled_before_the_second(
    runtime: Runtime, store: FrailStore, flowkit_clock: FakeClock, open_runtime: OpenRuntime
) -> None:
    calls: list[int] = []

    @executor("lasts")
    def lasts() -> None:
        flowkit_clock.advance(LEASE_SECONDS + 1)
        open_runtime(echo).run_once()

    other = start(runtime, lambda run: run.step("a", lasts, priority=1), lasts)
    run = leased_but_unreadable(runtime, store, calls, Retry())
    with pytest.raises(StoreUnavailable):
        runtime.drain()
    store.unreadable = ""
    assert runtime.run_once().succeeded == 2
    assert (run.status(), other.status(), calls) == ("succeeded", "succeeded", [1])
    assert outcomes(runtime, run.id, "sum") == [(1, "succeeded")]
