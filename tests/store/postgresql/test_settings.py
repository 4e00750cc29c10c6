"""A store in PostgreSQL: by a URL or an object, in a schema of its own; what cannot be is refused by name."""

from __future__ import annotations

import sys
import uuid
from typing import Any
from urllib.parse import urlsplit

import peewee
import psycopg
import pytest
from psycopg.rows import dict_row

from flowkit import (
    ConfigError,
    MissingExtra,
    PostgresStore,
    RunBuilder,
    Runtime,
    StoreUnavailable,
    SystemClock,
    executor,
)
from flowkit import package as packaged
from flowkit.store.postgres import durability
from flowkit.store.stores import store_of
from tests.postgres import Databases


@executor("settings/echo")
def echo(input: str) -> str:
    return input


@packaged("settings")
def settings(run: RunBuilder, input: str) -> Any:
    return run.step("root", echo, input)


@packaged("settings/many")
def many_settings(run: RunBuilder, inputs: list[str]) -> Any:
    return run.map("part", echo, inputs)


@pytest.fixture
def url(postgres: Databases) -> Any:
    with postgres.empty() as place:
        yield place.url


def test_a_url_is_all_that_a_program_changes(url: str) -> None:
    with Runtime(url, modules=[__name__]) as rt:
        assert rt.run("settings", "hello").result() == "hello"


def test_stores_in_two_schemas_of_a_database_know_nothing_of_each_other(url: str) -> None:
    with (
        Runtime(PostgresStore(url, schema="one"), modules=[__name__]) as one,
        Runtime(PostgresStore(url, schema='The "other"'), modules=[__name__]) as other,
    ):
        one.run("settings", "hello", run_id="r")
        assert (one.workflow("r") is not None, other.workflow("r")) == (True, None)


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"flowkit-durable\[postgres\]"):
        store_of("postgresql:///app")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"dsn": " "}, "dsn: expected one like"),
        ({"dsn": "postgresql://host:port/x y"}, "dsn"),
        ({"dsn": "postgresql:///app", "schema": "pg_mine"}, "schema"),
        ({"dsn": "postgresql:///app", "schema": "x" * 49}, "schema: at most 48 bytes"),
        ({"dsn": "postgresql:///app", "schema": "ä" * 25}, "schema: at most 48 bytes"),
        ({"dsn": "postgresql:///app", "schema": ""}, "schema"),
        ({"dsn": "postgresql:///app", "pool_size": 0}, "pool_size: expected an int from 1, got 0"),
        ({"dsn": "postgresql:///app", "database": peewee.PostgresqlDatabase("app")}, "dsn: expected none"),
        ({"database": peewee.SqliteDatabase("app")}, "expected a peewee PostgresqlDatabase, got SqliteDatabase"),
    ],
)
def test_what_a_store_cannot_be_made_from_is_named(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=f"PostgresStore: .*{problem}"):
        PostgresStore(**given)


def test_what_a_store_says_of_itself_holds_no_password(url: str) -> None:
    secret = url.replace("postgres:@", "postgres:s3cret@")
    assert "s3cret" in secret
    assert "s3cret" not in repr(PostgresStore(secret))
    with pytest.raises(StoreUnavailable) as refused:
        PostgresStore(secret.replace("/flowkit_test", "/no_flowkit_test")).open(SystemClock())
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("synchronous_commit", "fsync", "survives"),
    [
        ("on", "on", "disk"),
        ("local", "on", "disk"),
        ("remote_apply", "on", "disk"),
        ("off", "on", "process"),
        ("on", "off", "process"),
    ],
)
def test_what_a_commit_survives_follows_from_two_settings(synchronous_commit: str, fsync: str, survives: str) -> None:
    assert durability(synchronous_commit, fsync) == survives


def test_what_a_commit_survives_is_read_when_the_store_is_opened(url: str, postgres: Databases) -> None:
    name = url.split("?")[0].rsplit("/", 1)[1]
    postgres.server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    store = PostgresStore(url)
    store.open(SystemClock()).db.close()
    assert (store.durability, "durability='process'" in repr(store)) == ("process", True)


