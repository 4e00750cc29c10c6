"""Runs a command in a process of its own, and again whenever a Python file of the project changes; for development."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from flowkit.cli.output import Output
from flowkit.cli.signals import heeding

LOOK_MS = 500
"""Milliseconds after which it is looked whether the command has ended, while nothing changes."""


class Supervisor:
    """Keeps one child process at work.

    Args:
        arguments: of the command line ``flowkit``.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = list(arguments)
        self._stopping = threading.Event()
        self._child = self._started()
        self._signaled: subprocess.Popen[bytes] | None = None

    def _started(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C reaches the child once, from here, and not a second time from the terminal.
        command = [sys.executable, "-m", "flowkit", *self._arguments]
        return subprocess.Popen(command, start_new_session=True)

    def watch(self, directory: Path, out: Output) -> int:
        """Start the child again after each change below a directory, until a signal ends it; returns its exit code."""
        from watchfiles import PythonFilter, watch

        options = {"stop_event": self._stopping, "rust_timeout": LOOK_MS, "yield_on_timeout": True}
        try:
            with heeding(self._told):
                for changes in watch(directory, watch_filter=PythonFilter(), raise_interrupt=False, **options):  # type: ignore[arg-type]
                    if changes and not self._stopping.is_set():
                        names = sorted({Path(path).name for _, path in changes})
                        out.note(f"{', '.join(names)} changed: starting again")
                        self._end()
                        self._child = self._started()
                return self._end()
        finally:
            self._end()

    def _told(self, number: int, times: int) -> None:
        self._stopping.set()
        self._signaled = self._child
        self._signaled.send_signal(number)

    def _end(self) -> int:
        # One that was started just when a signal came did not get it.
        if self._child is not self._signaled:
            self._child.send_signal(signal.SIGTERM)
        code = self._child.wait()
        # Below zero: a signal ended it before it could heed one.
        return code if code >= 0 else 128 - code


def refuse_missing_watcher() -> None:
    """Say how to install what looks for changes, where it is missing.

    Raises:
        MissingExtra: it is.
    """
    from importlib.util import find_spec

    from flowkit.errors import MissingExtra

    if find_spec("watchfiles") is None:
        raise MissingExtra("flowkit worker --reload", "cli", "Without it, start the worker again after a change.")
