"""Connections get lost, servers restart: what was not committed is gone, what was is there, and work goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from flowkit import PostgresStore, RunBuilder, Runtime, StepHandle, StoreUnavailable, SystemClock, executor, package
from flowkit.store.engine import Engine
from flowkit.store.statements import Asked, Statement
from tests.postgres import Databases, PostgresPlace


@executor("lost/echo")
def echo(input: str) -> str:
    return input


@package("lost")
def lost(run: RunBuilder, input: str) -> StepHandle[str]:
    return run.step("root", echo, input)


def end_sessions(url: str, database: str) -> None:
    """End every session of flowkit's in a database, as a restart of the server does."""
    ours = "datname = %s AND application_name = 'flowkit'"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {ours}", (database,))


@pytest.fixture
def engine(place: PostgresPlace) -> Iterator[Engine]:
    opened = PostgresStore(place.url).open(SystemClock())
    yield opened
    opened.db.close()


@pytest.fixture
def rt(place: PostgresPlace) -> Iterator[Runtime]:
    with Runtime(PostgresStore(place.url), modules=[__name__]) as opened:
        yield opened


def count(engine: Engine, change: int) -> None:
    with engine.write() as tx:
        tx.script("UPDATE meta SET number = number + ? WHERE key = 'repairs'", (change,))


def counted(engine: Engine) -> int:
    with engine.read() as tx:
        return int(tx.script("SELECT number FROM meta WHERE key = 'repairs'")[0][0])


def test_a_connection_that_was_lost_while_nobody_used_it_is_replaced_unnoticed(
    engine: Engine, place: PostgresPlace
) -> None:
    count(engine, 1)
    end_sessions(place.url, place.name)
    count(engine, 1)
    end_sessions(place.url, place.name)
    with engine.read() as tx:
        assert engine.runs.find(tx, "nobody") is None
    end_sessions(place.url, place.name)
    assert counted(engine) == 2


def test_what_a_transaction_begins_with_is_asked_again_on_the_connection_that_replaces_a_lost_one(
    engine: Engine, place: PostgresPlace
) -> None:
    asked = Asked(Statement("SELECT pg_current_xact_id()::text::bigint", ()), {})
    count(engine, 1)
    end_sessions(place.url, place.name)
    with engine.write([asked]) as tx:
        assert tx.answer(asked) == tx.script("SELECT pg_current_xact_id()::text::bigint")
        tx.script("UPDATE meta SET number = number + 1 WHERE key = 'repairs'")
    assert counted(engine) == 2


def test_a_transaction_whose_connection_is_lost_leaves_nothing_and_says_so(
    engine: Engine, place: PostgresPlace
) -> None:
    with pytest.raises(StoreUnavailable, match="flowkit_test"), engine.write() as tx:
        tx.script("UPDATE meta SET number = 7 WHERE key = 'repairs'")
        end_sessions(place.url, place.name)
        tx.script("UPDATE meta SET number = 8 WHERE key = 'repairs'")
    assert counted(engine) == 0


def test_a_commit_that_cannot_be_sent_is_no_commit(engine: Engine, place: PostgresPlace) -> None:
    with pytest.raises(StoreUnavailable), engine.write() as tx:
        tx.script("UPDATE meta SET number = 7 WHERE key = 'repairs'")
        end_sessions(place.url, place.name)
    assert counted(engine) == 0


def test_a_commit_after_an_error_that_somebody_caught_is_refused_aloud(engine: Engine) -> None:
    """The server takes COMMIT for ROLLBACK then, and raises nothing."""
    with pytest.raises(Exception, match="rolled the transaction back"), engine.write() as tx:
        tx.script("UPDATE meta SET number = 7 WHERE key = 'repairs'")
        with pytest.raises(psycopg.Error):
            tx.script("SELECT 1 / 0")
    assert counted(engine) == 0


def test_workers_go_on_when_the_server_is_there_again(rt: Runtime, place: PostgresPlace, postgres: Databases) -> None:
    """A pass that finds no server ends no worker, however often it is refused."""
    with rt.workers():
        assert rt.start_run(lost, "before").result() == "before"
        postgres.server.execute(f"ALTER DATABASE {place.name} ALLOW_CONNECTIONS false")
        end_sessions(postgres.server.url, place.name)
        with pytest.raises(StoreUnavailable):
            rt.start_run(lost, "meanwhile")
        postgres.server.execute(f"ALTER DATABASE {place.name} ALLOW_CONNECTIONS true")
        assert rt.start_run(lost, "after").result() == "after"


def test_a_forked_child_opens_connections_of_its_own(rt: Runtime) -> None:
    assert rt.run(lost, "parent", run_id="parent").result() == "parent"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(rt.run(lost, "child", run_id="child").result() != "child")
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [rt.handle(run).result() for run in ("parent", "child")] == ["parent", "child"]


def test_more_threads_than_connections_take_turns(place: PostgresPlace) -> None:
    store = PostgresStore(place.url, pool_size=1)
    with Runtime(store, modules=[__name__], max_workers=8) as rt, rt.workers():
        runs = rt.start_runs(lost, [str(number) for number in range(20)])
        assert [run.result() for run in runs] == [str(number) for number in range(20)]
        with psycopg.connect(place.url) as connection:
            ours = "datname = current_database() AND application_name = 'flowkit'"
            sql = f"SELECT count(*) FROM pg_stat_activity WHERE {ours}".encode()
            assert connection.execute(sql).fetchone() <= (3,)  # one in use, one for notices, one to make lanes beside
