"""A pool of processes for ``pool="process"``: each runs one task at a time and can be killed in the midst of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.util import Finalize
from typing import Union

import attrs

from flowkit.errors import ConfigError, RuntimeClosed
from flowkit.runtime.process.child import ANSWER, BEGUN, QUESTION, RAISED, RETURNED, TASK
from flowkit.runtime.process.endings import Died, Finished, Killed, Raised, Returned
from flowkit.runtime.process.handle import ChildProcess

__all__ = ["Died", "Finished", "Killed", "ProcessPool", "Raised", "Returned", "Ticket"]

_END_SECONDS = 5.0

OnMessage = Callable[[bytes], Union[bytes, None]]
OnDone = Callable[[Finished], None]


@attrs.define(eq=False)
class Ticket:
    """A task that was given to the pool."""

    _pool: ProcessPool
    frame: bytes
    on_message: OnMessage
    on_done: OnDone
    child: ChildProcess | None = None
    has_begun: bool = False
    is_killed: bool = False

    def kill(self) -> None:
        """Kill the task at once, from any thread; ``on_done`` gets ``Killed()`` unless the task has ended."""
        self._pool.kill(self)


class ProcessPool:
    """At most *size* child processes, started when tasks need them and used again and again.

    Only bytes cross between the processes. The callbacks of all tasks are called on one thread, one after another, so
    they should be quick: ``on_message`` for everything the task sends or asks, then ``on_done`` exactly once.

    The children import the program's main module, so that its executors are found there: a program that starts a pool
    needs the usual ``if __name__ == "__main__":`` around what it does.

    Raises:
        ConfigError: the size is not at least 1, or this process is itself a child that is importing the main module.
    """

    def __init__(self, size: int) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError(f"ProcessPool: size: expected an int >= 1, got {size!r}")
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            # Told here, or the child would go on to do again all that the program does.
            raise ConfigError(
                "ProcessPool: the main module starts one while a child process imports it: "
                "put what the program does under if __name__ == '__main__':"
            )
        self._size = size
        self._begin()

    def submit(self, task: bytes, target: str, on_message: OnMessage, on_done: OnDone) -> Ticket:
        """Have a child call *target* as ``function(task, channel) -> bytes``; first come, first served.

        Args:
            target: ``module:function``.
            on_message: called with what ``channel.send`` and ``channel.ask`` are given; what it returns answers an
                ``ask``. Should it raise, the task is killed and ends as ``Raised``.
            on_done: called once with how it ended.

        Raises:
            RuntimeClosed: the pool was closed.
        """
        self._forget_parent()
        ticket = Ticket(self, TASK + target.encode() + b"\n" + task, on_message, on_done)
        with self._lock:
            if self._is_closed:
                raise RuntimeClosed("the process pool was closed; make a new one")
            self._waiting.append(ticket)
            self._start_thread()
            self._ring()
        return ticket

    def kill(self, ticket: Ticket) -> None:
        """Kill the task of *ticket*; the same as ``ticket.kill()``."""
        self._forget_parent()
        with self._lock:
            self._kill(ticket)

    def close(self, *, kill: bool = False) -> None:
        """Take no more tasks, wait until those taken have ended, or *kill* them, and end the children. Idempotent."""
        self._forget_parent()
        with self._lock:
            self._is_closed = True
            if kill:
                self._is_killing = True
                for ticket in [*self._waiting, *self._running.values()]:
                    self._kill(ticket)
            self._ring()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        if self._at_exit is not None:
            self._at_exit.cancel()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._is_closed = False
        self._is_killing = False
        self._has_rung = False
        self._waiting: deque[Ticket] = deque()
        self._killed: list[Ticket] = []
        self._running: dict[ChildProcess, Ticket] = {}
        self._children: dict[Connection, ChildProcess] = {}
        self._idle: list[ChildProcess] = []
        self._thread: threading.Thread | None = None
        self._bell: Connection | None = None
        self._at_exit: Finalize | None = None

    def _forget_parent(self) -> None:
        if self._pid != os.getpid():
            self._begin()  # forked: thread and children are the parent's

    # The lock guards what callers and the pool's thread share: what is waiting, killed or running. Children, idle or
    # not, are the thread's own.

    def _kill(self, ticket: Ticket) -> None:
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            self._killed.append(ticket)
            self._ring()
        else:
            ticket.is_killed = True
            if ticket.child is not None:
                ticket.child.kill()

    def _ring(self) -> None:
        if self._bell is not None and not self._has_rung:
            self._has_rung = True
            self._bell.send_bytes(b"")

    def _start_thread(self) -> None:
        if self._thread is None:
            heard, self._bell = multiprocessing.Pipe(duplex=False)
            self._thread = threading.Thread(target=self._serve, args=(heard,), name="flowkit-processes", daemon=True)
            self._thread.start()
            # Before multiprocessing ends its daemons, which it waits for although they do not heed SIGTERM, and while
            # the pool's thread buries them; it does so in a process that it has forked too, where atexit does nothing.
            self._at_exit = Finalize(None, self.close, kwargs={"kill": True}, exitpriority=0)

    def _serve(self, heard: Connection) -> None:
        if hasattr(signal, "pthread_sigmask"):
            # Children inherit this, so that a Ctrl-C does not interrupt them while they start.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        while self._turn(heard):
            pass
        for child in self._children.values():
            child.dismiss()
        for child in self._children.values():
            child.bury(patience=0 if self._is_killing else _END_SECONDS)
        heard.close()

    def _turn(self, heard: Connection) -> bool:
        with self._lock:
            killed, self._killed = self._killed, []
        for ticket in killed:
            self._tell(ticket, Killed())
        while self._assign():
            pass
        if self._is_over():
            return False
        for ready in wait([heard, *self._children]):
            if ready is heard:
                with self._lock:
                    heard.recv_bytes()
                    self._has_rung = False
            elif ready in self._children:
                self._hear(self._children[ready])
        return True

    def _is_over(self) -> bool:
        with self._lock:
            if not self._is_closed or self._waiting or self._killed or self._running:
                return False
            if self._bell is not None:
                self._bell.close()
                self._bell = None
            return True

    def _assign(self) -> bool:
        if not self._idle and len(self._children) >= self._size:
            return False
        with self._lock:
            ticket = self._waiting.popleft() if self._waiting else None
        if ticket is None:
            return False
        try:
            child = self._idle.pop() if self._idle else ChildProcess.start()
        except Exception as error:  # the system's limits, or a main module that cannot be described to a child
            self._tell(ticket, Died(None, has_begun=False, reason=f"no process could be started: {error}"))
            return True
        self._children[child.connection] = child
        with self._lock:
            self._running[child] = ticket
            ticket.child = child
            if ticket.is_killed:
                child.kill()
        child.send(ticket.frame)
        return True

    def _hear(self, child: ChildProcess) -> None:
        try:
            frame = child.connection.recv_bytes()
        except Exception:  # its end, or a frame too large for the memory
            self._bury(child)
            return
        ticket = self._running.get(child)
        tag, body = frame[:1], frame[1:]
        if ticket is None:  # something that a task left behind writes to the pipe by itself
            self._bury(child)
        elif tag == BEGUN:
            ticket.has_begun = True
            ticket.frame = b""
        elif tag == RETURNED:
            self._finish(child, Returned(body))
        elif tag == RAISED:
            self._finish(child, Raised(body.decode()))
        elif not ticket.is_killed:
            self._converse(child, ticket, body, is_question=tag == QUESTION)

    def _converse(self, child: ChildProcess, ticket: Ticket, body: bytes, *, is_question: bool) -> None:
        try:
            answer = ANSWER + (ticket.on_message(body) or b"")
        except BaseException:
            self._bury(child, Raised(traceback.format_exc()))
            return
        if is_question:
            child.send(answer)

    def _finish(self, child: ChildProcess, outcome: Finished) -> None:
        child.has_served = True
        ticket = self._release(child)
        self._idle.append(child)
        self._tell(ticket, outcome)

    def _bury(self, child: ChildProcess, outcome: Finished | None = None) -> None:
        ticket = self._release(child) if child in self._running else None
        del self._children[child.connection]
        if child in self._idle:
            self._idle.remove(child)
        exitcode = child.bury()
        if ticket is None:
            return
        if child.has_served and not ticket.has_begun and not ticket.is_killed:
            # It died while it was idle, unnoticed: the task has not been touched.
            with self._lock:
                self._waiting.appendleft(ticket)
        else:
            self._tell(ticket, outcome or Died(exitcode, has_begun=ticket.has_begun))

    def _release(self, child: ChildProcess) -> Ticket:
        with self._lock:
            ticket = self._running.pop(child)
            ticket.child = None
            return ticket

    def _tell(self, ticket: Ticket, outcome: Finished) -> None:
        try:
            ticket.on_done(Killed() if ticket.is_killed else outcome)
        except BaseException:
            # As for any thread that fails; the pool goes on for its other tasks.
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
