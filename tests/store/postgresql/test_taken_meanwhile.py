"""What was seen when a transaction began may be somebody else's before it leases; nobody waits for the rest then."""

from __future__ import annotations

from typing import Any

import pytest

from flowkit.model.step import Settlement
from flowkit.store.database import Session
from flowkit.store.outcomes import Outcomes
from tests.store.flow import Flow, step, success


def test_a_worker_whose_step_was_taken_meanwhile_looks_again_soon(
    flow: Flow, other: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "x", "y"):
        flow.start(step(name))
    first = flow.lease_one(kinds=["work"])
    settle, met = Outcomes.settle, [False]

    def meddled(outcomes: Outcomes, tx: Session, *arguments: Any) -> Any:
        settled = settle(outcomes, tx, *arguments)
        if not met[0]:
            met[0] = True
            assert [one.id for one in other.lease(1, worker="bob", kinds=["work"])] == ["x"]
        return settled

    monkeypatch.setattr(Outcomes, "settle", meddled)
    turned = flow.turn([Settlement(first, success(), flow.clock.now())], slots=1, kinds=["work"])

    assert [one.id for one in turned.leased] == ["y"] or turned.contended
