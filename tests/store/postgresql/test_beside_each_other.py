"""Workers of several hosts take steps of different runs, where there are some, rather than wait at one run's row."""

from __future__ import annotations

from flowkit import QueueConfig, RateLimit
from flowkit.model.step import Settlement
from flowkit.store.lanes import REACH
from tests.store.flow import Flow, step, success


def test_while_another_has_the_first_run_steps_are_taken_from_the_next(flow: Flow, other: Flow) -> None:
    flow.start(*[step(f"first[{n}]") for n in range(8)], run_id="first")
    flow.start(*[step(f"second[{n}]") for n in range(8)], run_id="second")

    with other.engine.write() as tx:
        other.engine.runs.lock(tx, "first")
        turned = flow.turn(slots=4)

    assert [leased.id for leased in turned.leased] == [f"second[{n}]" for n in range(4)]
    assert [leased.id for leased in flow.lease(2)] == ["first[0]", "first[1]"]


def test_behind_the_many_steps_of_a_run_that_another_has_for_long_others_are_looked_for_ever_farther(
    flow: Flow, other: Flow
) -> None:
    flow.start(*[step(f"first[{n}]", priority=n) for n in range(REACH + 100)], run_id="first")
    flow.start(step("second", priority=1000), run_id="second")

    with other.engine.write() as tx:
        other.engine.runs.lock(tx, "first")
        turned = flow.turn()
        assert (turned.leased, turned.contended) == ([], True)
        assert [leased.id for leased in flow.turn().leased] == ["second"]
        for _ in range(40):
            assert flow.turn().leased == []


def test_the_many_steps_of_a_run_that_are_as_good_as_the_first_are_passed_over(flow: Flow, other: Flow) -> None:
    """Four workers at the maps of four runs: the fourth finds its own behind those of the others, at once."""
    held = ("first", "second", "third")
    for run in (*held, "fourth"):
        flow.start(*[step(f"{run}[{n}]") for n in range(REACH + 1)], run_id=run)

    with other.engine.write() as tx:
        for run in held:
            other.engine.runs.lock(tx, run)
        turned = flow.turn(slots=4)

    assert [leased.id for leased in turned.leased] == [f"fourth[{n}]" for n in range(4)]


def test_of_a_run_that_another_has_no_more_is_passed_over_than_comes_first(flow: Flow, other: Flow) -> None:
    flow.start(step("first"), step("first, later", priority=2), run_id="first")
    flow.start(step("between", priority=1), run_id="second")

    with other.engine.write() as tx:
        other.engine.runs.lock(tx, "first")
        assert [leased.id for leased in flow.lease(1)] == ["between"]


def test_several_runs_that_others_have_are_passed_over_at_once(flow: Flow, other: Flow) -> None:
    held = {"first": 2, "second": 1, "third": 1, "fourth": 1, "fifth": 1, "sixth": REACH + 1}
    for run, count in held.items():
        flow.start(*[step(f"{run}[{n}]") for n in range(count)], run_id=run)
    flow.start(step("seventh"), run_id="seventh")

    with other.engine.write() as tx:
        for run in held:
            other.engine.runs.lock(tx, run)
        turned = flow.turn(slots=8)

    assert [leased.id for leased in turned.leased] == ["seventh"]


def test_of_every_kind_that_a_queue_holds_the_steps_of_a_run_that_another_has_are_passed_over(
    flow: Flow, other: Flow
) -> None:
    kinds = [f"k{n}" for n in range(10)]
    flow.start(*[step(f"{kind}[{n}]", kind) for kind in kinds for n in range(REACH + 1)], run_id="held")
    flow.clock.advance(1)
    flow.start(*[step(f"{kind}.{n}", kind) for kind in kinds for n in range(2)], run_id="free")

    with other.engine.write() as tx:
        other.engine.runs.lock(tx, "held")
        turned = flow.turn(slots=20)

    assert [leased.id for leased in turned.leased] == [f"{kind}.{n}" for kind in kinds for n in range(2)]


def test_a_worker_keeps_the_steps_of_its_own_run_while_it_looks_behind_another_for_more(
    flow: Flow, other: Flow
) -> None:
    for run, count in (("first", REACH + 50), ("mine", 5), ("third", REACH + 50), ("fourth", 10)):
        flow.start(*[step(f"{run}[{n}]") for n in range(count)], run_id=run)
    flow.lease_one()
    mine = flow.lease_one(run="mine")

    with other.engine.write() as tx:
        other.engine.runs.lock(tx, "first")
        other.engine.runs.lock(tx, "third")
        turned = flow.turn([Settlement(mine, success(), flow.clock.now())], slots=6)

    assert [leased.id for leased in turned.leased] == [f"mine[{n}]" for n in range(1, 5)] + ["fourth[0]", "fourth[1]"]


def test_behind_two_runs_that_others_have_a_third_is_found(flow: Flow, other: Flow) -> None:
    for run in ("first", "second"):
        flow.start(*[step(f"{run}[{n}]") for n in range(20)], run_id=run)
    flow.start(step("third"), run_id="third")

    with other.engine.write() as tx:
        other.engine.runs.lock(tx, "first")
        other.engine.runs.lock(tx, "second")
        assert [leased.id for leased in flow.turn(slots=4).leased] == ["third"]


def test_what_is_taken_from_one_queue_does_not_keep_the_other_from_being_looked_through(
    flow: Flow, other: Flow
) -> None:
    flow.start(*[step(f"held[{n}]", queue="b", priority=n - 1000) for n in range(REACH * 5)], run_id="held")
    flow.start(step("behind", queue="b", priority=1000), run_id="behind")
    flow.start(*[step(f"a[{n}]", queue="a") for n in range(100)], run_id="many")

    with other.engine.write() as tx:
        other.engine.runs.lock(tx, "held")
        leased = [one.id for _ in range(20) for one in flow.turn(slots=2).leased]

    assert "behind" in leased


def test_where_all_that_is_ready_is_of_a_run_that_another_has_it_is_tried_again_soon(flow: Flow, other: Flow) -> None:
    flow.start(*[step(f"first[{n}]") for n in range(8)], run_id="first")

    with other.engine.write() as tx:
        other.engine.runs.lock(tx, "first")
        turned = flow.turn(slots=4)
        assert (turned.leased, turned.contended) == ([], True)

    assert len(flow.finish(lambda _: success(1))) == 8


def test_a_step_that_could_not_be_had_costs_its_queue_no_token(flow: Flow, other: Flow) -> None:
    config = QueueConfig(rate_limit=RateLimit(1, burst=2))
    with flow.engine.write() as tx:
        flow.engine.queues.configure(tx, "default", config, by="test", now=tx.now())
    run = flow.start(step("a"), step("b"))

    with other.engine.write() as tx:
        other.engine.runs.lock(tx, run)
        assert flow.lease(run=run) == []

    assert len(flow.lease()) == 2


def test_beside_a_paused_queue_too_steps_are_taken_from_the_next_run(flow: Flow, other: Flow) -> None:
    with flow.engine.write() as tx:
        flow.engine.queues.pause(tx, "parked", paused=True)
    flow.start(step("first"), step("parked", queue="parked"), run_id="first")
    flow.start(step("second"), run_id="second")

    with other.engine.write() as tx:
        other.engine.runs.lock(tx, "first")
        turned = flow.turn()

    assert [leased.id for leased in turned.leased] == ["second"]
