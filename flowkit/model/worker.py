"""A worker as others see it, and whether it is still there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from flowkit.clock import SECOND, Micros

SILENCE: Micros = 300 * SECOND
"""How long a worker of another host may be silent before it counts as gone."""


@attrs.frozen
class WorkerInfo:
    """A worker as it announced itself. Times are integer microseconds UTC.

    Attributes:
        born: when its process started, as text; empty where the system does not say. It tells a process from a later
            one that got the same number.
        kinds: the kinds it serves.
        seen_at: when it last said that it is there.
        queues: the queues from which it takes steps; None for all of them.
        slots: how many attempts it runs at once; None where it did not say.
        hung: how many of its slots are held by attempts that were given up, by a timeout or a lost lease, and whose
            executors have not ended 10 s later; by kind.
    """

    id: str
    host: str
    pid: int
    born: str
    kinds: tuple[str, ...]
    started_at: Micros
    seen_at: Micros
    queues: tuple[str, ...] | None = None
    slots: int | None = None
    hung: Mapping[str, int] = attrs.field(factory=dict)

    @property
    def is_blocked(self) -> bool:
        """Whether attempts that hang hold every slot, so that it starts nothing."""
        return self.slots is not None and sum(self.hung.values()) >= self.slots

    def serves(self, kind: str, queue: str) -> bool:
        """Say whether it takes steps of this kind from this queue."""
        return kind in self.kinds and (self.queues is None or queue in self.queues)


def is_live(
    worker: WorkerInfo, *, host: str, now: Micros, process_exists: Callable[[int, str], bool | None]
) -> bool:
    """Say whether a worker is still there, as far as *host* can tell.

    Args:
        host: where the question is asked.
        process_exists: whether this host has a process of this number that was born then; None if it cannot tell.
    """
    exists = process_exists(worker.pid, worker.born) if worker.host == host else None
    if exists is not None:
        return exists
    # Only a clock that was set back makes the age negative; what said it is there later than now was not gone before.
    return now - worker.seen_at <= SILENCE
