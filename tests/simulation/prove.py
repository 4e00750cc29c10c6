"""The long proof: very many seeds, then every planted bug; it prints how far it is and goes on where it was stopped.

``python -m tests.simulation.prove`` takes as many processes as there are cores. What is done already is kept in
``build/prove``, by a hash of the engine and of the simulation: a change of either begins anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

from tests.simulation.planted import PLANTS, find
from tests.simulation.play import Tally, play, played, shrink
from tests.simulation.stage import Stage

ROOT = Path(__file__).parents[2]
CHUNK = 250
LIMIT = 2000
"""Seeds within which each planted bug must be found."""


@cache
def _stage() -> Stage:
    logging.getLogger("flowkit").setLevel(logging.CRITICAL)
    return Stage()


def play_chunk(first: int, count: int) -> dict[str, Any]:
    """Play *count* seeds from *first* on; returns the figures, and of each seed that failed how to see it again."""
    stage, tally, broken = _stage(), Tally(), []
    for seed in range(first, first + count):
        if play(stage, seed, tally=tally) is not None:
            watchful = played(stage).watchful
            told = play(stage, seed, shrink(stage, seed, watchful), watchful=watchful)
            broken.append(told or f"seed {seed} fails only at times")
    return {"first": first, "tally": tally.as_text(), "broken": broken}


def plant_one(number: int) -> dict[str, Any]:
    """Plant one bug and say which seed showed it."""
    logging.getLogger("flowkit").setLevel(logging.CRITICAL)
    found = find(PLANTS[number], LIMIT)
    return {"plant": PLANTS[number].name, "seed": found[0] if found else None, "told": found[1] if found else ""}


def fingerprint() -> str:
    """Return a hash of the code that is proved and of the code that proves it."""
    digest = hashlib.sha256()
    for folder in ("flowkit", "tests/simulation"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Journal:
    """What is done, a line of JSON each; a line that was cut off by a kill is done again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lines = list(self._read()) if path.exists() else []

    def _read(self) -> Iterator[dict[str, Any]]:
        for line in self.path.read_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def add(self, line: dict[str, Any]) -> None:
        """Write down one more."""
        self.lines.append(line)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def figures(self) -> tuple[Tally, list[str]]:
        """Return all that was played, and what is broken."""
        tally, broken = Tally(), []
        for line in self.lines:
            if "tally" in line:
                tally.merge(line["tally"])
                broken += line["broken"]
        return tally, broken


def prove_seeds(pool: Executor, journal: Journal, seeds: int) -> None:
    """Play what is not played yet."""
    done = {line["first"] for line in journal.lines if "first" in line}
    left = [first for first in range(0, seeds, CHUNK) if first not in done]
    began = time.monotonic()
    waiting = [pool.submit(play_chunk, first, min(CHUNK, seeds - first)) for first in left]
    for count, future in enumerate(as_completed(waiting), start=1):
        line = future.result()
        journal.add(line)
        for text in line["broken"]:
            print(text, flush=True)
        rate = count * CHUNK / (time.monotonic() - began)
        print(f"{len(done) * CHUNK + count * CHUNK:,} of {seeds:,} seeds, {rate:.1f} a second", flush=True)


def prove_plants(pool: Executor, journal: Journal) -> list[str]:
    """Plant every bug that is not planted yet; returns those that were not found."""
    done = {line["plant"]: line["seed"] for line in journal.lines if "plant" in line}
    left = [number for number, plant in enumerate(PLANTS) if plant.name not in done]
    for future in as_completed([pool.submit(plant_one, number) for number in left]):
        line = future.result()
        journal.add(line)
        done[line["plant"]] = line["seed"]
        where = f"found by seed {line['seed']}" if line["seed"] is not None else "NOT FOUND"
        print(f"planted: {line['plant']}: {where}", flush=True)
    return [name for name, seed in done.items() if seed is None]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.prove", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    journal = Journal(ROOT / "build" / "prove" / f"{fingerprint()}.jsonl")
    with ProcessPoolExecutor(given.processes) as pool:
        missed = prove_plants(pool, journal)
        prove_seeds(pool, journal, given.seeds)
    tally, broken = journal.figures()
    print(f"code {fingerprint()}: {tally}")
    print(f"{len(PLANTS) - len(missed)} of {len(PLANTS)} bugs found within {LIMIT:,} seeds each", *missed, sep="\n")
    print(f"{len(broken)} seeds broke a promise", *broken, sep="\n")
    return 1 if broken or missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
