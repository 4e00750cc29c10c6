"""Of steps that are equally good a worker takes those of a run that it is at, so that others can be at other runs."""

from __future__ import annotations

import pytest

from flowkit.model.step import Settlement
from tests.store.flow import Flow, plan, step, success


@pytest.fixture
def runs(flow: Flow) -> tuple[str, str]:
    """Two runs of one instant."""
    first, second = (flow.start(plan(*(step(f"{run}{n}") for n in range(6)))) for run in "ab")
    return first, second


def follows(flow: Flow, run: str, slots: int) -> list[str]:
    """Return what a worker leases when it settles a step of a run."""
    flow.lease_one()
    leased = flow.lease_one(run=run)
    return [one.id for one in flow.turn([Settlement(leased, success(), flow.clock.now())], slots=slots).leased]


def test_a_worker_goes_on_with_the_run_that_it_settles_a_step_of(flow: Flow, runs: tuple[str, str]) -> None:
    assert follows(flow, runs[1], 3) == ["b1", "b2", "b3"]


def test_when_that_run_has_no_more_the_others_are_next(flow: Flow, runs: tuple[str, str]) -> None:
    assert follows(flow, runs[1], 7) == ["b1", "b2", "b3", "b4", "b5", "a1", "a2"]


def test_what_is_ready_for_longer_goes_first_all_the_same(flow: Flow) -> None:
    flow.start(plan(*(step(f"old{n}") for n in range(4))))
    flow.clock.advance(1)
    run = flow.start(plan(*(step(f"new{n}") for n in range(4))))
    assert follows(flow, run, 4) == ["old1", "old2", "old3", "new1"]


def test_what_is_more_urgent_goes_first_all_the_same(flow: Flow) -> None:
    run = flow.start(plan(*(step(f"some{n}") for n in range(4))))
    flow.start(plan(step("urgent", priority=-1)))
    flow.lease_one()
    leased = flow.lease_one(run=run)
    flow.start(plan(step("urgent too", priority=-1)))
    turned = flow.turn([Settlement(leased, success(), flow.clock.now())], slots=2)
    assert [one.id for one in turned.leased] == ["urgent too", "some1"]
