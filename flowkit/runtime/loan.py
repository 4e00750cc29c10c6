"""A start that leases its own first steps for a worker that rests, in the start's own transaction."""

from __future__ import annotations

from types import TracebackType

from flowkit.runtime.worker import Worker
from flowkit.scheduler.turned import Taken
from flowkit.store.database import Session
from flowkit.store.tally import Tally


class Loan:
    """A worker's next pass, for as long as this block lasts; nothing, where there is no worker or it does not rest."""

    def __init__(self, worker: Worker | None) -> None:
        self._worker = worker
        self._taken: Taken | None = None
        self._asked = False
        self._holds = False

    def __enter__(self) -> Loan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Ctrl-C may come after the baton was borrowed and before that could be noted.
        if self._worker is not None and (self._holds or (error is not None and self._asked)):
            self._worker.baton.give_back()
            if error is not None:
                # What was leased may be committed all the same; the loop asks.
                self._worker.crew.wake.set()

    @property
    def is_taken(self) -> bool:
        """Whether the pass is made here, so that the worker need not be woken for it."""
        return self._taken is not None

    def lease(self, tx: Session, tally: Tally) -> None:
        """Lease what is next, if the worker rests; late in the transaction, so that it is kept from work briefly."""
        worker = self._worker
        if worker is not None and not self._holds and not worker.baton.is_here:
            self._asked = True
            self._holds = worker.baton.borrow()
        if worker is not None and self._holds:
            self._taken = worker.join(tx, tally)

    def go_on(self) -> None:
        """Start the attempts of what was leased; the transaction is committed."""
        if self._worker is not None and self._taken is not None:
            self._worker.go_on_with(self._taken)
