"""Asks of a store every invariant and names what does not hold; the guard and the repair belong to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import attrs

from flowkit.model.limits import QueueConfig
from flowkit.store.check_contents import Opens, files, payloads
from flowkit.store.check_guard import install_guard, remove_guard
from flowkit.store.check_history import circles, histories, limits_kept
from flowkit.store.check_repair import Mended, repair
from flowkit.store.check_rows import EXAMPLES, INVARIANTS, Invariant, Problem
from flowkit.store.database import Row, Session

__all__ = [
    "INVARIANTS",
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

    Args:
        tx: a session; all is read as of one moment.
        artifact_store: where artifacts outside the database lie; without it they are not read (I20).
        limits: by queue, limits that held ever since the first step; without them past rates are not judged (I18, I19).
    """
    with _one_moment(tx):
        asked = [(i.name, i.title, *i.broken(tx)) for i in INVARIANTS]
        findings = [Finding(*found) for found in asked if found[-1]]
        findings += _gathered(histories(tx))
        findings += _gathered(circles(tx))
        findings += _gathered(payloads(tx))
        if limits:
            findings += _gathered(limits_kept(tx, limits))
        if artifact_store is not None:
            findings += _gathered(files(tx, artifact_store))
    return findings


@contextmanager
def _one_moment(tx: Session) -> Iterator[None]:
    if tx.writes:
        yield
        return
    tx.script("BEGIN")
    try:
        yield
    finally:
        tx.script("COMMIT")


def _gathered(problems: Iterable[Problem]) -> list[Finding]:
    rows: dict[str, list[Row]] = {}
    counts: dict[str, int] = {}
    for name, row in problems:
        counts[name] = counts.get(name, 0) + 1
        if len(rows.setdefault(name, [])) < EXAMPLES:
            rows[name].append(row)
    return [Finding(name, TITLES[name], tuple(rows[name]), count) for name, count in counts.items()]
