"""The schema and its versions: a new store is made at the present one, an older one is brought there step by step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

from flowkit.clock import Clock
from flowkit.errors import InvalidTransition, SchemaTooNew, StoreError
from flowkit.store.connector import Connector
from flowkit.store.database import Database, Session
from flowkit.store.tables import Tables, make_tables
from flowkit.store.versions import DESTRUCTIVE, STEPS, VERSION, Step


def migrate(
    db: Database,
    tables: Tables,
    *,
    steps: Mapping[int, Step] = STEPS,
    version: int = VERSION,
    destructive: Collection[int] = DESTRUCTIVE,
    consents: bool = False,
) -> int:
    """Bring the store to *version*, safely when many processes open it at once, and return the version it had.

    Args:
        destructive: the versions whose step removes something.
        consents: whoever opens it has a backup, where flowkit cannot make a copy itself.

    Raises:
        SchemaTooNew: a newer flowkit wrote it; nothing was changed.
        InvalidTransition: this thread has a transaction of the program open, and there is something to be done.
        StoreError: the next step removes something, no copy could be kept, and nobody consents; that step is not made.
            Or there is no store yet, but somebody else's table has the name of one of its tables.
    """
    with db.read() as session:
        found = first = stored_version(session)
    if found != version and db.joins_program():
        what = "the store's tables are made or brought up to date, which a rollback of the open transaction would undo"
        raise InvalidTransition(f"{what}; open the Runtime outside of it", None)
    while found != version:
        refuse_newer(found, version)
        with db.write() as session:
            # Another process may have done it since: the version that counts is the one seen under the lock.
            _run(session, db.dialect.migrating())
            found = stored_version(session)
            refuse_newer(found, version)
            if found < version:
                if found and found + 1 in destructive:
                    # The write lock is held: nothing is committed between the copy and the step.
                    db.keep_copy(found, consents=consents)
                found = _advance(session, tables, found, steps, version)
    return first


def _advance(session: Session, tables: Tables, found: int, steps: Mapping[int, Step], version: int) -> int:
    if found == 0:
        _refuse_others(session, tables)
        for statement in (*session.dialect.founding(), *creation(tables)):
            session.script(statement)
        for key, number in (("schema", version), ("clock_high", 0), ("repairs", 0), ("run", 0), ("record", 0)):
            session.script(f"INSERT INTO meta (key, number) VALUES ('{key}', {number})")
        return version
    steps[found + 1](session)
    session.script(f"UPDATE meta SET number = {found + 1} WHERE key = 'schema' AND number = {found}")
    return found + 1


def _refuse_others(session: Session, tables: Tables) -> None:
    names = [table._meta.table_name for table in tables.all()]
    taken = [name for name in names if session.script(session.dialect.columns_of(name))]
    if taken:
        what = "a table" if len(taken) == 1 else "tables"
        raise StoreError(
            f"this database has {what} {', '.join(taken)} that flowkit did not make, where it needs its own of that "
            f"name; it was left untouched: {session.dialect.elsewhere}"
        )


def _run(session: Session, sql: str | None) -> None:
    if sql is not None:
        session.script(sql)


def removes_data(found: int, *, version: int = VERSION, destructive: Collection[int] = DESTRUCTIVE) -> bool:
    """Say whether a step removes something that brings a store from version *found* to *version*.

    Raises:
        SchemaTooNew: it is newer than that.
    """
    refuse_newer(found, version)
    return bool(found) and any(found < step <= version for step in destructive)


def refuse_newer(found: int, version: int) -> None:
    """Refuse a store of a newer version.

    Raises:
        SchemaTooNew: it is one.
    """
    if found > version:
        raise SchemaTooNew(
            f"the store has schema version {found}, this flowkit knows up to {version}; it was left untouched: "
            "install the flowkit that wrote it, or a newer one"
        )


def stored_version(session: Session) -> int:
    """Return the store's schema version; 0 where there is none yet."""
    columns = {name for (name,) in session.script(session.dialect.columns_of("meta"))}
    if not columns >= {"key", "number"}:
        # None, or somebody else's: who makes a store there is told so.
        return 0
    rows = session.script("SELECT number FROM meta WHERE key = 'schema'")
    return int(rows[0][0]) if rows else 0


def version_at(connector: Connector, clock: Clock) -> int:
    """Return the schema version of the store that a connector leads to; nothing is changed."""
    with closing(Database(connector, clock)) as db, db.read() as session:
        return stored_version(session)


def refuse_unfit(session: Session) -> None:
    """Refuse, before anything is changed, a database that ``migrate`` would refuse.

    Raises:
        SchemaTooNew: a newer flowkit wrote it.
        StoreError: somebody else's table has the name of one of flowkit's.
    """
    found = stored_version(session)
    refuse_newer(found, VERSION)
    if not found:
        _refuse_others(session, make_tables(session.dialect))


def creation(tables: Tables) -> list[str]:
    """Return the statements that make the schema of the present version."""
    statements: list[str] = []
    for table in tables.all():
        schema: Any = table._schema
        contexts = [schema._create_table(safe=False), *schema._create_indexes(safe=False)]
        statements += [*getattr(table._meta, "before", ()), *(context.query()[0] for context in contexts)]
    return statements
