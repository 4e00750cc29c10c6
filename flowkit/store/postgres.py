"""How flowkit opens PostgreSQL: connections that need no session state, and transactions that cannot hang."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flowkit.clock import FollowingClock, Micros, SystemClock
from flowkit.errors import ConfigError, StoreError, StoreUnavailable
from flowkit.store.postgres_connection import BY_KEY, TIME, Connection, driver
from flowkit.store.postgres_dialect import PostgresDialect
from flowkit.store.postgres_errors import is_final, translate
from flowkit.store.postgres_session import PostgresSession
from flowkit.store.postgres_wire import PREPARED
from flowkit.store.sessions import Row
from flowkit.store.statements import Asked

OLDEST = 12
"""The oldest PostgreSQL whose planner looks into the queries that a check names before it asks."""

LOCK_SECONDS = 10
"""How long a statement waits for a row; only a transaction of the program's own, left open, holds one that long."""

OUTLAST_SECONDS = 2
"""How long a command waits for transactions of others that may not have seen it; meanwhile none begins."""

ABANDONED_SECONDS = 30
"""After so long without a statement the server ends a transaction, so a host that is cut off holds up nobody."""

PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between attempts to connect; after the last one the store is said to be unavailable."""

PATIENCE_SECONDS = 5.0
"""After how long no attempt is made any more: where nobody answers at all, one takes long enough by itself."""

TIME_SECONDS = 10.0
"""How old the server's time may be for a read; a transaction is told it when it begins."""

# A connection whose other end is gone is given up after about 15 seconds instead of two hours.
DEFAULTS = {
    "application_name": "flowkit",
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15000,
}
SPOKEN = {"client_encoding": "utf8"}
"""What is so whatever the environment, the role or the data source says."""

# The server, too, is to find out soon that a host is cut off, also while it waits for the rest of what that host says
# at once: only where a unit has ended does it lose patience. Not each system has all of these.
_KEEPALIVES = """DO $$ BEGIN
    PERFORM set_config('tcp_keepalives_idle', '5', false);
    PERFORM set_config('tcp_keepalives_interval', '5', false);
    PERFORM set_config('tcp_keepalives_count', '2', false);
EXCEPTION WHEN OTHERS THEN NULL; END $$"""

_LIMITS = {"idle_in_transaction_session_timeout": ABANDONED_SECONDS, "lock_timeout": LOCK_SECONDS}


def _limits(scope: str) -> list[str]:
    return [f"SET {scope} {name} = {seconds * 1000}" for name, seconds in _LIMITS.items()]