def test_statements_are_prepared_where_no_pooler_lies_between(url: str) -> None:
    engine = PostgresStore(url).open(SystemClock())
    with engine.read() as tx:
        for _ in range(2):
            engine.runs.find(tx, "nobody")
        assert tx.script("SELECT count(*) > 0 FROM pg_prepared_statements WHERE statement LIKE '%run%'") == [(True,)]
    engine.db.close()


def test_what_a_program_tells_its_own_connections_is_not_told_to_those_of_workers(url: str) -> None:
    program = peewee.PostgresqlDatabase(url, prefer_psycopg3=True, row_factory=dict_row, connect_timeout=7)
    with Runtime(PostgresStore(database=program), modules=[__name__]) as rt:
        with program.connection_context(), program.atomic():
            run = rt.start_run("settings", "hello")
        rt.drain()
        assert run.result() == "hello"


def test_a_role_that_owns_the_schema_needs_nothing_else(url: str, postgres: Databases) -> None:
    database = urlsplit(url).path.lstrip("/")
    role = f"flowkit_role_{uuid.uuid4().hex[:8]}"
    postgres.server.execute(f"CREATE ROLE {role} LOGIN")
    try:
        mine = psycopg.conninfo.make_conninfo(url, user=role)
        with pytest.raises(StoreUnavailable, match="permission denied"):
            PostgresStore(mine).open(SystemClock())
        postgres.server.execute(f"CREATE SCHEMA flowkit AUTHORIZATION {role}", database=database)
        with Runtime(PostgresStore(mine), modules=[__name__]) as rt:
            assert rt.run("settings", "hello").result() == "hello"
    finally:
        postgres.server.execute(f"DROP OWNED BY {role}", database=database)
        postgres.server.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    "setting",
    [
        "standard_conforming_strings = off",
        "client_encoding = 'LATIN1'",
        "client_encoding = 'SQL_ASCII'",
        "timezone = 'Asia/Kathmandu'",
    ],
)
def test_what_a_database_says_of_sessions_alters_nothing_that_is_stored(
    url: str, postgres: Databases, setting: str
) -> None:
    name = urlsplit(url).path.lstrip("/")
    postgres.server.execute(f"ALTER DATABASE {name} SET {setting}")
    texts = ["it's \\ € 日本", "plain"]
    with Runtime(url, modules=[__name__], entry_points=False) as rt:
        assert rt.run("settings/many", texts, name="日本").result() == texts


def test_a_transaction_of_the_program_under_which_bytes_would_be_stored_changed_is_refused(url: str) -> None:
    program = peewee.PostgresqlDatabase(
        url, prefer_psycopg3=True, options="-c standard_conforming_strings=off", autoconnect=True
    )
    with Runtime(PostgresStore(database=program), modules=[__name__], entry_points=False) as rt:
        refused = pytest.raises(ConfigError, match="standard_conforming_strings off.*set it on")
        with program.connection_context(), program.atomic(), refused:
            rt.start_run("settings/many", ["a", "b"])
        assert len(rt.runs()) == 0
        assert rt.run("settings/many", ["a", "b"]).result() == ["a", "b"]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_transaction_of_the_program_in_which_not_every_text_can_be_sent_is_refused(url: str, encoding: str) -> None:
    program = peewee.PostgresqlDatabase(
        url, prefer_psycopg3=True, options=f"-c client_encoding={encoding}", autoconnect=True
    )
    with Runtime(PostgresStore(database=program), modules=[__name__], entry_points=False) as rt:
        refused = pytest.raises(ConfigError, match=f"client_encoding {encoding}, in which not .* set it to UTF8")
        with program.connection_context(), program.atomic(), refused:
            rt.start_run("settings", "plain")
        assert rt.run("settings", "€ 日本").result() == "€ 日本"
