"""Emitted steps: they exist with their parent's success, exactly once, and are born as what they wait for says."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

from flowkit.errors import LimitExceeded
from flowkit.model.outcome import Succeeded
from flowkit.model.plan import Edge, Plan, StepSpec
from flowkit.model.states import RunStatus
from flowkit.model.step import Settlement
from flowkit.store.closing import Verdict
from flowkit.store.engine import Engine
from flowkit.store.graphs import MAX_CHILDREN, MAX_DEPTH, MAX_EDGES, MAX_STEPS
from flowkit.store.keys import MAX_NODES
from tests.store.flow import LEASE_SECONDS, Flow, again, artifact, failure, plan, step, success
from tests.store.story import column_of, error_of, guarded, once, status_of, steps_of


@pytest.fixture(autouse=True)
def sound(engine: Engine) -> Iterator[None]:
    with guarded(engine):
        yield


def emits(*steps: object, **more: object) -> Succeeded:
    """A success that emits these steps."""
    return success(emission=plan(*steps, **more))  # type: ignore[arg-type]


def test_children_are_there_with_their_parents_success(flow: Flow) -> None:
    run = flow.start(step("a"))

    flow.do(emits(step("b"), step("c"), after={"c": ["b"]}))

    assert steps_of(flow, run) == {"a": "succeeded", "b": "ready", "c": "pending"}
    assert flow.finish() == ["b", "c"]
    assert status_of(flow, run) is RunStatus.SUCCEEDED


@pytest.mark.parametrize("outcome", [failure(), again()], ids=["failed", "retried"])
def test_an_attempt_that_does_not_succeed_leaves_no_children(flow: Flow, outcome: object) -> None:
    run = flow.start(step("a"))
    flow.do(outcome)  # type: ignore[arg-type]

    assert list(steps_of(flow, run)) == ["a"]


def test_an_attempt_that_lost_its_lease_leaves_no_children(flow: Flow) -> None:
    run = flow.start(step("a"))
    slow = flow.lease_one(worker="slow")
    flow.clock.advance(LEASE_SECONDS)
    flow.turn(slots=0, worker="quick")

    assert flow.settle(slow, emits(step("b"))) is Verdict.LOST
    assert list(steps_of(flow, run)) == ["a"]


def test_a_child_may_wait_for_its_parent_and_for_what_ends_in_the_same_commit(flow: Flow) -> None:
    run = flow.start(step("a"), step("good"), step("bad", allow_failure=True))
    parent, good, bad = flow.lease()
    children = emits(step("b"), step("c"), step("d"), after={"b": ["a"], "c": ["a", "good"], "d": ["bad"]})
    batch = [Settlement(parent, children, 0), Settlement(good, success(), 0), Settlement(bad, failure(), 0)]

    flow.turn(batch, slots=0)

    assert [steps_of(flow, run)[id] for id in "bcd"] == ["ready", "ready", "canceled (dependency:bad)"]


def test_a_child_may_wait_for_one_that_another_step_emits_in_the_same_commit(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    first, second = flow.lease()
    batch = [
        Settlement(first, emits(step("ready"), step("waits"), after={"waits": ["ready"]}), 0),
        Settlement(second, emits(step("last"), after={"last": ["ready", "waits"]}), 0),
    ]

    flow.turn(batch, slots=0)

    assert [steps_of(flow, run)[id] for id in ("ready", "waits", "last")] == ["ready", "pending", "pending"]
    assert flow.finish() == ["ready", "waits", "last"]


def test_a_child_is_born_as_the_end_of_what_it_waits_for_says(flow: Flow) -> None:
    run = flow.start(step("done"), step("dead", allow_failure=True), step("a"))
    flow.do()
    flow.do(failure())
    children = (step("after_done"), step("after_dead"), step("at_its_end"), step("grandchild"))
    edges = (Edge(0, "done"), Edge(1, "dead"), Edge(2, "dead", required=False), Edge(3, 1))

    flow.do(success(emission=Plan(children, (), edges)))

    assert {id: status for id, status in steps_of(flow, run).items() if id not in ("done", "dead", "a")} == {
        "after_done": "ready",
        "after_dead": "canceled (dependency:dead)",
        "at_its_end": "ready",
        "grandchild": "canceled (dependency:after_dead)",
    }
    flow.finish()
    assert status_of(flow, run) is RunStatus.SUCCEEDED


def test_a_child_that_was_born_dead_comes_back_with_what_it_requires(flow: Flow) -> None:
    run = flow.start(*once("dead", "a", "later"))
    flow.do(failure())
    flow.do(emits(step("child"), after={"child": ["dead"]}))

    flow.retry_step(run, "dead")

    assert steps_of(flow, run)["child"] == "pending"
    assert flow.finish() == ["dead", "later", "child"]


def test_an_id_that_is_taken_fails_the_emitter_for_good_and_nobody_else(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    first, second = flow.lease()
    batch = [Settlement(first, emits(step("new"), step("b")), 0), Settlement(second, success(), 0)]

    turned = flow.turn(batch, slots=0)

    assert turned.verdicts == [Verdict.SETTLED, Verdict.SETTLED]
    assert steps_of(flow, run) == {"a": "failed", "b": "succeeded"}
    assert error_of(flow, run, "a") == "emit_conflict"


def test_of_two_emitters_with_one_childs_id_in_one_batch_the_first_has_it(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    first, second = flow.lease()

    flow.turn([Settlement(first, emits(step("c")), 0), Settlement(second, emits(step("c"), step("d")), 0)], slots=0)

    assert steps_of(flow, run) == {"a": "succeeded", "b": "failed", "c": "ready"}
    assert error_of(flow, run, "b") == "emit_conflict"


def test_a_refused_emission_that_is_offered_again_is_known(flow: Flow) -> None:
    flow.start(step("a"))
    leased = flow.do(emits(step("a")))

    assert flow.settle(leased, emits(step("a"))) is Verdict.ALREADY_COMMITTED


def test_waiting_for_a_step_that_is_not_in_the_run_fails_the_emitter(flow: Flow) -> None:
    run = flow.start(step("a"))

    flow.do(emits(step("b"), after={"b": ["elsewhere"]}))

    assert (steps_of(flow, run), error_of(flow, run, "a")) == ({"a": "failed"}, "graph_error")


def test_a_circle_in_an_emission_fails_the_emitter(flow: Flow) -> None:
    run = flow.start(step("a"))

    flow.do(emits(step("b"), step("c"), after={"b": ["c"], "c": ["b"]}))

    assert (steps_of(flow, run), error_of(flow, run, "a")) == ({"a": "failed"}, "graph_error")


@pytest.mark.parametrize(
    ("excess", "told"),
    [
        (Plan((step("a"),) * (MAX_STEPS + 1)), "at most 1000000 steps"),
        (Plan((step("a"), step("b")), (), (Edge(1, 0),) * (MAX_EDGES + 1)), "at most 5000000 edges"),
        (Plan((step("a"),), ("group",) * MAX_NODES), "at most 2097152 declarations"),
    ],
    ids=["steps", "edges", "declarations"],
)
def test_a_run_beyond_a_limit_is_refused(flow: Flow, excess: Plan, told: str) -> None:
    with pytest.raises(LimitExceeded, match=told):
        flow.start(excess)


def test_a_step_that_emits_too_many_fails(flow: Flow) -> None:
    run = flow.start(step("a"))

    flow.do(success(emission=Plan((step("b"),) * (MAX_CHILDREN + 1))))

    assert (steps_of(flow, run), error_of(flow, run, "a")) == ({"a": "failed"}, "limit_exceeded")


def test_steps_emit_steps_no_deeper_than_the_limit(flow: Flow) -> None:
    run = flow.start(step("a"))
    with flow.engine.write() as tx:
        tx.script("UPDATE steps SET depth = ?", (MAX_DEPTH,))

    flow.do(emits(step("b")))

    assert error_of(flow, run, "a") == "limit_exceeded"


def test_a_dedup_key_makes_one_step_whoever_emits_it(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    first, second = flow.lease()
    flow.settle(first, emits(step("page", dedup_key="url")))

    flow.settle(second, emits(step("same page", dedup_key="url"), step("index"), after={"index": ["same page"]}))

    assert steps_of(flow, run) == {"a": "succeeded", "b": "succeeded", "page": "ready", "index": "pending"}
    assert flow.finish() == ["page", "index"]


def test_a_dedup_key_holds_within_one_batch_and_when_the_first_one_is_dead(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"), step("c"))
    first, second, third = flow.lease()
    again = emits(step("second", dedup_key="url"), step("index"), after={"index": ["second"]})
    flow.turn([Settlement(first, emits(step("page", dedup_key="url", allow_failure=True)), 0)], slots=0)
    flow.settle(flow.lease_one(), failure())

    flow.turn([Settlement(second, again, 0), Settlement(third, emits(step("third", dedup_key="url")), 0)], slots=0)

    assert list(steps_of(flow, run)) == ["a", "b", "c", "page", "index"]
    assert steps_of(flow, run)["index"] == "canceled (dependency:page)"


def test_emitters_of_one_commit_that_name_one_dedup_key_make_one_step(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"), step("c"))
    first, second, third = flow.lease()
    page, once_more = (emits(step(name, dedup_key="url")) for name in ("page", "once more"))
    waits = emits(step("again", dedup_key="url"), step("index"), after={"index": ["again"]})

    flow.turn([Settlement(first, page, 0), Settlement(second, waits, 0), Settlement(third, once_more, 0)], slots=0)

    parents = {"a": "succeeded", "b": "succeeded", "c": "succeeded"}
    assert steps_of(flow, run) == {**parents, "page": "ready", "index": "pending"}
    with flow.engine.read() as tx:
        # One row for each commit: nothing was refused by the database and written again by itself.
        assert tx.script("SELECT COUNT(*) FROM history") == [(3,)]
    assert flow.finish() == ["page", "index"]


def in_one_batch(flow: Flow, *plans: Plan) -> str:
    """Emit plans by as many steps, in one commit, in a run of which the steps f1 and f2 have failed."""
    failing = [step(f"f{n}", "begin", allow_failure=True) for n in (1, 2)]
    run = flow.start(*failing, *(step(f"e{n}") for n, _ in enumerate(plans)))
    for failed in flow.lease(kinds=["begin"]):
        flow.settle(failed, failure())
    leased = flow.lease()
    flow.turn([Settlement(one, success(emission=emitted), 0) for one, emitted in zip(leased, plans)], slots=0)
    return run


def test_what_waits_for_a_step_of_the_same_commit_that_was_born_dead_is_born_dead(flow: Flow) -> None:
    run = in_one_batch(flow, plan(step("dead"), after={"dead": ["f1"]}), plan(step("later"), after={"later": ["dead"]}))

    assert steps_of(flow, run)["later"] == "canceled (dependency:dead)"


def test_the_steps_of_one_map_may_be_born_dead_for_different_reasons(flow: Flow) -> None:
    ids = [f"m[{at}]" for at in range(10)]
    edges = tuple(Edge(at, "f1" if at < 5 else "f2") for at in range(10))
    run = in_one_batch(flow, Plan((StepSpec("work", ids, [b"0"] * 10),), (), edges))

    found = steps_of(flow, run)
    assert [found[id] for id in ids] == ["canceled (dependency:f1)"] * 5 + ["canceled (dependency:f2)"] * 5


def test_an_id_under_which_a_step_was_declared_again_is_free_for_another_one(flow: Flow) -> None:
    again = plan(step("alias", dedup_key="k"))
    run = in_one_batch(flow, plan(step("first", dedup_key="k")), again, plan(step("alias")))

    found = steps_of(flow, run)
    assert {id: found[id] for id in ("e2", "first", "alias")} == {"e2": "succeeded", "first": "ready", "alias": "ready"}


def test_of_a_step_that_is_declared_again_the_first_declaration_stands(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    first, second = flow.lease()
    flow.settle(first, emits(step("page", dedup_key="url")))

    flow.settle(second, emits(step("c"), step("page again", dedup_key="url"), after={"page again": ["c"]}))

    assert steps_of(flow, run) == {"a": "succeeded", "b": "succeeded", "page": "ready", "c": "ready"}


def test_a_dependency_that_is_declared_twice_is_one_and_a_required_one_if_either_is(flow: Flow) -> None:
    twice = (Edge(1, 0), Edge(1, 0), Edge(2, 0, required=False), Edge(2, 0))
    run = flow.start(Plan((step("a"), step("b"), step("c")), (), twice))

    assert [column_of(flow, run, id, "deps_left") for id in "bc"] == [1, 1]
    flow.do(failure())
    assert [steps_of(flow, run)[id] for id in "bc"] == ["canceled (dependency:a)"] * 2


def test_one_dedup_key_of_two_kinds_is_two_steps(flow: Flow) -> None:
    run = flow.start(step("a"))

    flow.do(emits(step("b", kind="page", dedup_key="url"), step("c", kind="index", dedup_key="url")))

    assert list(steps_of(flow, run)) == ["a", "b", "c"]


def test_children_know_their_parent_and_their_depth(flow: Flow) -> None:
    run = flow.start(step("a"))
    flow.do(emits(step("b")))
    flow.do(emits(step("c")))

    assert column_of(flow, run, "c", "parent") == column_of(flow, run, "b", "key")
    assert [column_of(flow, run, id, "depth") for id in "abc"] == [0, 1, 2]


def test_an_inline_artifacts_id_is_taken_once_in_a_run_even_in_one_batch(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"), step("c"))
    first, second, third = flow.lease()
    report = success(artifacts=(artifact("report", b"1"),))

    flow.turn([Settlement(first, report, 0), Settlement(second, report, 0)], slots=0)
    flow.settle(third, report)

    assert steps_of(flow, run) == {"a": "succeeded", "b": "failed", "c": "failed"}
    assert error_of(flow, run, "b") == error_of(flow, run, "c") == "artifact_conflict"


def test_an_artifact_that_an_attempt_wrote_twice_is_the_last_one(flow: Flow) -> None:
    flow.start(step("a"))

    flow.do(success(artifacts=(artifact("report", b"first"), artifact("report", b"the second"))))

    with flow.engine.read() as tx:
        assert tx.script("SELECT size, body FROM artifacts") == [(10, b"the second")]


def test_a_bare_success_emits_nothing(flow: Flow) -> None:
    run = flow.start(step("a"))

    flow.do(attrs.evolve(success(), emission=Plan(())))

    assert status_of(flow, run) is RunStatus.SUCCEEDED
