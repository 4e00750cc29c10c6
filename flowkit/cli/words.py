"""How times, durations and counts are written for people."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowkit.model.limits import QueueConfig
    from flowkit.model.stats import QueueInfo

SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def now() -> int:
    """Return the present instant in microseconds UTC."""
    from flowkit.clock import SystemClock

    return SystemClock().now()


def when(micros: int | None) -> str:
    """Write an instant, in UTC to the second; nothing for none."""
    if micros is None:
        return ""
    return f"{_EPOCH + timedelta(microseconds=micros):%Y-%m-%d %H:%M:%S}"


def clock_time(micros: int) -> str:
    """Write the time of day of an instant, in UTC to the second."""
    return f"{_EPOCH + timedelta(microseconds=micros):%H:%M:%S}"


def duration(micros: int | None) -> str:
    """Write a length of time in the two largest units that it has; nothing for none."""
    if micros is None:
        return ""
    seconds = micros / SECOND
    if seconds < 1:
        return f"{round(micros / 1000)}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 48 else f"{hours // 24}d{hours % 24:02}h"


def count(number: int, noun: str) -> str:
    """Write how many there are: ``1 step``, ``2 steps``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def limits(queue: QueueConfig | QueueInfo) -> str:
    """Write a queue's limits: ``2 at once, 20/s burst 5``."""
    rate = queue.rate_limit
    told = [f"{queue.max_workers} at once"] if queue.max_workers is not None else []
    if rate is not None:
        told.append(f"{rate.rate_per_second:g}/s" + (f" burst {rate.burst}" if rate.burst != 1 else ""))
    return ", ".join(told)


def command(*words: str) -> str:
    """Write a command line of flowkit so that a shell takes it as it is."""
    return shlex.join(["flowkit", *words])
