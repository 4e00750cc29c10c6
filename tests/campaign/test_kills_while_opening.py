"""Processes killed while they make a store or bring it up to date: it has the version before, or the one after."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowkit.store.check import check
from flowkit.store.engine import Engine
from flowkit.store.migrate import stored_version
from flowkit.store.sqlite import SQLiteConnector
from tests.campaign import opening
from tests.campaign.zygote import Zygote

KILLS = 40
pytestmark = pytest.mark.timeout(600)
AT_ONCE = 3


@pytest.fixture
def zygote(tmp_path: Path) -> Iterator[Zygote]:
    errors = tmp_path / "errors"
    with Zygote(errors, opening.__name__) as zygote:
        yield zygote
    assert errors.read_text() == ""


def seconds_for(zygote: Zygote, job: Callable[..., None], path: Path) -> float:
    """Return how long the job takes on this machine now, undisturbed: kills have to come before that."""
    began = time.monotonic()
    assert zygote.reap(zygote.fork(job, path)) == 0
    return time.monotonic() - began


def kill_some(zygote: Zygote, job: Callable[..., None], path: Path, after: float) -> int:
    """Begin the job in several processes and kill those that are not at its end yet; returns how many that were."""
    pids = [zygote.fork(job, path) for _ in range(AT_ONCE)]
    time.sleep(after)
    codes = [zygote.kill(pid) for pid in pids]
    assert set(codes) <= {0, -signal.SIGKILL}
    return sum(code != 0 for code in codes)


def test_a_store_that_is_killed_while_it_is_made_is_made_by_the_next_process(
    zygote: Zygote, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    chance, kills, half_made = random.Random(1), 0, 0
    span = seconds_for(zygote, opening.make, tmp_path / "first.db")
    for place in itertools.count():
        if kills >= KILLS:
            break
        path = tmp_path / f"store-{place}.db"
        kills += kill_some(zygote, opening.make, path, chance.uniform(0, span))
        half_made += path.exists() and version_of(path) == 0
        opening.make(str(path))
        assert_sound(path)
    figure("killed while they made a store", f"{kills} processes, {half_made} files left without a schema")


def test_a_store_that_is_killed_while_it_is_brought_up_to_date_goes_on_from_the_last_whole_step(
    zygote: Zygote, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    chance, kills, found = random.Random(2), 0, []
    opening.advance(str(tmp_path / "first.db"), version=1)
    span = seconds_for(zygote, opening.advance, tmp_path / "first.db")
    for place in itertools.count():
        if kills >= KILLS:
            break
        path = tmp_path / f"store-{place}.db"
        opening.advance(str(path), version=1)
        kills += kill_some(zygote, opening.advance, path, chance.uniform(0, span))
        found.append(assert_whole(path))
        opening.advance(str(path))
        assert assert_whole(path) == opening.LAST
    figure("killed while they brought a store up to date", f"{kills} processes, versions left {sorted(set(found))}")


def version_of(path: Path) -> int:
    db = opening.open_database(str(path))
    with db.read() as tx:
        version = stored_version(tx)
    db.close()
    return version


def assert_whole(path: Path) -> int:
    """Each step up to the version was made once and to its end, and nothing of the next; returns the version."""
    db = opening.open_database(str(path))
    with db.read() as tx:
        tx.script("BEGIN")
        version = stored_version(tx)
        tables = {row[0] for row in tx.script("SELECT name FROM sqlite_master WHERE name LIKE 'of_version_%'")}
        assert tables == {f"of_version_{number}" for number in range(2, version + 1)}
        assert [tx.script(f"SELECT COUNT(*) FROM {table}") for table in tables] == [[(opening.ROWS,)]] * len(tables)
        tx.script("COMMIT")
    db.close()
    return version


def assert_sound(path: Path) -> None:
    engine = Engine(SQLiteConnector(str(path), "process"), opening.SystemClock())
    with engine.read() as tx:
        assert engine.health.damage(tx) == []
        assert check(tx) == []
    engine.db.close()
