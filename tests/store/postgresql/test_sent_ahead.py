"""Statements that nobody waits for are run meanwhile and answered later: all of them count, or none does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from flowkit.store.engine import Engine
from flowkit.store.lists import Marker
from flowkit.store.statements import Asked, Statement
from tests.postgres import PostgresPlace
from tests.stories.telling import eventually


@pytest.fixture
def insert(engine: Engine) -> Statement:
    sql = f"INSERT INTO {engine.db.dialect.schema}.meta (key, number) VALUES (%s, %s)"
    return Statement(sql, (Marker("key"), Marker("number")))


@pytest.fixture
def select(engine: Engine) -> Statement:
    sql = f"SELECT key FROM {engine.db.dialect.schema}.meta WHERE key LIKE 'test %%' ORDER BY key"
    return Statement(sql, ())


def stored(engine: Engine, select: Statement) -> list[str]:
    with engine.read() as tx:
        return [row[0] for row in tx.rows(select)]


def test_the_server_runs_what_nobody_has_waited_for_yet(engine: Engine, place: PostgresPlace) -> None:
    lock = Statement("SELECT pg_advisory_xact_lock(4711)", ())
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND granted"
    with psycopg.connect(place.url, autocommit=True) as other, engine.write() as tx:
        tx.later(lock)
        eventually(lambda: other.execute(held).fetchone() == (1,))


class FirstOnes:
    """What a transaction begins with; says, while it is made, how many transactions of flowkit's are under way."""

    def __init__(self, select: Statement, other: psycopg.Connection[tuple[int]]) -> None:
        self.asked = Asked(select, {})
        self._other = other

    def __iter__(self) -> Iterator[Asked]:
        begun = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flowkit' AND xact_start IS NOT NULL"
        eventually(lambda: self._other.execute(f"{begun} AND datname = current_database()").fetchone() == (1,))
        yield self.asked


def test_a_transaction_begins_while_its_first_statements_are_made(
    engine: Engine, insert: Statement, select: Statement, place: PostgresPlace
) -> None:
    with engine.write() as tx:
        tx.many(insert, [("test a", 1)])
    with psycopg.connect(place.url, autocommit=True) as other:
        first = FirstOnes(select, other)
        with engine.write(first) as tx:
            assert tx.answer(first.asked) == [("test a",)]


class OneAfterAnother:
    """What a transaction begins with; the last is made once the server has run the first."""

    def __init__(self, select: Statement, other: psycopg.Connection[tuple[int]]) -> None:
        self.asked = [Asked(select, {}), Asked(select, {})]
        self._other = other

    def __iter__(self) -> Iterator[Asked]:
        yield Asked(Statement("SELECT pg_advisory_xact_lock(4712)", ()), {})
        yield self.asked[0]
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712 AND granted"
        eventually(lambda: self._other.execute(held).fetchone() == (1,))
        yield self.asked[1]


def test_the_server_runs_the_first_statements_while_others_are_made(
    engine: Engine, insert: Statement, select: Statement, place: PostgresPlace
) -> None:
    with engine.write() as tx:
        tx.many(insert, [("test a", 1)])
    with psycopg.connect(place.url, autocommit=True) as other:
        first = OneAfterAnother(select, other)
        with engine.write(first) as tx:
            assert [tx.answer(asked) for asked in first.asked] == [[("test a",)]] * 2


def test_a_number_is_sent_alike_whatever_its_size(engine: Engine, select: Statement) -> None:
    sql = "SELECT %s + 0, %s::bigint[]"
    statement = Statement(sql, (Marker("number"), Marker("listed")))
    prepared = Statement("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT $1 + 0%%'", ())
    with engine.write() as tx:
        for number in (1, 2**20, 2**40):
            assert tx.rows(statement, number=number, listed=[number]) == [(number, [number])]
        assert tx.rows(prepared) == [(1,)]


