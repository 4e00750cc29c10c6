"""The picture of a step's states in the manual shows the moves of the code: all of them, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from flowkit.model.moves import MOVES

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
ARROW = re.compile(r"^ +(\w+) --> (\w+): (.+)$", re.MULTILINE)


def test_the_picture_shows_every_move_and_no_other():
    drawn = {
        (name, source, target)
        for source, target, names in ARROW.findall(PAGE.read_text())
        for name in names.split(", ")
    }
    assert drawn == {(move.name, source.value, move.target.value) for move in MOVES for source in move.sources}
