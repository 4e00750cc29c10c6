"""What flowkit gives to tests of one's own workflows: a clock that a test moves, crashes, and the fixtures."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from flowkit import Event, Runtime
from flowkit.clock import SECOND
from flowkit.testing import Crash, FakeClock, WorkerCrashed
from tests.stories.telling import echo, eventually, in_background, start, told


def test_the_clock_stands_still_until_it_is_moved(flowkit_clock: FakeClock) -> None:
    begun = flowkit_clock.now()
    assert (flowkit_clock.now(), flowkit_clock.monotonic()) == (begun, 0.0)
    flowkit_clock.advance(1.5)
    assert (flowkit_clock.now() - begun, flowkit_clock.monotonic()) == (1.5 * SECOND, 1.5)


def test_the_wall_clock_may_be_set_while_the_other_goes_on(flowkit_clock: FakeClock) -> None:
    begun = flowkit_clock.now()
    flowkit_clock.step(-60)
    assert (flowkit_clock.now() - begun, flowkit_clock.monotonic()) == (-60 * SECOND, 0.0)
    with pytest.raises(ValueError, match="step"):
        flowkit_clock.advance(-1)


@pytest.mark.parametrize("seconds", [math.inf, math.nan, 10**400, "soon", None], ids=lambda given: str(given)[:4])
def test_the_clock_is_moved_by_no_more_than_can_be_told(flowkit_clock: FakeClock, seconds: Any) -> None:
    begun = flowkit_clock.now()
    for move in (flowkit_clock.advance, flowkit_clock.step):
        with pytest.raises(ValueError, match=f"{move.__name__}: expected seconds up to 1e"):
            move(seconds)
    assert (flowkit_clock.now(), flowkit_clock.monotonic()) == (begun, 0.0)


def test_a_wait_ends_with_its_signal_or_when_the_clock_was_moved_far_enough(flowkit_clock: FakeClock) -> None:
    signal, found = threading.Event(), []
    waiting = in_background(lambda: found.append(flowkit_clock.wait(signal, 2)))
    flowkit_clock.advance(1)
    assert found == []
    flowkit_clock.advance(5)
    waiting.join(30)
    assert found == [False]
    signal.set()
    assert flowkit_clock.wait(signal, None)


def test_a_move_between_a_look_at_the_clock_and_the_wait_that_follows_is_not_missed(flowkit_clock: FakeClock) -> None:
    until = flowkit_clock.monotonic() + 2
    in_background(lambda: flowkit_clock.advance(2)).join(30)
    assert not flowkit_clock.wait(threading.Event(), until)


def test_a_crash_may_come_after_a_point_was_passed_some_times(
    flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_events: list[Event]
) -> None:
    start(flowkit_runtime, lambda run: run.map("a", echo, range(5)), echo)
    flowkit_crash.at("after_commit", after=2)
    with pytest.raises(WorkerCrashed):
        flowkit_runtime.drain()
    assert told(flowkit_events, "step_succeeded") == ["step_succeeded"] * 2
    assert flowkit_runtime.stats().steps["succeeded"] == 3  # type: ignore[index]


def test_a_crash_happens_once(flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_clock: FakeClock) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    flowkit_crash.at("after_lease")
    with pytest.raises(WorkerCrashed):
        flowkit_runtime.drain()
    flowkit_clock.advance(31)
    flowkit_runtime.drain()
    flowkit_clock.advance(1)
    flowkit_runtime.drain()
    assert run.result() == 1


def test_a_point_that_is_none_is_refused(flowkit_crash: Crash) -> None:
    with pytest.raises(ValueError, match="after_lease"):
        flowkit_crash.at("somewhere")  # type: ignore[arg-type]


def test_a_crash_ends_workers_in_the_background_too(flowkit_runtime: Runtime, flowkit_crash: Crash) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    flowkit_crash.at("before_commit")
    with pytest.raises(WorkerCrashed), flowkit_runtime.workers():
        eventually(lambda: flowkit_runtime.stats().workers == () and run.status() == "running")
    assert run.status() == "running"
