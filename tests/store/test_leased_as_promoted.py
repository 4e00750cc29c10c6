"""What a transaction makes ready it may lease at once: chosen among all that is ready, and written only once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from flowkit.clock import micros
from flowkit.errors import StoreError
from flowkit.model.outcome import Outcome
from flowkit.model.plan import Binding, Edge, Plan
from flowkit.model.retry import Retry
from flowkit.model.step import LeasedStep, Settlement
from flowkit.scheduler.turned import Turned
from flowkit.store.engine import Engine
from flowkit.store.leases import Leases
from flowkit.store.sessions import Session
from tests.store.flow import Flow, again, failure, plan, step, success
from tests.store.story import column_of, group, guarded, history_of, limit, result_of, steps_of

NOW = Retry(3, backoff="fixed", initial=0, maximum=0)


@pytest.fixture(autouse=True)
def sound(engine: Engine, request: pytest.FixtureRequest) -> Iterator[None]:
    if "meddling" in request.fixturenames:
        yield
        return
    with guarded(engine):
        yield


@pytest.fixture
def meddling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have somebody change a waiting step in the middle of the transaction that leases it."""
    take = Leases.take

    def meddled(leases: Leases, tx: Session, *arguments: Any) -> Any:
        tx.script("UPDATE steps SET epoch = epoch + 7 WHERE id = 'b'")
        return take(leases, tx, *arguments)

    monkeypatch.setattr(Leases, "take", meddled)


def bound(*ids: str) -> Plan:
    """Make a plan whose last step is bound to the results of all others."""
    *members, last = ids
    every = Binding("values", ((0, len(members) - 1),), many=True)
    return plan(*map(step, members), step(last, bindings=(every,)), after={last: members})


def goes_on(flow: Flow, *leased: LeasedStep, outcome: Outcome | None = None, slots: int = 64) -> Turned:
    """Settle attempts, and lease what is next in the same transaction."""
    inbox = [Settlement(one, success() if outcome is None else outcome, flow.clock.now()) for one in leased]
    return flow.turn(inbox, slots=slots)


def ids(leased: Sequence[LeasedStep]) -> list[str]:
    return [one.id for one in leased]


