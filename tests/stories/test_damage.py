"""What was stored is never altered on its way out: damage is reported where it is met, and goes no further."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowkit import DataCorrupted, RunBuilder, Runtime, StepContext, executor
from flowkit.testing import FakeClock
from tests.places import Lend
from tests.stories.telling import code_of, echo, start


@executor("use")
def use(step: StepContext, *, value: str) -> str:
    return value


@pytest.fixture
def runtime(lend: Lend, flowkit_clock: FakeClock) -> Iterator[Runtime]:
    """Open a store of its own: one that is damaged on purpose is not sound in the end."""
    with lend() as place, Runtime(place.url, entry_points=False, clock=flowkit_clock) as opened:
        yield opened


def damage(runtime: Runtime, sql: str, body: bytes) -> None:
    with runtime._parts.engine.write() as tx:
        tx.script(sql, (body,))


def describe(run: RunBuilder) -> None:
    run.step("use", use, value=run.step("make", echo, "whole"), delay=1)


def test_a_damaged_result_is_reported_and_not_handed_out(runtime: Runtime, flowkit_clock: FakeClock) -> None:
    run = start(runtime, describe, echo, use)
    runtime.drain()
    damage(runtime, "UPDATE results SET body = ?", b'"holed"')
    with pytest.raises(DataCorrupted, match="'make'"):
        runtime.result(run.id, "make")
    assert runtime.step(run.id, "make").status == "succeeded"
    assert len(runtime.runs()) == 1

    flowkit_clock.advance(1)
    runtime.drain()
    assert code_of(runtime, run.id, "use") == "data_corrupted"


def test_a_damaged_input_fails_its_step_and_no_other(runtime: Runtime) -> None:
    run = start(runtime, lambda run: run.map("a", echo, [1, 2, 3]) and None, echo)
    damage(runtime, "UPDATE specs SET input = ? WHERE step = (SELECT MIN(step) + 1 FROM specs)", b"7")
    runtime.drain()
    assert [step.status.value for step in runtime.steps(run.id)] == ["succeeded", "failed", "succeeded"]
    assert code_of(runtime, run.id, "a[1]") == "data_corrupted"


def test_a_damaged_record_and_a_damaged_artifact_are_reported(runtime: Runtime) -> None:
    @executor("hand-over")
    def hand_over(step: StepContext) -> None:
        step.record("pages", "one", "whole")
        step.artifact("it", b"whole", id="it")

    run = start(runtime, lambda run: run.step("a", hand_over), hand_over)
    runtime.drain()
    damage(runtime, "UPDATE records SET body = ?", b'"holed"')
    damage(runtime, "UPDATE artifacts SET body = ?", b"holed")
    with pytest.raises(DataCorrupted):
        runtime.records(run.id, collection="pages")
    with pytest.raises(DataCorrupted):
        runtime.artifact(run.id, "it")
