"""What a start leases at once is stored as leased, and is what it would be had it been stored before."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import pytest

from flowkit.clock import SECOND, micros
from flowkit.model.plan import StepSpec
from flowkit.model.states import RunStatus
from flowkit.model.step import LeasedStep
from flowkit.store import newborn
from flowkit.store.check import check
from flowkit.store.engine import Engine
from flowkit.store.keys import first_key
from flowkit.store.sessions import Session
from flowkit.store.tally import Tally
from tests.store.flow import LEASE_SECONDS, Flow, plan, step, success
from tests.store.story import column_of, guarded, history_of, limit, once, status_of, steps_of
from tests.store.test_random_graphs import graph

OWN = {"key", "id", "run", "step", "target", "waiter", "token"}
"""What of a run's rows is its own, or the attempt's: another one that is just the same has others."""


@pytest.fixture(autouse=True)
def sound(engine: Engine) -> Iterator[None]:
    with guarded(engine):
        yield
        with engine.read() as tx:
            assert check(tx) == []


def rows_of(flow: Flow, run_id: str) -> dict[str, list[Any]]:
    """Return all that is stored of a run but for what is its own, in order."""
    run, tables = flow.key(run_id), flow.engine.leases._t
    nodes = (first_key(run), first_key(run + 1) - 1)
    by = {"runs": "key", "run_inputs": "run", "history": "run"}
    found: dict[str, list[Any]] = {}
    with flow.engine.read() as tx:
        for name in (*by, "steps", "specs", "deps", "gates"):
            columns = [column for column in getattr(tables, name)._meta.columns if column not in OWN]
            key = by.get(name) or getattr(tables, name)._meta.sorted_fields[0].column_name
            order = "first_seq" if name == "history" else key
            sql = f"SELECT {', '.join(columns)} FROM {name} WHERE {key} BETWEEN ? AND ? ORDER BY {order}"
            found[name] = tx.script(sql, (run, run) if name in by else nodes)
    return found


def told(leased: Sequence[LeasedStep]) -> list[Any]:
    """Return what is told of attempts but for what is their run's own."""
    own = {"key": 0, "run_key": 0, "run_id": ""}
    return [attrs.evolve(one, **own, lease=attrs.evolve(one.lease, token="")) for one in leased]


def begun(flow: Flow, seed: int, *, slots: int, stored_first: bool) -> tuple[dict[str, list[Any]], list[Any]]:
    """Start a run whose graph is drawn, and lease; return its rows and what is told of the attempts and the steps."""
    run_id, drawn = f"stored-first-{stored_first}", graph(random.Random(seed), 4 + seed, "s", [])
    known = {"run_id": run_id, "name": "named", "metadata": {"seed": seed}, "data": [seed]}
    kinds = ["k1", "k2"] if seed % 3 else ["k1"]
    how = {"slots": slots, "kinds": kinds, "stored_first": stored_first, "wait": seed % 2}
    turned = flow.start_and_lease(drawn, **how, **known)
    found = rows_of(flow, run_id)
    flow.cancel(run_id)
    return found, [*told(turned.leased), *(attrs.evolve(event, run_id="") for event in turned.events)]


@pytest.mark.parametrize("slots", [0, 1, 2, 64])
@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_it_would_be_had_it_been_stored_before(flow: Flow, seed: int, slots: int) -> None:
    before, at_once = (begun(flow, seed, slots=slots, stored_first=first) for first in (True, False))
    for name, rows in before[0].items():
        assert at_once[0][name] == rows, name
    assert at_once[1] == before[1]


