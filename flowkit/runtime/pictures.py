"""What is drawn of a run or a package: its graph of steps."""

from __future__ import annotations

from typing import Any

from flowkit.drawing.graph import Edge, Graph, Node
from flowkit.errors import RunNotFound
from flowkit.model.plan import Plan
from flowkit.runtime.reads import Reads
from flowkit.store.pictures import OPTIONAL, StoredEdge, StoredNode


def graph_of_run(runtime: Reads, run_id: str) -> Graph:
    """Return the graph of a run as it stands: the steps it was started with, and those emitted so far.

    Raises:
        RunNotFound: there is no such run.
    """
    runtime._parts.check_open()
    engine = runtime._parts.engine
    with engine.read() as tx:
        run = engine.runs.find(tx, run_id)
        if run is None:
            raise RunNotFound(run_id)
        # Edges first: should more be emitted in between, an edge could else lead to a step that was not read.
        edges = engine.pictures.edges(tx, run.key)
        nodes = engine.pictures.nodes(tx, run.key)
    return _stored(run_id, nodes, edges)


def _stored(run_id: str, nodes: list[StoredNode], edges: list[StoredEdge]) -> Graph:
    # Steps and gates share the run's places; a picture numbers its steps first, and gates by what is left.
    number = {node.place: place for place, node in enumerate(nodes)}
    drawn = tuple(
        Node(node.id, node.kind, node.status, number.get(node.parent) if node.parent is not None else None)
        for node in nodes
    )
    wired = tuple(
        Edge(
            number.get(edge.target, -1 - edge.target),
            number.get(edge.waiter, -1 - edge.waiter),
            "optional" if edge.role == OPTIONAL else "requires",
        )
        for edge in edges
    )
    return Graph(f"run {run_id}", drawn, wired, is_run=True)


def graph_of_package(runtime: Reads, package: str, input: Any) -> Graph:
    """Return the graph with which a run of a package would start; its entrypoint is called, and nothing is stored.

    A step that the run's output names but that is not there yet stands beside the others, for it will be emitted.

    Raises:
        PackageNotRegistered, InvalidInput, GraphError, LimitExceeded: as a start would.
    """
    runtime._parts.check_open()
    return planned(f"package {package}", runtime._parts.starter.describe(package, input))


def planned(title: str, plan: Plan) -> Graph:
    """Return the graph of a plan that stands by itself."""
    nodes = [Node(id, spec.kind) for spec in plan.specs for id in spec.ids]
    edges = tuple(
        Edge(_number(edge.target, plan), _number(edge.waiter, plan), "requires" if edge.required else "optional")
        for edge in plan.edges
        if isinstance(edge.target, int)
    )
    output = plan.output.step_id if plan.output is not None else None
    if output is not None and all(node.id != output for node in nodes):
        nodes.append(Node(output, "", is_later=True))
    return Graph(title, tuple(nodes), edges)


def _number(place: int, plan: Plan) -> int:
    # A gate's number must be none of a step's, also where one more is drawn than the plan has.
    return place if place < len(plan.ids) else -1 - place
