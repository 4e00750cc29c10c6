"""What a cycle costs does not grow with what the store holds: none of its statements reads a table from end to end."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowkit.clock import SECOND
from flowkit.model.limits import QueueConfig, RateLimit
from flowkit.model.plan import Binding, Edge, Plan
from flowkit.store.engine import Engine
from flowkit.store.sqlite import SQLiteConnector
from tests.store.clock import FakeClock
from tests.store.flow import LEASE_SECONDS, Flow, again, artifact, failure, plan, record, step, success

IN_FLIGHT = re.compile(r"SCAN \w+ USING (COVERING )?INDEX (steps_running|steps_delayed|runs_open)\b")
"""Reading a partial index whole costs what is in flight, not what is stored."""

SMALL = {"lanes", "queues", "meta"}
"""Tables that have one row for each name that somebody gave."""


class Listening(SQLiteConnector):
    """Notes every statement as it is run, with its values."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "process")
        self.heard: list[str] = []

    def connect(self) -> sqlite3.Connection:
        """Open a connection that is listened to."""
        connection = super().connect()
        connection.set_trace_callback(self.heard.append)
        return connection


@pytest.fixture
def connector(tmp_path: Path) -> Listening:
    return Listening(str(tmp_path / "store.db"))


@pytest.fixture
def engine(connector: Listening, clock: FakeClock) -> Iterator[Engine]:
    opened = Engine(connector, clock)
    connector.heard.clear()
    yield opened
    opened.db.close()


def whole_tables_read(connector: Listening) -> list[str]:
    """Return the statements heard that read a table from end to end, with the tables."""
    asking = SQLiteConnector.connect(connector)
    found = []
    for sql in sorted({sql for sql in connector.heard if re.match(r"SELECT|UPDATE|INSERT|DELETE|WITH", sql)}):
        for *_, detail in asking.execute(f"EXPLAIN QUERY PLAN {sql}"):
            if detail.startswith("SCAN") and not IN_FLIGHT.match(detail):
                table = _table(detail.split()[1], sql)
                if table not in SMALL | {"json_each"}:
                    found.append(f"{detail} ({table}): {sql}")
    asking.close()
    return found


def _table(alias: str, sql: str) -> str:
    named = re.search(rf'"(\w+)" AS "{alias}"', sql)
    return named[1] if named else alias


def everything_that_happens_to_steps(flow: Flow) -> None:
    with flow.engine.write() as tx:
        for name, config in (("cpu", QueueConfig(3)), ("net", QueueConfig(None, RateLimit(100, burst=50)))):
            flow.engine.queues.configure(tx, name, config, by="worker", now=tx.now())
    bound = step("index", bindings=(Binding("pages", ((1, 2),), many=True),))
    steps = (step("a", queue="cpu"), step("b", queue="net"), step("c"), bound, step("last", delay=SECOND))
    gated = (Edge(5, 1), Edge(5, 2), Edge(3, 5), Edge(4, 5), Edge(4, 0, required=False))
    flow.start(Plan(steps, gates=("pages",), edges=gated), run_id="r")
    made = {"records": (record("x", "1", 1),), "artifacts": (artifact("f", b"x"),)}
    emitted = Plan((step("d", dedup_key="d"), step("e")), edges=(Edge(1, "b"),))
    flow.do(success(1, **made, emission=emitted))
    flow.do(again("busy", seconds=5))
    flow.clock.advance(10)
    flow.lease(64)
    flow.clock.advance(LEASE_SECONDS + 1)
    flow.finish(lambda leased: failure() if leased.id == "a" else success(2))
    flow.clock.advance(60)
    flow.finish()


def test_no_statement_of_a_cycle_reads_a_whole_table(flow: Flow, connector: Listening) -> None:
    everything_that_happens_to_steps(flow)
    heard = " ".join(connector.heard)
    written = {"runs", "steps", "specs", "deps", "gates", "results", "attempts", "records", "artifacts", "history"}
    assert {table for table in written if f'"{table}"' in heard} == written
    assert whole_tables_read(connector) == []


def test_no_command_of_an_operator_on_one_run_reads_a_whole_table(flow: Flow, connector: Listening) -> None:
    flow.start(plan(step("a"), step("b"), after={"b": ["a"]}), run_id="failed")
    flow.do(failure())
    flow.retry_step("failed", "a")
    flow.lease_one()
    flow.retry_step("failed", "a", force=True)
    flow.cancel("failed")
    flow.retry_run("failed")
    assert whole_tables_read(connector) == []


def test_no_read_of_one_run_reads_a_whole_table(flow: Flow, connector: Listening) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(success(1, records=(record("x", "1", 1),), artifacts=(artifact("f", b"x"),)))
    views = flow.engine.views
    with flow.engine.read() as tx:
        for read in (views.run, views.steps, views.history, views.output, views.failed_steps, views.artifacts):
            read(tx, "r")
        for read_step in (views.step, views.attempts, views.result, views.artifacts):
            read_step(tx, "r", "a")
        views.records(tx, "r", collection="x")
        views.records(tx, collection="x")
        views.artifact(tx, "r", "f")
        views.run_ids(tx, "r", limit=5)
    assert whole_tables_read(connector) == []


def test_a_statement_that_reads_a_whole_table_is_found(flow: Flow, connector: Listening) -> None:
    with flow.engine.read() as tx:
        flow.engine.views.stats(tx)
    assert any("(steps)" in found for found in whole_tables_read(connector))