@pytest.fixture
def updated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the statements that change rows of steps and runs."""
    found: list[str] = []
    for name in ("rows", "run", "later", "change"):
        real = getattr(Session, name)

        def watched(tx: Session, statement: Any, real: Any = real, **values: Any) -> Any:
            if statement.sql.startswith("UPDATE") and "meta" not in statement.sql:
                found.append(statement.sql)
            return real(tx, statement, **values)

        monkeypatch.setattr(Session, name, watched)
    return found


def test_each_row_of_a_start_is_written_once(flow: Flow, updated: list[str]) -> None:
    leased = flow.start_and_lease(plan(step("a"), step("b"), step("c"), after={"c": ["a"]})).leased
    assert ([one.id for one in leased], updated) == (["a", "b"], [])
    assert steps_of(flow, "run-1") == {"a": "running", "b": "running", "c": "pending"}
    assert status_of(flow, "run-1") is RunStatus.RUNNING
    for one in leased:
        flow.settle(one, success())
    assert flow.finish() == ["c"]
    assert status_of(flow, "run-1") is RunStatus.SUCCEEDED


def test_what_was_ready_before_is_leased_before_it(flow: Flow) -> None:
    flow.start(step("earlier"))
    flow.clock.advance(1)
    assert [one.id for one in flow.start_and_lease(step("new"), slots=1).leased] == ["earlier"]
    assert [one.id for one in flow.start_and_lease(step("urgent", priority=-1), slots=1).leased] == ["urgent"]
    assert flow.finish() == ["new"]


def test_what_was_ready_before_may_be_leased_with_it(flow: Flow) -> None:
    for place in range(6):
        flow.start(step(f"earlier{place}", data=place))
    leased = flow.start_and_lease(step("new", data="new")).leased
    assert [(one.id, json.loads(one.input)) for one in leased] == [
        *((f"earlier{place}", place) for place in range(6)),
        ("new", "new"),
    ]


@pytest.mark.parametrize("slots", [1, 2])
def test_of_a_few_each_is_told_its_own_input(flow: Flow, slots: int) -> None:
    flow.start(step("earlier", data="earlier"))
    leased = flow.start_and_lease(step("new", data="new"), slots=slots).leased
    assert [(one.id, json.loads(one.input)) for one in leased] == [("earlier", "earlier"), ("new", "new")][:slots]


def test_limits_hold_for_it_too(flow: Flow) -> None:
    with flow.engine.write() as tx:
        for queue, config in limit(flow, max_workers=1).items():
            flow.engine.queues.configure(tx, queue, config, by="test", now=tx.now())
    leased = flow.start_and_lease(step("a"), step("b")).leased
    assert [one.id for one in leased] == ["a"]
    assert flow.start_and_lease(step("c")).leased == []
    flow.settle(leased[0], success())
    assert flow.finish() == ["b", "c"]


def test_a_step_that_is_due_later_is_stored_so_and_told_of(flow: Flow) -> None:
    turned = flow.start_and_lease(step("later", delay=micros(5)))
    assert (turned.leased, turned.due_at) == ([], flow.clock.now() + 5 * SECOND)
    flow.clock.advance(5)
    assert flow.finish() == ["later"]


def test_of_a_start_that_is_rolled_back_nothing_is_leased(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    close = flow.engine.history.close

    def broken(tx: Session, tally: Tally) -> None:
        close(tx, tally)
        raise ZeroDivisionError

    monkeypatch.setattr(flow.engine.history, "close", broken)
    with pytest.raises(ZeroDivisionError):
        flow.start_and_lease(step("a"))
    monkeypatch.undo()
    assert flow.turn(kinds=["work"]).leased == []
    with flow.engine.read() as tx:
        assert tx.script("SELECT count(*) FROM steps") == [(0,)]


def test_a_lease_that_is_lost_is_taken_back_as_any_other(flow: Flow) -> None:
    flow.start_and_lease(step("a"))
    flow.clock.advance(LEASE_SECONDS + 1)
    flow.turn(slots=0, worker="other")
    flow.clock.advance(60)
    (again,) = flow.lease(worker="other")
    assert (again.attempt, again.lease.epoch) == (2, 2)
    assert column_of(flow, "run-1", "a", "worker") == "other"


@pytest.mark.parametrize("count", [newborn.MOST, newborn.MOST + 1])
def test_of_however_many_steps_those_are_leased_for_which_there_are_slots(flow: Flow, count: int) -> None:
    leased = flow.start_and_lease(*once(*(f"s{place}" for place in range(count))), slots=3).leased
    assert [one.id for one in leased] == ["s0", "s1", "s2"]
    assert len(flow.lease()) == min(64, count - 3)


def test_of_a_large_map_those_are_leased_for_which_there_are_slots(flow: Flow) -> None:
    ids = tuple(f"s{place}" for place in range(600))
    leased = flow.start_and_lease(StepSpec("work", ids, (b"null",) * len(ids)), slots=3).leased
    assert [one.id for one in leased] == ["s0", "s1", "s2"]


def test_the_history_tells_of_the_start_and_then_by_whom_what_was_leased(flow: Flow) -> None:
    flow.start_and_lease(step("a"))
    assert history_of(flow, "run-1") == ["steps_added", "step_leased"]
    with flow.engine.read() as tx:
        events = list(flow.engine.history.read(tx, flow.key("run-1")))
    assert [event.worker_id for event in events] == [None, "worker"]
