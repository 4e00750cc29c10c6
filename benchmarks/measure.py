"""How every benchmark measures and tells: medians of several rounds, a table for people, one JSON line for programs."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field


@define
class Report:
    """What one benchmark found.

    Attributes:
        figures: medians, by name.
        bars: what is held against what: name, value, bar, and whether more is better.
    """

    scenario: str
    figures: dict[str, float] = field(factory=dict)
    bars: list[tuple[str, float, float, bool]] = field(factory=list)

    def bar(self, name: str, value: float, bar: float, *, at_least: bool = True) -> None:
        """Hold a value against a bar."""
        self.bars.append((name, value, bar, at_least))

    def tell(self) -> None:
        """Print the table and, last, the JSON line."""
        print(f"{self.scenario}  ({machine()})")
        for name, value in self.figures.items():
            print(f"  {name:<44} {value:>14,.3f}")
        told = []
        for name, value, bar, at_least in self.bars:
            met = value >= bar if at_least else value <= bar
            side, answer = "at least" if at_least else "at most", "yes" if met else "NO"
            print(f"  {name:<44} {value:>14.2f}   {side} {bar:g}: {answer}")
            told.append({"name": name, "value": value, "bar": bar, "at_least": at_least, "met": met})
        print(json.dumps({"scenario": self.scenario, "figures": self.figures, "bars": told}))


def machine() -> str:
    """Say where this was measured."""
    return f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}"


def rounds(default: int = 5) -> int:
    """Return how many rounds the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=default, help="rounds to take the median of")
    return int(parser.parse_args().rounds)


@contextmanager
def directory() -> Iterator[Path]:
    """Give a fresh directory on disk and remove it afterwards."""
    made = Path(tempfile.mkdtemp(prefix="flowkit-benchmark-", dir=Path.cwd()))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def seconds(work: Callable[[], object]) -> float:
    """Return how long *work* took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def medians(count: int, measures: dict[str, Callable[[Path], float]]) -> dict[str, float]:
    """Run all measures in turn, *count* times, each in a fresh directory, and return the median of each.

    They take turns so that a machine whose speed drifts is unfair to none of them.
    """
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(count):
        for name, measure in measures.items():
            with directory() as place:
                found[name].append(measure(place))
    return {name: statistics.median(values) for name, values in found.items()}
