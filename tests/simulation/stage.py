"""What worlds are played on: one database and a few hosts, made once in a process and emptied for each seed."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowkit import FileArtifactStore
from flowkit.store.check import Finding, check, install_guard
from flowkit.store.engine import Engine
from flowkit.store.sqlite import SQLiteConnector
from tests.simulation.clocks import HostClock
from tests.simulation.host import Host

if TYPE_CHECKING:
    from tests.simulation.world import World

WORKERS = 3
TABLES = ("runs", "steps", "results", "attempts", "records", "artifacts", "gates", "deps", "history")


class _Shared(SQLiteConnector):
    """Gives the one raw connection to whoever looks at the store from outside the world."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        super().__init__(":memory:", "process")
        self._raw = raw

    def connect(self) -> sqlite3.Connection:
        return self._raw


class Stage:
    """A database with the guard of illegal moves in it, hosts that work on it, and an observer whom nothing hits."""

    def __init__(self) -> None:
        self.raw = SQLiteConnector(":memory:", "process").connect()
        self.observer = Engine(_Shared(self.raw), HostClock())
        with self.observer.write() as tx:
            install_guard(tx)
        self.world: World | None = None
        # Files in memory: what is simulated is the order of things, not a disk.
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self._folder = tempfile.TemporaryDirectory(prefix="simulation-", dir=memory)
        self.artifacts = FileArtifactStore(Path(self._folder.name) / "artifacts")
        self.workers = [Host(f"worker{number}", self) for number in range(1, WORKERS + 1)]
        self.client = Host("client", self)
        self._meta = self.raw.execute("SELECT key, number FROM meta").fetchall()

    def reset(self, world: World) -> None:
        """Empty the store and begin anew."""
        self.raw.execute("BEGIN")
        for table in reversed(self.observer.tables.all()):
            self.raw.execute(f"DELETE FROM {table._meta.table_name}")
        self.raw.executemany("INSERT INTO meta (key, number) VALUES (?, ?)", self._meta)
        self.raw.execute("COMMIT")
        for host in (*self.workers, self.client):
            host.reset(world)

    def findings(self) -> list[Finding]:
        """Ask every invariant."""
        with self.observer.read() as tx:
            return check(tx)

    def rows(self, sql: str, *parameters: Any) -> list[Any]:
        """Read what is committed, as nobody in the world could."""
        return self.raw.execute(sql, parameters).fetchall()

    def dump(self) -> str:
        """Return all that is stored about runs, as text."""
        lines = []
        for table in TABLES:
            names = [row[1] for row in self.rows(f"PRAGMA table_info({table})") if row[1] != "lane"]
            lines += [f"{table}: {row}" for row in self.rows(f"SELECT {', '.join(names)} FROM {table} ORDER BY 1, 2")]
        # The only thing in it that no seed decides is where the artifacts lie.
        return "\n".join(lines).replace(self._folder.name, "FOLDER")

    def close(self) -> None:
        """Give everything back."""
        for host in (*self.workers, self.client):
            host.close()
        self.raw.close()
        self._folder.cleanup()
