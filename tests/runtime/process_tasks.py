"""Tasks for the tests of the process pool; they import nothing that takes time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading

from flowkit.runtime.process.child import Channel


def echo(task: bytes, channel: Channel) -> bytes:
    return task


def pid(task: bytes, channel: Channel) -> bytes:
    return str(os.getpid()).encode()


def converse(task: bytes, channel: Channel) -> bytes:
    channel.send(b"first")
    answer = channel.ask(b"second")
    channel.send(b"third")
    return answer


def converse_from_threads(task: bytes, channel: Channel) -> bytes:
    answers = []

    def ask(n: int) -> None:
        answers.extend(channel.ask(str(n).encode() * 100) for _ in range(20))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return b",".join(sorted(answers))


def wait_for_each_other(task: bytes, channel: Channel) -> bytes:
    """Ends only once the parent has heard of as many tasks as it waits for."""
    while channel.ask(task) != b"all here":
        pass
    return b"met"


def spin(task: bytes, channel: Channel) -> bytes:
    """Says that it runs, then never ends by itself, whatever it is asked."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel.send(str(os.getpid()).encode())
    while True:
        pass


def spin_until_told(task: bytes, channel: Channel) -> bytes:
    channel.send(b"running")
    while channel.ask(b"?") != b"stop":
        pass
    return b"stopped"


def exit_at_once(task: bytes, channel: Channel) -> bytes:
    os._exit(int(task))


def exit_politely(task: bytes, channel: Channel) -> bytes:
    sys.exit("enough")


def crash(task: bytes, channel: Channel) -> bytes:
    os.kill(os.getpid(), signal.SIGSEGV)
    return b""


def fail(task: bytes, channel: Channel) -> bytes:
    raise ValueError("no such page")


def fail_unspeakably(task: bytes, channel: Channel) -> bytes:
    class Unspeakable(BaseException):
        def __str__(self) -> str:
            raise SystemExit

        __repr__ = __str__

    raise Unspeakable


def return_a_number(task: bytes, channel: Channel) -> int:
    return 5


def send_a_number(task: bytes, channel: Channel) -> bytes:
    channel.send(5)  # type: ignore[arg-type]
    return b""


def close_every_file(task: bytes, channel: Channel) -> bytes:
    channel.send(b"closing")
    os.closerange(3, 256)
    while True:
        pass


def start_program(task: bytes, channel: Channel) -> bytes:
    """Starts a program that holds the FIFO named by the task open, and waits for it."""
    with open(task, "wb") as fifo, subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=fifo) as program:
        channel.send(b"started")
        program.wait()
    return b""


def leave_program(task: bytes, channel: Channel) -> bytes:
    """Starts a program that outlives the task and inherits every file that may be inherited."""
    with open(task, "wb") as fifo:
        subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=fifo, close_fds=False)
    os._exit(7)


def hold_open(task: bytes, channel: Channel) -> bytes:
    """Keeps the FIFO named by the task open for as long as this process lives."""
    KEPT.append(open(task, "wb"))  # noqa: SIM115
    return b""


def use_a_process_of_its_own(task: bytes, channel: Channel) -> bytes:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(bytes.upper, (task,))


def keep_the_channel(task: bytes, channel: Channel) -> bytes:
    KEPT.append(channel)
    return b""


def use_the_kept_channel(task: bytes, channel: Channel) -> bytes:
    try:
        KEPT[-1].send(b"too late")
    except RuntimeError as error:
        return str(error).encode()
    return b"sent"


KEPT: list = []
SLEEPER = "import time; time.sleep(600)"
