"""One open store: its parts, wired together once, and the transactions they share."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from flowkit.clock import Clock
from flowkit.store.catalog import Catalog
from flowkit.store.commands import Commands
from flowkit.store.database import Connector, Database, Program, Session
from flowkit.store.effects import Effects
from flowkit.store.explaining import Explaining
from flowkit.store.graphs import Graphs
from flowkit.store.health import Health
from flowkit.store.history import History
from flowkit.store.lanes import Lanes
from flowkit.store.leases import Leases
from flowkit.store.migrate import migrate, refuse_newer, stored_version
from flowkit.store.outcomes import Outcomes
from flowkit.store.pictures import Pictures
from flowkit.store.propagate import Propagation
from flowkit.store.prune import Pruning
from flowkit.store.queues import Queues
from flowkit.store.reclaim import Reclaim
from flowkit.store.runs import Runs
from flowkit.store.starts import Starts
from flowkit.store.statements import Asked
from flowkit.store.tables import make_tables
from flowkit.store.unfinished import Unfinished
from flowkit.store.versions import VERSION
from flowkit.store.views import Views
from flowkit.store.workers import Workers


class Engine:
    """The parts of one open store; nothing of it is shared with another."""

    def __init__(
        self, connector: Connector, clock: Clock, program: Program | None = None, *, consents: bool = False
    ) -> None:
        self.db = Database(connector, clock, program)
        self.tables = make_tables(self.db.dialect)
        try:
            self.version = migrate(self.db, self.tables, consents=consents)
        except BaseException:
            # Nobody has it to close it later.
            self.db.close()
            raise
        self.runs = Runs(self.db, self.tables)
        self.lanes = Lanes(self.db, self.tables)
        self.queues = Queues(self.db, self.tables)
        self.leases = Leases(self.db, self.tables)
        self.reclaim = Reclaim(self.db, self.tables, self.runs)
        self.graphs = Graphs(self.db, self.tables, self.lanes)
        self.propagation = Propagation(self.db, self.tables)
        self.outcomes = Outcomes(self.db, self.tables, self.runs, self.graphs, self.propagation)
        self.effects = Effects(self.db, self.tables)
        self.history = History(self.db, self.tables, self.runs)
        self.starts = Starts(self.runs, self.graphs, self.history)
        self.explaining = Explaining(self.db, self.tables)
        self.commands = Commands(self.db, self.tables, self.runs, self.history)
        self.catalog = Catalog(self.db, self.tables)
        self.workers = Workers(self.db, self.tables)
        self.pictures = Pictures(self.db, self.tables)
        self.views = Views(self.db, self.tables, self.history)
        self.unfinished = Unfinished(self.db, self.tables)
        self.health = Health(self.db, self.tables)
        self.pruning = Pruning(self.db, self.tables)

    def read(self) -> AbstractContextManager[Session]:
        """Open a session for reading."""
        return self.db.read()

    def write(self, first: Iterable[Asked] = ()) -> AbstractContextManager[Session]:
        """Open a transaction, perhaps with its *first* statements."""
        return self.db.write(first)

    def check_version(self) -> None:
        """See that the store is still of the version that this flowkit knows.

        Raises:
            SchemaTooNew: a newer flowkit has brought it to its own meanwhile.
        """
        with self.read() as tx:
            refuse_newer(stored_version(tx), VERSION)
