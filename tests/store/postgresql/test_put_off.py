"""Statements that nobody waits for are sent with the next one, or with the commit: all of them count, or none does."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest

from flowkit.store.engine import Engine
from flowkit.store.lists import Marker
from flowkit.store.statements import Statement


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


def test_many_are_sent_on_the_way(engine: Engine, insert: Statement, select: Statement) -> None:
    with engine.write() as tx:
        for number in range(100):
            tx.many(insert, [(f"test {number:02}", number)])
    assert len(stored(engine, select)) == 100
