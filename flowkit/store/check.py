"""Asks of a store every invariant and names what does not hold; the guard and the repair belong to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from flowkit.model.limits import QueueConfig
from flowkit.store.check_contents import Opens, files, payloads
from flowkit.store.check_guard import install_guard, remove_guard
from flowkit.store.check_history import circles, histories, limits_kept
from flowkit.store.check_repair import Mended, repair
from flowkit.store.check_rows import EXAMPLES, INVARIANTS, Invariant, Problem
from flowkit.store.check_windows import windows
from flowkit.store.database import Row, Session

__all__ = [
    "INVARIANTS",
    "PAST",
    "TITLES",
    "Finding",
    "Invariant",
    "Mended",
    "check",
    "install_guard",
    "remove_guard",
    "repair",
]

TITLES: Mapping[str, str] = {
    "I14": "something started or committed in a canceled run",
    "I18": "more leases at once than the queue allows",
    "I19": "more starts than the queue's rate allows",
    "I20": "artifact missing or altered",
    "I22": "payload that does not match its checksum",
    "I23": "steps that wait for each other in a circle",
    "I26": "history that does not come to what is stored",
}
"""The invariants that need more than a query."""

PAST = frozenset({"I25"})
"""What tells of a repair in the past: wrong in a test, where nothing is repaired, but no damage that is there now."""


@attrs.frozen
class Finding:
    """An invariant that does not hold.

    Attributes:
        invariant: its number.
        title: what is wrong.
        rows: a few examples.
        count: how many there are.
    """

    invariant: str
    title: str
    rows: tuple[Row, ...]
    count: int

    def __str__(self) -> str:
        return f"{self.invariant} {self.title}: {self.count}, such as {self.rows[0]}"


def check(
    tx: Session, artifact_store: Opens | None = None, *, limits: Mapping[str, QueueConfig] | None = None
) -> list[Finding]:
    """Return every invariant that does not hold in this store; a sound one gives an empty list.

    Each run is read as of one moment, some of them at a time, so workers may go on and no transaction lasts long.

    Args:
        tx: a session.
        artifact_store: where artifacts outside the database lie; without it they are not read (I20).
        limits: by queue, limits that held ever since the first step; without them past rates are not judged (I18, I19).
    """
    found = _Found()
    for window in windows(tx):
        with tx.moment():
            for invariant in INVARIANTS:
                if invariant.name not in PAST:
                    found.rows(invariant, *invariant.broken(tx, window))
            found.problems(histories(tx, window))
            found.problems(circles(tx, window))
    for invariant in INVARIANTS:
        if invariant.name in PAST:
            found.rows(invariant, *invariant.broken(tx))
    found.problems(payloads(tx))
    if limits:
        with tx.moment():
            found.problems(limits_kept(tx, limits))
    if artifact_store is not None:
        found.problems(files(tx, artifact_store))
    return found.findings()


@attrs.define
class _Found:
    """What does not hold, added up over windows: by number and title, a few rows and how many there are."""

    _rows: dict[tuple[str, str], list[Row]] = attrs.field(factory=dict)
    _counts: dict[tuple[str, str], int] = attrs.field(factory=dict)

    def rows(self, invariant: Invariant, rows: Iterable[Row], count: int) -> None:
        if count:
            self._add(invariant.name, invariant.title, rows, count)

    def problems(self, problems: Iterable[Problem]) -> None:
        for name, row in problems:
            self._add(name, TITLES[name], [row], 1)

    def _add(self, name: str, title: str, rows: Iterable[Row], count: int) -> None:
        sort = (name, title)
        shown = self._rows.setdefault(sort, [])
        shown += list(rows)[: EXAMPLES - len(shown)]
        self._counts[sort] = self._counts.get(sort, 0) + count

    def findings(self) -> list[Finding]:
        return [Finding(*sort, tuple(self._rows[sort]), count) for sort, count in self._counts.items()]
