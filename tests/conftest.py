"""Gives every test the fixtures of flowkit and databases, and prints the figures that tests state."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.places import Lend, Place, SQLitePlace

if TYPE_CHECKING:
    from tests.postgres import Databases

PLUGIN = "flowkit.testing.plugin"
KINDS = ("sqlite", "postgresql")

# An installed flowkit has told pytest of its plugin already, and a plugin cannot be there twice.
own = [] if any(one.value == PLUGIN for one in entry_points(group="pytest11")) else [PLUGIN]
pytest_plugins = [*own, "pytester"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever starts the tests in the background of a script has them ignore Ctrl-C, and all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres(testrun_uid: str) -> Iterator[Databases]:
    """The PostgreSQL server of this run of the tests; never skipped, it fails with the reason where there is none."""
    # Nothing but what needs a server pays for its driver.
    from tests.postgres import Databases, bring_server

    # Not below pytest's own folder: the server's user may not look into that.
    server = bring_server(Path(tempfile.gettempdir()) / f"flowkit-postgres-{testrun_uid}")
    databases = Databases(server)
    yield databases
    databases.drop_all()


@pytest.fixture(scope="session", params=KINDS)
def database(request: pytest.FixtureRequest) -> str:
    """The kind of database that a test runs on: each, one after the other, unless its folder says which one."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def lend(database: str, request: pytest.FixtureRequest) -> Lend:
    """Lend one more empty place; SQLite's is in memory."""
    if database == "sqlite":
        return lambda: nullcontext(SQLitePlace(Path(":memory:")))
    postgres: Databases = request.getfixturevalue("postgres")
    return lambda: postgres.place(guarded=False)


@pytest.fixture
def place(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place of this test's own for a store."""
    if database == "sqlite":
        yield SQLitePlace(tmp_path / "store.db")
    else:
        with request.getfixturevalue("postgres").place() as there:
            yield there


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str, object], None]:
    """State what a test has done or measured, to be printed at the end of the run: ``figure("kills", 300)``."""
    return lambda name, value: record_property("figure", f"{name}: {value}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures, and what the simulation really played, added up over every process of the run."""
    reports = [one for outcome in ("passed", "failed") for one in terminalreporter.stats.get(outcome, ())]
    told = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    figures = [text for name, text in told if name == "figure"]
    played = [text for name, text in told if name == "simulation"]
    if figures or played:
        terminalreporter.section("figures")
    for text in [*figures, *([_added_up(played)] if played else [])]:
        terminalreporter.write_line(text)


def _added_up(played: list[str]) -> str:
    # Only where there is something to add: this imports the engine.
    from tests.simulation.play import Tally

    tally = Tally()
    for text in played:
        tally.merge(text)
    return f"simulation: {tally}"
