"""A run: one durable execution of an entrypoint with one input, and how its status follows from its counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs

from flowkit.clock import Micros
from flowkit.model.states import RunStatus

T = TypeVar("T")


@attrs.frozen
class StepCounts:
    """The run's counters: what decides its status without looking at its steps.

    Attributes:
        total: the steps there are, emitted ones included.
        open: those that are pending, ready or running.
        failed: those that failed without ``allow_failure``.
        canceled_by_run: those that were canceled because the run was.
    """

    total: int = 0
    open: int = 0
    failed: int = 0
    canceled_by_run: int = 0


@attrs.frozen
class Run:
    """A run as it is stored. Times are integer microseconds UTC.

    Attributes:
        id: unique in the store.
        package: the name of what was started.
        status: where it is.
        name: what people call it, if anything.
        metadata: the JSON object that entrypoint and caller gave.
        created_at: when it was stored.
        started_at: when a step of it was first leased; None before.
        ended_at: when its last step ended; None before, and again after an operator's retry.
        updated_at: when it last changed.
        generation: how often an operator retried it.
        steps: how many steps it has, and how they are.
        input: the stored input as JSON text; None in listings, which do not read it.
    """

    id: str
    package: str
    status: RunStatus
    name: str | None
    metadata: Mapping[str, Any]
    created_at: Micros
    started_at: Micros | None
    ended_at: Micros | None
    updated_at: Micros
    generation: int = 0
    steps: StepCounts = StepCounts()
    input: str | None = attrs.field(default=None, repr=False)

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.status.is_ended


def derive_status(failed: int, canceled_by_run: int, *, canceling: bool) -> RunStatus:
    """Return the end of a run of which no step is open any more.

    Args:
        failed: how many of its steps failed that may not.
        canceled_by_run: how many were canceled because it was.
    """
    if canceling:
        return RunStatus.CANCELED
    if failed:
        return RunStatus.FAILED
    return RunStatus.CANCELED if canceled_by_run else RunStatus.SUCCEEDED


@attrs.frozen
class Page(Generic[T]):
    """One page of a listing; iterate it, and pass ``cursor`` to the next call until it is None.

    Attributes:
        items: what is on the page, in order.
        cursor: where the next page begins; None on the last one.
    """

    items: tuple[T, ...]
    cursor: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> T:
        return self.items[index]
