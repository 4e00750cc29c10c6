"""A store of an earlier version is brought to the present one: it keeps what it has, its tables are as in a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flowkit import FileArtifactStore, RunBuilder, Runtime, StepContext, executor, package
from flowkit.clock import SystemClock
from flowkit.store.database import Database
from flowkit.store.migrate import stored_version
from flowkit.store.versions import VERSION
from tests.places import Place, SQLitePlace, open_engine

SCHEMAS = Path(__file__).parent / "schemas"
LAYOUT = {
    "sqlite": "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name",
    "postgresql": """SELECT conrelid::regclass::text AS place, pg_get_constraintdef(oid) AS what FROM pg_constraint
        WHERE connamespace = 'flowkit'::regnamespace
        UNION ALL SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'flowkit'
        UNION ALL SELECT table_name, column_name || ' ' || data_type || ' ' || is_nullable
        FROM information_schema.columns WHERE table_schema = 'flowkit'
        UNION ALL SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'flowkit'::regnamespace ORDER BY 1, 2""",
}
"""SQL that gives all that a store is made of."""

OLD_ARTIFACTS = {
    "sqlite": (
        "CREATE TABLE old AS SELECT * FROM artifacts",
        "DROP TABLE artifacts",
        "{artifacts}",
        "INSERT INTO artifacts SELECT * FROM old",
        "DROP TABLE old",
        "{index}",
    ),
    "postgresql": ("ALTER TABLE artifacts DROP CONSTRAINT artifacts_pkey, ADD PRIMARY KEY (step, id)",),
}
"""SQL that gives a store's artifacts the table that the first version had."""

BESIDE = {
    "sqlite": (
        "CREATE VIEW named AS SELECT name FROM artifacts",
        "CREATE TRIGGER of_the_program AFTER DELETE ON artifacts BEGIN SELECT 1; END",
    ),
    "postgresql": ("CREATE VIEW named AS SELECT name FROM artifacts",),
}
"""What a program may have made beside flowkit's tables, in the same place."""

Nowhere = Callable[[], AbstractContextManager[Place]]


@pytest.fixture
def nowhere(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Nowhere:
    """Gives one more place without a store."""

    @contextmanager
    def place() -> Iterator[Place]:
        if database == "sqlite":
            yield SQLitePlace(tmp_path / f"{len(list(tmp_path.glob('*.db')))}.db")
        else:
            with request.getfixturevalue("postgres").empty() as there:
                yield there

    return place


def statements(database: str, version: int) -> list[str]:
    """Return the SQL that made a store of a version."""
    text = (SCHEMAS / f"version-{version}.{database}.sql").read_text()
    return [one for one in text.removesuffix(";\n").split(";\n") if one]


def layout(place: Place) -> list[Any]:
    with closing(Database(place.connector(), SystemClock())) as db, db.read() as tx:
        assert stored_version(tx) == VERSION
        return tx.script(LAYOUT[tx.dialect.name])


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_store_of_every_earlier_version_gets_the_tables_of_a_new_one(
    nowhere: Nowhere, database: str, version: int
) -> None:
    with nowhere() as place:
        db = Database(place.connector(), SystemClock())
        with db.write() as tx:
            for statement in statements(database, version):
                tx.script(statement)
            tx.script(f"INSERT INTO meta (key, number) VALUES ('schema', {version})")
        db.close()
        engine = open_engine(place, SystemClock())
        assert engine.version == version
        engine.db.close()
        migrated = layout(place)
    with nowhere() as place:
        open_engine(place, SystemClock()).db.close()
        assert migrated == layout(place)


def test_artifacts_of_the_first_version_are_kept(nowhere: Nowhere, database: str, tmp_path: Path) -> None:
    @executor("hand/over")
    def hand_over(step: StepContext, n: int) -> None:
        step.artifact("inline", f"text {n}", metadata={"n": n})
        step.store_artifact("stored", b"bytes", "text/plain")

    @package("hand")
    def hand(run: RunBuilder) -> None:
        run.map("step", hand_over, range(3))

    artifacts = FileArtifactStore(tmp_path / "artifacts")
    with nowhere() as place:
        with Runtime(place.store(), entry_points=False, artifact_store=artifacts) as runtime:
            runtime.register_executor(hand_over)
            runtime.register_package(hand)
            run = runtime.run("hand")
            before = runtime.artifacts(run.id)
        assert len(before) == 6
        named = {
            key: next(one for one in statements(database, 1) if one.startswith(start) and '"artifacts' in one)
            for key, start in (("artifacts", "CREATE TABLE"), ("index", "CREATE INDEX"))
        }
        db = Database(place.connector(), SystemClock())
        with db.write() as tx:
            for statement in OLD_ARTIFACTS[database]:
                tx.script(statement.format(**named))
            tx.script("UPDATE meta SET number = 1 WHERE key = 'schema'")
            for statement in BESIDE[database]:
                tx.script(statement)
        db.close()
        with Runtime(place.store(), entry_points=False, artifact_store=artifacts) as runtime:
            assert runtime.artifacts(run.id) == before
            with runtime._parts.engine.read() as tx:
                assert tx.script("SELECT COUNT(*) FROM named") == [(6,)]
