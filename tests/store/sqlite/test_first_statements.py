"""What a transaction begins with takes its time to be made: nobody waits for this writer meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowkit.store.statements import Asked, Statement
from tests.store.flow import Flow, step


def test_others_may_write_while_the_first_statements_of_a_transaction_are_made(flow: Flow, other: Flow) -> None:
    class First:
        asked = Asked(Statement("SELECT count(*) FROM runs", ()), {})

        def __iter__(self) -> Iterator[Any]:
            other.start(step("a"))
            yield self.asked

    first = First()
    with flow.engine.write(first) as tx:
        assert tx.answer(first.asked) == [(1,)]
