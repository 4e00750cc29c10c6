"""A commit whose acknowledgement was lost: the worker offers the outcome again, and nothing is written twice."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from flowkit import Runtime, StepContext, StoreUnavailable, executor
from flowkit.clock import Clock
from flowkit.store.engine import Engine
from flowkit.store.sqlite import SQLiteConnector
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import outcomes, start


class ForgetfulStore:
    """A store whose connection breaks right after a commit, where the story says so."""

    wal = None

    def __init__(self, path: Path) -> None:
        self._connector = SQLiteConnector(str(path), "process")
        self.breaks = False

    def open(self, clock: Clock) -> Engine:
        connect = self._connector.connect
        self._connector.connect = lambda: _Connection(connect(), self)  # type: ignore[method-assign]
        return Engine(self._connector, clock)


class _Connection:
    def __init__(self, raw: sqlite3.Connection, store: ForgetfulStore) -> None:
        self._raw = raw
        self._store = store

    def execute(self, sql: str, *parameters: Any) -> Any:
        result = self._raw.execute(sql, *parameters)
        if sql == "COMMIT" and self._store.breaks:
            self._store.breaks = False
            raise sqlite3.OperationalError("disk I/O error")
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


@pytest.mark.parametrize("ends_well", [True, False])
def test_an_outcome_that_was_committed_is_not_committed_again(sound: Path, flowkit_clock: Any, ends_well: bool) -> None:
    store = ForgetfulStore(sound)

    @executor("once")
    def once(step: StepContext) -> str:
        store.breaks = True
        step.record("marks", "it", "done")
        if not ends_well:
            raise ValueError("not well")
        return "done"

    with Runtime(store, clock=flowkit_clock, entry_points=False) as runtime:
        run = start(runtime, lambda run: run.step("once", once), once)
        with pytest.raises(StoreUnavailable):
            runtime.run_once()
        assert runtime.run_once().processed == 0
        assert outcomes(runtime, run.id, "once") == [(1, "succeeded" if ends_well else "failed")]
        assert run.status() == ("succeeded" if ends_well else "failed")


def test_a_worker_that_serves_goes_on_after_a_lost_acknowledgement(sound: Path, open_runtime: OpenRuntime) -> None:
    store = ForgetfulStore(sound)
    calls: list[int] = []

    @executor("once")
    def once(step: StepContext) -> str:
        calls.append(step.attempt)
        store.breaks = True
        return "done"

    with Runtime(store, entry_points=False) as runtime:
        run = start(runtime, lambda run: run.step("once", once), once)
        with runtime.workers():
            assert run.result(timeout=30) == "done"
    assert calls == [1]
