"""Attempts that come back one soon after the other share a commit; none that is quick waits for one that is slow."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define, field

from flowkit import RunBuilder, Runtime, StepContext, executor
from flowkit.runtime import gathering
from flowkit.runtime.crew import Crew
from flowkit.scheduler.cycle import Cycle
from flowkit.scheduler.search import Demand
from flowkit.scheduler.turned import Turned
from tests.stories.telling import Meeting, echo, eventually, standing, start

PATIENCE = 30.0


@define
class Waits:
    """The waits of passes for outcomes that were still to come."""

    count: int = 0
    begun: threading.Event = field(factory=threading.Event)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Count the waits."""
    found, wait_for_all = Waits(), Crew.wait_for_all

    def counted(crew: Crew, seconds: float) -> bool:
        if not crew.is_all_in:
            found.count += 1
            found.begun.set()
        return wait_for_all(crew, seconds)

    monkeypatch.setattr(Crew, "wait_for_all", counted)
    return found


def test_what_comes_back_a_little_later_shares_the_commit_of_the_first(
    flowkit_runtime: Runtime, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[int] = []
    turn = Cycle.turn

    def noted(cycle: Cycle, inbox: Sequence[Any], demand: Demand) -> Turned:
        settled.append(len(inbox))
        return turn(cycle, inbox, demand)

    monkeypatch.setattr(Cycle, "turn", noted)
    monkeypatch.setattr(gathering, "TOGETHER", PATIENCE)

    @executor("later")
    def later(step: StepContext) -> None:
        waits.begun.wait(PATIENCE)

    def pair(run: RunBuilder) -> None:
        run.step("first", echo, 1)
        run.step("second", later)

    with flowkit_runtime.workers():
        assert start(flowkit_runtime, pair, echo, later).wait(PATIENCE).status == "succeeded"
    assert [count for count in settled if count] == [2]


def test_a_slow_attempt_is_waited_for_once_at_most(flowkit_runtime: Runtime, waits: Waits, meeting: Meeting) -> None:
    @executor("slow")
    def slow(step: StepContext) -> None:
        meeting.wait()

    def chain_beside_it(run: RunBuilder) -> None:
        run.step("slow", slow)
        link = run.step("link0", echo)
        for number in range(1, 20):
            link = run.step(f"link{number}", echo, after=link)

    with flowkit_runtime.workers():
        run = start(flowkit_runtime, chain_beside_it, echo, slow)
        eventually(lambda: standing(flowkit_runtime, run.id)["link19"] == "succeeded")
        assert waits.count <= 1
        meeting.let_go()
        assert run.wait(PATIENCE).status == "succeeded"


def test_after_a_wait_in_vain_quick_attempts_are_waited_for_again(
    flowkit_runtime: Runtime, waits: Waits, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    @executor("slow")
    def slow(step: StepContext) -> None:
        meeting.wait()

    @executor("later")
    def later(step: StepContext) -> None:
        eventually(lambda: waits.count > 1)

    # How fast this machine is must not decide whether the first wait is made.
    monkeypatch.setattr(Crew, "is_young", lambda crew, seconds: True)

    def beside(run: RunBuilder, executor: Any, links: int) -> None:
        run.step("beside", executor)
        link = run.step("link0", echo)
        for number in range(1, links):
            link = run.step(f"link{number}", echo, after=link)

    with flowkit_runtime.workers():
        vain = start(flowkit_runtime, lambda run: beside(run, slow, 1), echo, slow)
        eventually(lambda: standing(flowkit_runtime, vain.id)["link0"] == "succeeded")
        assert waits.count == 1
        meeting.let_go()
        assert vain.wait(PATIENCE).status == "succeeded"

        monkeypatch.setattr(gathering, "TOGETHER", PATIENCE)
        # The passes of the chain, which are made while the other step is still young, are those that do not wait.
        quick = start(flowkit_runtime, lambda run: beside(run, later, 10), echo, later)
        assert quick.wait(PATIENCE).status == "succeeded"
