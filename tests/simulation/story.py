"""Draws what is asked of the engine: graphs as plain JSON, so that the same text is input, plan and expectation."""

from __future__ import annotations

import random
from typing import Any

QUEUES = ("default", "narrow", "rated")
"""A queue without limits, one with few slots, one with a token bucket."""

KINDS = ("sim/work", "sim/newer")
"""Two kinds of the same code; workers with older code do not know the second one."""

Graph = list[dict[str, Any]]


class Teller:
    """Tells graphs of a few steps each; ids are unique in a run unless a conflict is wanted."""

    def __init__(self, draw: random.Random, troubled: bool) -> None:
        self._draw = draw
        self._troubled = troubled
        self._names = 0
        self._is_crowded = False

    def graph(self, stored: tuple[str, ...] = (), depth: int = 0) -> Graph:
        """Lay out a graph; what waits comes after what it waits for. *stored* are steps of the run to wait for."""
        draw, nodes = self._draw, []
        if not depth:
            # Where steps wait for many that end, or fail, in one commit, news comes to them by several ways at once.
            self._is_crowded = draw.random() < 0.2
        count = draw.choice((2, 4, 5, 6, 7)) if not depth else draw.choice((1, 1, 2, 3))
        for _ in range(count):
            nodes.append(self._node(nodes, stored, depth))
        if not depth and not any(node.get("count", 1) for node in nodes):
            nodes[0]["count"] = 1  # a run of no steps is refused
        if depth and self._troubled and draw.random() < 0.06:
            nodes[-1].update(id=draw.choice(stored), waits=[])
        if depth and self._troubled and draw.random() < 0.04:
            nodes[-1]["waits"] = [["no such step", "require"]]
            nodes[-1].pop("dedup", None)
        return nodes

    def _node(self, before: Graph, stored: tuple[str, ...], depth: int) -> dict[str, Any]:
        draw = self._draw
        self._names += 1
        node: dict[str, Any] = {"id": f"s{self._names}", "kind": draw.choices(KINDS, (5, 1))[0]}
        if draw.random() < 0.3:
            node["count"] = draw.choice((0, 1, 2, 2, 3))
        node["waits"] = self._waits(node, before, stored)
        node["queue"] = draw.choices(QUEUES, (5, 2, 1))[0]
        node["retry"] = draw.choices(([1, 0], [2, 0], [3, 5], [3, 20]), (1, 2, 3, 1))[0]
        node["priority"] = draw.choice((0, 0, 0, 1, -1))
        for option, value, chance in (("allow_failure", True, 0.12), ("delay", 15, 0.1), ("timeout", 12, 0.12)):
            if draw.random() < chance:
                node[option] = value
        if depth and "count" not in node and draw.random() < 0.3:
            node["dedup"] = draw.choice("pq")
        names = tuple(one["id"] for one in before if "count" not in one and "dedup" not in one)
        node["do"] = self._behaviour(node, names if not depth else stored, depth)
        return node

    def _waits(self, node: dict[str, Any], before: Graph, stored: tuple[str, ...]) -> list[list[str]]:
        draw, waits, bound = self._draw, [], set()
        targets = [one for one in before if one["id"] != node["id"]]
        for _ in range(draw.choice((0, 2, 3, 4, 5) if self._is_crowded else (0, 1, 1, 1, 2, 3))):
            if stored and draw.random() < 0.3:
                name, many, is_empty = draw.choice(stored), False, False
            elif targets:
                groups = [one for one in targets if one.get("count", 0) > 1]
                target = draw.choice(groups if groups and draw.random() < 0.4 else targets)
                name, many, is_empty = target["id"], "count" in target, target.get("count") == 0
            else:
                break
            likely = (2, 4, 1, 1) if self._is_crowded else (3, 2, 3, 1)
            how = draw.choices(("require", "optional", "bind", "bind_optional"), likely)[0]
            if is_empty or (how.startswith("bind") and many in bound):
                how = "require"
            if how.startswith("bind"):
                bound.add(many)
            waits.append([name, how])
        return waits

    def _behaviour(self, node: dict[str, Any], known: tuple[str, ...], depth: int) -> dict[str, Any]:
        draw = self._draw
        seconds = draw.choice((0, 0, 0, 1) if self._is_crowded else (0, 0.5, 1, 3, 8, 20))
        do: dict[str, Any] = {"salt": draw.randint(0, 9999), "seconds": seconds}
        if self._troubled:
            self._trouble(do)
        if draw.random() < 0.3:
            do["records"] = draw.randint(1, 2)
        if draw.random() < 0.12:
            do["inline"] = True
        if draw.random() < 0.06:
            do["stored"] = True
        required = [name for name, how in node["waits"] if how in ("require", "bind") and name in known]
        if required and draw.random() < 0.3:
            do["reads"] = required
        # Members of one map emit the same ids, so all but the first of them fail: that is wanted, but seldom.
        emits = (0.35, 0.15, 0.0)[depth] * (0.1 if "count" in node else 1)
        if known and draw.random() < emits:
            do["emit"] = self.graph((*known, node["id"]) if "count" not in node else known, depth + 1)
        return do

    def _trouble(self, do: dict[str, Any]) -> None:
        draw = self._draw
        roll = draw.random()
        if roll < 0.15:
            do["flaky"] = draw.choice((1, 1, 2))
        elif roll < (0.4 if self._is_crowded else 0.25):
            do["fatal"] = draw.choice((1, 1, 2, 99))
        elif roll < 0.29:
            do["rubbish"] = draw.choice(("nan", "twice", "bug", "exit", "key"))
        elif roll < 0.36:
            do["seconds"] = draw.choice((40, 70, 100))
        if draw.random() < 0.08:
            do["deaf"] = True
