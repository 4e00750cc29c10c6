"""Crashes at named points: the in-process worker is abandoned there, as a kill would."""

from __future__ import annotations

from typing import Any, Literal

Point = Literal["after_lease", "before_commit", "after_commit", "during_heartbeat"]
POINTS = ("after_lease", "before_commit", "after_commit", "during_heartbeat")


class WorkerCrashed(BaseException):
    """Stands for the kill: it leaves the worker through everything that would have tidied up."""


class Crash:
    """Makes one Runtime's worker die at a named point: ``crash.at("before_commit")``.

    Attributes:
        awaited: the point at which a crash is still to come; None where none is.
    """

    def __init__(self, runtime: Any) -> None:
        self._parts = runtime._parts
        self._passed = runtime._parts.point
        self.awaited: Point | None = None

    def at(self, point: Point, *, after: int = 0) -> None:
        """Crash at *point* the next time it is passed, or after passing it *after* times.

        ``after_lease``: steps are leased, nothing of them was called. ``before_commit``, ``after_commit``: attempts
        have ended, their outcomes are not stored yet, or just were. ``during_heartbeat``: leases are to be extended.
        What the worker held is abandoned: nothing is settled or released, leases run out by themselves. Who drives
        the worker (``run_once``, ``drain``, the end of ``workers()``...) raises ``WorkerCrashed``.

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
                    self._abandon(point)
                left -= 1

        self._parts.point, self.awaited = pass_point, point

    def _abandon(self, point: str) -> None:
        self._parts.point, self.awaited = self._passed, None
        crashed = WorkerCrashed(f"the worker was abandoned at {point!r}, as by a kill")
        self._parts.abandon(crashed)
        raise crashed
