"""Follows a run: what happens in it, in this process or another, is told in order until it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from flowkit.errors import RunNotFound, WaitTimeout
from flowkit.model.events import HistoryEvent
from flowkit.model.run import Run
from flowkit.model.states import ENDED_STEP
from flowkit.model.step import Step
from flowkit.runtime.reads import Reads
from flowkit.runtime.settings import checked_timeout
from flowkit.runtime.waiting import Until

SHOWN = 20
"""How many running steps are looked at where the news shall bring them."""


@attrs.frozen
class News:
    """What is new in a run, all of one moment.

    Attributes:
        run: the run as it stands; in the last news of a run it has ended.
        events: what happened since the news before, in order; perhaps nothing.
        running: the first steps that run now, where they were asked for.
    """

    run: Run
    events: tuple[HistoryEvent, ...] = ()
    running: tuple[Step, ...] = ()


def follow(
    runtime: Reads,
    run_id: str,
    *,
    since: int = 0,
    timeout: float | None = None,
    with_running: bool = False,
    each: Callable[[], None] | None = None,
) -> Iterator[News]:
    """Yield what is new in a run, at once and then whenever something was committed, until it has ended.

    News without an event come too, at least every poll interval: a step's progress is no event.

    Args:
        since: the number of the first event that counts as news.
        timeout: seconds to follow at most.
        with_running: bring the steps that run.
        each: called before every look.

    Raises:
        RunNotFound: there is no such run, or it was pruned meanwhile.
        WaitTimeout: the time is over; the run goes on.
    """
    runtime._parts.check_open()
    parts, seconds = runtime._parts, checked_timeout("follow", timeout)
    until = None if seconds is None else parts.clock.monotonic() + seconds
    with parts.wakeups.run(run_id) as signal:
        while True:
            signal.clear()
            if each is not None:
                each()
            news = _look(runtime, run_id, since, with_running)
            since += len(news.events)
            yield news
            if news.run.is_ended:
                return
            left = parts.settings.poll_interval
            if until is not None:
                left = min(left, until - parts.clock.monotonic())
            if left <= 0:
                status = news.run.status.value
                raise WaitTimeout(f"run {run_id!r} is {status} after {seconds:g} s; it goes on")
            parts.clock.wait(signal, left)


def _look(runtime: Reads, run_id: str, since: int, with_running: bool) -> News:
    views = runtime._parts.engine.views
    with runtime._parts.engine.read() as tx:
        # The run is read first: what the events tell may be newer than it, but of an ended run none is missing.
        run = views.run(tx, run_id)
        if run is None:
            raise RunNotFound(run_id)
        events = views.history(tx, run_id, since)
        running = views.steps(tx, run_id, status="running", limit=SHOWN) if with_running and not run.is_ended else ()
    return News(run, events, tuple(running))


def wait_for_end(
    runtime: Reads,
    run_id: str,
    step_id: str | None = None,
    timeout: float | None = None,
    each: Callable[[], None] | None = None,
) -> None:
    """Block until a run has ended, however it did, or one of its steps has.

    Args:
        step_id: it may be one that is yet to be emitted.
        timeout: seconds to wait at most.
        each: called before every look.

    Raises:
        RunNotFound: there is no such run.
        WaitTimeout: the time is over; the run goes on.
    """
    runtime._parts.check_open()
    until = None if step_id is None else Until(step_id, ENDED_STEP)
    runtime._parts.waiting.wait_for(run_id, timeout, until, each)


def unserved(runtime: Reads, run_id: str) -> list[str]:
    """Return the kinds of a run's ready steps that no live worker serves, in order."""
    return runtime._parts.waiting.unserved(run_id)
