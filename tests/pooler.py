"""A pooler in miniature that gives every transaction to another server connection, and looks what is left on that."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import attrs
import psycopg

STATE = b"""SELECT concat_ws(' ', (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors),
    (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'), pg_my_temp_schema(),
    (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE source = 'session'))"""
"""Asks a session what it has that another would not have: statements, cursors, locks, tables and settings."""

_NO_THANKS = (80877103, 80877104)
"""The numbers with which a client asks for encryption."""


class Gone(Exception):
    """The other end has closed the connection."""


@attrs.define
class Wire:
    """One end of a connection that speaks PostgreSQL's protocol, message by message."""

    socket: socket.socket
    _heard: bytearray = attrs.field(factory=bytearray)

    def hear(self) -> None:
        """Read what is there, or wait for something to be.

        It may end in the middle of a message: the server sends what fills its buffer, and the rest only once it is
        asked to, by a message that the client may not have sent so far.
        """
        chunk = self.socket.recv(65536)
        if not chunk:
            raise Gone
        self._heard += chunk

    def take(self, count: int) -> bytes:
        """Return the next so many bytes, and wait until they are there."""
        while len(self._heard) < count:
            self.hear()
        taken = bytes(self._heard[:count])
        del self._heard[:count]
        return taken

    def message(self) -> tuple[bytes, bytes]:
        """Return the next message, its letter and what it says, and wait until it is there."""
        head = self.take(5)
        return head[:1], self.take(struct.unpack("!i", head[1:])[0] - 4)

    def messages(self) -> Iterator[tuple[bytes, bytes]]:
        """Give the messages of which everything has been heard."""
        while len(self._heard) >= 5 and len(self._heard) > struct.unpack_from("!i", self._heard, 1)[0]:
            yield self.message()

    def say(self, letter: bytes, body: bytes) -> None:
        """Write a message."""
        self.socket.sendall(letter + struct.pack("!i", len(body) + 4) + body)


@attrs.define
class Backend:
    """One connection to the server."""

    wire: Wire
    greeting: list[tuple[bytes, bytes]]
    state: bytes = b""

    @classmethod
    def open(cls, path: str, startup: bytes) -> Backend:
        """Connect as a client would."""
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(path)
        backend = cls(Wire(raw), [])
        raw.sendall(struct.pack("!ii", len(startup) + 8, 196608) + startup)
        while (told := backend.wire.message())[0] != b"Z":
            backend.greeting.append(told)
        backend.state = backend.look()
        return backend

    def look(self) -> bytes:
        """Return what the session has that another would not."""
        self.wire.say(b"Q", STATE + b"\0")
        found = b""
        while (told := self.wire.message())[0] != b"Z":
            found = told[1] if told[0] == b"D" else found
        return found


class Pooler:
    """Listens on this machine; a client keeps a server connection for the length of a transaction, and no longer.

    Attributes:
        left: what transactions left behind in sessions; empty where nothing hangs on a session.
        lent: how many transactions went through, each on the connection that was unused for longest.
    """

    def __init__(self, url: str, size: int = 4) -> None:
        known = psycopg.conninfo.conninfo_to_dict(url)
        startup = f"user\0{known['user']}\0database\0{known['dbname']}\0\0".encode()
        path = f"{known['host']}/.s.PGSQL.5432"
        self._database, self._user = known["dbname"], known["user"]
        self._all = [Backend.open(path, startup) for _ in range(size)]
        self._idle = deque(self._all)
        self._free = threading.Semaphore(size)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.left: list[str] = []
        self.lent = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL that leads through here."""
        port = self._listener.getsockname()[1]
        return f"postgresql://{self._user}@127.0.0.1:{port}/{self._database}"

    def close(self) -> None:
        """Close it, with all its connections to the server."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for backend in self._all:
            backend.wire.socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(Wire(near),), daemon=True).start()

    def _serve(self, client: Wire) -> None:
        with suppress(Gone, OSError), client.socket:
            self._greet(client)
            while (first := client.message())[0] != b"X":
                for backend in self._borrowed():
                    self._transaction(client, backend, first)

    def _greet(self, client: Wire) -> None:
        while struct.unpack("!i", client.take(struct.unpack("!i", client.take(4))[0] - 4)[:4])[0] in _NO_THANKS:
            client.socket.sendall(b"N")
        for letter, body in self._all[0].greeting:
            # The number of a process that nobody is: what a pooler tells is none of the server's.
            client.say(letter, struct.pack("!ii", 1, 1) if letter == b"K" else body)
        client.say(b"Z", b"I")

    def _borrowed(self) -> Iterator[Backend]:
        self._free.acquire()
        backend = self._idle.popleft()
        self.lent += 1
        yield backend
        if (found := backend.look()) != backend.state:
            self.left.append(f"{backend.state!r} became {found!r}")
        self._idle.append(backend)
        self._free.release()

    @staticmethod
    def _transaction(client: Wire, backend: Backend, first: tuple[bytes, bytes]) -> None:
        open_answers, unfinished = 0, False

        def pass_on(letter: bytes, body: bytes) -> None:
            nonlocal open_answers, unfinished
            backend.wire.say(letter, body)
            ends = letter in (b"Q", b"S")
            open_answers += ends
            # To ask for what is answered so far neither begins anything nor ends it.
            unfinished = unfinished if letter == b"H" else not ends

        pass_on(*first)
        while True:
            for message in client.messages():
                pass_on(*message)
            ready, _, _ = select.select([client.socket, backend.wire.socket], [], [])
            if client.socket in ready:
                client.hear()
                continue
            backend.wire.hear()
            for letter, body in backend.wire.messages():
                client.say(letter, body)
                if letter == b"Z":
                    open_answers -= 1
                    if body == b"I" and not open_answers and not unfinished:
                        return
