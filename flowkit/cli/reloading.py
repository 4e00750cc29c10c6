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
        self._child: subprocess.Popen[bytes] | None = None
        self._signaled: subprocess.Popen[bytes] | None = None

    def watch(self, directory: Path, out: Output) -> int:
        """Run the child, and again after each change below a directory, until a signal ends it; returns its code."""
        from watchfiles import PythonFilter, watch

        options = {"stop_event": self._stopping, "rust_timeout": LOOK_MS, "yield_on_timeout": True}
        try:
            with heeding(self._told):
                for changes in watch(directory, watch_filter=PythonFilter(), raise_interrupt=False, **options):  # type: ignore[arg-type]
                    # Begun only once it is looked for changes, or the first of them could be missed.
                    if self._child is None:
                        self._start()
                    elif changes and not self._stopping.is_set():
                        names = sorted({Path(path).name for _, path in changes})
                        out.note(f"{', '.join(names)} changed: starting again")
                        self._end()
                        self._start()
                return self._end()
        finally:
            self._end()

    def _start(self) -> None:
        # A session of its own: Ctrl-C reaches the child once, from here, and not a second time from the terminal.
        command = [sys.executable, "-m", "flowkit", *self._arguments]
        self._child = subprocess.Popen(command, start_new_session=True)

    def _told(self, number: int, times: int) -> None:
        self._stopping.set()
        self._signaled = self._child
        if self._signaled is not None:
            self._signaled.send_signal(number)

    def _end(self) -> int:
        child = self._child
        if child is None:
            return 0
        # One that was started just when a signal came did not get it.
        if child is not self._signaled:
            child.send_signal(signal.SIGTERM)
        code = child.wait()
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
