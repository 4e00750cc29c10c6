"""Crashes at named points: the in-process worker is abandoned there, as a kill would."""

from __future__ import annotations

from typing import Any, Literal

from flowkit.runtime.parts import nowhere

Point = Literal["after_lease", "before_commit", "after_commit", "during_heartbeat"]
POINTS = ("after_lease", "before_commit", "after_commit", "during_heartbeat")


class WorkerCrashed(BaseException):
    """Stands for the kill: it leaves the worker through everything that would have tidied up."""


class Crash:
    """Makes one Runtime's worker die at a named point: ``crash.at("before_commit")``."""

    def __init__(self, runtime: Any) -> None:
        self._parts = runtime._parts

    def at(self, point: Point, *, after: int = 0) -> None:
        """Crash at *point* the next time it is passed, or after passing it *after* times.

        What the worker held is abandoned: nothing is settled or released, leases run out by themselves.

        Raises:
            ValueError: there is no such point.
        """
        if point not in POINTS:
            raise ValueError(f"crash: point: expected one of {', '.join(POINTS)}, got {point!r}")
        left = after

        def pass_point(passed: str) -> None:
            nonlocal left
            if passed == point:
                if left == 0:
                    self._abandon()
                left -= 1

        self._parts.point = pass_point

    def _abandon(self) -> None:
        self._parts.point = nowhere
        self._parts.abandon()
        raise WorkerCrashed("the worker was abandoned here, as a kill would")
