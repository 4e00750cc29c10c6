"""Wakes who waits: workers when there may be work, waiters when their run may have ended; between processes too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from flowkit.model.events import Event
from flowkit.model.states import RunStatus
from flowkit.model.struct import struct
from flowkit.store.notices import ANYTHING, WORK, ended_run
from flowkit.store.views_results import StoredOutput, StoredValue
from flowkit.store.watching import Watcher

EXPECTED = 64
"""Of how many runs it is kept in mind that they are expected to end soon."""


ResultOf = Callable[[str, str], StoredValue | None]
"""Gives the result of a run's step, by their ids, where it came with the news."""


@struct
class Ended:
    """How a run ended, or stands where what of it is enough has come; and its output, where that came with the news."""

    status: RunStatus
    output: StoredOutput | None = None


class RunSignal(threading.Event):
    """Wakes who waits for a run.

    Attributes:
        ended: how it ended, where that is known without looking.
        output: the step whose result is its output, where that is known.
        value: that result, where it came with the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ended: RunStatus | None = None
        self.output: str | None = None
        self.value: StoredValue | None = None

    @property
    def for_good(self) -> Ended | None:
        """How the run ended, if that stays so: one that failed may have been retried by the time this was told."""
        if self.ended is not RunStatus.SUCCEEDED:
            return None
        if self.output is None or self.value is None:
            return Ended(self.ended)
        return Ended(self.ended, StoredOutput(False, [self.output], {self.output: self.value}))


class WorkSignal(RunSignal):
    """Wakes a worker's loop; ``there_is_work`` says that it need not look first whether there is something to do."""

    def __init__(self) -> None:
        super().__init__()
        self.there_is_work = False


class Wakeups:
    """Signals of one Runtime.

    Args:
        watcher: looks out for commits of other processes, if there can be any.
    """

    def __init__(self, watcher: Watcher | None) -> None:
        self._watcher = watcher
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._workers: set[WorkSignal] = set()
        self._runs: dict[str, set[RunSignal]] = {}
        self._expected: dict[str, str | None] = {}
        self._watchers = 0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def after_fork(self) -> None:
        """Forget who waits in the parent, and its thread."""
        self._begin()

    def work(self) -> None:
        """Something was made ready: wake this process's workers, and spare them a look before they lease."""
        with self._lock:
            workers = list(self._workers)
        for signal in workers:
            signal.there_is_work = True
            signal.set()

    def ended(self, run_id: str, status: RunStatus | None, result_of: ResultOf | None = None) -> None:
        """A run has ended: wake who waits for it, and say how it did, unless they had better look."""
        with self._lock:
            self._expected.pop(run_id, None)
            waiting = list(self._runs.get(run_id, ()))
        for signal in waiting:
            # First, and also where there is none: of an end before, after which the run was retried, nothing may stay.
            output = signal.output
            signal.value = result_of(run_id, output) if result_of is not None and output is not None else None
            signal.ended = status
            signal.set()

    def expect(self, run_id: str, output: str | None = None) -> None:
        """A worker of this process is at this run, which was started just now: it will say when that has ended.

        Args:
            output: the step whose result is the run's output, if one's is.
        """
        with self._lock:
            self._expected[run_id] = output
            if len(self._expected) > EXPECTED:
                del self._expected[next(iter(self._expected))]

    def expects(self, run_id: str) -> bool:
        """Whether a run is expected to end soon, so that it need not be looked at yet; said once of each."""
        with self._lock:
            expected = run_id in self._expected
            self._expected.pop(run_id, None)
            return expected

    def tell(self, events: Iterable[Event], result_of: ResultOf | None = None, *, surely: bool = True) -> None:
        """Wake who waits for the runs of which these events say that they have ended, *surely* or as it seems."""
        for event in events:
            if event.name == "run_finished" and event.run_id is not None:
                self.ended(event.run_id, event.fields["status"] if surely else None, result_of)

    def everybody(self) -> None:
        """Anything may have happened: wake all."""
        with self._lock:
            waiting = [*self._workers, *(signal for signals in self._runs.values() for signal in signals)]
        for signal in waiting:
            signal.set()

    @contextmanager
    def worker(self, signal: WorkSignal) -> Iterator[Callable[[], None]]:
        """Have *signal* set whenever there may be work.

        Gives what a worker calls that has nothing to do for once: from the first time on other processes tell it of
        theirs, if they can. It is not enough to listen while it rests: before that it looks once more, and where it
        finds something each time, it never comes to hear anything.
        """
        with self._lock:
            self._workers.add(signal)
        needs_telling = self._watcher is not None and self._watcher.is_told

        def listen() -> None:
            nonlocal needs_telling
            if needs_telling:
                needs_telling = False
                listening.enter_context(self.watching())

        try:
            with ExitStack() as listening:
                yield listen
        finally:
            with self._lock:
                self._workers.discard(signal)

    @contextmanager
    def run(self, run_id: str, signal: RunSignal | None = None) -> Iterator[RunSignal]:
        """Give a signal, *signal* or a new one, that is set when this run may have ended."""
        signal = signal or RunSignal()
        with self._lock:
            signal.output = self._expected.get(run_id)
            self._runs.setdefault(run_id, set()).add(signal)
        try:
            with self.watching():
                yield signal
        finally:
            with self._lock:
                left = self._runs[run_id]
                left.discard(signal)
                if not left:
                    del self._runs[run_id]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look out for commits of other processes while somebody waits in this block."""
        stop = self._stop
        self._watch(1)
        try:
            yield
        finally:
            # A child that was forked in this block has begun anew, and counts nobody of its parent.
            if stop is self._stop:
                self._watch(-1)

    def patience(self, seconds: float) -> float:
        """Return how long a worker may rest that would look every *seconds* if nobody woke it."""
        return self._watcher.patience(seconds) if self._watcher is not None else seconds

    def _watch(self, change: int) -> None:
        if self._watcher is None:
            return
        with self._lock:
            self._watchers += change
            if self._watchers and self._thread is None and not self._stop.is_set():
                watching = (self._watcher, self._stop)
                thread = threading.Thread(target=self._loop, args=watching, name="flowkit-wakeup", daemon=True)
                try:
                    thread.start()
                except BaseException:
                    self._watchers -= change
                    raise
                self._thread = thread

    def _loop(self, watcher: Watcher, stop: threading.Event) -> None:
        while True:
            watcher.watch(stop, lambda: self._watchers > 0, self._hear)
            with self._lock:
                if not self._watchers or stop.is_set():
                    self._thread = None
                    return

    def _hear(self, notice: str) -> None:
        end = ended_run(notice)
        if end is not None:
            self.ended(*end)
        elif notice == WORK:
            self.work()
        elif notice == ANYTHING:
            self.everybody()

    def close(self) -> None:
        """Wake everybody a last time and stop looking, for good."""
        with self._lock:
            self._stop.set()
            thread = self._thread
        self.everybody()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)
