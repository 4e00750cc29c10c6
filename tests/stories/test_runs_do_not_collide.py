"""Ids of steps, records and artifacts belong to one run: another run may use the same ones."""

from __future__ import annotations

from flowkit import Runtime, StepContext, executor
from tests.stories.telling import echo, register, start


@executor("hand-over")
def hand_over(step: StepContext, input: str) -> str:
    step.record("pages", "first", {"text": input})
    step.artifact("page.txt", input, id="page")
    return input


def test_two_runs_that_share_a_step_id_keep_their_own_results(flowkit_runtime: Runtime) -> None:
    first = start(flowkit_runtime, lambda run: run.step("root", echo, "one"), echo)
    second = start(flowkit_runtime, lambda run: run.step("root", echo, "two"))
    flowkit_runtime.drain()
    assert (first.result(), second.result()) == ("one", "two")


def test_two_runs_that_share_record_keys_and_artifact_ids_keep_their_own(flowkit_runtime: Runtime) -> None:
    register(flowkit_runtime, hand_over)
    runs = [start(flowkit_runtime, lambda run, text=text: run.step("root", hand_over, text)) for text in ("one", "two")]
    flowkit_runtime.drain()
    kept = [flowkit_runtime.artifact(run.id, "page").body for run in runs]
    records = [flowkit_runtime.records(run.id, collection="pages")[0].data for run in runs]
    assert kept == [b"one", b"two"]
    assert records == [{"text": "one"}, {"text": "two"}]


def test_a_failure_in_one_run_does_not_touch_a_run_with_the_same_step_ids(flowkit_runtime: Runtime) -> None:
    @executor("picky")
    def picky(step: StepContext, input: str) -> str:
        if input == "bad":
            raise ValueError(input)
        return input

    register(flowkit_runtime, picky)
    bad = start(flowkit_runtime, lambda run: run.step("root", picky, "bad"))
    good = start(flowkit_runtime, lambda run: run.step("root", picky, "good"))
    flowkit_runtime.drain()
    assert (bad.status(), good.status()) == ("failed", "succeeded")
