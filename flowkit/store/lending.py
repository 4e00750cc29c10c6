"""The connections of one store in one process: opened when they are needed, lent to one thread at a time, and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs

from flowkit.errors import RuntimeClosed
from flowkit.store.connector import Connector


@attrs.define(eq=False)
class Lent:
    """A connection that somebody uses just now.

    Attributes:
        raw: the connection, None once it is given back.
        kept: where it lies when nobody does.
        is_new: it was opened for whoever uses it.
        broken: it is of no more use, and is closed instead of kept.
        turn: held until it is given back, where there is one writer at a time.
    """

    raw: Any
    kept: list[Any]
    is_new: bool = False
    broken: bool = False
    turn: threading.RLock | None = None


class Lending:
    """Lends connections; where there is one writer at a time, all writing is done on one of them.

    That one knows which commits were not its own, and has what it writes to in its cache.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        # A signal's handler that uses the store may interrupt its own thread here.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        self._idle: list[Any] = []
        self._idle_writer: list[Any] = []
        self._in_use = 0
        self._closed = False
        self._local = threading.local()

    def take(self, *, writes: bool) -> Lent:
        """Return a connection for this thread.

        Raises:
            RuntimeClosed: they are closed for good.
        """
        single = self._connector.single
        kept = self._idle_writer if writes and self._connector.dialect.one_writer and not single else self._idle
        with self._lock:
            if self._connector.pool_size is not None:
                self._wait_for_room(self._connector.pool_size)
            if self._closed:
                raise RuntimeClosed("the runtime is closed; make a new one")
            self._in_use += 1
            self._local.lent = getattr(self._local, "lent", 0) + 1
            if kept:
                return Lent(kept[0] if single else kept.pop(), kept)
        try:
            return Lent(self._connector.connect(), kept, is_new=True)
        except BaseException:
            with self._lock:
                self._in_use -= 1
                self._local.lent -= 1
                self._tell()
            raise

    def _wait_for_room(self, most: int) -> None:
        # A thread that has a connection already must not wait for another one: all others may wait for its first.
        if not getattr(self._local, "lent", 0):
            self._wait(lambda: self._in_use < most or self._closed)

    def _wait(self, until: Callable[[], bool], timeout: float | None = None) -> None:
        self._waiting += 1
        try:
            self._changed.wait_for(until, timeout)
        finally:
            self._waiting -= 1

    def _tell(self) -> None:
        if self._waiting:
            self._changed.notify_all()

    def give_back(self, lent: Lent) -> None:
        """Take a connection back from this thread; a second time nothing is done."""
        with self._lock:
            raw, lent.raw = lent.raw, None
            if raw is None:
                return
            self._in_use -= 1
            self._local.lent -= 1
            if self._closed or (lent.broken and not self._connector.single):
                raw.close()
            elif not self._connector.single or not lent.kept:
                # What was opened for one question asked meanwhile is lent after those that have their statements ready.
                lent.kept.insert(0 if lent.is_new else len(lent.kept), raw)
            self._tell()

    def close(self) -> None:
        """Close what nobody uses; what is in use is closed when it is given back. Idempotent."""
        with self._lock:
            self._closed = True
            self._close_idle()
            self._tell()

    def _close_idle(self) -> None:
        for kept in (self._idle, self._idle_writer):
            while kept:
                kept.pop().close()

    def before_fork(self) -> None:
        """Let what is in use come back, and close all of it, so that the child inherits no connection."""
        with self._lock:
            self._wait(lambda: self._in_use == 0, timeout=1.0)
            if not self._connector.single:
                self._close_idle()

    def after_fork(self) -> Lending:
        """Return what lends the child's connections; a store in memory goes along with the process."""
        child = Lending(self._connector)
        child._closed = self._closed
        if self._connector.single:
            child._idle = self._idle
        return child
