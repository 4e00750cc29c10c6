"""Threads for what an event loop awaits: a few that short calls share, one each for calls that may wait for long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

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
    calls are made in the context of who awaits them.

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
            return _made_in(self._shared, partial(call, *arguments, **options))

    def long(
        self, call: Callable[Given, Made], /, *arguments: Given.args, **options: Given.kwargs
    ) -> asyncio.Future[Made]:
        """Make a call that may wait for as long as it likes, in a thread of its own.

        It goes on if nobody awaits it any more, and ``asyncio.run`` ends when it has.
        """
        own = ThreadPoolExecutor(1, thread_name_prefix=NAME)
        made = _made_in(own, partial(call, *arguments, **options))
        own.shutdown(wait=False)
        made.add_done_callback(partial(_wait_at_the_loops_end, own))
        return made

    def close(self) -> None:
        """Have the threads end when what they do is done; those that wait end with it."""
        with self._lock:
            if self._shared is not None:
                self._shared.shutdown(wait=False)


def _made_in(threads: ThreadPoolExecutor, call: Callable[[], Made]) -> asyncio.Future[Made]:
    return asyncio.get_running_loop().run_in_executor(threads, copy_context().run, call)


def _wait_at_the_loops_end(own: ThreadPoolExecutor, made: asyncio.Future[Made]) -> None:
    # A thread cannot be stopped. Whoever ends the loop waits for the default executor, thus for the attempt under way:
    # a program that closed its store before would lose what that hands over.
    if made.cancelled():
        with suppress(RuntimeError):
            made.get_loop().run_in_executor(None, own.shutdown)
