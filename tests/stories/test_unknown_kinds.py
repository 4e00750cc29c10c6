"""A worker leases only what it serves: steps of other kinds are left alone, and unharmed."""

from __future__ import annotations

import pytest

from flowkit import GraphError, Runtime, StepContext, executor
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import echo, outcomes, standing, start


@executor("rare")
def rare(step: StepContext, input: int) -> int:
    return input


def test_an_unknown_kind_is_left_alone_by_a_worker_that_lacks_it(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime, flowkit_clock: FakeClock
) -> None:
    run = start(flowkit_runtime, lambda run: [run.step("a", rare, 1), run.step("b", echo, 2)], rare, echo)
    lacking = open_runtime(echo)
    lacking.drain()
    flowkit_clock.advance(3600)
    lacking.drain()
    assert standing(lacking, run.id) == {"a": "ready", "b": "succeeded"}
    assert outcomes(lacking, run.id, "a") == []
    flowkit_runtime.drain()
    assert run.status() == "succeeded"


def test_a_kind_that_nobody_serves_holds_up_no_other_of_its_queue(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    start(flowkit_runtime, lambda run: run.map("a", rare, range(50)) and None, rare, echo)
    run = start(flowkit_runtime, lambda run: run.step("b", echo, 2))
    lacking = open_runtime(echo, max_workers=1)
    lacking.run_once()
    assert run.status() == "succeeded"


def test_a_kind_that_is_registered_later_is_served_from_then_on(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", rare, 7), rare)
    late = open_runtime(echo)
    with late.workers(poll_interval=3600):
        late.register_executor(rare)
        assert run.result(timeout=30) == 7


def test_the_nearest_kind_is_found_among_those_of_other_workers_too(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    open_runtime(rare)
    with pytest.raises(GraphError, match="no worker has an executor for kind 'raer'; did you mean 'rare'"):
        start(flowkit_runtime, lambda run: run.step("a", "raer", 1))
