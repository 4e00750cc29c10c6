"""What a step costs does not grow with the store, also where statements were planned while it was nearly empty."""

from __future__ import annotations

import math
import threading
from typing import Any

import psycopg
import pytest

from flowkit import RunBuilder, Runtime, StepHandle, executor, package
from flowkit.store import postgres_connection
from flowkit.store.postgres import PostgresConnector
from tests.postgres import Databases

BESIDE, LINKS, BATCH = 3000, 200, 500
READ_PER_STEP = 100
"""Index entries: a step is looked up by its key several times, and so are its run, its lane and what waits for it."""


@executor("plans/echo")
def echo(number: int) -> int:
    return number


@package("plans/parked")
def parked(run: RunBuilder, count: int) -> None:
    run.map("part", echo, range(count), queue="parked")


@package("plans/chain")
def chain(run: RunBuilder, count: int) -> None:
    before: StepHandle[int] | None = None
    for number in range(count):
        before = run.step(f"link{number}", echo, number, after=before)


@package("plans/map")
def mapped(run: RunBuilder, count: int) -> None:
    run.map("part", echo, range(count))


@pytest.fixture
def url(postgres: Databases) -> Any:
    with postgres.empty() as place:
        yield place.url


def entries_read(url: str) -> int:
    """Return how many entries of indexes, and rows beside any index, sessions have read that are over."""
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    by_index = "(SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)"
    by_row = "(SELECT sum(seq_tup_read) FROM pg_stat_user_tables)"
    with psycopg.connect(url, autocommit=True) as connection:
        # A session tells what it has read at its end, at the latest.
        while connection.execute(f"{sessions} AND backend_type = 'client backend'".encode()).fetchone() != (0,):
            threading.Event().wait(0.01)
        row = connection.execute(f"SELECT {by_index} + {by_row}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def read_per_step(url: str, *, analyzed: bool) -> float:
    """Return what a step reads beside thousands that are ready, its statements planned while there were 24."""
    with Runtime(url, modules=[__name__], entry_points=False, max_workers=16) as rt, rt.workers():
        rt.pause_queue("parked")
        rt.start_run(chain, 12).wait()
        if analyzed:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("ANALYZE")
        rt.start_run(chain, 12).wait()
        rt.start_run(parked, BESIDE)
        rt.start_run(chain, LINKS).wait()
    return entries_read(url) / LINKS


def test_what_a_step_reads_is_found_by_keys_whenever_its_statements_were_planned(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "PLAN_SECONDS", math.inf)
    assert read_per_step(url, analyzed=False) < READ_PER_STEP


def test_what_a_step_reads_is_found_by_keys_also_where_tables_were_analyzed_while_they_were_small(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "PLAN_SECONDS", 0.0)
    monkeypatch.setattr(postgres_connection, "PLAN_USES", 1)
    assert read_per_step(url, analyzed=True) < READ_PER_STEP


def test_what_a_batch_of_steps_needs_is_found_by_keys_also_where_tables_had_one_row_when_they_were_vacuumed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of such a table it is believed that each of its pages has one row, however many there are by then."""
    monkeypatch.setattr(postgres_connection, "PLAN_SECONDS", 0.0)
    monkeypatch.setattr(postgres_connection, "PLAN_USES", 1)
    with Runtime(url, modules=[__name__], entry_points=False, max_workers=16) as rt, rt.workers():
        rt.start_run(mapped, 1).wait()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        rt.pause_queue("parked")
        rt.start_run(parked, BESIDE)
        rt.start_run(mapped, LINKS).wait()
    assert entries_read(url) / LINKS < READ_PER_STEP


def rows_seen(node: dict[str, Any]) -> float:
    """Return how many rows a plan's node and those below it have given or thrown away."""
    mine = sum(value for name, value in node.items() if name == "Actual Rows" or name.startswith("Rows Removed"))
    return float(mine * node["Actual Loops"]) + sum(rows_seen(below) for below in node.get("Plans", ()))


@pytest.mark.parametrize(
    ("part", "name", "listed", "row"),
    [
        ("outcomes", "_succeed", "proofs", (0, "token", 1)),
        ("outcomes", "_retry", "proofs", (0, "token", 1)),
        ("leases", "_extend", "held", (0, "token")),
        ("leases", "_held", "held", (0, "token")),
        ("leases", "_take_waiting", "waiters", (1, 0)),
        ("leases", "_take", "keys", None),
    ],
)
def test_what_a_statement_about_a_batch_looks_at_grows_as_the_batch_does(
    url: str, part: str, name: str, listed: str, row: tuple[Any, ...] | None
) -> None:
    with Runtime(url, modules=[__name__], entry_points=False) as rt:
        rt.start_run(mapped, BATCH)
        engine = rt._parts.engine
        statement = getattr(getattr(engine, part), name)
        with engine.read() as tx:
            keys = [key for (key,) in tx.script("SELECT key FROM steps")]
    said = [(key, *row) for key in keys] if row is not None else keys
    connection = PostgresConnector({"conninfo": url}, "flowkit", 1, "here").connect()
    sql, parameters = statement.say({listed: said, "now": 1, "expires_at": 2, "token": "t", "worker": "w"})
    plan = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters).fetchall()[0][0]
    connection.close()
    assert len(keys) == BATCH
    assert rows_seen(plan[0]["Plan"]) < 10 * BATCH


def test_statements_are_planned_anew_for_tables_that_have_grown_since(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "PLAN_SECONDS", 0.0)
    monkeypatch.setattr(postgres_connection, "PLAN_USES", 1)
    connection = PostgresConnector({"conninfo": url}, "flowkit", 1, "here").connect()
    for table, rows in (("small", 1), ("large", 20_000)):
        connection.execute(f"CREATE TABLE {table} (number integer PRIMARY KEY)")
        connection.execute(f"INSERT INTO {table} SELECT generate_series(1, {rows})")
    joined = "SELECT count(*) FROM small JOIN large USING (number)"

    def sought() -> str:
        """Return the table that the plan seeks in for each row of the other one."""
        assert connection.execute(joined).fetchone()[0] >= 1
        name = connection.execute("SELECT name FROM pg_prepared_statements WHERE statement = %s", (joined,)).fetchone()
        plan = connection.execute(f"EXPLAIN EXECUTE {name[0]}").fetchall()
        return "small" if any("Index Cond: (number = large.number)" in line for (line,) in plan) else "large"

    for _ in range(10):
        connection.execute("TRUNCATE small")
        connection.execute("INSERT INTO small SELECT 1")
        assert sought() == "large"
        connection.execute("INSERT INTO small SELECT generate_series(2, 200000)")
        if sought() == "large":
            break
        # The server forgets all its plans where it is told of many changes at once, as by what runs beside this test.
    assert sought() == "large"
    connection.plan_anew()
    assert sought() == "small"
    connection.close()


def test_a_statement_is_planned_once_for_all_values(url: str) -> None:
    connection = PostgresConnector({"conninfo": url}, "flowkit", 1, "here").connect()
    said = "SELECT CAST(%s AS integer)"
    assert [connection.execute(said, (number,)).fetchone() for number in range(3)] == [(0,), (1,), (2,)]
    asked = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE %s"
    assert connection.execute(asked, ("SELECT CAST($1 %",)).fetchone() == (3, 0)
    connection.close()
