"""The model of the queues: who may start now, by limits and buckets that are counted here once more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flowkit.clock import SECOND, Micros, micros
from tests.simulation.clocks import DRIFT, WRONG

if TYPE_CHECKING:
    from tests.simulation.world import World


class QueueModel:
    """Which queues are paused, how many of each run, and how much is in each bucket."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._paused: set[str] = set()
        self._before: set[str] = set()
        self._levels: dict[str, tuple[int, Micros]] = {}

    def look(self) -> None:
        """Read which queues are paused; what started in this transaction had to obey what stood before it."""
        self._before = self._paused
        rows = self._world.stage.rows("SELECT name FROM queues WHERE paused <> 0")
        self._paused = {name for (name,) in rows}

    def is_paused(self, name: str) -> bool:
        """Whether a queue is paused by what is committed."""
        return name in self._paused

    def start(self, queue: str, at: Micros, rows: Iterable[Any]) -> Iterator[str]:
        """Judge a start in a queue at an instant of the engine."""
        if queue in self._before:
            yield f"queue {queue} is paused"
        config = self._world.client.limits.get(queue)
        if config is None:
            return
        running = sum(row.status == "running" and row.queue == queue for row in rows)
        if config.max_workers is not None and running > config.max_workers:
            yield f"{running} run in queue {queue}, {config.max_workers} may"
        # The promise is about engine time; processes whose clocks are set apart have none in common.
        if config.rate_limit is not None and self._world.judge.clocks_agree:
            yield from self._take(queue, config.rate_limit)

    def clocks_jumped(self) -> None:
        """The machine's clock was set forward: that may fill each bucket once, and not more."""
        self._levels = {}

    def _take(self, queue: str, limit: Any) -> Iterator[str]:
        # Told by true time, which no clock of the world shows: what is set back mints nothing while it recovers.
        rate, now = round(limit.rate_per_second * 1000), self._world.time
        most = limit.burst * 1000 * SECOND + self._apart(now) * rate
        level, since = self._levels.get(queue, (most, now))
        # As fast as the fastest clock, and as much more as two clocks came further apart meanwhile.
        passed = now - since + (int((now - since) * 3 * DRIFT) if self._world.faults.has("drift") else 0)
        self._levels[queue] = (min(most, level + passed * rate) - 1000 * SECOND, now)
        if self._levels[queue][0] < 0:
            yield f"queue {queue} starts more than its bucket allows"

    def _apart(self, now: Micros) -> Micros:
        """Return how far apart the clocks of two hosts may be by now."""
        return micros(2 * WRONG) + int(2 * DRIFT * now) if self._world.faults.has("drift") else 0
