"""New runs with their steps: each row is written once, for what a run begins with is counted before it is stored."""

from __future__ import annotations

from collections.abc import Sequence

from flowkit.model.plan import Plan
from flowkit.store.database import Session
from flowkit.store.graph_rows import GraphRows, Row
from flowkit.store.graphs import Graphs
from flowkit.store.history import History
from flowkit.store.newborn import Newborn, are_few
from flowkit.store.runs import Begun, NewRun, Runs, with_beginning
from flowkit.store.standing import StoredRun
from flowkit.store.statements import Asked
from flowkit.store.tally import Tally


class Starts:
    """Stores runs and their first steps."""

    def __init__(self, runs: Runs, graphs: Graphs, history: History) -> None:
        self._runs = runs
        self._graphs = graphs
        self._history = history

    def asking(self, count: int) -> Asked:
        """Return what a transaction may begin with that stores so many runs, for ``add``."""
        return self._runs.ask_keys(count)

    def add(
        self,
        tx: Session,
        new: Sequence[tuple[NewRun, Plan]],
        tally: Tally,
        keys: Asked | None = None,
        *,
        leases: bool = False,
    ) -> list[StoredRun]:
        """Store runs, each with the steps, gates and edges of its plan.

        Args:
            keys: the question for their keys, if the transaction began with it.
            leases: somebody leases next. If the steps are few, all is stored when the transaction is closed, those that
                are leased as they are then: a row is written once, and never comes into the index of what is ready.

        Raises:
            GraphError: a plan points at a step that is not in it.
            LimitExceeded: too many steps or edges.
        """
        if not new:
            return []
        rows = GraphRows()
        stored = self._runs.keys(tx, keys or self.asking(len(new)), [run for run, _ in new], tally.now)
        for run, (asked, plan) in zip(stored, new):
            self._graphs.add(tx, run, plan, tally, rows)
            if asked.origin:
                # Beside the steps, in the entry that the history begins with: a fact of the start, and read by few.
                tally.run(run.key).entries[-1][3]["origin"] = dict(asked.origin)
            tally.tell("run_created", run.key, run_id=run.id, fields={"package": run.package, "steps": len(plan.ids)})
        begun = [(run, asked, tally.run(run.key)) for run, (asked, _) in zip(stored, new)]
        made = [with_beginning(run, change) for run, _, change in begun]
        tally.mine |= {run.key: run for run in made}
        if leases and are_few(rows):
            newborn = Newborn(rows, {run.key: asked for run, asked, _ in begun})
            tally.waiters.bear(newborn.ready())
            tally.owe(lambda: self._store(tx, begun, rows, tally, newborn.take_leased()))
        else:
            self._store(tx, begun, rows, tally)
        return made

    def _store(
        self, tx: Session, begun: Sequence[Begun], rows: GraphRows, tally: Tally, leased: Sequence[Row] = ()
    ) -> None:
        self._runs.insert(tx, begun, tally.now)
        self._graphs.write(tx, rows, leased)
        self._history.begin(tx, tally, [run.key for run, _, _ in begun])
