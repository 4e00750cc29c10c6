"""What the stories are told with: a run laid out on the spot, how things stand in it, and executors that do little."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from attrs import define, field

from flowkit import Permanent, Retryable, RunBuilder, RunHandle, Runtime, StepContext, executor, package
from flowkit.store.database import Session

LEASE_SECONDS = 30
"""How long the leases of a Runtime last that was told nothing else."""


@executor("echo")
def echo(step: StepContext, input: Any = None) -> Any:
    return input


@executor("fail")
def fail(step: StepContext) -> None:
    raise Permanent("broken", "it broke")


@executor("busy")
def busy(step: StepContext) -> None:
    raise Retryable("busy", "try again")


def register(runtime: Runtime, *functions: Any) -> None:
    """Register executors and packages."""
    for function in functions:
        runtime.register_executor(function)


def start(runtime: Runtime, describe: Callable[[RunBuilder], Any], *functions: Any, **options: Any) -> RunHandle[Any]:
    """Start a run of a package whose entrypoint is *describe*; *functions* are registered first."""
    register(runtime, *functions)

    @package("story")
    def story(run: RunBuilder) -> Any:
        return describe(run)

    runtime.register_package(story)
    return runtime.start_run("story", **options)


def standing(runtime: Runtime, run_id: str) -> dict[str, str]:
    """Return each step's status, with the reason where it was canceled: ``{"a": "canceled (dependency:b)"}``."""
    steps = runtime.steps(run_id)
    return {step.id: step.status.value + (f" ({step.reason})" if step.reason else "") for step in steps}


def outcomes(runtime: Runtime, run_id: str, step_id: str) -> list[tuple[int, str | None]]:
    """Return number and outcome of each attempt of a step."""
    return [(attempt.attempt, attempt.outcome) for attempt in runtime.attempts(run_id, step_id)]


def code_of(runtime: Runtime, run_id: str, step_id: str) -> str | None:
    """Return the code of the error with which a step failed."""
    result = runtime.result(run_id, step_id)
    return result.error.code if result is not None and result.error is not None else None


def told(events: list[Any], *names: str) -> list[str]:
    """Return the names of events, in order; only those that are asked for, where some are."""
    return [event.name for event in events if not names or event.name in names]


@define
class Meeting:
    """A place where an executor waits until the story lets it go on."""

    arrived: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))
    _go_on: threading.Event = field(factory=threading.Event)

    def wait(self) -> None:
        """Say that somebody is here, and wait to be let go."""
        self.arrived.release()
        assert self._go_on.wait(30), "nobody let the executor go on"

    def expect(self) -> None:
        """Wait until one more is here."""
        assert self.arrived.acquire(timeout=30), "no executor came"

    def let_go(self) -> None:
        """Let everybody go on, those too who come later."""
        self._go_on.set()


def in_background(call: Callable[[], Any]) -> threading.Thread:
    """Call something in a thread of its own."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def eventually(condition: Callable[[], Any]) -> None:
    """Return once *condition* holds; it is asked again and again, for something that another thread does."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        threading.Event().wait(0.001)


@contextmanager
def interrupted_commit(runtime: Runtime, nth: int = 1) -> Iterator[None]:
    """Let Ctrl-C come in this thread's nth commit, when the database has it and nobody here can know that."""
    connector, here = runtime._parts.engine.db.connections.connector, threading.get_ident()
    commit, left = connector.commit, nth

    def interrupted(*args: Any) -> None:
        nonlocal left
        commit(*args)
        left -= threading.get_ident() == here
        if not left:
            left = -1
            raise KeyboardInterrupt

    connector.commit = interrupted  # type: ignore[method-assign]
    try:
        yield
    finally:
        connector.commit = commit  # type: ignore[method-assign]


@contextmanager
def after_read(nth: int, act: Callable[[], Any]) -> Iterator[None]:
    """Do something, as another process would, once this thread's nth statement that reads has its rows."""
    here, rows, left = threading.get_ident(), Session.rows, nth

    def reading(session: Session, statement: Any, **values: Any) -> Any:
        nonlocal left
        found = rows(session, statement, **values)
        if threading.get_ident() == here and not session.writes:
            left -= 1
            if not left:
                act()
        return found

    with mock.patch.object(Session, "rows", reading):
        yield