class PostgresConnector:
    """Opens connections to one schema of one database.

    Args:
        place: what messages call the store; no password is in it.
        clock: told the server's time, if the store follows it.
    """

    single = False
    session = PostgresSession

    def __init__(self, arguments: Mapping[str, Any], schema: str, pool_size: int, place: str) -> None:
        self._psycopg = driver()
        self.dialect = PostgresDialect(schema)
        self.pool_size: int | None = pool_size
        self.place = place
        self.clock: FollowingClock | None = None
        self._arguments = {**DEFAULTS, **arguments}

    def keep_copy(self, version: int, *, consents: bool) -> str | None:
        """Refuse to go on without a backup, which only the server's own tools can make."""
        if consents:
            return None
        raise StoreError(
            f"{self.place} has schema version {version}, and the next step to the one this flowkit needs removes data; "
            "stop its workers, take a backup with pg_dump, then: flowkit migrate --yes"
        )

    def connect(self) -> Connection:
        """Open a connection in autocommit mode, trying for a few seconds while the server cannot be reached."""
        return Connection(self._dial(), self.dialect.schema, self._dial)

    def _dial(self) -> Any:
        host = SystemClock()
        until = host.monotonic() + PATIENCE_SECONDS
        for pause in PAUSES:
            try:
                return self.dial()
            except self._psycopg.OperationalError as error:
                if is_final(error) or host.monotonic() > until:
                    raise
                threading.Event().wait(pause)
        return self.dial()

    def dial(self) -> Any:
        """Open one raw connection, once."""
        numeric = self._psycopg.types.numeric
        raw = self._psycopg.connect(**{**self._arguments, **SPOKEN}, autocommit=True, prepare_threshold=None)
        # A number's type would depend on how large it is, and with it which statement is prepared.
        for dumper in (numeric.Int8Dumper, numeric.Int8BinaryDumper):  # that of numbers in a list, and of others
            raw.adapters.register_dumper(int, dumper)
        try:
            if not _conforms(raw):
                raw.execute("SET standard_conforming_strings = on")
            is_direct = raw.execute("SELECT pg_backend_pid()").fetchone()[0] == raw.info.backend_pid
            # An older server, which is refused by name later, does not know all of the settings.
            if is_direct and raw.info.server_version >= OLDEST * 10000:
                self._settle_in(raw)
        except BaseException:
            raw.close()
            raise
        return raw

    @staticmethod
    def _settle_in(raw: Any) -> None:
        # Whoever answers is whom the connection was made to: no pooler lies between, which would send each transaction
        # to another server process. So statements may be prepared; to plan one takes longer than to run it.
        raw.prepare_threshold, raw.prepared_max = 1, PREPARED
        # A plan that is kept is made while the tables may still be empty. It has to be the one for a million rows, and
        # is then the one for all values: the server would else plan each statement five times before it sees that.
        planner = [f"SET {setting} = off" for setting in (*BY_KEY, "jit")]
        plans = "SET plan_cache_mode = force_generic_plan"
        raw.execute("; ".join([*planner, plans, *_limits("SESSION"), _KEEPALIVES]))

    def join(self, raw: Any) -> Connection:
        """Return the program's connection, which has a transaction open, as one that sessions can speak to.

        Raises:
            ConfigError: it has a setting under which other bytes would be stored than were given, or an encoding in
                which not every text can be sent and read.
        """
        encoding = raw.info.parameter_status("client_encoding")
        if encoding != "UTF8":
            what = f"the connection has the client_encoding {encoding}, in which not every text can be sent and read"
            raise ConfigError(f"PostgresStore: database: {what}; set it to UTF8, for the role or in its options")
        if not _conforms(raw):
            what = "the connection has standard_conforming_strings off, under which bytes would be stored changed"
            raise ConfigError(f"PostgresStore: database: {what}; set it on, for the role or in its options")
        return Connection(raw, self.dialect.schema)

    def begin(self, raw: Connection, first: Iterable[Asked] = ()) -> list[tuple[Asked, list[Row]]]:
        """Open a transaction with its *first* statements, and return each with its rows; the time comes too."""
        # Behind a pooler the session is not ours, so what holds for it is said in each transaction.
        limits = () if raw.is_settled else _limits("LOCAL")
        lock = f"pg_advisory_xact_lock_shared({self.dialect.under_way})"
        raw.plan_anew()
        if self.clock is None:
            return raw.begin(self.dialect.begin, *limits, f"SELECT {lock}", first=first)[1]
        answers: list[tuple[Asked, list[Row]]] = []

        def shown() -> Micros:
            told, found = raw.begin(self.dialect.begin, *limits, f"{TIME}, {lock}", first=first)
            answers.extend(found)
            return int(told[0][0])

        self.clock.ask(shown)
        return answers

    def read(self, raw: Connection) -> None:
        """Make ready for reads: see to it that plans are fresh, and that the server's time is known well enough."""
        raw.plan_anew()
        if self.clock is not None and self.clock.age > TIME_SECONDS:
            self.clock.ask(raw.time)

    def notify(self, raw: Connection, notices: Sequence[str]) -> None:
        """Have those who listen told when the transaction commits."""
        for notice in notices:
            raw.send("SELECT pg_notify(%s, %s)", (channel_of(self.dialect.namespace), notice))

    def commit(self, raw: Connection, notices: Sequence[str]) -> None:
        """Commit, and tell those who listen."""
        self.notify(raw, notices)
        done = raw.commit()
        if done != "COMMIT":
            # After an error that somebody caught, the server takes COMMIT for ROLLBACK, and says so in this word only.
            raise StoreError(f"the {self.place} rolled the transaction back: a statement of it had failed")

    def rollback(self, raw: Connection) -> None:
        """Roll back."""
        raw.rollback()

    def outlast(self, raw: Connection) -> None:
        """Wait until every transaction has ended that is under way now, but not for one that hangs."""
        raw.begin("BEGIN", f"SET LOCAL lock_timeout = {OUTLAST_SECONDS * 1000}")
        try:
            raw.execute(f"SELECT pg_advisory_xact_lock({self.dialect.under_way})")
        except self._psycopg.errors.LockNotAvailable:
            pass
        finally:
            raw.rollback()

    def translate(self, error: BaseException) -> StoreError | None:
        """Return what an error of psycopg means."""
        return translate(error, self._psycopg, self.place)

    def prepare(self) -> str:
        """Look at the server once, and return what a commit survives: ``disk``, or ``process``.

        Raises:
            StoreUnavailable: it cannot be reached, is too old, or its database cannot hold every text.
        """
        try:
            raw = self.connect()
            try:
                return self._look(raw)
            finally:
                raw.close()
        except self._psycopg.Error as error:
            raise self.translate(error) or error from error

    def _look(self, raw: Connection) -> str:
        wanted = ("server_version_num", "server_encoding", "synchronous_commit", "fsync")
        named = ", ".join(f"current_setting('{name}')" for name in wanted)
        version, encoding, synchronous, fsync = raw.execute(f"SELECT {named}").fetchone()
        if int(version) < OLDEST * 10000:
            major = int(version) // 10000
            raise StoreUnavailable(f"the {self.place} runs PostgreSQL {major}; flowkit needs {OLDEST} or newer")
        if encoding != "UTF8":
            raise StoreUnavailable(f"the {self.place} has the encoding {encoding}; create a database with UTF8")
        if self.clock is not None:
            self.clock.ask(raw.time)
        return durability(synchronous, fsync)


def _conforms(raw: Any) -> bool:
    # A role or a database may have it off; what the driver writes for a list of bytes is read otherwise then.
    return bool(raw.info.parameter_status("standard_conforming_strings") != "off")


def channel_of(schema: str) -> str:
    """Return what the commits of the store in a schema are announced on."""
    return f"flowkit.{schema}"


def durability(synchronous_commit: str, fsync: str) -> str:
    """Return what a commit survives: ``disk``, power loss too; ``process``, perhaps not that."""
    return "process" if "off" in (synchronous_commit, fsync) else "disk"
