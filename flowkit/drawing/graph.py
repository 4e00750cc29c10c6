"""A graph of steps as it is to be drawn: nodes, gates between them, edges; and the boxes and arrows of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

Role = Literal["requires", "optional", "emits"]
"""What an edge says: the later step needs the earlier one's success, only its end, or was emitted by it."""


@attrs.frozen
class Node:
    """A step.

    Attributes:
        status: None where nothing has run: in the graph of a package.
        parent: the number of the step that emitted it.
        is_later: it is only named, and will be emitted when the run goes on.
    """

    id: str
    kind: str
    status: str | None = None
    parent: int | None = None
    is_later: bool = False


@attrs.frozen
class Edge:
    """The node numbered *waiter* waits for that numbered *target*."""

    target: int
    waiter: int
    role: Role = "requires"


@attrs.frozen
class Graph:
    """Nodes numbered by their place; any other number in an edge is that of a gate, which stands for its members."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    is_run: bool = False


@attrs.frozen
class Box:
    """One step, or many that are alike, as a picture shows them.

    Attributes:
        label: the id, or what the ids of many have in common, as in ``page[*]``.
        statuses: how many are in each status; empty in the graph of a package.
        count: how many steps it stands for.
        emitted_by: the label of what emitted it.
        members: the ids it stands for.
    """

    label: str
    kind: str
    statuses: Mapping[str, int]
    count: int = 1
    emitted_by: str | None = None
    is_later: bool = False
    members: tuple[str, ...] = ()

    @property
    def status(self) -> str | None:
        """The status that decides how it looks: of many the one that needs to be seen most."""
        order = ("failed", "running", "canceled", "ready", "pending", "succeeded")
        return next((status for status in order if status in self.statuses), None)


@attrs.frozen
class Arrow:
    """From the box numbered *source* to that numbered *target*, which comes later."""

    source: int
    target: int
    role: Role = "requires"


@attrs.frozen
class Picture:
    """Boxes and arrows; an arrow's source stands before its target in the list of boxes."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    is_run: bool = False
