"""The pytest plugin: fixtures for testing one's own workflows; nothing of the store is imported at collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flowkit.runtime.runtime import Runtime
    from flowkit.testing.clock import FakeClock
    from flowkit.testing.crash import Crash


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option ``flowkit_modules``."""
    parser.addini("flowkit_modules", "modules whose executors and packages flowkit_runtime registers", type="args")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker ``flowkit``."""
    config.addinivalue_line("markers", "flowkit(modules=[...]): modules that flowkit_runtime registers for this test")


@pytest.fixture
def flowkit_clock() -> FakeClock:
    """A clock that stands still; ``advance(seconds)`` moves it and wakes every wait."""
    from flowkit.testing.clock import FakeClock

    return FakeClock()


@pytest.fixture
def flowkit_events() -> list[Any]:
    """What happened in ``flowkit_runtime``, in order."""
    return []


@pytest.fixture
def flowkit_runtime(
    request: pytest.FixtureRequest, tmp_path: Path, flowkit_clock: FakeClock, flowkit_events: list[Any]
) -> Iterator[Runtime]:
    """A Runtime on a fresh SQLite store and a fake clock, with the modules of the ini option or the marker."""
    from flowkit.runtime.runtime import Runtime

    marker = request.node.get_closest_marker("flowkit")
    modules = marker.kwargs.get("modules") if marker else None
    if modules is None:
        modules = request.config.getini("flowkit_modules")
    with Runtime(
        f"sqlite:///{tmp_path / 'flowkit.db'}",
        modules=modules,
        entry_points=False,
        clock=flowkit_clock,
        observers=[flowkit_events.append],
    ) as runtime:
        yield runtime


@pytest.fixture
def flowkit_crash(flowkit_runtime: Runtime) -> Crash:
    """Crashes the worker of ``flowkit_runtime`` at a named point, as a kill would."""
    from flowkit.testing.crash import Crash

    return Crash(flowkit_runtime)
