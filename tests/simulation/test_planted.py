"""The simulation tested in turn: bugs are planted in the engine, and it must find each of them.

A sample in every run; ``make prove`` plants them all.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tests.simulation.planted import PLANTS, Plant, find

SAMPLE = (
    "a settlement proves nothing",
    "outcomes land in a run that is being canceled",
    "a gate counts the members of one transaction as one",
    "expired leases are taken back before the inbox is settled",
    "a step comes back in spite of a second dead dependency",
    "an outcome that was committed is told to be lost",
)
LIMIT = 2000


def test_every_plant_fits_the_engine_as_it_is_and_leaves_it_as_it_was() -> None:
    def code() -> list[Any]:
        return [found(cut.place) for one in PLANTS for cut in one.cuts]

    before = code()
    for plant in PLANTS:
        with plant.planted():
            assert [found(cut.place) for cut in plant.cuts] != [before[0]]
    assert code() == before


def found(place: str) -> Any:
    """Return what stands at a place now: for functions their code, which is what is exchanged."""
    module, _, qualname = place.partition(":")
    owner: Any = importlib.import_module(f"flowkit.{module}")
    for name in qualname.split("."):
        owner = vars(owner)[name]
    return getattr(owner, "__code__", owner)


def test_there_are_plants_enough_and_each_has_a_name() -> None:
    assert len({plant.name for plant in PLANTS}) == len(PLANTS) >= 25


@pytest.mark.parametrize("plant", [one for one in PLANTS if one.name in SAMPLE], ids=lambda one: one.name)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    assert find(plant, LIMIT) is not None


def test_the_sample_is_of_plants_that_are_there() -> None:
    assert {plant.name for plant in PLANTS} >= set(SAMPLE)
