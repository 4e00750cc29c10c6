"""A store on disk, a clock that a test moves, and what drives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowkit.store.engine import Engine
from flowkit.store.sqlite import SQLiteConnector
from tests.store.clock import FakeClock
from tests.store.flow import Flow


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(tmp_path: Path, clock: FakeClock) -> Iterator[Engine]:
    connector = SQLiteConnector(str(tmp_path / "store.db"), "process")
    connector.prepare()
    opened = Engine(connector, clock)
    yield opened
    opened.db.close()


@pytest.fixture
def flow(engine: Engine, clock: FakeClock) -> Flow:
    return Flow(engine, clock)
