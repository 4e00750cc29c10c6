"""The same Runtime inside an event loop: one-line async twins of its methods, and nothing of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from flowkit.clock import Duration
from flowkit.errors import InvalidTransition
from flowkit.model.definitions import ANY
from flowkit.model.events import HistoryEvent
from flowkit.model.outputs import Artifact, ArtifactRef, Record
from flowkit.model.run import Page, Run
from flowkit.model.states import ENDED_RUN, RunStatus, StepStatus
from flowkit.model.stats import QueueInfo, Stats
from flowkit.model.step import Attempt, Step, StepResult
from flowkit.runtime.aio_calls import starts_many_soon, starts_one_soon
from flowkit.runtime.aio_handle import AsyncRunHandle
from flowkit.runtime.inline import CycleResult
from flowkit.runtime.reads import Instant
from flowkit.runtime.threads import Given, Made, Threads
from flowkit.scheduler.explain import Explanation
from flowkit.store.catalog import Recorded


async def _to_its_end(future: asyncio.Future[Made]) -> Made:
    """Wait for something however often the task is canceled meanwhile; that is heard afterwards."""
    canceled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            canceled = error
    made = future.result()
    if canceled is not None:
        raise canceled
    return made


class AsyncRuntime:
    """``rt.aio``: every read and command of a Runtime, awaitable; each runs in a thread of the Runtime's own."""

    def __init__(self, runtime: Any) -> None:
        self._rt = runtime
        self._threads: Threads = runtime._parts.threads
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def _command(self, call: Callable[Given, Made], *arguments: Given.args, **options: Given.kwargs) -> Made:
        self._refuse_inside(getattr(call, "__name__", "it"))
        return await self._threads.short(call, *arguments, **options)

    async def _executing(self, call: Callable[Given, Made], *arguments: Given.args, **options: Given.kwargs) -> Made:
        # One thread of a Runtime executes steps in passes; the others would only wait for it, perhaps for ever.
        async with self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            return await self._threads.long(call, *arguments, **options)

    def _refuse_inside(self, name: str) -> None:
        if self._rt._parts.engine.db.joins_program():
            what = f"rt.aio.{name}() works in another thread, so it has no part in this one's open transaction"
            raise InvalidTransition(f"{what}; call it after the commit, or rt.{name}() here", None)

    @starts_one_soon
    async def start_run(self, package: Any, input: Any = None, **options: Any) -> AsyncRunHandle[Any]:
        """See ``Runtime.start_run``."""
        return AsyncRunHandle(self._rt, await self._command(self._rt.start_run, package, input, **options))

    @starts_many_soon
    async def start_runs(self, package: Any, inputs: Iterable[Any], **options: Any) -> list[AsyncRunHandle[Any]]:
        """See ``Runtime.start_runs``."""
        handles = await self._command(self._rt.start_runs, package, inputs, **options)
        return [AsyncRunHandle(self._rt, handle) for handle in handles]

    @starts_one_soon
    async def run(self, package: Any, input: Any = None, **options: Any) -> AsyncRunHandle[Any]:
        """See ``Runtime.run``; if the task is canceled, the attempt under way ends and the run waits for a worker."""
        self._refuse_inside("run")
        handle: AsyncRunHandle[Any] = await self.start_run(package, input, **options)
        stop = threading.Event()
        try:
            await self._executing(self._rt._lifecycle.run_to_end, handle.id, stop)
        except asyncio.CancelledError:
            stop.set()
            self._rt._parts.wakeups.everybody()
            raise
        return handle

    async def run_once(self) -> CycleResult:
        """See ``Runtime.run_once``."""
        self._refuse_inside("run_once")
        return await self._executing(self._rt.run_once)

    async def drain(self, timeout: Duration | None = None, max_cycles: int | None = None) -> CycleResult:
        """See ``Runtime.drain``."""
        self._refuse_inside("drain")
        return await self._executing(self._rt.drain, timeout, max_cycles)

    async def start_workers(self, **options: Any) -> None:
        """See ``Runtime.start_workers``; canceling the task stops the workers."""
        working = self._threads.long(self._rt.start_workers, **options)
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            # The loop may not have begun yet, and clears the flag when it does: it is told until it hears.
            while not working.done():
                self._rt.shutdown()
                await asyncio.wait([working], timeout=0.05)
            raise

    @asynccontextmanager
    async def workers(self, **options: Any) -> AsyncIterator[AsyncRuntime]:
        """See ``Runtime.workers``."""
        manager = self._rt.workers(**options)
        begun = self._threads.long(manager.__enter__)
        try:
            await asyncio.shield(begun)
            yield self
        finally:
            # Also where the task is canceled while they begin: nobody else would ever stop them.
            try:
                await _to_its_end(begun)
            finally:
                await _to_its_end(self._threads.long(manager.__exit__, None, None, None))

    async def shutdown(self, grace: Duration = 10.0) -> None:
        """See ``Runtime.shutdown``."""
        self._rt.shutdown(grace)

    async def close(self) -> None:
        """See ``Runtime.close``."""
        await self._threads.long(self._rt.close)

    async def handle(self, run_id: str) -> AsyncRunHandle[Any]:
        """See ``Runtime.handle``."""
        return AsyncRunHandle(self._rt, await self._threads.short(self._rt.handle, run_id))

    async def workflow(self, run_id: str) -> Run | None:
        """See ``Runtime.workflow``."""
        return await self._threads.short(self._rt.workflow, run_id)

    async def runs(
        self,
        *,
        status: RunStatus | str | Collection[RunStatus | str] | None = None,
        package: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Run]:
        """See ``Runtime.runs``."""
        where: dict[str, Any] = {"status": status, "package": package, "metadata": metadata}
        rest: dict[str, Any] = {"since": since, "until": until, "limit": limit, "cursor": cursor}
        return await self._threads.short(self._rt.runs, **where, **rest)

    async def steps(
        self,
        run_id: str,
        *,
        status: StepStatus | str | Collection[StepStatus | str] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Step]:
        """See ``Runtime.steps``."""
        return await self._threads.short(self._rt.steps, run_id, status=status, limit=limit, cursor=cursor)

    async def step(self, run_id: str, step_id: str) -> Step:
        """See ``Runtime.step``."""
        return await self._threads.short(self._rt.step, run_id, step_id)

    async def attempts(self, run_id: str, step_id: str) -> tuple[Attempt, ...]:
        """See ``Runtime.attempts``."""
        return await self._threads.short(self._rt.attempts, run_id, step_id)

    async def history(self, run_id: str) -> tuple[HistoryEvent, ...]:
        """See ``Runtime.history``."""
        return await self._threads.short(self._rt.history, run_id)

    async def result(self, run_id: str, step_id: str, type: Any = ANY) -> StepResult | None:
        """See ``Runtime.result``."""
        return await self._threads.short(self._rt.result, run_id, step_id, type)

    async def records(
        self, run_id: str | None = None, *, collection: str, limit: int = 1000, cursor: str | None = None
    ) -> Page[Record]:
        """See ``Runtime.records``."""
        return await self._threads.short(self._rt.records, run_id, collection=collection, limit=limit, cursor=cursor)

    async def artifact(self, run_id: str, artifact_id: str) -> Artifact:
        """See ``Runtime.artifact``."""
        return await self._threads.short(self._rt.artifact, run_id, artifact_id)

    async def projection(self, name: str) -> Any:
        """See ``Runtime.projection``."""
        return await self._threads.short(self._rt.projection, name)

    async def stats(self) -> Stats:
        """See ``Runtime.stats``."""
        return await self._threads.short(self._rt.stats)

    async def queues(self) -> tuple[QueueInfo, ...]:
        """See ``Runtime.queues``."""
        return await self._threads.short(self._rt.queues)

    async def artifacts(self, run_id: str, step_id: str | None = None) -> tuple[ArtifactRef, ...]:
        """See ``Runtime.artifacts``."""
        return await self._threads.short(self._rt.artifacts, run_id, step_id)

    async def run_ids(self, prefix: str = "", *, limit: int = 100) -> tuple[str, ...]:
        """See ``Runtime.run_ids``."""
        return await self._threads.short(self._rt.run_ids, prefix, limit=limit)

    async def catalog(self) -> Recorded:
        """See ``Runtime.catalog``."""
        return await self._threads.short(self._rt.catalog)

    async def explain(self, run_id: str, step_id: str) -> Explanation:
        """See ``Runtime.explain``."""
        return await self._threads.short(self._rt.explain, run_id, step_id)

    async def retry_step(self, run_id: str, step_id: str, *, force: bool = False) -> Step:
        """See ``Runtime.retry_step``."""
        return await self._command(self._rt.retry_step, run_id, step_id, force=force)

    async def retry_run(self, run_id: str) -> Run:
        """See ``Runtime.retry_run``."""
        return await self._command(self._rt.retry_run, run_id)

    async def cancel_run(self, run_id: str) -> Run:
        """See ``Runtime.cancel_run``."""
        return await self._command(self._rt.cancel_run, run_id)

    async def pause_queue(self, name: str) -> None:
        """See ``Runtime.pause_queue``."""
        await self._command(self._rt.pause_queue, name)

    async def resume_queue(self, name: str) -> None:
        """See ``Runtime.resume_queue``."""
        await self._command(self._rt.resume_queue, name)

    async def prune(
        self,
        *,
        older_than: Duration | datetime,
        statuses: Collection[RunStatus | str] = tuple(sorted(ENDED_RUN)),
        limit: int | None = None,
    ) -> int:
        """See ``Runtime.prune``."""
        return await self._command(self._rt.prune, older_than=older_than, statuses=statuses, limit=limit)
