"""A group that several steps wait for is one gate: its members count down, its waiters are told once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowkit.model.outcome import Outcome
from flowkit.model.plan import Edge, Plan
from flowkit.model.states import RunStatus
from flowkit.model.step import LeasedStep
from flowkit.store.engine import Engine
from tests.store.flow import Flow, failure, plan, step, success
from tests.store.story import ONCE, group, guarded, status_of, steps_of


@pytest.fixture(autouse=True)
def sound(engine: Engine) -> Iterator[None]:
    with guarded(engine):
        yield


def fails(*ids: str) -> Outcome | object:
    def decide(leased: LeasedStep) -> Outcome:
        return failure() if leased.id in ids else success()

    return decide


def gate_of(flow: Flow) -> tuple[int, int]:
    with flow.engine.read() as tx:
        rows = tx.script("SELECT left_open, failed FROM gates")
    return rows[0]


def test_every_waiter_starts_when_the_last_member_succeeded(flow: Flow) -> None:
    run = flow.start(group(["a", "b"], ["x", "y"]))
    first, second = flow.lease()

    flow.settle(first, success())
    assert [steps_of(flow, run)[id] for id in "xy"] == ["pending", "pending"]
    flow.settle(second, success())

    assert [steps_of(flow, run)[id] for id in "xy"] == ["ready", "ready"]


def test_a_map_over_a_map_is_stored_as_members_and_waiters_not_their_product(flow: Flow) -> None:
    members, waiters = [f"a[{n}]" for n in range(50)], [f"b[{n}]" for n in range(50)]
    run = flow.start(group(members, waiters))

    with flow.engine.read() as tx:
        assert tx.script("SELECT COUNT(*) FROM deps") == [(100,)]
    assert flow.finish() == members + waiters
    assert status_of(flow, run) is RunStatus.SUCCEEDED


def test_the_first_failure_cancels_those_who_require_the_group(flow: Flow) -> None:
    run = flow.start(group(["a", "b", "c"], ["x", "y"]))
    flow.do(failure())

    assert [steps_of(flow, run)[id] for id in "bcxy"] == ["ready", "ready", *["canceled (dependency:a)"] * 2]
    flow.do(failure())
    assert steps_of(flow, run)["x"] == "canceled (dependency:a)"


def test_those_who_wait_for_the_end_of_the_group_wait_for_all_of_it(flow: Flow) -> None:
    run = flow.start(group(["a", "b"], ["x", "y"], required=False))
    first, second = flow.lease()

    flow.settle(first, failure())
    assert steps_of(flow, run)["x"] == "pending"
    flow.settle(second, success())

    assert [steps_of(flow, run)[id] for id in "xy"] == ["ready", "ready"]


def test_one_gate_serves_both_sorts_of_waiters(flow: Flow) -> None:
    steps = tuple(step(id) for id in ("a", "b", "strict", "easy"))
    edges = (Edge(4, 0), Edge(4, 1), Edge(2, 4), Edge(3, 4, required=False))
    run = flow.start(Plan(steps, ("group",), edges))

    assert flow.finish(fails("b")) == ["a", "b", "easy"]  # type: ignore[arg-type]

    assert steps_of(flow, run)["strict"] == "canceled (dependency:b)"


def test_members_that_end_in_one_commit_are_counted_together(flow: Flow) -> None:
    run = flow.start(group(["a", "b", "c"], ["x", "y"]))

    flow.finish(fails("a", "c"))  # type: ignore[arg-type]

    assert gate_of(flow) == (0, 2)
    assert steps_of(flow, run)["y"] == "canceled (dependency:a)"


def test_a_member_that_is_canceled_by_its_own_requirement_counts_as_failed(flow: Flow) -> None:
    steps = tuple(step(id) for id in ("root", "a", "b", "x", "y"))
    edges = (Edge(1, 0), Edge(5, 1), Edge(5, 2), Edge(3, 5), Edge(4, 5, required=False))
    run = flow.start(Plan(steps, ("group",), edges))

    flow.finish(fails("root"))  # type: ignore[arg-type]

    assert steps_of(flow, run) == {
        "root": "failed",
        "a": "canceled (dependency:root)",
        "b": "succeeded",
        "x": "canceled (dependency:a)",
        "y": "succeeded",
    }


def test_a_retried_member_brings_back_those_who_require_the_group(flow: Flow) -> None:
    run = flow.start(group(["a", "b"], ["x", "y"]))
    flow.finish(fails("a"))  # type: ignore[arg-type]
    assert (gate_of(flow), status_of(flow, run)) == ((0, 1), RunStatus.FAILED)

    flow.retry_step(run, "a")

    assert gate_of(flow) == (1, 0)
    assert steps_of(flow, run) == {"a": "ready", "b": "succeeded", "x": "pending", "y": "pending"}
    assert flow.finish() == ["a", "x", "y"]
    assert status_of(flow, run) is RunStatus.SUCCEEDED


def test_with_two_dead_members_the_group_stays_dead_until_both_are_retried(flow: Flow) -> None:
    run = flow.start(group(["a", "b"], ["x", "y"]))
    flow.finish(fails("a", "b"))  # type: ignore[arg-type]

    flow.retry_step(run, "a")
    assert (gate_of(flow), steps_of(flow, run)["x"]) == ((1, 1), "canceled (dependency:b)")
    flow.do(failure())
    assert gate_of(flow) == (0, 2)
    flow.retry_step(run, "b")
    assert (gate_of(flow), steps_of(flow, run)["x"]) == ((1, 1), "canceled (dependency:a)")
    flow.retry_step(run, "a")

    assert flow.finish() == ["a", "b", "x", "y"]


def test_a_retried_member_that_fails_again_cancels_the_waiters_again(flow: Flow) -> None:
    run = flow.start(group(["a", "b"], ["x", "y"], retry=ONCE))
    flow.finish(fails("a"))  # type: ignore[arg-type]
    flow.retry_step(run, "a")

    flow.do(failure())

    assert steps_of(flow, run)["x"] == "canceled (dependency:a)"
    assert status_of(flow, run) is RunStatus.FAILED


def test_a_retried_member_of_a_group_whose_end_is_enough_holds_up_only_who_still_waits(flow: Flow) -> None:
    steps = tuple(step(id) for id in ("a", "b", "x", "y"))
    edges = (Edge(4, 0), Edge(2, 4, required=False), Edge(3, 4, required=False), Edge(3, 1, required=False))
    run = flow.start(Plan(steps, ("group",), edges))
    first, second = flow.lease()
    flow.settle(first, failure())
    assert steps_of(flow, run) == {"a": "failed", "b": "running", "x": "ready", "y": "pending"}

    flow.retry_step(run, "a")
    flow.settle(second, success())

    assert steps_of(flow, run) == {"a": "ready", "b": "succeeded", "x": "ready", "y": "pending"}
    flow.finish()
    assert status_of(flow, run) is RunStatus.SUCCEEDED


def test_a_canceled_run_leaves_counts_from_which_a_retry_goes_on(flow: Flow) -> None:
    run = flow.start(group(["a", "b", "c"], ["x", "y"]))
    flow.do()
    running = flow.lease_one()
    flow.cancel(run)
    assert gate_of(flow) == (1, 1)
    flow.settle(running, success())
    assert gate_of(flow) == (0, 2)

    flow.retry_run(run)

    assert gate_of(flow) == (2, 0)
    assert flow.finish() == ["b", "c", "x", "y"]


def test_a_group_may_have_members_that_are_stored_already(flow: Flow) -> None:
    run = flow.start(step("root"), step("slow"))
    root, slow = flow.lease()
    joined = Plan((step("x"), step("y")), ("group",), (Edge(2, "root"), Edge(2, "slow"), Edge(0, 2), Edge(1, 2)))

    flow.settle(root, success(emission=joined))
    assert gate_of(flow) == (1, 0)
    flow.settle(slow, success())

    assert steps_of(flow, run) == {"root": "succeeded", "slow": "succeeded", "x": "ready", "y": "ready"}


def test_a_group_with_a_dead_member_is_born_dead_for_those_who_require_it(flow: Flow) -> None:
    run = flow.start(step("dead", allow_failure=True), step("root"))
    flow.do(failure())
    edges = (Edge(3, "dead"), Edge(3, 0), Edge(1, 3), Edge(2, 3, required=False))
    joined = Plan((step("a"), step("strict"), step("easy")), ("group",), edges)

    flow.do(success(emission=joined))

    assert steps_of(flow, run) | {"dead": "", "root": ""} == {
        "dead": "",
        "root": "",
        "a": "ready",
        "strict": "canceled (dependency:dead)",
        "easy": "pending",
    }
    assert flow.finish() == ["a", "easy"]


def test_a_waiter_may_wait_for_a_group_and_for_a_member_of_it(flow: Flow) -> None:
    both = group(["a", "b"], ["x", "y"])
    run = flow.start(Plan(both.specs, both.gates, (*both.edges, Edge(2, 0))))

    assert flow.finish() == ["a", "b", "x", "y"]
    assert status_of(flow, run) is RunStatus.SUCCEEDED


def test_a_chain_of_groups_runs_level_by_level(flow: Flow) -> None:
    steps = tuple(step(f"{level}{n}") for level in "abc" for n in range(3))
    edges = [Edge(9, n) for n in range(3)] + [Edge(n, 9) for n in range(3, 6)]
    edges += [Edge(10, n) for n in range(3, 6)] + [Edge(n, 10) for n in range(6, 9)]
    flow.start(Plan(steps, ("first", "second"), tuple(edges)))

    assert flow.finish() == [f"{level}{n}" for level in "abc" for n in range(3)]


def test_a_failure_goes_through_a_chain_of_groups_in_one_commit(flow: Flow) -> None:
    steps = tuple(step(f"{level}{n}") for level in "abc" for n in range(2))
    edges = [Edge(6, 0), Edge(6, 1), Edge(2, 6), Edge(3, 6), Edge(7, 2), Edge(7, 3), Edge(4, 7), Edge(5, 7)]
    run = flow.start(Plan(steps, ("first", "second"), tuple(edges)))

    flow.do(failure())

    assert [steps_of(flow, run)[id] for id in ("b0", "b1")] == ["canceled (dependency:a0)"] * 2
    assert [steps_of(flow, run)[id] for id in ("c0", "c1")] == ["canceled (dependency:b0)"] * 2
    flow.retry_step(run, "a0")
    assert flow.finish() == ["a0", "a1", "b0", "b1", "c0", "c1"]


def test_a_plan_without_gates_needs_none(flow: Flow) -> None:
    flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))

    with flow.engine.read() as tx:
        assert tx.script("SELECT COUNT(*) FROM gates") == [(0,)]
