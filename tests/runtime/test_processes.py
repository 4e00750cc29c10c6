"""The process pool: tasks run, talk and end, and can be killed, and nothing that a child does harms the parent."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from flowkit.errors import ConfigError, RuntimeClosed
from flowkit.runtime.process.pool import Died, Finished, Killed, ProcessPool, Raised, Returned, Ticket

LONG = 60
MIB = 1024 * 1024

pytestmark = pytest.mark.timeout(120)


@attrs.frozen
class Job:
    """A task that was submitted, what it said, and how it ended."""

    ticket: Ticket
    said: queue.Queue[bytes]
    ended: Future[Finished]
    endings: list[Finished]

    def hear(self) -> bytes:
        return self.said.get(timeout=LONG)

    def end(self) -> Finished:
        return self.ended.result(LONG)


def start(pool: ProcessPool, name: str, task: bytes = b"", *, answer: bytes | None = None) -> Job:
    said: queue.Queue[bytes] = queue.Queue()
    ended: Future[Finished] = Future()
    endings: list[Finished] = []

    def on_message(message: bytes) -> bytes | None:
        said.put(message)
        return answer

    def on_done(ending: Finished) -> None:
        endings.append(ending)
        if len(endings) == 1:
            ended.set_result(ending)

    ticket = pool.submit(task, f"tests.runtime.process_tasks:{name}", on_message, on_done)
    return Job(ticket, said, ended, endings)


def run(pool: ProcessPool, name: str, task: bytes = b"", *, answer: bytes | None = None) -> Finished:
    return start(pool, name, task, answer=answer).end()


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    made = ProcessPool(1)
    yield made
    made.close(kill=True)


@pytest.fixture(scope="module")
def lasting() -> Iterator[ProcessPool]:
    """A pool for tests that leave its process alive, so that not each of them waits for one to start."""
    made = ProcessPool(1)
    yield made
    made.close(kill=True)


@pytest.fixture
def two() -> Iterator[ProcessPool]:
    made = ProcessPool(2)
    yield made
    made.close(kill=True)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    with ThreadPoolExecutor(1) as reader:
        yield Fifo(tmp_path / "fifo", reader)


class Fifo:
    """Tells when the last process that held it open is gone."""

    def __init__(self, path: Path, reader: ThreadPoolExecutor) -> None:
        os.mkfifo(path)
        self.name = os.fsencode(path)
        self._gone = reader.submit(path.read_bytes)

    def wait_until_nobody_holds_it(self) -> None:
        assert self._gone.result(LONG) == b""


def test_a_task_returns_what_its_function_returned(lasting: ProcessPool) -> None:
    assert run(lasting, "echo", b"hello") == Returned(b"hello")


def test_a_task_runs_in_another_process_which_is_used_again(lasting: ProcessPool) -> None:
    first, second = run(lasting, "pid"), run(lasting, "pid")

    assert first == second
    assert first != Returned(str(os.getpid()).encode())


def test_no_process_is_started_before_the_first_task() -> None:
    before = multiprocessing.active_children()
    pool = ProcessPool(2)

    assert multiprocessing.active_children() == before
    pool.close()


def test_a_task_talks_in_order_and_gets_its_answers(lasting: ProcessPool) -> None:
    job = start(lasting, "converse", answer=b"forty-two")

    assert job.end() == Returned(b"forty-two")
    assert [job.hear(), job.hear(), job.hear()] == [b"first", b"second", b"third"]


def test_an_ask_that_is_not_answered_gets_no_bytes(lasting: ProcessPool) -> None:
    assert run(lasting, "converse", answer=None) == Returned(b"")


def test_any_thread_of_a_task_may_ask_and_gets_its_own_answer(lasting: ProcessPool) -> None:
    ended: Future[Finished] = Future()

    lasting.submit(b"", "tests.runtime.process_tasks:converse_from_threads", lambda m: m[:1], ended.set_result)

    assert ended.result(LONG) == Returned(b",".join(n for n in (b"0", b"1", b"2", b"3") for _ in range(20)))


def test_as_many_tasks_run_at_once_as_the_pool_is_large(two: ProcessPool) -> None:
    here: set[bytes] = set()
    ended: list[Future[Finished]] = [Future(), Future()]

    def answer(name: bytes) -> bytes:
        here.add(name)
        return b"all here" if len(here) == 2 else b"not yet"

    for name, future in zip((b"a", b"b"), ended):
        two.submit(name, "tests.runtime.process_tasks:wait_for_each_other", answer, future.set_result)

    assert [future.result(LONG) for future in ended] == [Returned(b"met"), Returned(b"met")]


def test_tasks_wait_their_turn_first_come_first_served(lasting: ProcessPool) -> None:
    order: queue.Queue[Finished] = queue.Queue()
    for n in range(20):
        lasting.submit(str(n).encode(), "tests.runtime.process_tasks:echo", lambda _: None, order.put)

    assert [order.get(timeout=LONG) for _ in range(20)] == [Returned(str(n).encode()) for n in range(20)]


def test_large_things_pass_in_every_direction(lasting: ProcessPool) -> None:
    large = os.urandom(MIB) * 24

    assert run(lasting, "echo", large) == Returned(large)
    assert run(lasting, "converse", answer=large) == Returned(large)


def test_a_process_that_does_not_read_holds_up_no_other(two: ProcessPool) -> None:
    idle = run(two, "pid")
    assert isinstance(idle, Returned)
    os.kill(int(idle.body), signal.SIGSTOP)
    held_up = start(two, "echo", bytes(8 * MIB))

    assert run(two, "echo", b"meanwhile") == Returned(b"meanwhile")
    held_up.ticket.kill()
    assert held_up.end() == Killed()


def test_a_running_task_is_killed_at_once_whatever_it_does(pool: ProcessPool) -> None:
    job = start(pool, "spin")
    job.hear()

    job.ticket.kill()

    assert job.end() == Killed()
    assert run(pool, "echo", b"next") == Returned(b"next")
    assert job.endings == [Killed()]


def test_a_killed_process_is_gone_and_replaced(pool: ProcessPool) -> None:
    job = start(pool, "spin")
    killed = int(job.hear())

    job.ticket.kill()
    job.end()

    with pytest.raises(ProcessLookupError):
        os.kill(killed, 0)
    assert run(pool, "pid") != Returned(str(killed).encode())


def test_a_kill_takes_the_programs_that_the_task_started(pool: ProcessPool, fifo: Fifo) -> None:
    job = start(pool, "start_program", fifo.name)
    job.hear()

    job.ticket.kill()

    assert job.end() == Killed()
    fifo.wait_until_nobody_holds_it()


def test_a_task_killed_while_it_waits_ends_without_waiting(pool: ProcessPool) -> None:
    busy, waiting = start(pool, "spin"), start(pool, "echo")
    busy.hear()

    waiting.ticket.kill()

    assert waiting.end() == Killed()
    assert not busy.ended.done()


def test_a_kill_after_the_end_changes_nothing(lasting: ProcessPool) -> None:
    job = start(lasting, "pid")
    first = job.end()

    job.ticket.kill()

    assert run(lasting, "pid") == first
    assert job.endings == [first]


def test_a_kill_at_any_moment_ends_a_task_exactly_once(two: ProcessPool) -> None:
    jobs = [start(two, "echo", b"x") for _ in range(60)]
    with ThreadPoolExecutor(3) as killers:
        list(killers.map(lambda job: job.ticket.kill(), jobs[::3] + jobs[::4]))
    endings = [job.end() for job in jobs]

    assert set(endings) <= {Returned(b"x"), Killed()}
    assert run(two, "echo", b"alive") == Returned(b"alive")
    assert [len(job.endings) for job in jobs] == [1] * 60


@pytest.mark.parametrize("milliseconds", range(0, 12, 3))
def test_a_kill_while_the_process_starts_is_not_forgotten(pool: ProcessPool, milliseconds: int) -> None:
    job = start(pool, "spin")
    threading.Event().wait(milliseconds / 1000)

    job.ticket.kill()

    assert job.end() == Killed()


def test_a_process_that_exits_is_told_with_its_code(pool: ProcessPool) -> None:
    assert run(pool, "exit_at_once", b"9") == Died(9)
    assert run(pool, "echo", b"next") == Returned(b"next")


def test_a_process_that_crashes_is_told_with_its_signal(pool: ProcessPool) -> None:
    assert run(pool, "crash") == Died(-signal.SIGSEGV)
    assert run(pool, "echo", b"next") == Returned(b"next")


def test_a_process_that_cuts_itself_off_is_ended(pool: ProcessPool) -> None:
    assert run(pool, "close_every_file") == Died(-signal.SIGKILL)
    assert run(pool, "echo", b"next") == Returned(b"next")


def test_a_program_that_a_dead_process_left_behind_hides_nothing_and_is_ended(pool: ProcessPool, fifo: Fifo) -> None:
    assert run(pool, "leave_program", fifo.name) == Died(7)
    fifo.wait_until_nobody_holds_it()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fail", "ValueError: no such page"),
        ("exit_politely", "SystemExit: enough"),
        ("fail_unspeakably", "Unspeakable"),
        ("return_a_number", "returned int, expected bytes"),
        ("send_a_number", "TypeError"),
        ("not_there", "not_there"),
    ],
)
def test_a_task_that_fails_tells_why_and_its_process_goes_on(lasting: ProcessPool, name: str, told: str) -> None:
    before = run(lasting, "pid")

    failed = run(lasting, name)

    assert isinstance(failed, Raised)
    assert told in failed.text
    assert run(lasting, "pid") == before


def test_a_module_that_is_not_there_is_told(lasting: ProcessPool) -> None:
    ended: Future[Finished] = Future()
    lasting.submit(b"", "no.such.module:function", lambda _: None, ended.set_result)

    failed = ended.result(LONG)
    assert isinstance(failed, Raised)
    assert "No module named 'no'" in failed.text


def test_a_process_that_died_while_idle_costs_no_task(pool: ProcessPool) -> None:
    for _ in range(3):
        idle = run(pool, "pid")
        assert isinstance(idle, Returned)
        os.kill(int(idle.body), signal.SIGKILL)

        assert isinstance(run(pool, "pid"), Returned)


def test_a_callback_that_fails_on_a_message_ends_its_task_alone(pool: ProcessPool) -> None:
    ended: Future[Finished] = Future()

    def on_message(message: bytes) -> bytes:
        raise LookupError("nobody knows")

    pool.submit(b"", "tests.runtime.process_tasks:spin", on_message, ended.set_result)

    failed = ended.result(LONG)
    assert isinstance(failed, Raised)
    assert "LookupError: nobody knows" in failed.text
    assert run(pool, "echo", b"next") == Returned(b"next")


def test_a_callback_that_fails_at_the_end_is_reported_as_any_threads_failure(
    lasting: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: queue.Queue[object] = queue.Queue()
    monkeypatch.setattr(threading, "excepthook", lambda failure: reported.put(failure.exc_value))

    def on_done(ending: Finished) -> None:
        raise LookupError("nobody listens")

    lasting.submit(b"", "tests.runtime.process_tasks:echo", lambda _: None, on_done)

    assert str(reported.get(timeout=LONG)) == "nobody listens"
    assert run(lasting, "echo", b"next") == Returned(b"next")


def test_callbacks_come_on_one_thread_that_is_not_the_submitters(two: ProcessPool) -> None:
    threads: queue.Queue[threading.Thread] = queue.Queue()

    def note(_: object) -> None:
        threads.put(threading.current_thread())

    for _ in range(10):
        two.submit(b"", "tests.runtime.process_tasks:converse", note, note)

    seen = {threads.get(timeout=LONG) for _ in range(40)}
    assert len(seen) == 1
    assert threading.current_thread() not in seen


def test_an_interrupt_is_left_to_the_parent(lasting: ProcessPool) -> None:
    ended: Future[Finished] = Future()
    running: queue.Queue[bytes] = queue.Queue()
    interrupted = threading.Event()

    def on_message(message: bytes) -> bytes | None:
        running.put(message)
        return b"stop" if interrupted.is_set() else None

    child = run(lasting, "pid")
    assert isinstance(child, Returned)
    lasting.submit(b"", "tests.runtime.process_tasks:spin_until_told", on_message, ended.set_result)
    running.get(timeout=LONG)
    os.kill(int(child.body), signal.SIGINT)
    interrupted.set()

    assert ended.result(LONG) == Returned(b"stopped")


def test_a_task_may_start_processes_of_its_own(lasting: ProcessPool) -> None:
    assert run(lasting, "use_a_process_of_its_own", b"loud") == Returned(b"LOUD")


def test_a_channel_does_not_outlive_its_task(lasting: ProcessPool) -> None:
    run(lasting, "keep_the_channel")
    late = start(lasting, "use_the_kept_channel")

    assert late.end() == Returned(b"the task has ended, so its channel is closed")
    assert late.said.empty()


def test_closing_waits_for_the_tasks_that_were_taken_and_ends_the_processes(two: ProcessPool, fifo: Fifo) -> None:
    jobs = [start(two, "hold_open", fifo.name), *(start(two, "echo", b"x") for _ in range(10))]

    two.close()

    assert [job.ended.done() for job in jobs] == [True] * 11
    assert {job.end() for job in jobs[1:]} == {Returned(b"x")}
    fifo.wait_until_nobody_holds_it()


def test_closing_may_kill_instead(pool: ProcessPool) -> None:
    running, waiting = start(pool, "spin"), start(pool, "echo")
    running.hear()

    pool.close(kill=True)

    assert (running.end(), waiting.end()) == (Killed(), Killed())


def test_a_close_that_waits_can_be_hurried(pool: ProcessPool) -> None:
    job = start(pool, "spin")
    job.hear()
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(pool.close)
        pool.close(kill=True)
        waiting.result(LONG)

    assert job.end() == Killed()


def test_a_closed_pool_takes_no_task(pool: ProcessPool) -> None:
    run(pool, "echo")
    pool.close()
    pool.close()

    with pytest.raises(RuntimeClosed):
        start(pool, "echo")


@pytest.mark.parametrize("size", [0, -1, True, 1.5, None])
def test_a_size_that_makes_no_sense_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="ProcessPool: size"):
        ProcessPool(size)


@pytest.mark.parametrize("task", ["spin", "hold_open"])
def test_children_die_with_the_parent(fifo: Fifo, task: str) -> None:
    """The one child is busy, the other idle, when the parent is killed."""
    parent = program(PARENT_THAT_IS_KILLED, os.fsdecode(fifo.name), task)

    out, err = parent.communicate(timeout=LONG)

    assert (parent.returncode, out, err) == (-signal.SIGKILL, "", "")
    fifo.wait_until_nobody_holds_it()


def test_functions_of_the_main_module_are_found_and_nothing_is_said(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(MAIN_WITH_A_FUNCTION)
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=LONG, env=with_path())

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "Returned(body=b'MINE')\nKilled()\n", "")


def test_a_main_module_without_its_guard_is_not_run_again_in_the_children(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(UNGUARDED_MAIN)
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=LONG, env=with_path())

    assert ran.stdout == "once\nDied(exitcode=1, has_begun=False, reason='')\n"
    assert "under if __name__ == '__main__'" in ran.stderr


def test_a_program_that_ends_without_closing_the_pool_ends_its_children_first(fifo: Fifo) -> None:
    parent = program(PARENT_THAT_FORGETS, os.fsdecode(fifo.name))

    out, err = parent.communicate(timeout=LONG)

    assert (parent.returncode, out, err) == (0, "", "")
    fifo.wait_until_nobody_holds_it()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_processes_of_its_own(lasting: ProcessPool) -> None:
    before = run(lasting, "pid")
    child = multiprocessing.get_context("fork").Process(target=expect_another_process, args=(lasting, before))
    child.start()
    child.join(LONG)

    assert child.exitcode == 0
    assert run(lasting, "pid") == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_that_ends_without_closing_its_pool_ends_well(capfd: pytest.CaptureFixture[str]) -> None:
    """``multiprocessing`` ends what is left there by itself, in the midst of what the pool does."""
    forked = multiprocessing.get_context("fork")
    children = [forked.Process(target=forget, args=(ProcessPool(3),)) for _ in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join(LONG)

    assert ([child.exitcode for child in children], capfd.readouterr().err) == ([0] * 6, "")


def forget(pool: ProcessPool) -> None:
    jobs = [start(pool, "pid") for _ in range(3)]
    assert all(isinstance(job.end(), Returned) for job in jobs)


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="the platform has no SIGCHLD")
def test_a_program_that_ignores_how_its_children_end_is_served_all_the_same() -> None:
    others = set(multiprocessing.active_children())
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        pool = ProcessPool(1)
        assert run(pool, "crash") == Died(None)
        assert run(pool, "echo", b"hello") == Returned(b"hello")
        assert len(set(multiprocessing.active_children()) - others) == 1, "the one that ended is asked for still"
        pool.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


def expect_another_process(pool: ProcessPool, inherited: Finished) -> None:
    assert run(pool, "pid") != inherited
    pool.close()


def with_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def program(source: str, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments], stdout=pipe, stderr=pipe, text=True, env=with_path()
    )


PARENT = """
import os, signal, sys, threading
from flowkit.runtime.process.pool import ProcessPool

