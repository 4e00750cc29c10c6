"""A graph of steps is folded, laid out, and drawn as text, Mermaid and SVG."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkit.drawing.folding import fold
from flowkit.drawing.graph import Arrow, Edge, Graph, Node, Picture
from flowkit.drawing.layers import place
from flowkit.drawing.mermaid import lines
from flowkit.drawing.svg import svg
from flowkit.drawing.text import rows, words

GATE = -1


def graph(ids: str, *edges: str, statuses: str = "") -> Graph:
    """A graph of steps named by one word each; an edge is written ``a>b``, or ``a?b`` where a need only end."""
    names = ids.split()
    nodes = [Node(name, f"k/{name[0]}", status) for name, status in zip(names, statuses.split() or [None] * len(names))]
    wired = []
    for edge in edges:
        source, target = edge.replace("?", ">").split(">")
        wired.append(Edge(names.index(source), names.index(target), "optional" if "?" in edge else "requires"))
    return Graph("it", tuple(nodes), tuple(wired))


def drawn(graph: Graph) -> list[str]:
    return [f"{lanes} {words(box)[0]}".rstrip() if box else lanes for lanes, box in rows(fold(graph))]


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (graph("a b", "a>b"), ["○ a", "│", "○ b"]),
        (graph("a b"), ["○ a", "○ b"]),
        (graph("a b c d", "a>b", "a>c", "b>d", "c>d"), ["○ a", "├─┐", "│ ○ b", "│ │", "○ │ c", "├─┘", "○ d"]),
        (graph("a b c", "a>c", "b>c"), ["○ a", "│", "│ ○ b", "├─┘", "○ c"]),
        (
            graph("a b c d e", "a>b", "a>c", "a>d", "c>e", "d>e"),
            ["○ a", "├─┐", "│ ○ b", "├─┐", "│ ○ c", "│ │", "○ │ d", "├─┘", "○ e"],
        ),
        (
            graph("a b c d", "a>c", "b>d", "a>d"),
            ["○ a", "├─┐", "│ ○ c", "│", "│ ○ b", "├─┘", "○ d"],
        ),
    ],
    ids=["a chain", "two roots", "a diamond", "a join", "a dead end", "a root that comes late"],
)
def test_text_shows_what_leads_where(one: Graph, text: list[str]) -> None:
    assert drawn(one) == text


def test_a_lane_that_has_nothing_to_do_with_a_box_is_passed_under() -> None:
    assert "├─│─┐" in drawn(graph("s x y z end", "s>x", "s>y", "s>z", "x>end", "y>end", "z>end"))


def test_steps_that_are_alike_become_one_box_with_how_many_are_in_each_status() -> None:
    pages = [f"page[{number}]" for number in range(5)]
    edges = [Edge(0, number) for number in range(1, 6)] + [Edge(number, 6) for number in range(1, 6)]
    statuses = ["succeeded", "succeeded", "succeeded", "failed", "running", "succeeded", "pending"]
    nodes = [Node(name, "k", status) for name, status in zip(["start", *pages, "end"], statuses)]
    picture = fold(Graph("it", tuple(nodes), tuple(edges), is_run=True))
    start, box, end = picture.boxes
    assert (box.label, box.count, box.statuses) == ("page[*]", 5, {"succeeded": 3, "failed": 1, "running": 1})
    assert box.status == "failed"
    assert box.members == tuple(pages)
    assert set(picture.arrows) == {Arrow(0, 1), Arrow(1, 2)}
    assert [words(one) for one in (start, box)] == [
        ["start", "succeeded", "k"],
        ["page[*] ×5", "3 succeeded, 1 failed, 1 running", "k"],
    ]


def test_fewer_than_four_stay_for_themselves_and_so_does_all_where_that_is_wanted() -> None:
    three = graph("p[0] p[1] p[2]")
    four = graph("p[0] p[1] p[2] p[3]")
    assert [len(fold(three).boxes), len(fold(four).boxes), len(fold(four, from_=5).boxes)] == [3, 1, 4]


def test_steps_that_stand_at_different_places_are_not_alike() -> None:
    chain = graph("p-1 p-2 p-3 p-4 p-5", "p-1>p-2", "p-2>p-3", "p-3>p-4", "p-4>p-5")
    assert len(fold(chain).boxes) == 5


def test_a_gate_dissolves_into_arrows_of_its_members_to_what_waits_for_it() -> None:
    nodes = tuple(Node(name, "k") for name in ("a", "b", "c", "d"))
    edges = (Edge(0, GATE), Edge(1, GATE), Edge(GATE, 2), Edge(GATE, 3, "optional"))
    picture = fold(Graph("it", nodes, edges))
    assert picture.arrows == (
        Arrow(0, 2),
        Arrow(0, 3, "optional"),
        Arrow(1, 2),
        Arrow(1, 3, "optional"),
    )


def test_what_was_emitted_says_by_whom_and_what_is_decided_later_says_so() -> None:
    nodes = (Node("list", "k", "succeeded"), Node("title", "k", "ready", parent=0), Node("report", "", is_later=True))
    picture = fold(Graph("it", nodes, (), is_run=True))
    assert picture.arrows == (Arrow(0, 2, "emits"),)
    assert [" ".join(words(box)) for box in picture.boxes] == [
        "list succeeded k",
        "report emitted at run time",
        "title ready emitted by list k",
    ]
    assert "  n0 -. emits .-> n2" in lines(picture)
    assert '<path class="arrow emits"' in svg(picture)


graphs = st.integers(1, 12).flatmap(
    lambda count: st.sets(st.sampled_from(list(itertools.combinations(range(count), 2)) or [(0, 0)])).map(
        lambda pairs: Graph(
            "it",
            tuple(Node(f"s[{number}]", "k") for number in range(count)),
            tuple(Edge(source, target) for source, target in sorted(pairs) if source != target),
        )
    )
)


@given(graphs, st.integers(1, 4))
def test_every_arrow_leads_forward_and_every_edge_is_drawn(one: Graph, from_: int) -> None:
    picture = fold(one, from_=from_)
    box_of = {member: place for place, box in enumerate(picture.boxes) for member in box.members}
    assert all(arrow.source < arrow.target for arrow in picture.arrows)
    wanted = {(box_of[f"s[{edge.target}]"], box_of[f"s[{edge.waiter}]"]) for edge in one.edges}
    assert {(arrow.source, arrow.target) for arrow in picture.arrows} == wanted


@given(graphs)
def test_text_has_a_line_for_each_box_below_those_it_comes_after(one: Graph) -> None:
    picture = fold(one, from_=100)
    order = [box.label for _, box in rows(picture) if box is not None]
    assert sorted(order) == sorted(box.label for box in picture.boxes)
    labels = [box.label for box in picture.boxes]
    assert all(order.index(labels[a.source]) < order.index(labels[a.target]) for a in picture.arrows)


@given(graphs)
def test_boxes_do_not_touch_and_arrows_lead_down(one: Graph) -> None:
    picture = fold(one, from_=100)
    layout = place(picture, lambda number: 50.0, gap=10, bend=5, row=30)
    for (x, y), (other_x, other_y) in itertools.combinations(layout.at, 2):
        assert y != other_y or abs(x - other_x) >= 60 - 1e-6
    for arrow, path in zip(picture.arrows, layout.paths):
        assert (path[0], path[-1]) == (layout.at[arrow.source], layout.at[arrow.target])
        assert all(upper[1] < lower[1] for upper, lower in zip(path, path[1:]))
    assert all(25 - 1e-6 <= x <= layout.width - 25 + 1e-6 and 0 < y < layout.height for x, y in layout.at)


def test_arrows_that_need_not_cross_do_not() -> None:
    layout = place(fold(graph("a b x y", "a>y", "b>x")), lambda number: 50.0, gap=10, bend=5, row=30)
    a, b, x, y = (point[0] for point in layout.at)
    assert (a < b) == (y < x)


def test_a_picture_without_boxes_can_be_drawn() -> None:
    empty = Picture("nothing", (), ())
    assert (list(rows(empty)), list(lines(empty))) == ([], ["flowchart TD", "  %% nothing"])
    ElementTree.fromstring(svg(empty))


NASTY = '<b>"x" & ]]> {y} #z; %% \\ \' ü</b>'


def test_svg_holds_every_id_however_it_is_written() -> None:
    picture = fold(Graph(NASTY, (Node(NASTY, "k", "failed"), Node("b", "k", "ready")), (Edge(0, 1),)))
    root = ElementTree.fromstring(svg(picture))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:3] == [NASTY, "k", "failed"]
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 2


def test_mermaid_takes_no_part_of_an_id_for_its_own_signs() -> None:
    picture = fold(Graph(NASTY, (Node(NASTY, "k"),), ()))
    (_, comment, node) = lines(picture)
    assert "{" not in comment
    label = node.removeprefix('  n0["').removesuffix('<br/>k"]')
    assert not set('"<>&{}\\%\'') & set(label)
    assert label.startswith("#60;b#62;#34;x#34; #38;")
