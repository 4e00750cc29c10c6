"""Executes one run in the background: for programs that start a run and want to see it through themselves."""

from __future__ import annotations

from contextlib import AbstractContextManager

from flowkit.errors import RunNotFound
from flowkit.runtime.presence import live_workers
from flowkit.runtime.runtime import Runtime


def executing(runtime: Runtime, run_id: str) -> AbstractContextManager[None]:
    """Execute the steps of one run, concurrently, for the length of the block; other runs' steps are left alone.

    ``runtime.shutdown()`` ends it before the block does.
    """
    runtime._parts.check_open()
    lifecycle, poll = runtime._lifecycle, runtime._parts.settings.poll_interval
    return lifecycle.background(lambda: lifecycle.work(poll, None, None, run_id))


def takers(runtime: Runtime, run_id: str) -> tuple[str, ...]:
    """Return the live workers that see to a run: none, unless together they serve all of its steps that are ready.

    Raises:
        RunNotFound: there is no such run.
    """
    runtime._parts.check_open()
    parts = runtime._parts
    with parts.engine.db.outside() as tx:
        run = parts.engine.runs.find(tx, run_id)
        if run is None:
            raise RunNotFound(run_id)
        waiting = parts.engine.lanes.waiting_kinds(tx, run.key)
        workers = live_workers(parts.engine.workers.all(tx), parts.clock.now())
    if waiting - {kind for worker in workers for kind in worker.kinds}:
        return ()
    # Where nothing is ready, what runs may have been left by a worker that died: any live one takes it back.
    return tuple(worker.id for worker in workers if not waiting or waiting & set(worker.kinds))
