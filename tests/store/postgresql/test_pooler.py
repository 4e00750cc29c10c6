"""Behind a pooler that gives every transaction to another server connection: nothing hangs on a session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from flowkit import PostgresStore, RunBuilder, Runtime, StepContext, executor
from flowkit.store.check import check
from tests.places import Place
from tests.pooler import Pooler
from tests.stories.telling import echo, register, start


@pytest.fixture
def pooler(place: Place) -> Iterator[Pooler]:
    opened = Pooler(place.url)
    yield opened
    opened.close()


@executor("spread")
def spread(step: StepContext, count: int) -> None:
    step.record("counts", "one", count)
    step.artifact("note", "some text")
    step.emit("total", total, parts=step.map("part", echo, range(count)))


@executor("total")
def total(step: StepContext, *, parts: list[int]) -> int:
    return sum(parts)


def describe(run: RunBuilder) -> None:
    run.step("root", spread, 20)
    run.output = "total"


def test_a_pooler_gives_each_transaction_to_another_session(pooler: Pooler) -> None:
    with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as connection:
        ask = "SELECT pg_backend_pid()"
        assert len({connection.execute(ask).fetchall()[0][0] for _ in range(4)}) == 4
        with connection.transaction():
            assert len({connection.execute(ask).fetchall()[0][0] for _ in range(4)}) == 1
        assert pooler.left == []
        connection.execute("SET lock_timeout = 1")
        connection.execute(ask)
    assert "lock_timeout" in pooler.left[0], "it notices what is left behind"


def test_a_pooler_passes_on_more_than_the_server_says_at_once(pooler: Pooler) -> None:
    with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as connection:
        with connection.pipeline():
            asked = [connection.execute("SELECT repeat('x', %s)", (1000,)) for _ in range(40)]
        assert [cursor.fetchall() for cursor in asked] == [[("x" * 1000,)]] * 40
        lent = pooler.lent
        connection.execute("SELECT 1")
        assert pooler.lent > lent, "the transaction was over"


def test_runs_are_started_executed_and_read_through_a_pooler(place: Place, pooler: Pooler) -> None:
    stores = [PostgresStore(pooler.url, listen_dsn=place.url) for _ in range(2)]
    with Runtime(stores[0], entry_points=False) as client, Runtime(stores[1], entry_points=False) as host:
        for runtime in (client, host):
            register(runtime, spread, total, echo)
        with host.workers():
            runs = [start(client, describe) for _ in range(5)]
            assert [run.result(timeout=60) for run in runs] == [sum(range(20))] * 5
        client.cancel_run(start(client, lambda run: run.step("late", echo, 1)).id)
        assert {run.status.value for run in client.runs()} == {"succeeded", "canceled"}
        assert len(client.records(collection="counts")) == 5
        with client._parts.engine.read() as tx:
            assert check(tx) == []
    assert pooler.left == []
    assert pooler.lent > 100


def test_where_nothing_can_be_heard_through_the_pooler_the_store_is_polled(pooler: Pooler) -> None:
    known: dict[str, Any] = {"entry_points": False, "poll_interval": 0.05}
    with Runtime(pooler.url, **known) as client, Runtime(pooler.url, **known) as host:
        register(host, echo)
        with host.workers():
            assert start(client, lambda run: run.step("a", echo, "heard"), echo).result(timeout=60) == "heard"
    assert pooler.left == []
