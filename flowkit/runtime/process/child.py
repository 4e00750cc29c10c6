"""What a child of the process pool does: takes a task, calls its target and sends back what came of it."""

from __future__ import annotations

import importlib
import operator
import os
import signal
import threading
import traceback
from multiprocessing import connection as connections
from multiprocessing import parent_process, process
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from flowkit.model.outcome import TRACEBACK_LIMIT, safe_text

TASK, ANSWER = b"T", b"A"
"""What a frame from the parent begins with."""

BEGUN, MESSAGE, QUESTION, RETURNED, RAISED = b"B", b"M", b"Q", b"R", b"X"
"""What a frame to the parent begins with."""

_PARENT_CHECK_SECONDS = 5.0


class Channel:
    """How a task talks to the parent while it runs; any number of its threads may."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent
        self._asking = threading.Lock()
        self._writing = threading.Lock()
        self._is_open = True

    def send(self, message: bytes) -> None:
        """Hand *message* to the pool's ``on_message``; does not wait for it.

        Raises:
            RuntimeError: the task has ended.
        """
        self._write(MESSAGE + message)

    def ask(self, message: bytes) -> bytes:
        """Hand *message* to the pool's ``on_message`` and wait for what it returns.

        Raises:
            RuntimeError: the task has ended.
        """
        with self._asking:
            self._write(QUESTION + message)
            return _receive(self._parent)[1:]

    def close(self, reply: bytes) -> None:
        """Send the task's reply as its last word; an answer that another thread still waits for is awaited first."""
        with self._asking:
            self._write(reply)
            self._is_open = False

    def _write(self, frame: bytes) -> None:
        with self._writing:
            if not self._is_open:
                raise RuntimeError("the task has ended, so its channel is closed")
            _send(self._parent, frame)


def main(parent: Connection) -> None:
    """Serve tasks until the parent closes its end."""
    _settle_in(parent)
    while True:
        try:
            frame = parent.recv_bytes()
        except (EOFError, OSError):
            return
        _send(parent, BEGUN)
        target, _, task = frame[len(TASK) :].partition(b"\n")
        channel = Channel(parent)
        channel.close(_reply(target.decode(), task, channel))


def _reply(target: str, task: bytes, channel: Channel) -> bytes:
    try:
        module, _, name = target.partition(":")
        body = operator.attrgetter(name)(importlib.import_module(module))(task, channel)
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise TypeError(f"{target} returned {type(body).__name__}, expected bytes")
        return RETURNED + body
    except BaseException as raised:
        error = raised  # SystemExit and KeyboardInterrupt too: a task must not end the child unseen
        return (
            RAISED + safe_text(lambda: _traceback(error), limit=TRACEBACK_LIMIT, fallback=type(error).__name__).encode()
        )


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _settle_in(parent: Connection) -> None:
    if hasattr(os, "fork"):
        # Programs that a task starts, or forks, must not hold the pipe open: its end tells the parent of a death here.
        os.set_inheritable(parent.fileno(), False)
        os.register_at_fork(after_in_child=parent.close)
        # A group of its own, so that a kill takes the programs that a task started with it, and Ctrl-C, which is the
        # parent's to answer, is not sent here.
        os.setpgid(0, 0)
    # Not SIG_IGN, which the programs that a task starts would inherit.
    signal.signal(signal.SIGINT, _leave_it_to_the_parent)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # To the parent this process is a daemon, which may not have children; a task may.
    process.current_process().daemon = False
    threading.Thread(target=_die_with_the_parent, args=(os.getppid(),), daemon=True).start()


def _leave_it_to_the_parent(*_: Any) -> None:
    return


def _die_with_the_parent(parent_pid: int) -> None:
    parent = parent_process()
    assert parent is not None
    # The sentinel fires at once, unless a fork of the parent holds it open; then the parent's id still tells.
    while not connections.wait([parent.sentinel], _PARENT_CHECK_SECONDS):
        if os.getppid() != parent_pid:
            break
    _die()


def _die() -> NoReturn:
    if hasattr(os, "getpgrp") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _send(parent: Connection, frame: bytes) -> None:
    try:
        parent.send_bytes(frame)
    except OSError:
        _die()


def _receive(parent: Connection) -> bytes:
    try:
        return parent.recv_bytes()
    except (EOFError, OSError):
        _die()
