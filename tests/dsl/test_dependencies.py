"""Order without data: after, chain, >>, require, optional; and the gates and edges that come of it."""

from __future__ import annotations

import pytest

from flowkit.dsl import graph as graph_module
from flowkit.dsl.decorators import executor
from flowkit.dsl.handles import chain, optional, require
from flowkit.errors import GraphError, LimitExceeded
from flowkit.model.plan import Edge, Plan


@executor("work")
def work(step, input: int = 0) -> int: ...


@executor("collect")
def collect(step, *, parts: list[int]) -> int: ...


def waits(plan: Plan) -> dict[str, dict[str, bool]]:
    """Say what each step waits for and whether it requires it, seeing through gates."""
    names = plan.ids
    direct = {
        number: [edge for edge in plan.edges if edge.waiter == number] for number in range(len(names) + len(plan.gates))
    }

    def reached(edge: Edge) -> list[str]:
        if isinstance(edge.target, str):
            return [edge.target]
        if edge.target < len(names):
            return [names[edge.target]]
        return [name for inner in direct[edge.target] for name in reached(inner)]

    found: dict[str, dict[str, bool]] = {}
    for number, name in enumerate(names):
        for edge in direct[number]:
            for target in reached(edge):
                said = found.setdefault(name, {})
                said[target] = said.get(target, False) or edge.required
    return found


@pytest.fixture
def run(run_of):
    return run_of(work, collect)


@pytest.fixture
def steps(run):
    """Declare four steps: a, b, c, d."""
    return [run.step(name, work) for name in "abcd"]


def test_after_takes_a_handle_an_id_a_group_and_lists(run):
    a = run.step("a", work)
    group = run.map("g", work, range(2))
    run.step("of-handle", work, after=a)
    run.step("of-id", work, after="a")
    run.step("of-group", work, after=group)
    run.step("of-list", work, after=[a, "g[1]"])
    run.step("of-mixed", work, after=[a, group])
    run.step("of-nothing", work, after=[])

    assert waits(run.finish(None)) == {
        "of-handle": {"a": True},
        "of-id": {"a": True},
        "of-group": {"g[0]": True, "g[1]": True},
        "of-list": {"a": True, "g[1]": True},
        "of-mixed": {"a": True, "g[0]": True, "g[1]": True},
    }


def test_after_goes_to_every_step_of_a_map(run):
    run.map("g", work, range(2), after=run.step("a", work))

    assert waits(run.finish(None)) == {"g[0]": {"a": True}, "g[1]": {"a": True}}


def test_chain_makes_each_item_wait_for_the_one_before(run, steps):
    a, b, c, d = steps
    chain(a, b, [c, d])

    assert waits(run.finish(None)) == {"b": {"a": True}, "c": {"b": True}, "d": {"b": True}}


def test_arrows_are_a_chain(run, steps):
    a, b, c, d = steps
    a >> b >> [c, d]

    assert waits(run.finish(None)) == {"b": {"a": True}, "c": {"b": True}, "d": {"b": True}}


@pytest.mark.parametrize("nothing", [[], None, [None], [[], ()]], ids=repr)
def test_what_names_no_step_is_left_out_of_a_chain(run, steps, nothing):
    a, b, c, d = steps
    chain(a, nothing, nothing, b)
    c >> nothing >> d
    nothing >> a
    d >> nothing

    assert waits(run.finish(None)) == {"b": {"a": True}, "d": {"c": True}}


def test_arrows_start_at_a_list_or_an_id_too(run, steps):
    a, b, c, d = steps
    [a, b] >> c
    "c" >> d

    assert waits(run.finish(None)) == {"c": {"a": True, "b": True}, "d": {"c": True}}


def test_arrows_go_through_lists_and_groups(run, steps):
    a, b, c, d = steps
    group = run.map("g", work, range(2))
    a >> [b, c] >> d
    d >> group

    assert waits(run.finish(None)) == {
        "b": {"a": True},
        "c": {"a": True},
        "d": {"b": True, "c": True},
        "g[0]": {"d": True},
        "g[1]": {"d": True},
    }


