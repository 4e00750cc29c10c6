"""What is in the wheel, and what is not."""

from __future__ import annotations

import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from tests.wheel.environment import ROOT, Workshop


@pytest.fixture
def files(workshop: Workshop) -> list[str]:
    """The names of the files in the wheel."""
    with zipfile.ZipFile(workshop.wheel()) as wheel:
        return wheel.namelist()


@pytest.fixture
def metadata(workshop: Workshop) -> Message:
    """What the wheel says of itself."""
    with zipfile.ZipFile(workshop.wheel()) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(wheel.read(name).decode())


def test_every_module_is_in_the_wheel_and_the_mark_that_they_are_typed(files: list[str]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in Path(ROOT, "flowkit").rglob("*.py")}
    assert modules | {"flowkit/py.typed"} <= set(files)


def test_nothing_but_flowkit_is_in_the_wheel(files: list[str]) -> None:
    assert {name.split("/")[0].partition("-")[0] for name in files} == {"flowkit", "flowkit_durable"}
    assert [name for name in files if "__pycache__" in name or name.startswith(("tests/", "examples/"))] == []


def test_the_licence_is_in_the_wheel(files: list[str]) -> None:
    assert [name for name in files if name.endswith("/LICENSE")]


def test_the_core_needs_pure_python_libraries_alone(metadata: Message) -> None:
    needed = [one for one in metadata.get_all("Requires-Dist", []) if "extra ==" not in one]
    names = {one.split(">")[0] for one in needed}
    assert names == {"attrs", "cattrs", "peewee", "structlog", "click", "cronsim", "typing_extensions", "tomli"}


def test_the_wheel_is_of_the_distribution_that_is_flowkits_own(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Requires-Python"]) == ("flowkit-durable", ">=3.10")
