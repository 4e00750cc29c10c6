"""What SQLite lets somebody write into a column of another type is found like any other damage."""

from __future__ import annotations

import pytest

from flowkit.store.check import check
from tests.places import Place
from tests.store.flow import Flow, step, success


@pytest.mark.parametrize(
    ("invariant", "damage"),
    [
        ("I22", "UPDATE specs SET input = 'text'"),
        ("I24", "UPDATE runs SET updated_at = 'yesterday'"),
    ],
)
def test_a_value_of_another_type_is_found(flow: Flow, place: Place, invariant: str, damage: str) -> None:
    flow.start(step("a"))
    flow.do(success(1))
    with place.by_hand() as run_sql:
        run_sql(damage)

    with flow.engine.read() as tx:
        assert [finding.invariant for finding in check(tx)] == [invariant]
