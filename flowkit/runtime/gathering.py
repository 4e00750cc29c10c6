"""Waiting briefly for outcomes that are about to come, so that they share a commit."""

from __future__ import annotations

from flowkit.runtime.crew import Crew

TOGETHER = 0.005
"""Seconds for which a pass waits for what was launched as long ago at most, unless that was in vain just before."""

SELDOM = 6
"""After so many waits in vain, one pass in 2**6 still waits."""


class Gathering:
    """Of quick attempts some end while a pass is made, the others after it: left alone they would share no commit.

    One that has been under way for longer is not quick, and after a wait in vain the next is put off.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._in_vain = 0
        self._passes_to_wait = 0

    def wait(self) -> None:
        """Wait for the outcomes of what is in flight, if it is worth it; called before a pass."""
        crew = self._crew
        if not crew.has_mail or crew.is_all_in or not crew.is_young(TOGETHER):
            return
        if self._passes_to_wait:
            self._passes_to_wait -= 1
        elif crew.wait_for_all(TOGETHER):
            self._in_vain = 0
        else:
            self._in_vain = min(self._in_vain + 1, SELDOM)
            self._passes_to_wait = 2**self._in_vain
