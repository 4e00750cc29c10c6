"""Workers and callers of other processes are woken by PostgreSQL's notices; where none arrive, they look."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from flowkit import PostgresStore, RunBuilder, Runtime, StepHandle, executor, package
from flowkit.model.states import RunStatus
from flowkit.runtime.wakeup import WorkSignal
from flowkit.store.listening import HEARD, UNHEARD
from flowkit.store.notices import ANYTHING, MOST, ended, ready_in
from tests.postgres import Databases, PostgresPlace
from tests.stories.telling import eventually

NEVER = 3600
"""How often who is told nothing looks, in seconds: not within a test."""


@executor("notices/echo")
def echo(input: str) -> str:
    return input


@package("notices")
def notices(run: RunBuilder, input: str) -> StepHandle[str]:
    return run.step("root", echo, input)


def listening(place: PostgresPlace) -> list[int]:
    """Return the server's processes that listen for somebody."""
    with psycopg.connect(place.url) as connection:
        sql = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        return [row[0] for row in connection.execute(sql).fetchall()]


@contextmanager
def hears(rt: Runtime) -> Iterator[None]:
    """Have a worker of this Runtime that rests, and hears."""
    with rt.workers(poll_interval=NEVER):
        until(lambda: rt._parts.wakeups.patience(0) == HEARD)
        yield


def until(true: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    while not true():
        threading.Event().wait(0.02)


@pytest.fixture
def worker(place: PostgresPlace) -> Iterator[Runtime]:
    with Runtime(PostgresStore(place.url), modules=[__name__]) as rt:
        yield rt


@pytest.fixture
def caller(place: PostgresPlace) -> Iterator[Runtime]:
    with Runtime(PostgresStore(place.url), modules=[__name__], poll_interval=NEVER) as rt:
        yield rt


def test_a_worker_hears_of_a_run_and_its_caller_of_the_end(worker: Runtime, caller: Runtime) -> None:
    with hears(worker):
        assert [caller.start_run(notices, text).result() for text in ("one", "two")] == ["one", "two"]


def test_a_worker_that_once_had_nothing_to_do_listens_whatever_it_does_then(
    worker: Runtime, place: PostgresPlace
) -> None:
    with worker._parts.wakeups.worker(WorkSignal()) as listen:
        assert listening(place) == []
        listen()
        eventually(lambda: listening(place))


def test_a_worker_hears_again_when_its_connection_was_lost(
    worker: Runtime, caller: Runtime, place: PostgresPlace
) -> None:
    with hears(worker):
        before = listening(place)
        with psycopg.connect(place.url, autocommit=True) as connection:
            for process in before:
                connection.execute("SELECT pg_terminate_backend(%s)", (process,))
        until(lambda: bool(set(listening(place)) - set(before)))
        assert caller.start_run(notices, "heard").result() == "heard"


def test_what_is_committed_while_nobody_can_listen_is_found(
    worker: Runtime, caller: Runtime, place: PostgresPlace
) -> None:
    with hears(worker), psycopg.connect(place.url, autocommit=True) as connection:
        for process in listening(place):
            connection.execute("SELECT pg_terminate_backend(%s)", (process,))
        assert caller.start_run(notices, "found").result() == "found"


def test_where_notices_do_not_arrive_workers_look_by_themselves(place: PostgresPlace, postgres: Databases) -> None:
    """As behind a pooler that takes LISTEN and gives the connection away: here, one that leads to another database."""
    deaf = PostgresStore(place.url, listen_dsn=postgres.server.url)
    other = Runtime(place.store(), modules=[__name__])
    with other as caller, Runtime(deaf, modules=[__name__]) as worker, worker.workers():
        assert caller.start_run(notices, "seen").result() == "seen"
        assert worker._parts.wakeups.patience(0.25) == UNHEARD


def test_a_cycle_that_leases_all_that_it_makes_ready_tells_nobody() -> None:
    settled = ("step_succeeded", 0, 1)
    assert ready_in([settled, ("step_promoted", [(1, 1)], None), ("step_leased", 1, 1)]) == 0
    assert ready_in([settled, ("step_promoted", [(1, 3)], None), ("step_leased", 1, 1)]) == 2
    assert ready_in([("steps_added", [(0, 5)], None, {"ready": [(0, 0), (3, 4)]}), ("step_retried", 7, 1)]) == 4


def test_of_many_runs_that_end_at_once_it_is_told_that_anything_may_have_happened() -> None:
    runs = [(str(number), RunStatus.SUCCEEDED) for number in range(MOST + 1)]
    assert len(ended(runs[:MOST])) == MOST
    assert ended(runs) == [ANYTHING]
