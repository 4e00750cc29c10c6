"""Which connection is lent: one that has its statements ready before one that was opened for a question meanwhile."""

from __future__ import annotations

from flowkit.store.engine import Engine


def test_a_connection_that_was_opened_meanwhile_is_lent_after_the_one_that_was_there(engine: Engine) -> None:
    connections = engine.db.connections
    ready = connections.borrow(writes=False)
    opened = connections.borrow(writes=False)
    raw = ready.raw
    assert opened.raw is not raw
    connections.give_back(ready)
    connections.give_back(opened)
    with connections.lent(writes=False) as lent:
        assert lent.raw is raw
