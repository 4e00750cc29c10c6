"""Says why a worker starts nothing: there is nothing to do, or a rate limit holds a queue up; each once."""

from __future__ import annotations

from collections.abc import Mapping

from flowkit.clock import Clock, Micros
from flowkit.model.events import Event
from flowkit.runtime.telemetry import Telemetry


class Lull:
    """What was said of it while one worker has nothing to start."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._is_idle = False
        self._held: dict[str, Micros] = {}

    def over(self) -> None:
        """Something was done: what comes is another lull."""
        self._is_idle = False

    def idle(self, held: Mapping[str, Micros]) -> None:
        """Say that the worker has nothing to do, and which queues are held up until when."""
        if self._is_idle:
            return
        self._is_idle = True
        self.held_up(held)
        self._telemetry.tell([Event("idle", self._clock.now())])

    def held_up(self, until: Mapping[str, Micros]) -> None:
        """Say of each queue that has no token for its next step until later than now when that is."""
        if not until:
            return
        # However often it is asked, a bucket has its next token at the same instant, until somebody takes one.
        now = self._clock.now()
        news = {queue: at for queue, at in until.items() if at > now and self._held.get(queue) != at}
        self._held |= news
        self._telemetry.tell(
            [Event("queue_rate_limited", now, queue=queue, fields={"until": at}) for queue, at in news.items()]
        )
