"""A store on each kind of database, a clock that a test moves, and what drives them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowkit.store.engine import Engine
from tests.places import Place, open_engine
from tests.store.clock import FakeClock
from tests.store.flow import Flow
from tests.store.story import second_host


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(place: Place, clock: FakeClock) -> Iterator[Engine]:
    opened = open_engine(place, clock)
    yield opened
    opened.db.close()


@pytest.fixture
def flow(engine: Engine, clock: FakeClock) -> Flow:
    return Flow(engine, clock)


@pytest.fixture
def other(engine: Engine, place: Place, clock: FakeClock) -> Iterator[Flow]:
    """A second process with the same store."""
    second = second_host(place, clock)
    yield second
    second.engine.db.close()
