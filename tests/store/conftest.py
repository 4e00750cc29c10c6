"""A store on disk, a clock that a test moves, and what drives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowkit.store.engine import Engine
from flowkit.store.sqlite import SQLiteConnector
from tests.store.clock import FakeClock
from tests.store.flow import Flow
from tests.store.story import second_host


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


@pytest.fixture
def other(engine: Engine, tmp_path: Path, clock: FakeClock) -> Iterator[Flow]:
    """A second process with the same store."""
    second = second_host(tmp_path, clock)
    yield second
    second.engine.db.close()
