"""Sees a run through: leaves it to live workers as long as they serve it, and executes it in this process otherwise."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from flowkit.cli.output import Output
from flowkit.cli.signals import Stopped, heeding, stopping_in
from flowkit.cli.words import command, now

if TYPE_CHECKING:
    from flowkit.model.run import Run
    from flowkit.runtime.runtime import Runtime

LOOK_EVERY = 1_000_000
"""Microseconds between two questions whether live workers serve the run: they may have gone since."""
TELL_AFTER = 5_000_000
"""Microseconds for which somebody waits before it is said that nobody serves the run: a worker may be starting."""
GRACE = 10.0
"""Seconds that what runs here is given to end when the command is stopped."""


class Attendance:
    """One run and who executes it; leaving the block ends what is executed here.

    SIGINT and SIGTERM end the block with ``Stopped``: what runs here has the grace to end, the rest is handed back;
    a second one hands back at once.
    """

    def __init__(self, runtime: Runtime, run_id: str, out: Output) -> None:
        self._runtime = runtime
        self._run_id = run_id
        self._out = out
        self._looked: int | None = None
        self._stack = ExitStack()
        self._stopped_by: int | None = None
        self.is_here = False

    def __enter__(self) -> Attendance:
        self._stack.enter_context(heeding(self._told))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What did not end in time waits no longer, nor does it after an error: it is handed back at once.
        if error is not None and not isinstance(error, Stopped):
            self._runtime.shutdown(0.0)
        self._stack.__exit__(kind, error, trace)

    def attend(self) -> None:
        """Begin to execute the run here if no live worker serves it, or none does any more.

        Raises:
            Stopped: a signal said to stop.
        """
        if self._stopped_by is not None:
            raise Stopped(self._stopped_by)
        if self.is_here or (self._looked is not None and 0 <= now() - self._looked < LOOK_EVERY):
            return
        from flowkit.runtime.executing import executing, takers

        serving, first, self._looked = takers(self._runtime, self._run_id), self._looked is None, now()
        if serving:
            if first:
                self._out.note(f"{named(serving)}: this process only waits")
            return
        if not first:
            self._out.note("no live worker serves it any more: this process goes on with it")
        self.is_here = True
        self._stack.enter_context(executing(self._runtime, self._run_id))

    def _told(self, number: int, times: int) -> None:
        if times > 1:
            self._runtime.shutdown(0.0)
            return
        if self.is_here:
            self._runtime.shutdown(GRACE)
        self._stopped_by = number
        if self.is_here:
            self._out.note(stopping_in(GRACE))


class Bystander:
    """Somebody who only waits for a run, and is told once if after a while no live worker serves what is ready."""

    def __init__(self, runtime: Runtime, run_id: str, out: Output) -> None:
        self._runtime = runtime
        self._run_id = run_id
        self._out = out
        self._since: int | None = now()

    def look(self) -> None:
        """Say it, if it is time and so."""
        if self._since is None or now() - self._since < TELL_AFTER:
            return
        from flowkit.runtime.following import unserved

        self._since = None
        kinds = unserved(self._runtime, self._run_id)
        if kinds:
            told = f"no live worker serves {', '.join(map(repr, kinds))}: start one with flowkit worker"
            self._out.note(f"{told}; `{command('explain', self._run_id)}` says more")


def named(workers: tuple[str, ...]) -> str:
    """Say which live workers serve a run."""
    if len(workers) == 1:
        return f"worker {workers[0]} serves it"
    return f"{len(workers)} live workers serve it"


def end_of(run: Run) -> int:
    """Return the exit code of a run that has ended."""
    return 0 if run.status.value == "succeeded" else 1
