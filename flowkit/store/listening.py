"""Listening to PostgreSQL's notices, on a connection that is given to nobody else; without one, stores are polled."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from flowkit.errors import RuntimeClosed, StoreError
from flowkit.store.notices import ANYTHING
from flowkit.store.postgres_connection import driver

WAIT = 0.25
"""Seconds for which the connection is waited on before it is asked whether anybody still needs it."""

PROOF = 5.0
"""Seconds within which a notice of our own must come back."""

SOON, AGAIN = 0.5, 60.0
"""Seconds until listening is tried once more where it failed, at first and at most."""

LINGER = 120
"""How many waits are made when nobody needs it any more."""

HEARD, UNHEARD = 1.0, 0.6
"""For how many seconds an idle worker rests at least: while notices arrive, and where they do not."""


class Listener:
    """Hears what other processes commit.

    Args:
        arguments: of the connection; it must lead to the server itself, not to a pooler.
        channel: what to listen to.
        send: announces a notice there on one of the store's other connections.
    """

    is_told = True

    def __init__(self, arguments: Mapping[str, Any], channel: str, send: Callable[[str], None]) -> None:
        self._psycopg = driver()
        self._arguments = arguments
        self._channel = channel
        self._send = send
        self._hears = False

    def patience(self, seconds: float) -> float:
        """Return how long an idle worker rests: every look is a statement, and notices come by themselves."""
        return max(seconds, HEARD if self._hears else UNHEARD)

    def watch(self, stop: threading.Event, needed: Callable[[], bool], tell: Callable[[str], None]) -> None:
        """Tell every notice; where none can be heard, try again from time to time."""
        pause = SOON
        while not stop.is_set() and needed():
            try:
                with closing(self._psycopg.connect(**self._arguments, autocommit=True)) as connection:
                    if self._listen(connection, stop):
                        self._hears, pause = True, SOON
                        self._hear(connection, stop, needed, tell)
                        return
            except (self._psycopg.Error, StoreError, RuntimeClosed):
                pass
            finally:
                self._hears = False
            # What was missed meanwhile is found by whoever looks.
            tell(ANYTHING)
            stop.wait(pause)
            pause = min(AGAIN, pause * 2)

    def _listen(self, connection: Any, stop: threading.Event) -> bool:
        name = self._channel.replace('"', '""')
        connection.execute(f'LISTEN "{name}"')
        # A pooler that gives the connection to others after each transaction takes LISTEN without an error, and then
        # nothing is ever heard.
        proof = secrets.token_hex(8)
        self._send(proof)
        for _ in range(round(PROOF / WAIT)):
            if any(notice.payload == proof for notice in connection.notifies(timeout=WAIT)) or stop.is_set():
                return not stop.is_set()
        return False

    def _hear(
        self, connection: Any, stop: threading.Event, needed: Callable[[], bool], tell: Callable[[str], None]
    ) -> None:
        tell(ANYTHING)
        idle = 0
        while idle <= LINGER and not stop.is_set():
            for notice in connection.notifies(timeout=WAIT):
                tell(notice.payload)
                if stop.is_set():
                    return
            idle = 0 if needed() else idle + 1