def test_a_number_that_no_column_holds_is_refused_as_what_cannot_be_sent(
    engine: Engine, insert: Statement, select: Statement
) -> None:
    with pytest.raises(psycopg.DataError), engine.write() as tx:
        tx.many(insert, [("test a", 1)])
        tx.many(insert, [("test b", 2**63)])
    assert stored(engine, select) == []


def test_a_server_is_told_to_find_out_soon_that_a_host_is_cut_off(engine: Engine) -> None:
    # Here it is not shown what is set, for the connection is no network's.
    sql = "SELECT name FROM pg_settings WHERE name LIKE 'tcp_keepalives%%' AND source = 'session' ORDER BY name"
    with engine.write() as tx:
        found = tx.rows(Statement(sql, ()))
    assert found == [("tcp_keepalives_count",), ("tcp_keepalives_idle",), ("tcp_keepalives_interval",)]


def test_where_it_is_refused_to_begin_nothing_of_what_comes_first_is_run(
    engine: Engine, insert: Statement, select: Statement
) -> None:
    first = (Asked(insert, {"key": f"test {name}", "number": 1}) for name in "ab")
    with engine.db.connections.lent(writes=True) as lent:
        with pytest.raises(psycopg.errors.DivisionByZero):
            lent.raw.begin("SELECT 1 / 0", first=first)
        lent.raw.rollback()
    assert stored(engine, select) == []


def test_what_nothing_follows_goes_with_the_commit(engine: Engine, insert: Statement, select: Statement) -> None:
    with engine.write() as tx:
        tx.many(insert, [("test a", 1)])
        tx.many(insert, [("test b", 1)])
        assert stored(engine, select) == ["test a", "test b"]  # the same thread's session: it sees what it wrote
        tx.many(insert, [("test c", 1)])
        tx.notify("work")
    assert stored(engine, select) == ["test a", "test b", "test c"]


def test_what_was_asked_for_ahead_sees_what_was_written_before_it_alone(
    engine: Engine, insert: Statement, select: Statement
) -> None:
    with engine.write() as tx:
        tx.many(insert, [("test a", 1)])
        ahead = tx.ahead(select)
        tx.many(insert, [("test b", 1)])
        assert tx.rows(select) == [("test a",), ("test b",)]
        assert ahead() == [("test a",)]


def test_one_that_is_refused_takes_all_along(engine: Engine, insert: Statement, select: Statement) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation), engine.write() as tx:
        tx.many(insert, [("test a", 1)])
        tx.many(insert, [("test a", 2)])
        tx.many(insert, [("test b", 1)])
    with engine.write() as tx:
        tx.many(insert, [("test c", 1)])
    assert stored(engine, select) == ["test c"]


def test_what_is_rolled_back_is_not_sent_later(engine: Engine, insert: Statement, select: Statement) -> None:
    with suppress(ZeroDivisionError), engine.write() as tx:
        tx.many(insert, [("test a", 1)])
        raise ZeroDivisionError
    with engine.write() as tx:
        tx.many(insert, [("test b", 1)])
    assert stored(engine, select) == ["test b"]


def test_one_that_was_refused_before_anybody_heard_of_it_is_no_trouble_to_what_comes_after_the_rollback(
    engine: Engine, insert: Statement, select: Statement
) -> None:
    process, spoke = Statement("SELECT pg_backend_pid()", ()), []
    with suppress(ZeroDivisionError), engine.write() as tx:
        spoke += tx.rows(process)
        tx.many(insert, [("test a", 1)])
        tx.many(insert, [("test a", 2)])
        raise ZeroDivisionError
    with engine.write() as tx:
        tx.many(insert, [("test b", 1)])
        assert tx.rows(select) == [("test b",)]
        # The connection is as good as before.
        assert tx.rows(process) == spoke
    assert stored(engine, select) == ["test b"]


def test_many_are_sent_on_the_way(engine: Engine, insert: Statement, select: Statement) -> None:
    with engine.write() as tx:
        for number in range(100):
            tx.many(insert, [(f"test {number:02}", number)])
    assert len(stored(engine, select)) == 100