def test_a_chain_may_name_steps_declared_later(run):
    first = run.step("first", work)
    chain(first, "later")
    run.step("later", work)

    assert waits(run.finish(None)) == {"later": {"first": True}}


def test_a_chain_of_ids_alone_is_refused(run, steps):
    with pytest.raises(GraphError, match="at least one handle"):
        chain("a", "b")


def test_what_is_no_step_cannot_be_chained(run, steps):
    with pytest.raises(GraphError, match="chain: expected a handle"):
        steps[0] >> 5


def test_optional_waits_for_the_end_only(run, steps):
    a, b, c, d = steps
    run.step("waits", work, after=optional(a, [b, c]))
    chain(optional(a), d)

    assert waits(run.finish(None)) == {"waits": {"a": False, "b": False, "c": False}, "d": {"a": False}}


def test_require_and_optional_may_stand_in_one_list(run, steps):
    a, b, c, _ = steps
    run.step("waits", work, after=[require(a), optional(b), c])

    assert waits(run.finish(None))["waits"] == {"a": True, "b": False, "c": True}


def test_required_wins_over_optional(run, steps):
    a, b, c, _ = steps
    run.step("one", work, after=[optional(a), a])
    run.step("two", work, after=a)
    optional(a) >> "two"

    assert waits(run.finish(None)) == {"one": {"a": True}, "two": {"a": True}}


@pytest.mark.parametrize("make", [require, optional])
def test_require_and_optional_take_steps_only(make):
    with pytest.raises(GraphError, match="no steps"):
        make()
    with pytest.raises(GraphError, match="got 5"):
        make(5)


def test_an_unknown_dependency_is_refused_naming_the_nearest(run):
    run.step("convert", work)
    run.step("waits", work, after="covnert")

    with pytest.raises(GraphError, match="step 'waits': .*'covnert'; did you mean 'convert'"):
        run.finish(None)


def test_a_handle_of_another_run_is_refused(run_of, run):
    stranger = run_of(work).step("a", work)

    with pytest.raises(GraphError, match="step 'b': after: .* declared by another run"):
        run.step("b", work, after=stranger)
    with pytest.raises(GraphError, match="declared by another run"):
        stranger >> run.step("c", work)


def test_a_circle_is_refused_naming_its_steps(run, steps):
    a, b, c, d = steps
    a >> b >> c >> a
    c >> d

    with pytest.raises(GraphError, match=r"circle: (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c)$"):
        run.finish(None)


def test_waiting_for_oneself_is_a_circle(run):
    run.step("a", work, after="a")

    with pytest.raises(GraphError, match="circle: a -> a"):
        run.finish(None)


def test_a_circle_through_a_gate_is_found_and_names_steps_only(run, steps):
    a, b, c, d = steps
    group = run.map("g", work, range(2))
    group >> [a, b]
    a >> group[1]

    with pytest.raises(GraphError, match=r"circle: (a -> g\[1\] -> a|g\[1\] -> a -> g\[1\])$"):
        run.finish(None)


def test_a_circle_through_a_binding_is_found(run):
    run.step("a", collect, parts=["b"])
    run.step("b", collect, parts=["a"])

    with pytest.raises(GraphError, match="circle"):
        run.finish(None)


def test_a_very_long_chain_is_no_circle(run):
    last = None
    for number in range(5000):
        last = run.step(f"s{number}", work, after=last)

    assert len(run.finish(None).edges) == 4999


def test_a_group_with_one_waiter_has_direct_edges(run):
    run.step("join", work, after=run.map("g", work, range(3)))

    plan = run.finish(None)
    assert plan.gates == ()
    assert set(plan.edges) == {Edge(3, 0), Edge(3, 1), Edge(3, 2)}


