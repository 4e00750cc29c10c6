"""A handle on one run, waited for inside an event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Generic, TypeVar, overload

import attrs

from flowkit.clock import Duration
from flowkit.model.definitions import ANY
from flowkit.model.run import Run
from flowkit.model.states import RunStatus
from flowkit.runtime.handle import RunHandle
from flowkit.runtime.settings import checked_step_id
from flowkit.runtime.threads import Threads
from flowkit.runtime.waiting import Until, Waiting
from flowkit.runtime.wakeup import Ended, RunSignal

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class _Signal(RunSignal):
    """A thread's event that an event loop can wait for too."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self.arrived = asyncio.Event()

    def set(self) -> None:
        super().set()
        # Whoever tells must not fail because a loop is closed, or closes just then.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.arrived.set)


@attrs.frozen(eq=False)
class AsyncRunHandle(Generic[R_co]):
    """A run, waited for without blocking the event loop; see ``RunHandle``."""

    _runtime: Any = attrs.field(repr=False)
    _handle: RunHandle[R_co]

    @property
    def id(self) -> str:
        """The run's id."""
        return self._handle.id

    @property
    def package(self) -> str:
        """What was started."""
        return self._handle.package

    @property
    def name(self) -> str | None:
        """The run's name, if it has one."""
        return self._handle.name

    @property
    def created(self) -> bool:
        """False where a run with this id was there already."""
        return self._handle.created

    @property
    def _threads(self) -> Threads:
        threads: Threads = self._runtime._parts.threads
        return threads

    @property
    def _waiting(self) -> Waiting:
        waiting: Waiting = self._runtime._parts.waiting
        return waiting

    async def wait(self, timeout: Duration | None = None) -> Run:
        """Wait until the run has ended and return it; see ``RunHandle.wait``."""
        await self._ended(timeout)
        return await self._threads.short(self._waiting.get_run, self.id)

    async def _ended(self, timeout: Duration | None, until: Until | None = None) -> Ended:
        watch = self._waiting.watch(self.id, timeout, until)
        signal = _Signal(asyncio.get_running_loop())
        with self._runtime._parts.wakeups.run(self.id, signal):
            while True:
                signal.clear()
                signal.arrived.clear()
                ended = signal.for_good or await self._threads.short(watch.look)
                if ended is not None:
                    return ended
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(signal.arrived.wait(), watch.left)

    @overload
    async def result(self, *, timeout: Duration | None = None) -> R_co: ...
    @overload
    async def result(self, step_id: str, *, timeout: Duration | None = None) -> Any: ...
    @overload
    async def result(self, step_id: str | None, type: type[T], timeout: Duration | None = None) -> T: ...
    @overload
    async def result(self, *, type: type[T], timeout: Duration | None = None) -> T: ...
    @overload
    async def result(self, step_id: str | None = None, type: Any = ANY, timeout: Duration | None = None) -> Any: ...
    async def result(self, step_id: str | None = None, type: Any = ANY, timeout: Duration | None = None) -> Any:
        """Wait for the run's end and return its output, or for one step and return its; see ``RunHandle.result``."""
        wanted = checked_step_id(step_id)
        ended = await self._ended(timeout, None if wanted is None else Until(wanted))
        return await self._threads.short(self._waiting.output_of, self.id, ended, step_id, type)

    async def status(self) -> RunStatus:
        """Return where the run is now."""
        return await self._threads.short(self._handle.status)
