"""Executes one run in the background: for programs that start a run and want to see it through themselves."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from flowkit.errors import ConfigError, RunNotFound
from flowkit.model.limits import QueueConfig
from flowkit.model.names import name_problem
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
        waiting = parts.engine.lanes.waiting(tx, run.key)
    live = parts.live()
    serving = [worker for worker in live if any(worker.serves(kind, queue) for kind, queue in waiting)]
    if any(not any(worker.serves(kind, queue) for worker in serving) for kind, queue in waiting):
        return ()
    # Where nothing is ready, what runs may have been left by a worker that died: any live one takes it back.
    return tuple(worker.id for worker in (serving if waiting else live))


def serve_only(runtime: Runtime, queues: Iterable[str]) -> None:
    """Let the workers of this Runtime, from their next start on, take steps from these queues alone.

    Raises:
        ConfigError: a name that no queue can have.
    """
    runtime._parts.check_open()
    names = frozenset(queues)
    for name in names:
        problem = name_problem(name, spaces=False)
        if problem:
            raise ConfigError(f"queues: {problem}, got {name!r}")
    runtime._lifecycle.queues = names


def changed_limits(runtime: Runtime) -> tuple[tuple[str, QueueConfig, QueueConfig], ...]:
    """Return each queue whose stored limits this Runtime replaced when it opened: what they were, and what they are."""
    return tuple(runtime._parts.recording.changed_limits)