def run(name, task):
    came = threading.Event()
    pool.submit(task, "tests.runtime.process_tasks:" + name, lambda _: came.set(), lambda _: came.set())
    came.wait()

pool = ProcessPool(2)
run("hold_open", os.fsencode(sys.argv[1]))
"""

PARENT_THAT_IS_KILLED = f"""{PARENT}
run(sys.argv[2], os.fsencode(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""

PARENT_THAT_FORGETS = f"""{PARENT}
run("spin", b"")
"""

MAIN_WITH_A_FUNCTION = """
import queue
from flowkit.runtime.process.pool import ProcessPool

def upper(task, channel):
    return task.upper()

def spin(task, channel):
    channel.send(b"running")
    while True:
        pass

if __name__ == "__main__":
    pool, ended, said = ProcessPool(2), queue.Queue(), queue.Queue()
    pool.submit(b"mine", "__main__:upper", print, ended.put)
    print(ended.get())
    ticket = pool.submit(b"", "__main__:spin", said.put, ended.put)
    said.get()
    ticket.kill()
    print(ended.get())
"""

UNGUARDED_MAIN = """
import queue
from flowkit.runtime.process.pool import ProcessPool

pool, ended = ProcessPool(1), queue.Queue()
print("once", flush=True)
pool.submit(b"", "builtins:print", print, ended.put)
print(ended.get())
"""
