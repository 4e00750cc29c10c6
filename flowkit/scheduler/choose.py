"""Which ready steps to lease next: the longest waiting queue first, under global and queue limits."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import attrs

from flowkit.clock import Micros
from flowkit.model.struct import struct
from flowkit.store.glances import Candidate
from flowkit.store.queues import StoredQueue


@struct
class Line:
    """A queue as choosing sees it: its limits, how much of it is running, its best candidates in order."""

    queue: StoredQueue
    in_flight: int
    candidates: Sequence[Candidate]

    def room(self, now: Micros) -> int:
        """Return how many steps of this queue may start now."""
        if self.queue.paused:
            return 0
        room = len(self.candidates)
        if self.queue.max_workers is not None:
            room = min(room, self.queue.max_workers - self.in_flight)
        if self.queue.bucket is not None:
            room = min(room, self.queue.bucket.refill(now).whole)
        return max(0, room)


@attrs.define
class Turns:
    """When each queue was last given a slot; what makes a long queue take turns with a short one."""

    served: dict[str, Micros] = attrs.field(factory=dict)

    def since(self, queue: str, ready_at: Micros) -> Micros:
        """Return since when a queue waits: its head is ready, and nothing of it was started, since then."""
        return max(ready_at, self.served.get(queue, ready_at))


def merged(lanes: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """Merge the lanes of one queue: by priority, then by how long a step is ready."""
    return list(heapq.merge(*lanes, key=in_order) if len(lanes) > 1 else lanes[0])


def in_order(candidate: Candidate) -> tuple[int, Micros, int]:
    """Return what candidates are ordered by: priority, then how long a step is ready."""
    return (candidate.priority, candidate.ready_at, candidate.key)


def choose(lines: Sequence[Line], slots: int, turns: Turns, now: Micros) -> list[tuple[str, Candidate]]:
    """Pick at most *slots* candidates, a queue at a time, the one that has waited longest first.

    A queue's place in line is set by when it was last served, not only by its oldest step: a backlog of a million
    old steps then takes turns with a step that came just now, instead of starving it.
    """
    if len(lines) == 1:
        # Nobody to take turns with.
        (line,) = lines
        only = [(line.queue.name, candidate) for candidate in line.candidates[: min(slots, line.room(now))]]
        if only:
            turns.served[line.queue.name] = now
        return only
    chosen: list[tuple[str, Candidate]] = []
    room = {line.queue.name: line.room(now) for line in lines}
    waiting: list[tuple[Micros, int, str, Candidate, Iterator[Candidate]]] = []
    for line in lines:
        rest = iter(line.candidates)
        head = next(rest, None)
        if head is not None and room[line.queue.name] > 0:
            waiting.append((turns.since(line.queue.name, head.ready_at), 0, line.queue.name, head, rest))
    heapq.heapify(waiting)
    while waiting and len(chosen) < slots:
        _, taken, name, head, rest = heapq.heappop(waiting)
        chosen.append((name, head))
        turns.served[name] = now
        room[name] -= 1
        following = next(rest, None)
        if following is not None and room[name] > 0:
            heapq.heappush(waiting, (now, taken + 1, name, following, rest))
    return chosen


def next_tokens(lines: Sequence[Line], now: Micros) -> dict[str, Micros]:
    """Return when each queue that has a rate limit, and steps to start, has a token for one more: now, or later."""
    found = {}
    for line in lines:
        bucket = line.queue.bucket
        if bucket is not None and line.candidates and not line.queue.paused:
            bucket = bucket.refill(now)
            found[line.queue.name] = now if bucket.whole else bucket.next_at()
    return found


def limited(lines: Sequence[Line], now: Micros) -> dict[str, Micros]:
    """Return the queues that an empty bucket holds back, with the time of their next token."""
    return {queue: at for queue, at in next_tokens(lines, now).items() if at > now}
