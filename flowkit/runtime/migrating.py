"""Brings a store to the schema version of this flowkit, for an operator who wants to see and allow it."""

from __future__ import annotations

import attrs

from flowkit.clock import SystemClock
from flowkit.store.migrate import removes_data
from flowkit.store.stores import store_of
from flowkit.store.versions import VERSION


@attrs.frozen
class Migration:
    """What brings a store to the present version.

    Attributes:
        before: the version it has, 0 if it has no schema yet.
        after: the version that this flowkit writes.
        removes_data: whether a step on the way removes something.
        copy: where a copy of the store as it was has been kept.
    """

    before: int
    after: int
    removes_data: bool = False
    copy: str | None = None

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        return self.before != self.after


def plan_migration(url: str) -> Migration:
    """Say what a store needs, without changing it.

    Raises:
        SchemaTooNew: a newer flowkit wrote it.
        StoreError: it cannot be read.
        ConfigError: the URL names no store.
    """
    before = store_of(url).version(SystemClock())
    return Migration(before, VERSION, removes_data(before))


def migrate_store(url: str, *, consents: bool) -> Migration:
    """Bring a store to the present version; workers of that version may go on meanwhile.

    Args:
        consents: there is a backup, should a step remove data where no copy can be kept.

    Raises:
        SchemaTooNew: a newer flowkit wrote it; nothing was changed.
        StoreError: it cannot be written, or a step that removes something is not allowed.
    """
    store = store_of(url)
    store.consents = consents
    engine = store.open(SystemClock())
    try:
        return Migration(engine.version, VERSION, copy=engine.db.copy)
    finally:
        engine.db.close()
