"""An attempt that was given up and does not end holds its slot; the store learns of it, and so whoever asks."""

from __future__ import annotations

import logging
import os
import socket
import threading

import pytest

from flowkit import Retry, StepContext, executor
from flowkit.runtime.doctor import Complaint, diagnose
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, eventually, start

ONCE = Retry(max_attempts=1)


@pytest.mark.parametrize(("slots", "level", "reason"), [(1, "problem", "workers_hang"), (2, "advice", "running")])
def test_slots_that_are_held_by_attempts_that_hang_are_named_until_they_end(
    open_runtime: OpenRuntime,
    flowkit_clock: FakeClock,
    meeting: Meeting,
    caplog: pytest.LogCaptureFixture,
    slots: int,
    level: str,
    reason: str,
) -> None:
    ends = threading.Event()

    @executor("stuck", timeout=5, retry=ONCE)
    def stuck(step: StepContext) -> None:
        meeting.wait()

    @executor("patient")
    def patient(step: StepContext) -> None:
        assert ends.wait(30)

    def complaints() -> list[Complaint]:
        return list(diagnose(runtime._parts.engine).complaints)

    runtime = open_runtime(stuck, patient, max_workers=slots, lease_duration=3600)
    run = start(runtime, lambda run: run.step("a", stuck))
    with runtime.workers():
        meeting.expect()
        flowkit_clock.advance(5)
        assert run.wait(timeout=30).status == "failed"
        waiting = start(runtime, lambda run: run.step("b", patient))
        eventually(lambda: flowkit_clock.advance(10) or complaints())
        (complaint,) = complaints()
        worker = f"worker {runtime.stats().workers[0].id!r} (host {socket.gethostname()}, process {os.getpid()})"
        held = f"1 of its {slots} slot" + "s" * (slots > 1)
        assert complaint.level == level
        assert complaint.what == (
            f"{worker}: {held} is held by attempts that were given up and have not ended: kind 'stuck' (1)"
        )
        assert runtime.explain(waiting.id, "b").reason == reason
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert ["attempts_hang" in message and "{'stuck': 1}" in message for message in warned] == [True]
        meeting.let_go()
        ends.set()
        assert waiting.wait(timeout=30).status == "succeeded"
        eventually(lambda: flowkit_clock.advance(10) or not complaints())


def test_an_attempt_that_ends_soon_after_its_time_does_not_hang(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    @executor("late", timeout=5, retry=ONCE)
    def late(step: StepContext) -> None:
        meeting.wait()

    runtime = open_runtime(late, max_workers=1)
    run = start(runtime, lambda run: run.step("a", late))
    with runtime.workers():
        meeting.expect()
        flowkit_clock.advance(9)
        assert run.wait(timeout=30).status == "failed"
        flowkit_clock.advance(9)
        meeting.let_go()
        begun = runtime.stats().workers[0].seen_at
        eventually(lambda: flowkit_clock.advance(10) or runtime.stats().workers[0].seen_at > begun)
        assert runtime.stats().workers[0].hung == {}
