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
        self._told: set[str] = set()

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

    def load(self) -> Iterator[tuple[Grant, list[LeasedStep], bool]]:
        """Yield what was leased, what its attempts need, and whether that is news; ``launched`` is to be called then.

        Raises:
            StoreError: that cannot be read now; the next time it is tried again.
        """
        if self._doubtful:
            self._ask()
        while self._sure:
            grant = self._sure[0]
            if self._engine.db.clock.now() >= grant.now + grant.claim.lease:
                # After so long another worker may have it.
                del self._sure[0]
                continue
            leased = self._engine.leases.load(grant)
            self._doubtful.append(grant)
            del self._sure[0]
            token = grant.claim.token
            is_news = token not in self._told
            self._told.add(token)
            yield grant, leased, is_news

    def launched(self) -> None:
        """Forget what was handed out last: somebody sees to its attempts."""
        self._doubtful.clear()
        self._told.clear()

    def set_aside(self) -> list[Grant]:
        """Return what is not in flight yet, so that a pass which is made within this one does not see it."""
        aside, self._doubtful = self._doubtful, []
        return aside

    def take_back(self, aside: list[Grant]) -> None:
        """Have again what was set aside."""
        self._doubtful += aside

    def _ask(self) -> None:
        while self._doubtful:
            held = self._engine.leases.still_held(self._doubtful[0])
            if held.taken.held:
                self._sure.append(held)
            del self._doubtful[0]
