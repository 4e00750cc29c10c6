"""What one transaction changes in each run, gathered while it goes and written once at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.model.events import Event, EventName
from flowkit.model.plan import spans_of
from flowkit.store.keys import place_of, run_of
from flowkit.store.standing import StoredRun
from flowkit.store.waiters import Waiters

Entry = tuple[Any, ...]
"""One entry of a run's history: name, place or spans of places, epoch, and what else there is to say."""


@attrs.define
class RunChange:
    """How one run's counters move, and what its history gains."""

    added: int = 0
    nodes: int = 0
    edges: int = 0
    opened: int = 0
    closed: int = 0
    failed: int = 0
    canceled_by_run: int = 0
    started: bool = False
    entries: list[Entry] = attrs.field(factory=list)


ALWAYS = frozenset({"step_failed", "step_retried", "lease_expired", "run_finished", "attempt_divergence"})
"""Events that are logged above debug, so that somebody may want them in any case."""


class Tally:
    """The run changes and events of one transaction.

    Args:
        now: the engine's time of the transaction.
        worker_id: who does it, for history.
        listening: whether anybody wants the events that are only of interest to observers and debug logs.

    Attributes:
        ready: how many more steps were made ready than leased, where others are told of them.
        mine: by key, runs that nobody else can change before the transaction ends, as they stood before it; one that
            the transaction itself changes otherwise than by what is counted here is not among them.
        waiters: pending steps of which something that they wait for has ended.
        promoted: how many of them became ready, as far as that is noted.
        stirred: whether steps became ready, or due, otherwise than by their dependencies.
        results: by key of its step, each result that the transaction stores: what waits for it need not read it.
    """

    def __init__(self, now: Micros, *, worker_id: str | None = None, listening: bool = True) -> None:
        self.now = now
        self.worker_id = worker_id
        self.listening = listening
        self.runs: dict[int, RunChange] = {}
        self.ready = 0
        self.mine: dict[int, StoredRun] = {}
        self.waiters = Waiters()
        self.promoted = 0
        self.stirred = False
        self.results: dict[int, bytes | None] = {}
        self._owed: list[Callable[[], None]] = []
        self._told: list[tuple[EventName, int, dict[str, Any]]] = []

    def owe(self, write: Callable[[], None]) -> None:
        """Have *write* called before the transaction is closed."""
        self._owed.append(write)

    def catch_up(self) -> None:
        """Write what is owed."""
        owed, self._owed = self._owed, []
        for write in owed:
            write()

    def promote(self) -> None:
        """Note which waiters become ready, before it is noted what becomes of them."""
        ready = self.waiters.tell()
        if ready:
            self.note_many("step_promoted", ready)
            self.promoted += len(ready)

    def run(self, key: int) -> RunChange:
        """Return the change of one run."""
        change = self.runs.get(key)
        if change is None:
            change = self.runs[key] = RunChange()
        return change

    def note(self, name: str, node: int, epoch: int | None = None, **more: Any) -> RunChange:
        """Add an entry about one step to its run's history."""
        change = self.run(run_of(node))
        change.entries.append((name, place_of(node), epoch, more) if more else (name, place_of(node), epoch))
        return change

    def note_many(self, name: str, nodes: list[int]) -> None:
        """Add one entry for many steps, a run at a time, to their runs' histories."""
        places: dict[int, list[int]] = {}
        for node in sorted(nodes):
            places.setdefault(run_of(node), []).append(place_of(node))
        for run, listed in places.items():
            self.run(run).entries.append((name, spans_of(listed), None))

    def tell(self, name: EventName, run: int, **known: Any) -> None:
        """Add an event about a run's step; the run's id, unless it is given, is filled in when the run is written."""
        if self.listening or name in ALWAYS:
            self._told.append((name, run, known))

    def tell_store(self, name: EventName, fields: dict[str, Any]) -> None:
        """Add an event that is about no run."""
        self._told.append((name, -1, {"fields": fields}))

    def facts(self, run_ids: dict[int, str]) -> list[Event]:
        """Return the events, now that the ids of their runs are known."""
        return [Event(name, self.now, **{"run_id": run_ids.get(run), **known}) for name, run, known in self._told]
