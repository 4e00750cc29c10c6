"""Whatever is declared, the wired graph says the same in fewer edges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowkit.dsl.bindings import Targets
from flowkit.dsl.graph import Wait, wire

STEPS = 8

# A step waits for lists of steps declared before it, so there is no circle.
declared = st.lists(
    st.integers(1, STEPS - 1).flatmap(
        lambda waiter: st.tuples(
            st.just(waiter), st.lists(st.integers(0, waiter - 1), min_size=1, max_size=6), st.booleans()
        )
    ),
    max_size=20,
)


@given(declared)
def test_gates_change_nothing_about_who_waits_for_whom(waits):
    wiring = wire(
        [Wait((waiter,), Targets(tuple(targets), required, None)) for waiter, targets, required in waits],
        [f"s{number}" for number in range(STEPS)],
        lambda name: name,
    )

    asked: dict[tuple[int, int], bool] = {}
    for waiter, targets, required in waits:
        for target in targets:
            asked[waiter, target] = asked.get((waiter, target), False) or required
    assert seen_through(wiring) == asked


@given(declared)
def test_no_edge_is_stored_twice_and_gates_have_members_and_waiters(waits):
    wiring = wire(
        [Wait((waiter,), Targets(tuple(targets), required, None)) for waiter, targets, required in waits],
        [f"s{number}" for number in range(STEPS)],
        lambda name: name,
    )

    pairs = [(edge.waiter, edge.target) for edge in wiring.edges]
    assert len(pairs) == len(set(pairs))
    for gate in range(STEPS, STEPS + len(wiring.gates)):
        assert sum(edge.waiter == gate for edge in wiring.edges) >= 2
        assert sum(edge.target == gate for edge in wiring.edges) >= 2


def seen_through(wiring) -> dict[tuple[int, int], bool]:
    members = {edge.waiter: [] for edge in wiring.edges if edge.waiter >= STEPS}
    for edge in wiring.edges:
        if edge.waiter >= STEPS:
            members[edge.waiter].append(edge.target)
    found: dict[tuple[int, int], bool] = {}
    for edge in wiring.edges:
        if edge.waiter < STEPS:
            for target in members.get(edge.target, [edge.target]):
                found[edge.waiter, target] = found.get((edge.waiter, target), False) or edge.required
    return found
