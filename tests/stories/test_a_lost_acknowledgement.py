"""A commit whose acknowledgement was lost: the worker offers the outcome again, and nothing is written twice."""

from __future__ import annotations

from typing import Any

import pytest

from flowkit import Runtime, StepContext, StoreUnavailable, executor
from tests.places import Place
from tests.stories.conftest import OpenRuntime
from tests.stories.frail import FrailStore
from tests.stories.telling import outcomes, start


@pytest.mark.parametrize("ends_well", [True, False])
def test_an_outcome_that_was_committed_is_not_committed_again(
    sound: Place, flowkit_clock: Any, ends_well: bool
) -> None:
    store = FrailStore(sound)

    @executor("once")
    def once(step: StepContext) -> str:
        store.forgets = True
        step.record("marks", "it", "done")
        if not ends_well:
            raise ValueError("not well")
        return "done"

    with Runtime(store, clock=flowkit_clock, entry_points=False) as runtime:
        run = start(runtime, lambda run: run.step("once", once), once)
        with pytest.raises(StoreUnavailable):
            runtime.run_once()
        assert runtime.run_once().processed == 0
        assert outcomes(runtime, run.id, "once") == [(1, "succeeded" if ends_well else "failed")]
        assert run.status() == ("succeeded" if ends_well else "failed")


def test_a_worker_that_serves_goes_on_after_a_lost_acknowledgement(sound: Place, open_runtime: OpenRuntime) -> None:
    store = FrailStore(sound)
    calls: list[int] = []

    @executor("once")
    def once(step: StepContext) -> str:
        calls.append(step.attempt)
        store.forgets = True
        return "done"

    with Runtime(store, entry_points=False) as runtime:
        run = start(runtime, lambda run: run.step("once", once), once)
        with runtime.workers():
            assert run.result(timeout=30) == "done"
    assert calls == [1]
