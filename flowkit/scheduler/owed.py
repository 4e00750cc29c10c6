"""Leases for which no attempt is in flight yet: kept, so that none of them is forgotten whatever comes between."""

from __future__ import annotations

from collections.abc import Iterator

from flowkit.model.step import LeasedStep
from flowkit.store.engine import Engine
from flowkit.store.grants import Grant


class Owed:
    """What a worker leases, from before the commit until its attempts are in flight.

    What the attempts need is read after the commit, which a store may refuse; and Ctrl-C may come at any instruction.
    A lease that was forgotten then would end as if this worker had died.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sure: list[Grant] = []
        # Not known to be committed, or not known to be in flight: should that stay so, it has to be asked what is held.
        self._doubtful: list[Grant] = []

    @property
    def count(self) -> int:
        """How many steps that may be: a slot is to be kept for each."""
        if not self._sure and not self._doubtful:
            return 0
        return sum(len(grant.taken.held) for grant in (*self._sure, *self._doubtful))

    def note(self, grant: Grant) -> None:
        """Note what a transaction leases that is not committed yet."""
        self._doubtful.append(grant)

    def committed(self, grant: Grant) -> None:
        """Note that what was noted last is committed.

        Raises:
            StoreError: not all of it was leased; see ``Taking.check``.
        """
        grant.taken.check()
        self._sure.append(grant)
        del self._doubtful[-1]

    def load(self) -> Iterator[tuple[Grant, list[LeasedStep]]]:
        """Yield what was leased with what its attempts need; ``launched`` says that they are in flight.

        Raises:
            StoreError: that cannot be read now; the next time it is tried again.
        """
        if self._doubtful:
            self._ask()
        while self._sure:
            grant = self._sure[0]
            # After so long another worker may have it.
            is_late = self._engine.db.clock.now() >= grant.now + grant.claim.lease
            leased = [] if is_late else self._engine.leases.load(grant)
            self._doubtful.append(grant)
            del self._sure[0]
            yield grant, leased

    def launched(self) -> None:
        """Forget what was handed out last: its attempts are in flight."""
        self._doubtful.clear()

    def _ask(self) -> None:
        while self._doubtful:
            held = self._engine.leases.still_held(self._doubtful[0])
            if held.taken.held:
                self._sure.append(held)
            del self._doubtful[0]
