"""What Ctrl-C and SIGTERM mean to a command that executes steps: the library itself installs no handlers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

INTERRUPTED = 130
HEEDED = (signal.SIGINT, signal.SIGTERM)
OVER = 0


class Stopped(BaseException):
    """A signal ended what a command was at.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def code(self) -> int:
        """The exit code by which shells know it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


def stopping_in(grace: float) -> str:
    """Say to whoever stops a command what it does now; *grace* is in seconds."""
    return f"stopping: what runs has {grace:g} seconds to end; once more stops it at once"


@contextmanager
def heeding(told: Callable[[int, int], None]) -> Iterator[None]:
    """Call *told* with the signal's number, and how often one has come, for each SIGINT or SIGTERM in the block.

    It is called in a thread of its own: a handler interrupts the main thread anywhere, also where it holds a lock that
    *told* needs.
    """
    heard: SimpleQueue[int] = SimpleQueue()

    def handle(number: int, frame: FrameType | None) -> None:
        heard.put(number)

    def tell() -> None:
        for times, number in enumerate(iter(heard.get, OVER), start=1):
            told(number, times)

    before = [(number, signal.signal(number, handle)) for number in HEEDED]
    threading.Thread(target=tell, name="flowkit-signals", daemon=True).start()
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        heard.put(OVER)
