"""Diamonds, a tree of emitted children, and a map after a map: graphs with joins, against the raw one-by-one loop."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from benchmarks import raw
from benchmarks.flows import Number, Shape, diamond, drained, dynamic, fan_out, map_to_map, open_runtime
from benchmarks.measure import Report, medians, rounds
from benchmarks.statements import seconds_alone

RUNS, PARTS = 100, 50
TREE = Shape(10, 4)
TREE_STEPS = sum(TREE.width**level for level in range(TREE.depth + 1))
MEMBERS = 10_000


def diamonds(place: Path) -> float:
    with open_runtime(place) as rt:
        rt.start_runs(diamond, [Number(PARTS)] * RUNS)
        return RUNS * (PARTS + 2) / drained(rt)


def one_run(place: Path, package: Any, input: Any, steps: int) -> float:
    with open_runtime(place) as rt:
        rt.start_run(package, input)
        return steps / drained(rt)


def one_run_alone(place: Path, package: Any, input: Any, steps: int) -> float:
    """Return steps a second of the statements that draining a run takes, without flowkit."""
    return steps / seconds_alone(place, lambda rt: rt.start_run(package, input), drained)


def stored_edges(place: Path) -> tuple[int, int]:
    with open_runtime(place) as rt:
        rt.start_run(map_to_map, Number(MEMBERS))
    database = sqlite3.connect(place / "flowkit.db")
    edges = database.execute("SELECT count(*) FROM deps").fetchone()[0]
    gates = database.execute("SELECT count(*) FROM gates").fetchone()[0]
    database.close()
    return edges, gates


def main() -> None:
    report = Report("shapes: diamonds, emitted trees, map after map, steps/s")
    edges = gates = 0

    def map_after_map(place: Path) -> float:
        nonlocal edges, gates
        edges, gates = stored_edges(place)
        return one_run(place / "drained", map_to_map, Number(MEMBERS), 2 * MEMBERS)

    report.figures = medians(
        rounds(),
        {
            "raw (a)": lambda place: raw.drain(place, RUNS * (PARTS + 2), 1),
            "fan-out of 10,000": lambda place: one_run(place, fan_out, Number(MEMBERS), MEMBERS),
            "100 diamonds of 1 + 50 + 1": diamonds,
            f"tree of {TREE_STEPS:,} emitted steps": lambda place: one_run(place, dynamic, TREE, TREE_STEPS),
            "10,000 steps after 10,000": map_after_map,
            "fan-out, its statements alone": lambda place: one_run_alone(place, fan_out, Number(MEMBERS), MEMBERS),
            "tree, its statements alone": lambda place: one_run_alone(place, dynamic, TREE, TREE_STEPS),
        },
    )
    found = list(report.figures.values())
    report.figures["tree / fan-out, statements alone"] = found[6] / found[5]
    report.figures |= {"edges stored for 10,000 after 10,000": edges, "gates": gates}
    report.bar("diamonds / raw (a)", found[2] / found[0], 3)
    report.bar("tree / fan-out", found[3] / found[1], 0.7)
    report.bar("edges of map after map", edges, 2 * MEMBERS, at_least=False)
    report.tell()


if __name__ == "__main__":
    main()
