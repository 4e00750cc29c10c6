"""Thousands of made-up worlds, each decided by a seed: in none of them is a promise broken."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simulation.choices import FAULTS, Cuts
from tests.simulation.play import Tally, attempt, play, played, shrink
from tests.simulation.stage import Stage

SEEDS = 2000
PER_TEST = 50

FINGERPRINTS = """
import sys
from tests.simulation.play import EVERYTHING, Stage, attempt, played
stage = Stage()
for seed in map(int, sys.argv[1:]):
    attempt(stage, seed, EVERYTHING)
    print(played(stage).fingerprint())
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    made = Stage()
    logger = logging.getLogger("flowkit")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield made
    logger.setLevel(level)
    made.close()


Record = Callable[[str, object], None]


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_no_promise_is_broken_in_any_world(stage: Stage, first: int, record_property: Record) -> None:
    """A failure names the one command that plays its seed again, with as little in it as still fails."""
    tally = Tally()
    for seed in range(first, first + PER_TEST):
        if play(stage, seed, tally=tally) is not None:
            watchful = played(stage).watchful
            cuts = shrink(stage, seed, watchful)
            pytest.fail(play(stage, seed, cuts, watchful=watchful) or f"seed {seed} fails only at times")
    record_property("simulation", tally.as_text())


def test_a_seed_decides_everything_in_any_process_after_any_other_seed(stage: Stage) -> None:
    seeds = range(3, 40, 6)
    here = []
    for seed in seeds:
        attempt(stage, seed, Cuts())
        here.append(played(stage).fingerprint())

    for hash_seed in ("0", "1"):
        told = subprocess.run(
            [sys.executable, "-c", FINGERPRINTS, *map(str, reversed(seeds))],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.split() == here[::-1]


def test_every_kind_of_fault_really_happens(stage: Stage) -> None:
    tally = Tally()
    for seed in range(150):
        assert play(stage, seed, tally=tally) is None

    assert [kind for kind in FAULTS if not tally.faults[kind]] == []
