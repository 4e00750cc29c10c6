"""What a worker sees when it looks: lanes, what is ready in them, best first; and the questions that it asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import attrs

from flowkit.clock import Micros
from flowkit.model.struct import struct
from flowkit.store.database import Session
from flowkit.store.queues import StoredQueue
from flowkit.store.statements import Asked

Found = Callable[[], "list[Candidate]"]
"""Gives the best ready steps of a lane, which were asked for before."""

NOTHING: Mapping[int, list[Candidate]] = MappingProxyType({})
"""No steps in any lane."""


@attrs.frozen
class Lane:
    """A kind in a queue."""

    id: int
    queue: str
    kind: str


@struct
class Glance:
    """What a worker wants to know before it leases, or rests, read with one statement.

    Attributes:
        due_at: when the next delayed step comes due.
        expires_at: when the next lease runs out.
        ready: the lanes it serves that have a step ready, or will have one.
        queues: the queues of those lanes.
        found: by lane, what gives the candidates that were asked for with the glance, or are known.
        coming: by lane, steps that the transaction at hand makes ready.
    """

    due_at: Micros | None
    expires_at: Micros | None
    ready: list[Lane]
    queues: dict[str, StoredQueue]
    found: dict[int, Found] = attrs.field(factory=dict)
    coming: Mapping[int, list[Candidate]] = attrs.field(factory=dict)

    @property
    def served(self) -> list[Lane]:
        """Return the lanes of queues that are not paused."""
        return [lane for lane in self.ready if not self.queues[lane.queue].paused]


class Candidate(NamedTuple):
    """A ready step, as far as choosing needs to know it."""

    priority: int
    ready_at: Micros
    key: int

    @property
    def like(self) -> tuple[int, Micros]:
        """What two steps have in common that are equally good."""
        return (self.priority, self.ready_at)


@struct
class AskedGlance:
    """The question for a glance.

    Attributes:
        highest: the number of the newest lane that was known when it was made: a newer one is not asked about.
    """

    asked: Asked
    highest: int


@struct
class AskedBest:
    """The question for the best steps of a lane.

    Attributes:
        asked: for the best ones.
        near: for those of one run that are as good as *head*, which come first then.
    """

    head: Candidate
    asked: Asked
    near: Asked | None = None

    @property
    def first(self) -> list[Asked]:
        """What is asked."""
        return [self.asked] if self.near is None else [self.asked, self.near]

    def ask(self, tx: Session) -> Found:
        """Ask it, unless the transaction began with it; returns what gives the answer."""
        asked = tx.ask(self.asked)
        near = nothing if self.near is None else tx.ask(self.near)

        def found() -> list[Candidate]:
            best, own = asked(), near()
            if own and best and best[0][:2] == self.head.like:
                best = list(dict.fromkeys([*own, *best]))
            return list(map(Candidate._make, best))

        return found


def nothing() -> list[Any]:
    """Give no steps."""
    return []
