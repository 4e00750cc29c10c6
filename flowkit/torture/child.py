"""A worker to be tortured: a process of its own, whose clock may be wrong; it ends with the one that started it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from flowkit.artifacts import FileArtifactStore
from flowkit.clock import Micros, SystemClock, micros
from flowkit.projections import SQLiteProjectionStore
from flowkit.runtime.runtime import Runtime
from flowkit.store.stores import SQLiteStore
from flowkit.torture.faults import WrongClock

LOOK_SECONDS = 0.5
SLOTS = 2
"""How many attempts a worker makes at once: few, so that many workers share the work."""


@attrs.frozen
class Job:
    """What a worker is told.

    Attributes:
        place: the directory of the scratch store.
        lease: seconds.
    """

    place: str
    name: str
    modules: Sequence[str]
    lease: float
    clock: WrongClock = WrongClock()

    @property
    def up(self) -> Path:
        """A file that is there once the worker works."""
        return Path(self.place) / "up" / self.name

    @property
    def log(self) -> Path:
        """Where the worker's output goes."""
        return Path(self.place) / "logs" / self.name


class _Clock(SystemClock):
    """The host's clock, off by so much; it jumps once. Durations are right all the same."""

    def __init__(self, wrong: WrongClock) -> None:
        self._wrong = wrong
        self._jumps_at = self.monotonic() + wrong.jump_after

    def now(self) -> Micros:
        """Return a wrong instant."""
        jumped = self._wrong.jump if self.monotonic() >= self._jumps_at else 0.0
        return super().now() + micros(self._wrong.offset + jumped)


def open_store(place: Path, **options: Any) -> Runtime:
    """Open the scratch store in a directory, with what belongs to it."""
    return Runtime(
        SQLiteStore(place / "engine.db", durability="process"),
        artifact_store=FileArtifactStore(place / "artifacts"),
        projection_store=SQLiteProjectionStore(place / "projections"),
        **options,
    )


def work(job: Job, parent: int) -> None:
    """Work on a scratch store until SIGTERM, or until the process *parent* is gone."""
    with job.log.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    options = {"modules": job.modules, "worker_id": job.name, "lease_duration": job.lease, "clock": _Clock(job.clock)}
    with open_store(Path(job.place), max_workers=SLOTS, **options) as runtime:
        job.up.touch()
        runtime.start_workers(stop=stop)


def _end_with(parent: int) -> None:
    clock, never = SystemClock(), threading.Event()
    while os.getppid() == parent:
        clock.wait(never, LOOK_SECONDS)
    os._exit(0)
