"""The picture of a step's states in the manual shows the moves of the code: all of them, and no other."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from flowkit.model.moves import MOVES

PICTURE = Path(__file__).parents[2] / "docs" / "assets" / "states.svg"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_shows_every_move_and_no_other():
    arrows = ElementTree.parse(PICTURE).getroot().iterfind(f".//{SVG}g[@class='move']")
    drawn = [
        (name, source, arrow.attrib["data-to"])
        for arrow in arrows
        for name in arrow.findtext(f"{SVG}text").split(", ")
        for source in arrow.attrib["data-from"].split()
    ]
    assert sorted(drawn) == sorted((move.name, one.value, move.target.value) for move in MOVES for one in move.sources)
