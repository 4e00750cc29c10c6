"""While a worker rests, a thread that would only wake it makes its next pass: a start leases, an outcome is settled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from flowkit import Event, QueueConfig, Retry, Retryable, RunBuilder, RunHandle, Runtime, StepContext, executor, package
from flowkit.clock import Micros
from flowkit.runtime.baton import Baton
from flowkit.runtime.crew import Crew
from flowkit.runtime.pools import ThreadPool
from flowkit.runtime.upkeep import check_store
from flowkit.runtime.waiting import Waiting
from flowkit.runtime.worker import SOON
from flowkit.scheduler.cycle import Cycle
from flowkit.store.sessions import Session
from flowkit.store.views_results import ResultViews
from flowkit.testing import Crash, FakeClock, WorkerCrashed
from tests.stories.telling import (
    Meeting,
    echo,
    eventually,
    in_background,
    interrupted_commit,
    outcomes,
    register,
    standing,
    told,
)

OpenInMemory = Callable[..., Runtime]


@pytest.fixture
def open_runtime(flowkit_clock: FakeClock) -> Iterator[OpenInMemory]:
    """Open a Runtime on memory, where no commit wakes its worker; it must be sound in the end."""
    with ExitStack() as opened:

        def open_one(*functions: Any, **settings: Any) -> Runtime:
            runtime = opened.enter_context(Runtime("sqlite://", entry_points=False, clock=flowkit_clock, **settings))
            register(runtime, *functions)
            opened.callback(lambda: soundness.append(check_store(runtime).findings))
            return runtime

        soundness: list[Any] = []
        yield open_one
    assert soundness == [()] * len(soundness)


def story(name: str, describe: Callable[[RunBuilder], Any]) -> Any:
    """Make a package; it is registered before the worker rests, for that would wake it."""

    @package(name)
    def entrypoint(run: RunBuilder) -> Any:
        return describe(run)

    return entrypoint


@contextmanager
def at_rest(runtime: Runtime) -> Iterator[None]:
    """Have the Runtime's worker at rest for as long as nobody wakes it: its clock does not move."""
    with runtime.workers(poll_interval=3600):
        eventually(lambda: _rests(runtime))
        yield


def _rests(runtime: Runtime) -> bool:
    worker = runtime._parts.looping
    if worker is None or worker.crew.wake.is_set() or not worker.baton.borrow():
        return False
    worker.baton.give_back()
    return True


def test_a_start_leases_its_first_steps_for_a_worker_that_rests(open_runtime: OpenInMemory, meeting: Meeting) -> None:
    @executor("held")
    def held(step: StepContext) -> str:
        meeting.wait()
        return step.lease.worker_id

    runtime = open_runtime(held, story("one", lambda run: run.map("a", held, [None, None])))
    with at_rest(runtime):
        run = runtime.start_run("one")
        # No other thread had to run for it.
        assert standing(runtime, run.id) == {"a[0]": "running", "a[1]": "running"}
        meeting.let_go()
        assert run.wait(30).status == "succeeded"
    leased = [entry for entry in runtime.history(run.id) if entry.name == "step_leased"]
    assert {entry.worker_id for entry in leased} == {runtime.worker_id}


