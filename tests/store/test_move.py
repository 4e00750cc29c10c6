"""A store that was moved is the same store elsewhere: every row is there, and unfinished runs go on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowkit import ConfigError, StoreBusy, StoreError
from flowkit.model.limits import QueueConfig, RateLimit
from flowkit.store.check import check
from flowkit.store.move import Moved, move, names_of
from tests.places import Lend, Place, SQLitePlace, open_engine
from tests.store.clock import FakeClock
from tests.store.flow import LEASE_SECONDS, Flow, again, artifact, failure, plan, record, step, success
from tests.store.story import group, status_of, steps_of


def opened(place: Place, clock: FakeClock) -> Iterator[Flow]:
    flow = Flow(open_engine(place, clock), clock)
    flow._tokens = itertools.count(1_000_000)
    yield flow
    flow.engine.db.close()


@pytest.fixture
def source(tmp_path: Path, clock: FakeClock) -> Iterator[Flow]:
    """A store in a file, in which there is something of everything and nobody at work."""
    for flow in opened(SQLitePlace(tmp_path / "source.db"), clock):
        fill(flow)
        yield flow


@pytest.fixture
def target(place: Place, clock: FakeClock) -> Iterator[Flow]:
    """An empty store on each kind of database."""
    yield from opened(place, clock)


def fill(flow: Flow) -> None:
    with flow.engine.write() as tx:
        flow.engine.queues.configure(tx, "cpu", QueueConfig(1, RateLimit(1, burst=2)), by="w", now=tx.now())
    flow.start(group(["a", "b"], ["x", "y"]), run_id="gate", data={"book": "\N{SNOWMAN} \U0001f600"})
    effects = {"records": (record("pages", "1", {"n": 1}),), "artifacts": (artifact("f", bytes(range(256))),)}
    flow.do(success({"pages": 3}, emission=plan(step("kid", dedup_key="only")), **effects))
    flow.start(plan(step("dead"), step("late"), after={"late": ["dead"]}), run_id="failed")
    flow.do(failure("broken", "it \N{PILE OF POO} broke"), run="failed")
    flow.start(step("retried"), step("delayed", delay=5_000_000), step("queued", queue="cpu"), run_id="waiting")
    flow.do(again(seconds=100), run="waiting")
    flow.cancel(flow.start(step("gone"), run_id="canceled"))


def rows_of(flow: Flow, name: str) -> list[tuple[object, ...]]:
    """Return what is in a table, in an order that is no database's own."""
    model = getattr(flow.engine.tables, name)
    statement = flow.engine.db.compile(model.select(*model._meta.sorted_fields))
    with flow.engine.read() as tx:
        return sorted(tx.rows(statement), key=repr)


def test_every_row_is_there_and_the_store_is_sound(source: Flow, target: Flow) -> None:
    moved = move(source.engine, target.engine)

    names = names_of(source.engine)
    assert {name: rows_of(target, name) for name in names} == {name: rows_of(source, name) for name in names}
    assert moved == Moved({name: len(rows_of(source, name)) for name in names}, unfinished=2)
    assert all(moved.rows[name] for name in names if name not in ("kinds", "packages", "progress"))
    with target.engine.read() as tx:
        assert check(tx) == []


def test_unfinished_runs_go_on_where_they_were_moved_to(source: Flow, target: Flow, clock: FakeClock) -> None:
    move(source.engine, target.engine)

    clock.advance(200)
    while target.finish():
        clock.advance(1)
    assert set(steps_of(target, "gate").values()) == {"succeeded"}
    assert set(steps_of(target, "waiting").values()) == {"succeeded"}
    assert steps_of(source, "gate")["x"] == "pending"
    target.retry_run("failed")
    assert target.finish() == ["dead", "late"]
    with target.engine.read() as tx:
        assert check(tx) == []


def test_new_runs_and_kinds_get_numbers_that_were_never_used(source: Flow, target: Flow) -> None:
    move(source.engine, target.engine)

    run = target.start(step("a", "a new kind"), run_id="new")
    target.do(success(1, records=(record("pages", "2", {}),)), run=run)

    assert status_of(target, "new") == "succeeded"
    assert target.key("new") > max(source.key(one) for one in ("gate", "failed", "waiting", "canceled"))
    with target.engine.read() as tx:
        assert check(tx) == []


def test_limits_and_pauses_are_moved_too(source: Flow, target: Flow) -> None:
    with source.engine.write() as tx:
        source.engine.queues.pause(tx, "cpu", paused=True)
    with target.engine.write() as tx:
        target.engine.queues.configure(tx, "cpu", QueueConfig(7), by="early", now=tx.now())

    move(source.engine, target.engine)

    assert rows_of(target, "queues") == rows_of(source, "queues")
    assert "queued" not in target.finish()


def test_it_is_refused_while_workers_hold_leases(source: Flow, target: Flow) -> None:
    source.lease(worker="ann", slots=1, run="waiting")
    source.lease(worker="bob", slots=2, run="gate")

    with pytest.raises(StoreBusy, match=r"ann \(1 step\), bob \(2 steps\)"):
        move(source.engine, target.engine)

    assert rows_of(target, "runs") == []


def test_a_lease_that_ran_out_is_taken_back_where_it_was_moved_to(
    source: Flow, target: Flow, clock: FakeClock
) -> None:
    lost = source.lease_one(run="gate")
    clock.advance(LEASE_SECONDS + 1)

    move(source.engine, target.engine)
    target.turn(slots=0)

    assert steps_of(target, "gate")[lost.id] == "ready"


def test_a_target_that_has_runs_is_refused_and_left_alone(source: Flow, target: Flow) -> None:
    target.start(step("mine"), run_id="mine")

    with pytest.raises(ConfigError, match="not empty: it has 1 runs"):
        move(source.engine, target.engine)

    assert [row[1] for row in rows_of(target, "runs")] == ["mine"]
    assert target.finish() == ["mine"]


def test_a_target_that_gives_back_something_else_is_noticed_and_nothing_stays(
    source: Flow, lend: Lend, clock: FakeClock
) -> None:
    """Here a trigger of somebody's changes what is written."""
    with lend() as place:
        for target in opened(place, clock):
            with target.engine.write() as tx:
                for sql in place.alter("records", "name = 'changed'"):
                    tx.script(sql)

            with pytest.raises(StoreError, match="other rows of records"):
                move(source.engine, target.engine)

            assert rows_of(target, "runs") == rows_of(target, "steps") == []


def test_many_rows_are_moved_some_at_a_time(tmp_path: Path, target: Flow, clock: FakeClock) -> None:
    for source in opened(SQLitePlace(tmp_path / "many.db"), clock):
        ids = [f"page[{n}]" for n in range(120)]
        source.start(group(ids, ["index"], data=list(range(20))), run_id="many")
        source.finish()
        source.start(*[step(id) for id in ids], run_id="open")

        assert move(source.engine, target.engine).rows["specs"] == 241

        assert rows_of(target, "specs") == rows_of(source, "specs")
        assert len(target.finish()) == 120


def test_it_goes_the_other_way_too(tmp_path: Path, source: Flow, target: Flow, clock: FakeClock) -> None:
    move(source.engine, target.engine)
    for back in opened(SQLitePlace(tmp_path / "back.db"), clock):
        move(target.engine, back.engine)

        names = names_of(source.engine)
        assert {name: rows_of(back, name) for name in names} == {name: rows_of(source, name) for name in names}
        assert "a" not in back.finish()
