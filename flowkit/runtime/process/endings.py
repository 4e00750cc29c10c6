"""How a task of the process pool ended, as a value."""

from __future__ import annotations

from typing import Union

import attrs


@attrs.frozen
class Returned:
    """The task's function returned these bytes."""

    body: bytes


@attrs.frozen
class Raised:
    """The task's function raised, or ``on_message`` did; *text* is the traceback."""

    text: str


@attrs.frozen
class Died:
    """The process ended without an answer.

    Attributes:
        exitcode: negative for a signal; None if no process could be started, or if the program took it.
        has_begun: whether the task's function may have been called; False: the process died while it was starting.
        reason: why no process could be started.
    """

    exitcode: int | None
    has_begun: bool = True
    reason: str = ""


@attrs.frozen
class Killed:
    """The task was killed, by its ticket or by ``close(kill=True)``."""


Finished = Union[Returned, Raised, Died, Killed]