def test_a_group_with_two_waiters_is_one_gate(run):
    group = run.map("g", work, range(3))
    run.step("x", work, after=group)
    run.step("y", work, after=optional(group))

    plan = run.finish(None)
    assert plan.gates == ("g",)
    members = {Edge(5, number, required=False) for number in range(3)}
    assert set(plan.edges) == members | {Edge(3, 5, required=True), Edge(4, 5, required=False)}


def test_edges_are_members_plus_waiters_never_the_product(run):
    run.map("late", work, range(40), after=run.map("early", work, range(50)))

    plan = run.finish(None)
    assert (len(plan.gates), len(plan.edges)) == (1, 90)


def test_binding_and_waiting_share_one_gate(run):
    group = run.map("g", work, range(3))
    run.step("x", collect, parts=group)
    run.step("y", work, after=group)

    assert run.finish(None).gates == ("g",)


def test_an_equal_list_is_the_same_gate_in_any_order(run):
    group = run.map("g", work, range(3))
    run.step("x", work, after=group)
    run.step("y", work, after=[group[2], "g[0]", group[1]])

    assert run.finish(None).gates == ("g",)


def test_a_gate_of_a_list_is_named_by_its_ends(run, steps):
    a, b, c, d = steps
    [a, b] >> c
    [a, b] >> d

    assert run.finish(None).gates == ("a..b",)


def test_a_gate_required_once_is_required_for_that_waiter(run):
    group = run.map("g", work, range(2))
    run.step("x", work, after=[optional(group), group])
    run.step("y", work, after=optional(group))

    plan = run.finish(None)
    assert {edge.waiter: edge.required for edge in plan.edges if edge.target == 4} == {2: True, 3: False}


def test_waiting_for_an_empty_group_is_waiting_for_what_it_waits_for(run):
    convert = run.step("convert", work)
    pages = run.map("page", work, [], after=convert)
    run.step("index", collect, parts=pages)
    run.step("tidy", work, after=pages)

    assert waits(run.finish(None)) == {"index": {"convert": True}, "tidy": {"convert": True}}


def test_what_an_empty_group_binds_is_waited_for_too(run):
    parts = run.map("part", work, range(2))
    empty = run.map("page", collect, [], parts=parts)
    run.step("tidy", work, after=empty)

    assert waits(run.finish(None)) == {"tidy": {"part[0]": True, "part[1]": True}}


def test_empty_groups_pass_waiting_on_along_a_chain(run, steps):
    a, b, *_ = steps
    first, second = run.map("x", work, []), run.map("y", work, [])
    chain(a, first, second, b)

    assert waits(run.finish(None)) == {"b": {"a": True}}


def test_through_an_empty_group_a_step_is_required_only_if_it_is_all_along(run, steps):
    a, b, c, d = steps
    lenient, strict = run.map("x", work, [], after=optional(a)), run.map("y", work, [], after=a)
    lenient >> b
    optional(strict) >> c
    [lenient] >> d
    strict >> d

    assert waits(run.finish(None)) == {"b": {"a": False}, "c": {"a": False}, "d": {"a": True}}


def test_a_circle_through_an_empty_group_is_found(run, steps):
    a = steps[0]
    empty = run.map("x", work, [])
    a >> empty >> a

    with pytest.raises(GraphError, match="circle: a -> a"):
        run.finish(None)


def test_empty_groups_that_wait_for_each_other_hold_nobody_up(run, steps):
    first, second = run.map("x", work, []), run.map("y", work, [])
    first >> second >> first >> steps[0]

    assert waits(run.finish(None)) == {}


def test_too_many_edges_are_refused(run, monkeypatch):
    monkeypatch.setattr(graph_module, "MAX_EDGES", 3)
    run.step("join", work, after=run.map("g", work, range(4)))

    with pytest.raises(LimitExceeded, match="3 edges"):
        run.finish(None)
