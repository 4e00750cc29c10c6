"""Every story is told under guard: the database refuses illegal moves, and the store must be sound in the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import structlog

from flowkit import Runtime
from flowkit.clock import SystemClock
from flowkit.store.check import check, install_guard
from flowkit.store.database import Database
from flowkit.testing import FakeClock
from tests.places import Place, SQLitePlace, open_engine
from tests.stories.telling import Meeting

OpenRuntime = Callable[..., Runtime]


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """Give what the program's own structlog gets to see."""
    with structlog.testing.capture_logs() as entries:
        structlog.configure(processors=structlog.get_config()["processors"])
        yield entries
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def guarded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an empty store with the guard in it, to be copied: that is faster than making one for each story."""
    place = SQLitePlace(tmp_path_factory.mktemp("guarded") / "flowkit.db")
    engine = open_engine(place, SystemClock())
    with engine.write() as tx:
        install_guard(tx)
    engine.db.close()
    return place.path


@pytest.fixture
def place(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place of the story's own, with an empty store whose database refuses illegal moves."""
    if database == "sqlite":
        path = tmp_path / "flowkit.db"
        shutil.copy(request.getfixturevalue("guarded_file"), path)
        yield SQLitePlace(path)
    else:
        with request.getfixturevalue("postgres").place() as there:
            yield there


@pytest.fixture(autouse=True)
def sound(place: Place) -> Iterator[Place]:
    """Find every invariant of the story's store kept when the story is over."""
    yield place
    database = Database(place.connector(), SystemClock())
    with closing(database), database.read() as tx:
        assert check(tx) == []


@pytest.fixture
def flowkit_runtime(sound: Place, flowkit_clock: FakeClock, flowkit_events: list[Any]) -> Iterator[Runtime]:
    """A Runtime like the one that flowkit gives to tests, on the story's store."""
    observers = [flowkit_events.append]
    with Runtime(sound.url, entry_points=False, clock=flowkit_clock, observers=observers) as runtime:
        yield runtime


@pytest.fixture
def open_runtime(sound: Place, flowkit_clock: FakeClock) -> Iterator[OpenRuntime]:
    """Open one more Runtime on the story's store, as another process would; it tells time by the same clock."""
    with ExitStack() as opened:

        def open_one(*functions: Any, **settings: Any) -> Runtime:
            known: dict[str, Any] = {"store": sound.url, "entry_points": False, "clock": flowkit_clock}
            runtime = opened.enter_context(Runtime(**{**known, **settings}))
            for function in functions:
                runtime.register_executor(function)
            return runtime

        yield open_one


@pytest.fixture
def meeting() -> Iterator[Meeting]:
    """Give a place where an executor waits until the story lets it go on, at the latest in the end."""
    place = Meeting()
    yield place
    place.let_go()