@pytest.fixture
def ready_rows(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect what is leased the ordinary way: rows that were ready before."""
    found: list[Any] = []
    rows = Session.rows

    def watched(tx: Session, statement: Any, **values: Any) -> Any:
        if "keys" in values and statement.sql.startswith("UPDATE") and "'ready'" in statement.sql:
            found.append(values["keys"])
        return rows(tx, statement, **values)

    monkeypatch.setattr(Session, "rows", watched)
    return found


def test_the_next_step_of_a_chain_is_leased_without_ever_being_ready(flow: Flow, ready_rows: list[Any]) -> None:
    run = flow.start(plan(step("a"), step("b"), step("c"), after={"b": ["a"], "c": ["b"]}))
    first = flow.lease_one()
    del ready_rows[:]
    flow.clock.advance(1)

    turned = goes_on(flow, first)

    assert (ids(turned.leased), turned.promoted, ready_rows) == (["b"], 1, [])
    (second,) = turned.leased
    assert (second.attempt, second.lease.epoch, second.generation) == (1, 1, 0)
    stored = [column_of(flow, run, "b", name) for name in ("status", "attempt", "epoch", "token", "deps_left")]
    assert stored == ["running", 1, 1, second.lease.token, 0]
    assert column_of(flow, run, "b", "ready_at") == column_of(flow, run, "b", "started_at") == flow.clock.now()
    assert history_of(flow, run)[-3:] == ["step_succeeded", "step_promoted", "step_leased"]
    assert flow.finish() == []  # it is leased, not ready
    assert ids(goes_on(flow, second).leased) == ["c"]


def test_a_step_that_was_brought_back_goes_on_counting_epochs_and_generations(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    goes_on(flow, goes_on(flow, flow.lease_one()).leased[0], outcome=failure())
    assert steps_of(flow, run)["b"] == "failed"
    other = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    goes_on(flow, flow.lease_one(), outcome=failure())
    flow.retry_run(other)

    (again_b,) = goes_on(flow, flow.lease_one(run=other)).leased

    assert (again_b.id, again_b.attempt, again_b.lease.epoch, again_b.generation) == ("b", 1, 1, 1)
    assert goes_on(flow, again_b).verdicts[0].value == "settled"


def test_a_step_that_waits_for_more_is_counted_down_and_not_leased(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), step("c"), after={"c": ["a", "b"]}))
    first, second = flow.lease()

    assert goes_on(flow, first).leased == []
    assert (column_of(flow, run, "c", "deps_left"), column_of(flow, run, "c", "status")) == (1, "pending")
    assert ids(goes_on(flow, second).leased) == ["c"]


def test_a_step_with_a_delay_becomes_ready_and_is_leased_when_it_is_due(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b", delay=micros(60)), after={"b": ["a"]}))

    assert goes_on(flow, flow.lease_one()).leased == []
    assert steps_of(flow, run)["b"] == "ready"
    flow.clock.advance(60)
    assert ids(flow.lease()) == ["b"]


def test_what_is_ready_already_goes_first_unless_it_is_less_urgent(flow: Flow) -> None:
    flow.start(plan(step("a"), step("next"), step("urgent", priority=-1), after={"next": ["a"], "urgent": ["a"]}))
    first = flow.lease_one()
    flow.start(step("old"))
    flow.start(step("whenever", priority=1))
    flow.clock.advance(1)

    turned = goes_on(flow, first, slots=3)

    assert ids(turned.leased) == ["urgent", "old", "next"]
    assert ids(flow.lease()) == ["whenever"]


def test_of_more_steps_than_there_are_slots_the_others_are_ready_for_anybody(flow: Flow, other: Flow) -> None:
    names = [f"part[{n}]" for n in range(5)]
    run = flow.start(plan(step("a"), *map(step, names), after=dict.fromkeys(names, ["a"])))

    assert ids(goes_on(flow, flow.lease_one(), slots=2).leased) == names[:2]
    assert list(steps_of(flow, run).values()).count("ready") == 3
    assert ids(other.lease(worker="bob")) == names[2:]


def test_a_worker_leaves_what_it_does_not_serve_to_others(flow: Flow, other: Flow) -> None:
    run = flow.start(plan(step("a"), step("b", kind="another"), after={"b": ["a"]}))
    first = flow.lease_one(kinds=["work"])

    assert flow.turn([Settlement(first, success(), flow.clock.now())], kinds=["work"]).leased == []
    assert steps_of(flow, run)["b"] == "ready"
    assert ids(other.lease(kinds=["another"], worker="bob")) == ["b"]


def test_a_limit_of_one_holds_for_what_is_promoted_too(flow: Flow) -> None:
    limit(flow, max_workers=1)
    names = ["b", "c"]
    run = flow.start(plan(step("a"), *map(step, names), after=dict.fromkeys(names, ["a"])))

    assert ids(goes_on(flow, flow.lease_one()).leased) == ["b"]
    assert (steps_of(flow, run)["c"], flow.lease()) == ("ready", [])


def test_a_paused_queue_starts_nothing_of_what_it_makes_ready(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    first = flow.lease_one()
    with flow.engine.write() as tx:
        flow.engine.queues.pause(tx, "default", paused=True)

    assert goes_on(flow, first).leased == []
    assert steps_of(flow, run)["b"] == "ready"


def test_a_join_is_leased_with_the_commit_of_its_last_member_and_gets_every_result(flow: Flow) -> None:
    flow.start(group(["a", "b"], ["x", "y"]))
    first, second = flow.lease()

    assert goes_on(flow, first).leased == []
    assert ids(goes_on(flow, second).leased) == ["x", "y"]


def test_a_step_made_ready_by_one_outcome_is_leased_beside_one_that_is_tried_again(flow: Flow) -> None:
    flow.start(plan(step("a"), step("b"), step("c"), after={"c": ["a"]}))
    first, second = flow.lease()

    turned = flow.turn([
        Settlement(first, success(), flow.clock.now()),
        Settlement(second, again(), flow.clock.now()),
    ])

    assert sorted((one.id, one.attempt) for one in turned.leased) == [("b", 2), ("c", 1)]


def test_a_lease_that_runs_out_is_taken_back_and_given_again_in_the_pass_that_asked_first_what_is_ready(
    flow: Flow,
) -> None:
    flow.start(step("a", retry=NOW), step("b", retry=NOW))
    first, _ = flow.lease(worker="ann")
    flow.clock.advance(40)

    turned = flow.turn([Settlement(first, success(), flow.clock.now())], worker="bob")

    assert [(one.id, one.attempt) for one in turned.leased] == [("b", 2)]


@pytest.mark.usefixtures("meddling")
def test_a_lease_that_the_database_did_not_give_is_not_used(flow: Flow) -> None:
    """Nobody changes a waiting step but who has locked its run; should somebody do so, nothing is run in its name."""
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))

    with pytest.raises(StoreError, match="had not locked their run"):
        goes_on(flow, flow.lease_one())

    assert steps_of(flow, run)["b"] == "pending"


def test_a_result_is_not_read_for_the_step_that_its_own_commit_starts(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    stored = Leases._stored

    def watched(leases: Leases, keys: Sequence[int]) -> Any:
        read.append(len(keys))
        return stored(leases, keys)

    monkeypatch.setattr(Leases, "_stored", watched)
    run = flow.start(bound("a", "b", "sum"))
    first, second = flow.lease()
    flow.settle(first, success(1))

    (joined,) = goes_on(flow, second, outcome=success(2)).leased

    assert [joined.results[place] for place in (0, 1)] == [b"1", b"2"]
    assert result_of(flow, run, "b") == b"2"
    assert read == [1]  # that of the other one, which was committed before


def edges(*said: str) -> tuple[list[str], tuple[Edge, ...]]:
    """Return the steps in what is said, and their edges: ``"x>w"`` is x requires w, ``"x?w"`` x only waits for it."""
    pairs = [(one[0], one[2], one[1] == ">") for one in said]
    names = sorted({name for waiter, target, _ in pairs for name in (waiter, target)})
    return names, tuple(Edge(names.index(w), names.index(t), required) for w, t, required in pairs)


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(("w>a", "w>b", "x?w", "x>y", "x>z"), id="met-by-one-that-is-dead"),
        pytest.param(("v>a", "w>v", "w>b", "x?w", "x>y", "x>z"), id="met-and-then-canceled"),
        pytest.param(("w>a", "w>b", "x?w", "x>y", "x>z", "u?w", "u>y", "t?u", "t>z"), id="several-rounds"),
    ],
)
def test_whatever_a_cascade_meets_is_counted_once(flow: Flow, graph: tuple[str, ...]) -> None:
    names, into = edges(*graph)
    run = flow.start(Plan(tuple(step(name, retry=Retry(1)) for name in names), edges=into))
    leased = {one.id: one for one in flow.lease()}
    ended = [(leased["a"], failure()), (leased["b"], success())]

    flow.turn([Settlement(one, outcome, flow.clock.now()) for one, outcome in ended])

    assert steps_of(flow, run)["w"].startswith("canceled")
    assert column_of(flow, run, "x", "deps_left") == 2
    goes_on(flow, leased["y"])
    assert steps_of(flow, run)["x"] == "pending"
    assert ids(goes_on(flow, leased["z"]).leased)[0] in ("t", "x")


def test_a_pass_tells_when_what_it_made_ready_is_due(flow: Flow) -> None:
    flow.start(plan(step("a"), step("later", delay=micros(9)), step("b", delay=micros(3)), after={"b": ["a"]}))
    first = flow.lease_one()
    flow.clock.advance(1)

    assert goes_on(flow, first).due_at == flow.clock.now() + micros(3)


def test_a_kind_that_is_new_since_the_question_was_made_is_asked_about_too(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.start(step("a"))
    first = flow.lease_one()
    write, begun = flow.engine.write, [False]

    def late(asked: Sequence[Any] = ()) -> Any:
        if not begun[0]:
            begun[0] = True
            flow.start(step("b", kind="new"))  # by another thread of the process, which had its turn before
        return write(asked)

    monkeypatch.setattr(flow.engine, "write", late)
    turned = flow.turn([Settlement(first, success(), flow.clock.now())], kinds=["work", "new"])

    assert ids(turned.leased) == ["b"]
