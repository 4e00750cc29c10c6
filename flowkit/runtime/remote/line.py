"""What an attempt in another process can ask of the Runtime that leased its step, and tell it, while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import NoReturn, Protocol

from flowkit.clock import Micros
from flowkit.dsl.kinds import RemoteKind
from flowkit.errors import ConfigError
from flowkit.model.definitions import ExecutorDef
from flowkit.model.outputs import Progress
from flowkit.model.run import Run
from flowkit.model.step import Step, StepResult
from flowkit.runtime.process.child import Channel
from flowkit.runtime.remote.wire import NOTHING, Answer, KnownKind, Message, Task, answered, pack, unpack

TELL_EVERY = 1.0
"""Seconds between two messages about progress."""


class Line(Protocol):
    """What stands in for the Runtime."""

    def begin(self) -> Micros:
        """Say that the executor is called now; returns the engine's time."""

    def tell(self, progress: Progress) -> None:
        """Pass progress on."""

    def kind(self, kind: str) -> KnownKind | None:
        """Return what the Runtime knows of a kind."""

    def kinds(self) -> Iterable[str]:
        """Return the kinds that the Runtime knows."""

    def read_run(self, run_id: str) -> Run:
        """Return the run as it is stored now."""

    def read_step(self, run_id: str, step_id: str) -> Step:
        """Return a step as it is stored now."""

    def read_result(self, run_id: str, step_id: str) -> StepResult | None:
        """Return a step's result, if it has ended."""

    def close(self) -> None:
        """The attempt has ended."""


class ChannelLine:
    """The line of a child of the process pool: the Runtime answers at once, over the child's channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._progress: bytes | None = None
        self._teller: threading.Thread | None = None
        self._over = threading.Event()

    def _ask(self, word: str, *names: str) -> bytes:
        return answered(unpack(self._channel.ask(pack(Message(word, names))), Answer))

    def begin(self) -> Micros:
        """Say that the executor is called now; returns the engine's time."""
        return unpack(self._ask("begin"), int)

    def kind(self, kind: str) -> KnownKind | None:
        """Return what the Runtime, or the store's catalog, knows of a kind."""
        body = self._ask("kind", kind)
        return None if body == NOTHING else unpack(body, KnownKind)

    def kinds(self) -> Iterable[str]:
        """Return the kinds that are registered with the Runtime."""
        return unpack(self._ask("kinds"), list[str])

    def read_run(self, run_id: str) -> Run:
        """Return the run as it is stored now."""
        return unpack(self._ask("run", run_id), Run)

    def read_step(self, run_id: str, step_id: str) -> Step:
        """Return a step as it is stored now."""
        return unpack(self._ask("step", run_id, step_id), Step)

    def read_result(self, run_id: str, step_id: str) -> StepResult | None:
        """Return a step's result, if it has ended."""
        body = self._ask("result", run_id, step_id)
        return None if body == NOTHING else unpack(body, StepResult)

    def tell(self, progress: Progress) -> None:
        """Pass progress on, at most once a second; of what comes in between, the last."""
        body = pack(Message("progress", progress=progress))
        with self._lock:
            self._progress = body
            if self._teller is None:
                self._teller = threading.Thread(target=self._tell_now_and_then, name="flowkit-progress", daemon=True)
                self._teller.start()

    def _tell_now_and_then(self) -> None:
        told: bytes | None = None
        while True:
            body = self._progress
            if body is not None and body is not told:
                try:
                    self._channel.send(body)
                except RuntimeError:  # the attempt has just ended; its report carries the last
                    return
                told = body
            if self._over.wait(TELL_EVERY):
                return

    def close(self) -> None:
        """Tell no more."""
        self._over.set()


class NoLine:
    """No line: a task that any other executor runs knows what it was given, and nothing else."""

    def __init__(self, task: Task) -> None:
        self._now = task.now
        self._kinds = {known.remote.kind: known for known in task.kinds}

    def begin(self) -> Micros:
        """Return the engine's time when the task was made."""
        return self._now

    def tell(self, progress: Progress) -> None:
        """Keep it: only the last one arrives, with the report."""

    def kind(self, kind: str) -> KnownKind | None:
        """Return what the task says of a kind."""
        return self._kinds.get(kind)

    def kinds(self) -> Iterable[str]:
        """Return the kinds that the task names."""
        return self._kinds

    def read_run(self, run_id: str) -> Run:
        """Refuse."""
        self._refuse("step.workflow")

    def read_step(self, run_id: str, step_id: str) -> Step:
        """Refuse."""
        self._refuse("step.step")

    def read_result(self, run_id: str, step_id: str) -> StepResult | None:
        """Refuse."""
        self._refuse(f"the result of {step_id!r}")

    def _refuse(self, what: str) -> NoReturn:
        raise ConfigError(
            f"{what} cannot be read here: this step's pool has no line to the store. Bind results where the step is "
            'declared (run.step(..., name=handle)), pass the rest in its input, or use pool="process"'
        )

    def close(self) -> None:
        """There is nothing to close."""


class KindsByLine:
    """What ``step.emit`` may name: the registry of builders in another process."""

    def __init__(self, line: Line, own: ExecutorDef, find: Callable[[str, str, str], ExecutorDef]) -> None:
        self._line = line
        self._own = own
        self._find = find

    def find_executor(self, kind: str) -> ExecutorDef | None:
        """Return the executor of a kind that is registered with the Runtime, where its code is at hand."""
        if kind == self._own.kind:
            return self._own
        known = self._line.kind(kind)
        if known is None or known.module is None or known.qualname is None:
            return None
        try:
            return self._find(known.module, known.qualname, kind)
        except ConfigError:
            # Its code need not be here: what it takes is known all the same.
            return None

    def find_remote(self, kind: str) -> RemoteKind | None:
        """Return what is known of a kind without its code."""
        known = self._line.kind(kind)
        return known.remote if known else None

    def known_kinds(self) -> Iterable[str]:
        """Return the kinds that are registered with the Runtime."""
        return tuple(self._line.kinds())
