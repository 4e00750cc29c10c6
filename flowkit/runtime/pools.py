"""Where attempts run: threads, an event loop, processes, or any other executor; one interface for all."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Protocol

from flowkit.model.step import Settlement
from flowkit.runtime.attempts import Attempt

REFUSED_SECONDS = 0.1
"""Seconds after which a thread that the system refused is asked for again."""


class Pool(Protocol):
    """Runs attempts; each is settled by whoever runs it."""

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Start attempts; never blocks."""

    def close(self) -> None:
        """Take no more; what runs is left to end by itself."""


class RemoteRun(Protocol):
    """What a remote pool needs of its crew."""

    def begin(self, attempt: Attempt) -> None:
        """The attempt's executor is called now."""

    def finish(self, attempt: Attempt, settled: Settlement) -> None:
        """The attempt ended."""


class ThreadPool:
    """Threads that are made when they are needed, at most *size*, and stay.

    A batch wakes one of them, and each that takes an attempt while others wait wakes the next before it runs its own.
    Executors that wait thus run side by side, and executors that are over at once are run by few threads, which do
    not have to take turns at the interpreter for each.

    Where none is left to wake, another thread makes one, for the same reason: it comes to that while an executor waits,
    or after a while, and finds nothing to do where all that was there is over.

    They are daemons: an executor that hangs keeps its slot, but not the program from ending.

    Args:
        after: called by a thread after each attempt, when it is free for the next one.
        refused: told once when the system begins to refuse threads beside those that are there, and how many these are.
    """

    def __init__(
        self,
        size: int,
        run: Callable[[Attempt], None],
        after: Callable[[], None],
        refused: Callable[[int, Exception], None],
    ) -> None:
        self._size = size
        self._run = run
        self._after = after
        self._refused = refused
        self._waiting: deque[Attempt] = deque()
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._idle: deque[None] = deque()
        self._threads = 0
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._grows = False
        self._here = threading.local()

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Start attempts; one thread at a time does.

        Raises:
            RuntimeError: the system refuses the first thread, or the one that makes others.
        """
        idle = len(self._idle)
        if not self._threads:
            self._make()
            idle = 1
        if not self._grows and self._size > 1 and len(self._waiting) + len(attempts) > idle:
            threading.Thread(target=self._grow, name="flowkit-threads", daemon=True).start()
            self._grows = True
        self._waiting.extend(attempts)
        # A thread of the pool that has made a pass takes the first one itself.
        if len(self._waiting) > getattr(self._here, "is_free", 0):
            self._call()

    def _call(self) -> None:
        # A call that nobody has heard yet is enough: whoever hears it takes all that waits by then, or calls again. It
        # is the queue that is asked, for a note of the call could stand without it where Ctrl-C comes between the two.
        if self._calls.empty():
            self._calls.put(True)
        if self._lacks_one and self._wanted.empty():
            self._wanted.put(True)

    @property
    def _lacks_one(self) -> bool:
        return not self._idle and self._threads < self._size and bool(self._waiting)

    def _grow(self) -> None:
        self._grows = True
        while self._wanted.get():
            is_told = False
            while self._lacks_one:
                try:
                    self._make()
                    break
                except Exception as error:
                    # The system refuses it for now; those that are there do meanwhile what they can.
                    if not is_told:
                        self._refused(self._threads, error)
                        is_told = True
                    threading.Event().wait(REFUSED_SECONDS)
        # There may be another one, after Ctrl-C in the moment when this one began.
        self._wanted.put(False)

    def _make(self) -> None:
        name = f"flowkit-thread-{self._threads + 1}"
        threading.Thread(target=self._work, name=name, daemon=True).start()
        self._threads += 1

    def _work(self) -> None:
        while self._is_called():
            while self._waiting:
                try:
                    attempt = self._waiting.popleft()
                except IndexError:
                    break
                if self._waiting:
                    self._call()
                # In a copy, so that what an executor sets is not there for the next one, which may be another run's.
                copy_context().run(self._run, attempt)
                self._here.is_free = 1
                self._after()
                self._here.is_free = 0
        self._calls.put(False)

    def _is_called(self) -> bool:
        self._idle.append(None)
        called = self._calls.get()
        self._idle.pop()
        return called

    def close(self) -> None:
        """Let the threads end; what waits for one is not run any more."""
        self._waiting.clear()
        self._wanted.put(False)
        # Each that hears it tells the next.
        self._calls.put(False)


class LoopPool:
    """One thread with an event loop, made when it is needed, for ``async def`` executors.

    Args:
        after: called on the loop once some attempts have ended, for all that did in the same turn of it.
    """

    def __init__(self, run: Callable[[Attempt], Coroutine[Any, Any, None]], after: Callable[[], None]) -> None:
        self._run = run
        self._after = after
        self._is_told = False
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Start attempts, all with one call into the loop."""
        self._running().call_soon_threadsafe(self._begin, list(attempts))

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._serve, args=(loop,), name="flowkit-loop", daemon=True)
                self._loop, self._thread = loop, thread
                try:
                    thread.start()
                except RuntimeError:
                    # The system refuses a thread; what is given to a loop that nobody runs would never end.
                    self._loop = self._thread = None
                    loop.close()
                    raise
            return self._loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while self._loop is loop:
                # An executor that stops the loop, or a task of its own that wants the program to exit, ends no others.
                with suppress(SystemExit, KeyboardInterrupt):
                    loop.run_forever()
            for task in self._tasks.values():
                task.cancel()
            # A task that ignores its cancellation is abandoned after a moment; its attempt was released before.
            loop.run_until_complete(self._gather())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    async def _gather(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=1.0)

    def _begin(self, attempts: Sequence[Attempt]) -> None:
        loop = asyncio.get_running_loop()
        for attempt in attempts:
            task = self._tasks[attempt] = loop.create_task(self._run_to_end(loop, attempt))
            attempt.interruptible(_interruption(loop, task))

    async def _run_to_end(self, loop: asyncio.AbstractEventLoop, attempt: Attempt) -> None:
        try:
            await self._run(attempt)
        finally:
            # Here, for the loop would call back once for each task.
            del self._tasks[attempt]
            if not self._is_told:
                self._is_told = True
                loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._is_told = False
        self._after()

    def close(self) -> None:
        """Cancel what is left and end the loop's thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            if self._thread is not threading.current_thread():
                self._thread.join(timeout=5)


def _interruption(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> Callable[[], None]:
    def cancel() -> None:
        # Refused once the loop is closed; then there is nothing left to cancel.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(task.cancel)

    return cancel
