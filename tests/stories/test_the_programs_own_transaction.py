"""With the program's own database, what is called inside its transaction shares the fate of that transaction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import peewee
import pytest

from flowkit import (
    InvalidTransition,
    QueueConfig,
    RunBuilder,
    RunConflict,
    RunNotFound,
    Runtime,
    SQLiteStore,
    StepContext,
    executor,
    package,
)
from flowkit.testing import FakeClock
from tests.places import Place
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, echo, eventually, in_background, register, standing, start, told


@pytest.fixture
def program(sound: Place) -> Iterator[peewee.Database]:
    """Give a database that the program has already, with a table of its own."""
    database = sound.program()
    database.execute_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    yield database
    database.close()


@pytest.fixture
def runtime(
    sound: Place, program: peewee.Database, flowkit_clock: FakeClock, flowkit_events: list[Any]
) -> Iterator[Runtime]:
    store = sound.joined(program)
    observers = [flowkit_events.append]
    with Runtime(store, clock=flowkit_clock, entry_points=False, observers=observers, poll_interval=3600) as opened:
        register(opened, echo)
        yield opened


@package("other")
def other_package(run: RunBuilder) -> None:
    run.step("a", echo, 1)


def order(program: peewee.Database, number: int) -> None:
    program.execute_sql(f"INSERT INTO orders VALUES ({number:d})")


def orders(program: peewee.Database) -> list[int]:
    return [row[0] for row in program.execute_sql("SELECT id FROM orders ORDER BY id").fetchall()]


def test_a_run_is_there_when_the_programs_transaction_commits(
    program: peewee.Database, runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    other = open_runtime()
    with program.atomic():
        order(program, 1)
        run = start(runtime, lambda run: run.step("a", echo, "shipped"))
        assert runtime.workflow(run.id) is not None
        assert other.workflow(run.id) is None
    assert other.workflow(run.id) is not None
    runtime.drain()
    assert run.result() == "shipped"


def test_a_run_goes_with_the_programs_transaction_when_it_is_rolled_back(
    program: peewee.Database, runtime: Runtime
) -> None:
    with program.atomic() as transaction:
        order(program, 1)
        run = start(runtime, lambda run: run.step("a", echo, 1))
        transaction.rollback()
    assert orders(program) == []
    assert runtime.workflow(run.id) is None
    for ask in (run.wait, run.result, run.status):
        with pytest.raises(RunNotFound):
            ask()


def test_an_error_of_the_program_takes_the_run_along(program: peewee.Database, runtime: Runtime) -> None:
    with pytest.raises(ZeroDivisionError), program.atomic():
        start(runtime, lambda run: run.step("a", echo, 1))
        raise ZeroDivisionError
    assert len(runtime.runs()) == 0


def test_a_queue_that_went_with_a_rolled_back_run_is_there_for_the_next_one(
    program: peewee.Database, runtime: Runtime
) -> None:
    with pytest.raises(ZeroDivisionError), program.atomic():
        start(runtime, lambda run: run.step("a", echo, 1, queue="new"))
        raise ZeroDivisionError
    run = start(runtime, lambda run: run.step("a", echo, 2, queue="new"))
    assert runtime.drain().processed == 1
    assert run.result() == 2


def test_the_commit_of_the_program_wakes_a_worker(
    program: peewee.Database, runtime: Runtime, flowkit_events: list[Any]
) -> None:
    register(runtime, other_package)
    with runtime.workers():
        eventually(lambda: "idle" in told(flowkit_events))
        with program.atomic():
            run = runtime.start_run("other")
            assert told(flowkit_events, "run_created") == []
        assert run.result(timeout=30) == 1
    assert told(flowkit_events, "run_created") == ["run_created"]


def test_nothing_is_told_of_a_run_that_was_rolled_back(
    program: peewee.Database, runtime: Runtime, flowkit_events: list[Any]
) -> None:
    with program.atomic() as transaction:
        start(runtime, lambda run: run.step("a", echo, 1))
        transaction.rollback()
    with program.atomic():
        order(program, 1)
    assert told(flowkit_events) == []


@pytest.mark.parametrize("call", ["wait", "result"])
def test_a_program_never_waits_for_itself(program: peewee.Database, runtime: Runtime, call: str) -> None:
    with program.atomic():
        run = start(runtime, lambda run: run.step("a", echo, 1))
        with pytest.raises(InvalidTransition, match="not committed yet"):
            getattr(run, call)(timeout=30)
    runtime.drain()
    assert run.result() == 1


@pytest.mark.parametrize("call", [lambda rt: rt.run_once(), lambda rt: rt.drain(), lambda rt: rt.run("story")])
def test_steps_are_not_executed_inside_the_programs_transaction(
    program: peewee.Database, runtime: Runtime, call: Any
) -> None:
    run = start(runtime, lambda run: run.step("a", echo, 1))
    with program.atomic(), pytest.raises(InvalidTransition, match="transaction"):
        call(runtime)
    assert standing(runtime, run.id) == {"a": "ready"}


def test_a_command_that_is_refused_leaves_nothing_though_the_program_commits(
    program: peewee.Database, runtime: Runtime
) -> None:
    run = start(runtime, lambda run: run.step("a", echo, 1), run_id="taken")
    with program.atomic():
        order(program, 1)
        with pytest.raises(RunConflict):
            register(runtime, other_package)
            runtime.start_run("other", run_id="taken")
        with pytest.raises(InvalidTransition):
            runtime.retry_run(run.id)
    assert orders(program) == [1]
    assert len(runtime.runs()) == 1


def test_a_start_that_breaks_half_way_leaves_nothing_though_the_program_commits(
    sound: Place, program: peewee.Database, runtime: Runtime
) -> None:
    register(runtime, other_package)
    for sql in sound.refuse("steps", "NEW.id = 'a'"):
        program.execute_sql(sql)
    with program.atomic():
        order(program, 1)
        with pytest.raises(sound.refusals, match="planted"):
            runtime.start_run("other")
    assert orders(program) == [1]
    assert len(runtime.runs()) == 0


def test_cancel_and_retry_share_the_transaction_too(program: peewee.Database, runtime: Runtime) -> None:
    run = start(runtime, lambda run: run.step("a", echo, 1))
    with program.atomic() as transaction:
        assert runtime.cancel_run(run.id).status == "canceled"
        transaction.rollback()
    assert run.status() == "pending"
    with program.atomic():
        runtime.cancel_run(run.id)
        runtime.retry_run(run.id)
    runtime.drain()
    assert run.result() == 1


def test_outside_a_transaction_every_call_commits_by_itself(program: peewee.Database, runtime: Runtime) -> None:
    run = start(runtime, lambda run: run.step("a", echo, 1))
    with program.atomic() as transaction:
        order(program, 1)
        transaction.rollback()
    assert run.status() == "pending"


def test_what_a_nested_block_rolls_back_is_gone_though_the_outer_one_commits(
    program: peewee.Database, runtime: Runtime
) -> None:
    with program.atomic():
        kept = start(runtime, lambda run: run.step("a", echo, 1))
        with program.atomic() as inner:
            lost = start(runtime, lambda run: run.step("a", echo, 2))
            inner.rollback()
    assert runtime.workflow(kept.id) is not None
    assert runtime.workflow(lost.id) is None
    runtime.drain()
    assert kept.result() == 1


def test_a_queue_that_a_nested_block_took_back_is_no_lane_of_later_runs(
    program: peewee.Database, runtime: Runtime
) -> None:
    with program.atomic():
        order(program, 1)
        with program.atomic() as inner:
            start(runtime, lambda run: run.step("a", echo, 1, queue="first"))
            inner.rollback()
    second = start(runtime, lambda run: run.step("a", echo, 2, queue="second"))
    first = start(runtime, lambda run: run.step("a", echo, 3, queue="first"))
    assert runtime.drain().processed == 2
    assert (second.result(), first.result()) == (2, 3)


def test_queues_that_are_named_in_the_programs_transactions_alone_are_remembered(
    program: peewee.Database, runtime: Runtime
) -> None:
    with program.atomic():
        start(runtime, lambda run: run.step("a", echo, 1, queue="first"))
    with program.atomic():
        start(runtime, lambda run: run.step("a", echo, 2, queue="second"))
    assert runtime.drain().processed == 2


@pytest.mark.parametrize("nested", [False, True])
def test_limits_and_kinds_that_the_program_rolled_back_are_stored_after_all(
    sound: Place, program: peewee.Database, runtime: Runtime, flowkit_clock: FakeClock, nested: bool
) -> None:
    """A Runtime that is made when it is first needed may be made in a transaction that does not commit."""
    narrow = {"narrow": QueueConfig(max_workers=1)}
    with suppress(ZeroDivisionError), program.atomic():
        order(program, 1)
        with suppress(ZeroDivisionError) if nested else nullcontext(), program.atomic():
            late = Runtime(sound.joined(program), clock=flowkit_clock, entry_points=False, queues=narrow)
            register(late, other_package)
            raise ZeroDivisionError
    with late:
        if not nested:
            with program.atomic():
                late.start_run("other", run_id="first")
        assert [(queue.name, queue.max_workers) for queue in runtime.queues() if queue.max_workers] == [("narrow", 1)]
        assert [known.name for known in runtime.catalog().packages] == ["other"]


def test_a_start_is_refused_where_the_program_commits_by_hand_and_leaves_nothing(
    program: peewee.Database, runtime: Runtime
) -> None:
    with program.manual_commit():
        program.begin()
        order(program, 1)
        with pytest.raises(InvalidTransition, match=r"use atomic\(\) instead"):
            start(runtime, lambda run: run.step("a", echo, 1))
        program.commit()
    assert (orders(program), len(runtime.runs())) == ([1], 0)


def test_a_cancel_that_a_nested_block_took_back_stops_no_executor(program: peewee.Database, runtime: Runtime) -> None:
    meeting = Meeting()

    @executor("wait")
    def wait(step: StepContext) -> str:
        meeting.wait()
        return "canceled" if step.canceled else "never told"

    with runtime.workers():
        run = start(runtime, lambda run: run.step("a", wait), wait)
        meeting.expect()
        with program.atomic():
            order(program, 1)
            with program.atomic() as inner:
                runtime.cancel_run(run.id)
                inner.rollback()
        meeting.let_go()
        assert run.result(timeout=30) == "never told"


def test_nothing_is_told_of_what_a_nested_block_took_back(
    program: peewee.Database, runtime: Runtime, flowkit_clock: FakeClock, flowkit_events: list[Any]
) -> None:
    run = start(runtime, lambda run: run.step("a", echo, 1), run_id="first")
    flowkit_clock.advance(1)
    with program.atomic():
        start(runtime, lambda run: run.step("a", echo, 1), run_id="kept")
        with program.atomic() as inner:
            start(runtime, lambda run: run.step("a", echo, 1), run_id="lost")
            runtime.cancel_run(run.id)
            inner.rollback()
    assert [(event.name, event.run_id) for event in flowkit_events] == [
        ("run_created", "first"),
        ("run_created", "kept"),
    ]


def test_who_waits_for_a_run_is_not_told_that_it_was_canceled_where_a_nested_block_took_that_back(
    program: peewee.Database, runtime: Runtime
) -> None:
    run, answers = start(runtime, lambda run: run.step("a", echo, 1)), []
    waiting = in_background(lambda: answers.append(run.wait().status))
    eventually(lambda: runtime._parts.wakeups._runs)
    with program.atomic():
        order(program, 1)
        with program.atomic() as inner:
            runtime.cancel_run(run.id)
            inner.rollback()
    runtime.drain()
    waiting.join(30)
    assert answers == ["succeeded"]


def test_a_cancel_stops_executors_once_the_program_commits(program: peewee.Database, runtime: Runtime) -> None:
    meeting, told_to_stop = Meeting(), threading.Event()

    @executor("wait")
    def wait(step: StepContext) -> None:
        meeting.wait()
        eventually(lambda: step.canceled)
        told_to_stop.set()

    with runtime.workers():
        run = start(runtime, lambda run: run.step("a", wait), wait)
        meeting.expect()
        with program.atomic():
            order(program, 1)
            runtime.cancel_run(run.id)
        meeting.let_go()
        assert run.wait(timeout=30).status == "canceled"
    assert told_to_stop.is_set()


@pytest.mark.parametrize("call", ["start_run", "cancel_run", "run", "prune"])
def test_a_command_from_an_event_loop_which_works_in_another_thread_is_refused_at_once(
    program: peewee.Database, runtime: Runtime, call: str
) -> None:
    run = start(runtime, lambda run: run.step("a", echo, 1))
    given: dict[str, Any] = {"cancel_run": {"run_id": run.id}, "prune": {"older_than": 60}}

    async def command() -> None:
        await getattr(runtime.aio, call)(**given.get(call, {"package": "story"}))

    with program.atomic():
        order(program, 1)
        with pytest.raises(InvalidTransition, match=rf"rt\.aio\.{call}\(\) works in another thread.*after the commit"):
            asyncio.run(command())
    assert (orders(program), len(runtime.runs())) == ([1], 1)


def test_a_store_is_not_made_in_a_transaction_that_may_be_rolled_back(tmp_path: Path) -> None:
    database = peewee.SqliteDatabase(str(tmp_path / "new.db"), pragmas={"journal_mode": "wal"})
    with database.atomic(), pytest.raises(InvalidTransition, match="open the Runtime outside of it"):
        Runtime(SQLiteStore(database=database), entry_points=False)
    with Runtime(SQLiteStore(database=database), entry_points=False) as runtime:
        assert len(runtime.runs()) == 0
    with database.atomic(), Runtime(SQLiteStore(database=database), entry_points=False) as runtime:
        assert len(runtime.runs()) == 0
    database.close()
