"""Rounds of measures, each on a fresh database of one server."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

from benchmarks.on_postgres.server import Server

Measure = Callable[[str], float]


def medians(server: Server, count: int, measures: Mapping[str, Measure]) -> dict[str, float]:
    """Run all measures in turn, *count* times, and return the median of each.

    They take turns so that a machine whose speed drifts is unfair to none of them.
    """
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(count):
        for name, measure in measures.items():
            with server.database() as url:
                found[name].append(measure(url))
    return {name: statistics.median(values) for name, values in found.items()}
