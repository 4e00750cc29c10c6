"""One child of the process pool, as the parent holds it: started, written to, killed and buried."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import attrs

from flowkit.runtime.process.child import main

_DIRECT_BYTES = 32 * 1024
_WRITER_SECONDS = 1.0
_UNKNOWN = 255


@attrs.define(eq=False)
class ChildProcess:
    """A process that serves tasks, one at a time.

    Attributes:
        connection: reads what the child sends, and ends when the child does.
        has_served: whether it has done a task before.
    """

    connection: Connection
    process: BaseProcess
    has_served: bool = False
    _writer: threading.Thread | None = None

    @classmethod
    def start(cls) -> ChildProcess:
        """Start one, by spawning: a fork would inherit the locks and threads of the program.

        Raises:
            OSError: the system refuses another process.
        """
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # A daemon, so that an exiting program ends it rather than waits for it.
        process = context.Process(target=main, args=(theirs,), name="flowkit-process", daemon=True)
        try:
            process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(ours, process)

    def send(self, frame: bytes) -> None:
        """Hand over a frame without ever waiting for the child; one that is dead shows when it is read from."""
        # The child has read everything sent before, so this much fits what the system buffers.
        if len(frame) <= _DIRECT_BYTES:
            self._write(frame)
            return
        self._writer = threading.Thread(target=self._write, args=(frame,), name="flowkit-process-writer", daemon=True)
        self._writer.start()

    def kill(self) -> None:
        """Kill it at once, and the programs that its task started, also those that it left behind by dying."""
        if hasattr(os, "killpg") and self.process.pid is not None:
            # Refused while the child is too young to lead a group; then it has started nothing yet.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def dismiss(self) -> None:
        """Tell it to end by itself, when it is idle."""
        self.connection.close()

    def bury(self, *, patience: float = 0) -> int | None:
        """Wait *patience* seconds for it to end by itself, kill what is left, and return the exit code.

        None where it is not known: a program that waits for any child, or ignores how they end, has taken it.
        """
        if patience:
            self.process.join(patience)
        if not patience or (self.process.exitcode is None and not wait([self.process.sentinel], 0)):
            self.kill()
        self.process.join()
        if self._writer is not None:
            self._writer.join(_WRITER_SECONDS)
        self.connection.close()
        exitcode = self.process.exitcode
        if exitcode is None:
            # It would be asked for ever, and its descriptors kept as long.
            popen: Any = vars(self.process).get("_popen")
            popen.returncode = _UNKNOWN
        self.process.close()
        return exitcode

    def _write(self, frame: bytes) -> None:
        with suppress(OSError, TypeError):
            self.connection.send_bytes(frame)
