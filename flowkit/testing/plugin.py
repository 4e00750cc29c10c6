"""The pytest plugin: fixtures for testing one's own workflows; nothing of the store is imported at collection."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flowkit.model.events import Event
    from flowkit.runtime.runtime import Runtime
    from flowkit.testing.clock import FakeClock
    from flowkit.testing.crash import Crash
    from flowkit.testing.stub import Stubs

MARKER = (
    "flowkit(modules=[...], **settings): what flowkit_runtime registers in this test, and other settings of Runtime"
)


_MARK = "@pytest.mark.flowkit"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option ``flowkit_modules``."""
    parser.addini("flowkit_modules", "modules whose executors and packages flowkit_runtime registers", type="args")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker ``flowkit``."""
    config.addinivalue_line("markers", MARKER)


def pytest_report_header(config: pytest.Config) -> str:
    """Say which flowkit this is, and which modules its fixture registers."""
    modules = config.getini("flowkit_modules")
    version = sys.modules["flowkit"].__version__  # it came with this module
    return f"flowkit: {version}" + (f", modules: {', '.join(modules)}" if modules else "")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Add to the report of a failed test what became of the runs of its ``flowkit_runtime``."""
    made = yield
    report: pytest.TestReport = made.get_result()
    runtime = getattr(item, "funcargs", {}).get("flowkit_runtime")
    if report.failed and call.when == "call" and runtime is not None:
        report.sections.append(("flowkit runs", _story(runtime)))


def _story(runtime: Runtime) -> str:
    from flowkit.testing.report import story_of

    try:
        return story_of(runtime)
    except Exception as error:  # what can be told of the runtime must not hide how the test failed
        return f"the runs cannot be read: {type(error).__name__}: {error}"


@pytest.fixture
def flowkit_clock() -> FakeClock:
    """A clock that stands still; ``advance(seconds)`` moves it and wakes every wait."""
    from flowkit.testing.clock import FakeClock

    return FakeClock()


@pytest.fixture
def flowkit_events() -> list[Event]:
    """What happened in ``flowkit_runtime``, in order."""
    return []


@pytest.fixture
def flowkit_runtime(
    request: pytest.FixtureRequest, tmp_path: Path, flowkit_clock: FakeClock, flowkit_events: list[Event]
) -> Iterator[Runtime]:
    """A Runtime on a fresh SQLite store and a clock that stands still, with the marker's modules or the ini option's.

    Its ``run()`` waits for nothing: the clock is set to when the next delay or retry is due. Artifacts and projections
    go to directories of the test.
    """
    from flowkit.artifacts import FileArtifactStore
    from flowkit.projections import SQLiteProjectionStore
    from flowkit.runtime.runtime import Runtime
    from flowkit.store.stores import SQLiteStore
    from flowkit.testing.skipping import Skipping

    settings: dict[str, Any] = {
        "modules": request.config.getini("flowkit_modules"),
        "artifact_store": FileArtifactStore(tmp_path / "flowkit-artifacts"),
        "projection_store": SQLiteProjectionStore(tmp_path / "flowkit-projections"),
        "entry_points": False,
        "clock": flowkit_clock,
        "observers": [flowkit_events.append],
        **_marked(request),
    }
    # The test's directory goes with the power, too, so nothing has to reach the disk.
    with Runtime(SQLiteStore(tmp_path / "flowkit.db", durability="process"), **settings) as runtime:
        Skipping(runtime, flowkit_clock)
        yield runtime


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    given: dict[str, Any] = {}
    # The nearest one last: what it does not say is said by those around it.
    for marker in reversed(list(request.node.iter_markers("flowkit"))):
        if marker.args:
            raise pytest.UsageError(f"{_MARK} takes keywords only: modules=[...], or other settings of Runtime")
        given |= marker.kwargs
    if fixed := {"clock", "observers", "store"} & set(given):
        raise pytest.UsageError(f"{_MARK} cannot set {', '.join(sorted(fixed))}: the fixtures do")
    _refuse_unknown(given)
    return given


def _refuse_unknown(given: dict[str, Any]) -> None:
    import inspect

    from flowkit.errors import nearest
    from flowkit.runtime.runtime import Runtime

    known = inspect.signature(Runtime).parameters
    for name in given:
        if name not in known:
            raise pytest.UsageError(f"{_MARK}: Runtime has no setting {name!r}{nearest(name, known)}")


@pytest.fixture
def flowkit_crash(flowkit_runtime: Runtime) -> Iterator[Crash]:
    """Crashes the worker of ``flowkit_runtime`` at a named point, as a kill would; a crash that never came fails."""
    from flowkit.testing.crash import Crash

    crash = Crash(flowkit_runtime)
    yield crash
    if crash.awaited is not None:
        pytest.fail(f"the crash at {crash.awaited!r} never came: no worker passed that point often enough")


@pytest.fixture
def flowkit_stub(flowkit_runtime: Runtime) -> Stubs:
    """Replaces executors of ``flowkit_runtime``: ``flowkit_stub("shop/charge", returns="receipt")``."""
    from flowkit.testing.stub import Stubs

    return Stubs(flowkit_runtime)
