"""Threads for what an event loop awaits: a few that short calls share, one each for calls that may wait for long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

Given = ParamSpec("Given")
Made = TypeVar("Made")
NAME = "flowkit-aio"


def runs_event_loop() -> bool:
    """Whether this thread runs an event loop, which nothing may block."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Threads:
    """Threads of one Runtime; none is of the loop's default executor.

    What the program's own blocking calls fill that one with shall hold up nothing here, nor the other way round. The
    calls are made in the context of who awaits them. Should nobody await them any more they go on, and ``asyncio.run``
    ends when they have.

    Args:
        check_open: raises once the Runtime is closed.
    """

    def __init__(self, check_open: Callable[[], None]) -> None:
        self._check_open = check_open
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the parent's threads."""
        self._lock = threading.Lock()
        self._shared: ThreadPoolExecutor | None = None
        self._left: WeakKeyDictionary[asyncio.AbstractEventLoop, set[Future[Any]]] = WeakKeyDictionary()

    def short(
        self, call: Callable[Given, Made], /, *arguments: Given.args, **options: Given.kwargs
    ) -> asyncio.Future[Made]:
        """Make a call that waits for nothing but the store, in one of the few threads.

        Raises:
            RuntimeClosed: there are none any more.
        """
        with self._lock:
            self._check_open()
            if self._shared is None:
                self._shared = ThreadPoolExecutor(thread_name_prefix=NAME)
            work = self._shared.submit(copy_context().run, partial(call, *arguments, **options))
        return self._awaited(work)

    def long(
        self, call: Callable[Given, Made], /, *arguments: Given.args, **options: Given.kwargs
    ) -> asyncio.Future[Made]:
        """Make a call that may wait for as long as it likes, in a thread of its own."""
        own = ThreadPoolExecutor(1, thread_name_prefix=NAME)
        work = own.submit(copy_context().run, partial(call, *arguments, **options))
        own.shutdown(wait=False)
        return self._awaited(work)

    def close(self) -> None:
        """Have the threads end when what they do is done; those that wait end with it."""
        with self._lock:
            if self._shared is not None:
                self._shared.shutdown(wait=False)

    def _awaited(self, work: Future[Made]) -> asyncio.Future[Made]:
        made = asyncio.wrap_future(work)
        made.add_done_callback(partial(self._keep, work))
        return made

    def _keep(self, work: Future[Any], made: asyncio.Future[Any]) -> None:
        """Have the loop's end wait for a call that goes on although nobody awaits it any more.

        A thread cannot be stopped, and a program that closed its store before would lose what the call hands over.
        """
        if not made.cancelled() or work.done():
            return
        loop = made.get_loop()
        with self._lock:
            left = self._left.setdefault(loop, set())
            left.add(work)
            work.add_done_callback(left.discard)
            if len(left) > 1:
                return
        # Whoever ends a loop waits for its default executor. One thread of that waits for all of these, for the others
        # are the program's.
        with suppress(RuntimeError):
            loop.run_in_executor(None, _outlast, left)


def _outlast(left: set[Future[Any]]) -> None:
    while left:
        wait(list(left))
