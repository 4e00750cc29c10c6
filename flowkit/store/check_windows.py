"""Cuts a store into windows of whole runs, so that checking a long one holds no transaction open for long."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from flowkit.store.database import Row, Session
from flowkit.store.keys import first_key

RUNS = 1000
NODES = 50_000
"""How many runs, and about how many steps and gates, one window has at most; a single larger run is one too."""

_LOWEST, _HIGHEST = -(1 << 62), 1 << 62
_BY_NODE = {
    "steps": "key",
    "gates": "key",
    "specs": "step",
    "deps": "waiter",
    "results": "step",
    "attempts": "step",
    "progress": "step",
    "records": "step",
    "artifacts": "step",
}
_BY_RUN = {"runs": "key", "history": "run"}


@attrs.frozen
class Window:
    """The runs with keys *first* to *last*, both included, and all that belongs to them.

    The first window begins below the first run and the last one ends above the last, so that together they show what
    belongs to no run as well.
    """

    first: int = _LOWEST
    last: int = _HIGHEST

    @property
    def nodes(self) -> tuple[int, int]:
        """The lowest and the highest key that a step or gate of these runs can have."""
        low = self.first if self.first == _LOWEST else first_key(self.first)
        return low, self.last if self.last == _HIGHEST else first_key(self.last + 1) - 1

    def over(self, sql: str, schema: str) -> str:
        """Return a query that sees of every table only what is in this window."""
        # The names of the tables are taken by queries that bound them: so no check needs to know of windows.
        if self == EVERYTHING:
            return sql
        low, high = self.nodes
        bounds = {table: (column, low, high) for table, column in _BY_NODE.items()}
        bounds |= {table: (column, self.first, self.last) for table, column in _BY_RUN.items()}
        seen = ", ".join(
            f"{table} AS NOT MATERIALIZED (SELECT * FROM {schema}.{table} WHERE {column} BETWEEN {first} AND {last})"
            for table, (column, first, last) in bounds.items()
        )
        rest = sql.removeprefix("WITH ")
        return f"WITH {seen}{', ' if rest != sql else ' '}{rest}"


EVERYTHING = Window()


def windows(tx: Session) -> Iterator[Window]:
    """Yield windows that together are the whole store, each found when the one before is done with."""
    first, after = _LOWEST, -1
    while True:
        page = tx.script(f"SELECT key, nodes FROM runs WHERE key > {after} ORDER BY key LIMIT {RUNS}")
        taken = _bounded(page)
        if taken == len(page) < RUNS:
            yield Window(first)
            return
        after = page[taken - 1][0]
        yield Window(first, after)
        first = after + 1


def _bounded(page: list[Row]) -> int:
    nodes = 0
    for place, (_, count) in enumerate(page):
        nodes += count
        if place and nodes > NODES:
            return place
    return len(page)
