"""Every story is told under guard: the database refuses illegal moves, and the store must be sound in the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flowkit import Runtime
from flowkit.clock import SystemClock
from flowkit.store.check import check, install_guard
from flowkit.store.database import Database
from flowkit.store.engine import Engine
from flowkit.store.sqlite import SQLiteConnector
from flowkit.testing import FakeClock
from tests.stories.telling import Meeting

OpenRuntime = Callable[..., Runtime]


@contextmanager
def _opened(path: Path) -> Iterator[Database]:
    database = Database(SQLiteConnector(str(path), "process"), SystemClock())
    try:
        yield database
    finally:
        database.close()


@pytest.fixture(scope="session")
def guarded_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an empty store with the guard in it, to be copied: that is faster than making one for each story."""
    path = tmp_path_factory.mktemp("guarded") / "flowkit.db"
    Engine(SQLiteConnector(str(path), "process"), SystemClock()).db.close()
    with _opened(path) as database, database.write() as tx:
        install_guard(tx)
    return path


@pytest.fixture(autouse=True)
def sound(tmp_path: Path, guarded_store: Path) -> Iterator[Path]:
    """Guard the story's store, ``flowkit.db``, and find every invariant kept when the story is over."""
    path = tmp_path / "flowkit.db"
    shutil.copy(guarded_store, path)
    yield path
    with _opened(path) as database, database.read() as tx:
        assert check(tx) == []


@pytest.fixture
def open_runtime(sound: Path, flowkit_clock: FakeClock) -> Iterator[OpenRuntime]:
    """Open one more Runtime on the story's store, as another process would; it tells time by the same clock."""
    with ExitStack() as opened:

        def open_one(*functions: Any, **settings: Any) -> Runtime:
            known: dict[str, Any] = {"entry_points": False, "clock": flowkit_clock}
            runtime = opened.enter_context(Runtime(f"sqlite:///{sound}", **{**known, **settings}))
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
