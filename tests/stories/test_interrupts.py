"""Ctrl-C while a pass commits: whether that succeeded is not known then, and neither a step nor an outcome is lost."""

from __future__ import annotations

import pytest

from flowkit import Retry, Runtime
from tests.stories.telling import echo, interrupted_commit, outcomes, standing, start

ONCE = Retry(max_attempts=1)


def test_a_step_is_not_charged_for_ctrl_c_in_the_commit_that_leased_it(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1, retry=ONCE), echo)
    with interrupted_commit(flowkit_runtime), pytest.raises(KeyboardInterrupt):
        flowkit_runtime.run_once()
    assert standing(flowkit_runtime, run.id) == {"a": "ready"}
    flowkit_runtime.drain()
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "released"), (1, "succeeded")]


def test_an_outcome_is_kept_though_ctrl_c_comes_in_its_commit(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1, retry=ONCE), echo)
    with interrupted_commit(flowkit_runtime, nth=2), pytest.raises(KeyboardInterrupt):
        flowkit_runtime.run_once()
    assert run.result() == 1
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "succeeded")]
