"""The page of the command line names every command, setting and exit code."""

from __future__ import annotations

import re

import pytest

from flowkit.cli.commands.queues import queues
from flowkit.cli.main import COMMANDS
from flowkit.cli.settings import KEYS
from tests.cli.conftest import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*COMMANDS, *(f"queues {name}" for name in queues.commands)])
def test_every_command_is_there_with_an_example(name: str) -> None:
    assert f"`{name}" in PAGE
    examples = re.findall(r"^(?:\$ )?flowkit .*", PAGE, re.MULTILINE) + re.findall(r"`flowkit [^`]*`", PAGE)
    assert any(f"flowkit {name}" in example for example in examples)


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_is_there(key: str) -> None:
    assert f"`{key}" in PAGE


def test_every_exit_code_is_there() -> None:
    assert re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE) == ["0", "1", "2", "3", "4", "130", "141", "143"]
