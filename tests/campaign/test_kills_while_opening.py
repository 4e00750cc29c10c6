"""Processes killed while they make a store or bring it up to date: it has the version before, or the one after."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from flowkit.store.check import check
from flowkit.store.migrate import stored_version
from tests.campaign import opening
from tests.campaign.zygote import Zygote
from tests.places import open_engine

KILLS = 40
pytestmark = pytest.mark.timeout(600)
AT_ONCE = 3
MADE_SO_FAR = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'of_version_%'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'flowkit' AND tablename LIKE 'of_version_%'",
}

Nowhere = Callable[[], AbstractContextManager[str]]


@pytest.fixture
def zygote(tmp_path: Path) -> Iterator[Zygote]:
    errors = tmp_path / "errors"
    with Zygote(errors, opening.__name__) as zygote:
        yield zygote
    assert errors.read_text() == ""


@pytest.fixture
def nowhere(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Nowhere:
    """Gives the URL of one more store that is not there yet."""
    numbers = itertools.count()

    @contextmanager
    def url() -> Iterator[str]:
        if database == "sqlite":
            yield f"sqlite:///{tmp_path / f'store-{next(numbers)}.db'}"
        else:
            with request.getfixturevalue("postgres").empty() as place:
                yield place.url

    return url


def seconds_for(zygote: Zygote, job: Callable[..., None], url: str) -> float:
    """Return how long the job takes on this machine now, undisturbed: kills have to come before that."""
    began = time.monotonic()
    assert zygote.reap(zygote.fork(job, url)) == 0
    return time.monotonic() - began


def kill_some(zygote: Zygote, job: Callable[..., None], url: str, after: float) -> int:
    """Begin the job in several processes and kill those that are not at its end yet; returns how many that were."""
    pids = [zygote.fork(job, url) for _ in range(AT_ONCE)]
    time.sleep(after)
    codes = [zygote.kill(pid) for pid in pids]
    assert set(codes) <= {0, -signal.SIGKILL}
    return sum(code != 0 for code in codes)


def test_a_store_that_is_killed_while_it_is_made_is_made_by_the_next_process(
    zygote: Zygote, nowhere: Nowhere, database: str, figure: Callable[[str, object], None]
) -> None:
    chance, kills, half_made = random.Random(1), 0, 0
    with nowhere() as url:
        span = seconds_for(zygote, opening.make, url)
    while kills < KILLS:
        with nowhere() as url:
            kills += kill_some(zygote, opening.make, url, chance.uniform(0, span))
            half_made += version_of(url) == 0
            opening.make(url)
            assert_sound(url)
    figure(f"killed while they made a store on {database}", f"{kills} processes, {half_made} times nothing was made")


def test_a_store_that_is_killed_while_it_is_brought_up_to_date_goes_on_from_the_last_whole_step(
    zygote: Zygote, nowhere: Nowhere, database: str, figure: Callable[[str, object], None]
) -> None:
    chance, kills, found = random.Random(2), 0, []
    with nowhere() as url:
        opening.advance(url, version=1)
        span = seconds_for(zygote, opening.advance, url)
    while kills < KILLS:
        with nowhere() as url:
            opening.advance(url, version=1)
            kills += kill_some(zygote, opening.advance, url, chance.uniform(0, span))
            found.append(assert_whole(url))
            opening.advance(url)
            assert assert_whole(url) == opening.LAST
    told = f"{kills} processes, versions left {sorted(set(found))}"
    figure(f"killed while they brought a store up to date on {database}", told)


def version_of(url: str) -> int:
    db = opening.open_database(url)
    with db.read() as tx:
        version = stored_version(tx)
    db.close()
    return version


def assert_whole(url: str) -> int:
    """Each step up to the version was made once and to its end, and nothing of the next; returns the version."""
    db = opening.open_database(url)
    with db.read() as tx, tx.moment():
        version = stored_version(tx)
        tables = {row[0] for row in tx.script(MADE_SO_FAR[db.dialect.name])}
        assert tables == {f"of_version_{number}" for number in range(2, version + 1)}
        assert [tx.script(f"SELECT COUNT(*) FROM {table}") for table in tables] == [[(opening.ROWS,)]] * len(tables)
    db.close()
    return version


def assert_sound(url: str) -> None:
    engine = open_engine(opening.place_at(url), opening.SystemClock())
    with engine.read() as tx:
        assert engine.health.damage(tx) == []
        assert check(tx) == []
    engine.db.close()