def test_what_a_start_leases_is_stored_so_and_not_changed_once_more(
    open_runtime: OpenInMemory, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    @executor("held")
    def held(step: StepContext) -> None:
        meeting.wait()

    runtime = open_runtime(held, story("one", lambda run: run.step("a", held)))
    changed: list[str] = []

    def changes(real: Any) -> Any:
        def watched(tx: Session, statement: Any, **values: Any) -> Any:
            if statement.sql.startswith("UPDATE") and "attempt" in statement.sql:
                changed.append(statement.sql)
            return real(tx, statement, **values)

        return watched

    with at_rest(runtime):
        with monkeypatch.context() as patched:
            for name in ("rows", "run", "later", "change"):
                patched.setattr(Session, name, changes(getattr(Session, name)))
            run = runtime.start_run("one")
        assert (standing(runtime, run.id), changed) == ({"a": "running"}, [])
        meeting.let_go()
        assert run.wait(30).status == "succeeded"


class Telling:
    """Tells of other processes' commits, of which there are none, while somebody listens."""

    is_told = True
    is_heard = False

    def watch(self, stop: threading.Event, needed: Callable[[], bool], tell: Callable[[str], None]) -> None:
        self.is_heard = True
        stop.wait()

    def patience(self, seconds: float) -> float:
        return seconds


def test_a_worker_that_finds_something_whenever_it_looks_hears_of_other_processes_all_the_same(
    open_runtime: OpenInMemory, flowkit_clock: FakeClock, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It never comes to rest until its poll is over; but between two passes there is nothing to do for a moment.
    @executor("held")
    def held(step: StepContext) -> None:
        meeting.wait()

    runtime, watcher = open_runtime(held, story("one", lambda run: run.step("a", held))), Telling()
    runtime._parts.wakeups._watcher = watcher
    monkeypatch.setattr(Cycle, "look", lambda cycle, demand: (True, flowkit_clock.now(), {}))
    run = runtime.start_run("one")
    with runtime.workers(poll_interval=3600):
        eventually(lambda: _rests(runtime))
        meeting.let_go()
        eventually(lambda: standing(runtime, run.id) == {"a": "succeeded"})
        assert not watcher.is_heard
        eventually(lambda: flowkit_clock.advance(SOON) or watcher.is_heard)


def test_who_waits_for_a_run_that_was_begun_here_is_told_of_its_end_and_does_not_look(
    open_runtime: OpenInMemory, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    look = Waiting.standing

    def counted(waiting: Waiting, run_id: str, *, inside: bool) -> Any:
        looks.append(run_id)
        return look(waiting, run_id, inside=inside)

    monkeypatch.setattr(Waiting, "standing", counted)

    @executor("held")
    def held(step: StepContext) -> None:
        meeting.wait()

    runtime = open_runtime(held, story("one", lambda run: run.step("a", held)))
    with at_rest(runtime):
        run = runtime.start_run("one")
        waits = in_background(run.wait)
        eventually(lambda: run.id in runtime._parts.wakeups._runs)
        meeting.let_go()
        waits.join(30)
        assert looks == []
        # Asked a second time, it is not expected to end any more: it may have been long ago.
        assert run.wait(30).status == "succeeded"
        assert looks == [run.id]


@pytest.mark.parametrize(
    ("output", "asked", "is_read", "value"),
    [
        (lambda first, last: last, None, False, {"of": "last"}),
        (lambda first, last: first, None, True, {"of": "first"}),
        (lambda first, last: [first, last], None, True, [{"of": "first"}, {"of": "last"}]),
        (lambda first, last: last, "first", True, {"of": "first"}),
    ],
    ids=["comes-with-the-end", "ended-before", "a-list", "another-by-name"],
)
def test_an_output_that_comes_with_the_end_of_its_run_is_not_read(
    open_runtime: OpenInMemory,
    meeting: Meeting,
    monkeypatch: pytest.MonkeyPatch,
    output: Callable[..., Any],
    asked: str | None,
    is_read: bool,
    value: Any,
) -> None:
    def counted(name: str) -> None:
        view = getattr(ResultViews, name)
        monkeypatch.setattr(ResultViews, name, lambda *given: reads.append(name) or view(*given))

    @executor("held")
    def held(step: StepContext) -> Any:
        meeting.wait()
        return {"of": step.step_id}

    def describe(run: RunBuilder) -> Any:
        first, last = run.step("first", held), run.step("last", held)
        first >> last
        return output(first, last)

    reads: list[str] = []
    counted("output")
    counted("values")
    runtime = open_runtime(held, story("two", describe))
    with at_rest(runtime):
        run = runtime.start_run("two")
        found: list[Any] = []
        waits = in_background(lambda: found.append(run.result(asked)))
        eventually(lambda: run.id in runtime._parts.wakeups._runs)
        meeting.let_go()
        waits.join(30)
    assert found == [value]
    assert bool(reads) is is_read


def test_such_a_start_obeys_the_limits_of_queues_and_of_the_worker(
    open_runtime: OpenInMemory, meeting: Meeting
) -> None:
    @executor("held", queue="narrow")
    def held(step: StepContext) -> None:
        meeting.wait()

    @executor("free")
    def free(step: StepContext) -> None:
        meeting.wait()

    one = story("one", lambda run: run.map("a", held, [None, None]))
    other = story("other", lambda run: run.map("b", free, [None, None]))
    runtime = open_runtime(held, free, one, other, queues={"narrow": QueueConfig(max_workers=1)}, max_workers=2)
    with at_rest(runtime):
        narrow, wide = runtime.start_run("one"), runtime.start_run("other")
        eventually(lambda: "running" in standing(runtime, wide.id).values())
        assert standing(runtime, narrow.id) == {"a[0]": "running", "a[1]": "ready"}
        assert sorted(standing(runtime, wide.id).values()) == ["ready", "running"]
        meeting.let_go()
        assert (narrow.wait(30).status, wide.wait(30).status) == ("succeeded", "succeeded")


def test_a_chain_goes_on_from_link_to_link_though_nobody_wakes_the_worker(open_runtime: OpenInMemory) -> None:
    events: list[Event] = []

    def chained(run: RunBuilder) -> Any:
        return [run.step(f"link{n}", echo, n, after=f"link{n - 1}" if n else None) for n in range(5)][-1]

    runtime = open_runtime(echo, story("one", chained), observers=[events.append])
    with at_rest(runtime):
        assert runtime.start_run("one").result(timeout=30) == 4
    assert told(events, "step_leased", "step_succeeded") == ["step_leased", "step_succeeded"] * 5


def test_a_retry_comes_due_though_another_thread_than_the_workers_settled_it(
    open_runtime: OpenInMemory, flowkit_clock: FakeClock
) -> None:
    @executor("twice", retry=Retry(initial=7))
    def twice(step: StepContext) -> int:
        if step.attempt == 1:
            raise Retryable("busy")
        return step.attempt

    runtime = open_runtime(twice, story("one", lambda run: run.step("a", twice)))
    with at_rest(runtime):
        run = runtime.start_run("one")
        eventually(lambda: outcomes(runtime, run.id, "a") == [(1, "retried")])
        # The worker rests for an hour of its clock, unless it was told of the retry.
        flowkit_clock.advance(7)
        assert run.result(timeout=30) == 2


def test_a_worker_that_crashes_in_the_thread_that_starts_a_run_ends_as_by_a_kill(
    open_runtime: OpenInMemory, flowkit_clock: FakeClock
) -> None:
    runtime = open_runtime(echo, story("one", lambda run: run.step("a", echo, 1)))
    with pytest.raises(WorkerCrashed), at_rest(runtime):
        Crash(runtime).at("after_lease")
        run = runtime.start_run("one")
        assert standing(runtime, run.id) == {"a": "running"}
        eventually(lambda: runtime.stats().workers == ())
    flowkit_clock.advance(31)
    runtime.drain()
    flowkit_clock.advance(1)
    runtime.drain()
    assert outcomes(runtime, run.id, "a") == [(1, "lost"), (2, "succeeded")]


def test_what_a_worker_at_rest_has_no_slot_for_is_leased_when_one_comes_free(
    open_runtime: OpenInMemory, meeting: Meeting
) -> None:
    @executor("held")
    def held(step: StepContext) -> None:
        meeting.wait()

    one, other = story("one", lambda run: run.step("a", held)), story("other", lambda run: run.step("b", echo, 1))
    runtime = open_runtime(held, echo, one, other, max_workers=1)
    with at_rest(runtime):
        first, second = runtime.start_run("one"), runtime.start_run("other")
        assert standing(runtime, second.id) == {"b": "ready"}
        meeting.let_go()
        assert (first.wait(30).status, second.result(timeout=30)) == ("succeeded", 1)


def test_a_worker_looks_out_for_other_processes_only_once_it_has_nothing_to_do(
    tmp_path: Path, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    @executor("held")
    def held(step: StepContext) -> None:
        meeting.wait()

    others = set(threading.enumerate())

    def looks_out() -> bool:
        return any(thread.name == "flowkit-wakeup" for thread in set(threading.enumerate()) - others)

    with Runtime(f"sqlite:///{tmp_path / 'a.db'}", entry_points=False, clock=flowkit_clock) as runtime:
        register(runtime, held, story("one", lambda run: run.step("a", held)))
        runtime.start_run("one")
        with at_rest(runtime):
            meeting.expect()
            assert not looks_out()
            flowkit_clock.advance(SOON)
            eventually(looks_out)
            meeting.let_go()


def test_an_observer_may_start_a_run_in_the_middle_of_such_a_pass(open_runtime: OpenInMemory) -> None:
    following: list[RunHandle[Any]] = []

    def follow(event: Event) -> None:
        if event.name == "run_finished" and not following:
            following.append(runtime.start_run("other"))

    one, other = story("one", lambda run: run.step("a", echo, 1)), story("other", lambda run: run.step("b", echo, 2))
    runtime = open_runtime(echo, one, other, observers=[follow])
    with at_rest(runtime):
        first = runtime.start_run("one")
        assert first.result(timeout=30) == 1
        eventually(lambda: following)
        assert following[0].result(timeout=30) == 2


def test_a_worker_that_is_told_to_stop_leases_nothing_more(open_runtime: OpenInMemory, meeting: Meeting) -> None:
    @executor("held")
    def held(step: StepContext) -> None:
        meeting.wait()

    one, other = story("one", lambda run: run.step("a", held)), story("other", lambda run: run.step("b", echo, 1))
    runtime = open_runtime(held, echo, one, other)
    with at_rest(runtime):
        first = runtime.start_run("one")
        meeting.expect()
        runtime.shutdown()
        second = runtime.start_run("other")
        assert standing(runtime, second.id) == {"b": "ready"}
        meeting.let_go()
        assert first.wait(30).status == "succeeded"


def test_a_worker_that_awaits_what_it_leased_lends_its_passes_all_the_while(
    open_runtime: OpenInMemory, flowkit_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it to take the baton back at each of its short waits, a thread that ends just then would have to wake it."""
    gates: SimpleQueue[None] = SimpleQueue()
    lent: list[Micros] = []
    short: list[float] = []
    resting, wait = Baton.resting, FakeClock.wait

    def noted(baton: Baton, until: Micros) -> AbstractContextManager[None]:
        lent.append(until)
        return resting(baton, until)

    def counted(clock: FakeClock, signal: threading.Event, seconds: float | None) -> bool:
        if seconds == SOON:
            short.append(seconds)
        return wait(clock, signal, seconds)

    @executor("gated")
    def gated() -> None:
        gates.get(timeout=30)

    def chained(run: RunBuilder) -> Any:
        return [run.step(f"link{n}", gated, after=f"link{n - 1}" if n else None) for n in range(4)][-1]

    runtime = open_runtime(gated, story("one", chained))
    run = runtime.start_run("one")
    monkeypatch.setattr(Baton, "resting", noted)
    monkeypatch.setattr(FakeClock, "wait", counted)
    with runtime.workers(poll_interval=3600):
        for link in range(3):
            eventually(lambda: len(short) == link + 1)  # noqa: B023 - called at once
            gates.put(None)
            eventually(lambda: standing(runtime, run.id)[f"link{link + 1}"] == "running")  # noqa: B023
            flowkit_clock.advance(SOON)
        eventually(lambda: len(short) == 4)
        assert len(lent) == 1
        gates.put(None)
        assert run.wait(30).status == "succeeded"


def test_what_a_start_has_leased_is_attempted_though_ctrl_c_interrupts_an_observer_of_it(
    open_runtime: OpenInMemory,
) -> None:
    def interrupted(event: Event) -> None:
        if event.name == "run_created":
            raise KeyboardInterrupt

    once = story("once", lambda run: run.step("a", echo, 1, retry=Retry(max_attempts=1)))
    runtime = open_runtime(echo, once, observers=[interrupted])
    with at_rest(runtime):
        with pytest.raises(KeyboardInterrupt):
            runtime.start_run("once", run_id="one")
        assert runtime.handle("one").wait(30).status == "succeeded"


def test_a_worker_attempts_what_a_start_leased_for_it_though_ctrl_c_came_in_the_commit(
    open_runtime: OpenInMemory,
) -> None:
    once = story("once", lambda run: run.step("a", echo, 1, retry=Retry(max_attempts=1)))
    runtime = open_runtime(echo, once)
    with at_rest(runtime):
        with interrupted_commit(runtime), pytest.raises(KeyboardInterrupt):
            runtime.start_run("once", run_id="one")
        assert runtime.handle("one").wait(30).status == "succeeded"
    assert outcomes(runtime, "one", "a") == [(1, "succeeded")]


@pytest.mark.parametrize(
    "moment", ["borrows the worker's pass", "is about to launch", "is about to hand over", "has handed over"]
)
@pytest.mark.parametrize("raised", [KeyboardInterrupt, TimeoutError])
def test_a_worker_goes_on_whatever_a_signal_raises_in_a_start(
    open_runtime: OpenInMemory, monkeypatch: pytest.MonkeyPatch, moment: str, raised: type[BaseException]
) -> None:
    """The thread that starts a run makes the resting worker's pass; its exceptions are its own."""
    runtime = open_runtime(echo, story("once", lambda run: run.step("a", echo, 1)))
    here, raises = threading.get_ident(), [raised]

    def interrupting(owner: Any, name: str, *, after: bool) -> None:
        call = getattr(owner, name)

        def interrupted(*args: Any) -> Any:
            made = call(*args) if after else None
            if threading.get_ident() == here and raises:
                raise raises.pop()("from a signal's handler")
            return made if after else call(*args)

        monkeypatch.setattr(owner, name, interrupted)

    owner, name = {
        "borrows the worker's pass": (Baton, "borrow"),
        "is about to launch": (Crew, "launch"),
    }.get(moment, (ThreadPool, "start"))
    with at_rest(runtime):
        interrupting(owner, name, after="about" not in moment)
        with pytest.raises(raised, match="signal"):
            runtime.start_run("once")
        assert [runtime.start_run("once").result(timeout=30) for _ in range(3)] == [1, 1, 1]
        eventually(lambda: all(run.is_ended for run in runtime.runs()))
    assert {run.status.value for run in runtime.runs()} == {"succeeded"}


def test_what_runs_already_is_not_given_back_where_a_signal_interrupts_the_start_that_launched_it(
    open_runtime: OpenInMemory, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over, here, interrupts = ThreadPool.start, threading.get_ident(), [KeyboardInterrupt]

    @executor("held")
    def held(step: StepContext) -> None:
        meeting.wait()

    def interrupted(pool: ThreadPool, attempts: Any) -> None:
        hand_over(pool, attempts)
        if threading.get_ident() == here and interrupts:
            meeting.expect()
            raise interrupts.pop()

    runtime = open_runtime(held, story("once", lambda run: run.step("a", held)))
    with at_rest(runtime):
        monkeypatch.setattr(ThreadPool, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runtime.start_run("once", run_id="one")
        meeting.let_go()
        assert runtime.handle("one").wait(30).status == "succeeded"
    assert outcomes(runtime, "one", "a") == [(1, "succeeded")]
