"""What the command line says of itself, and how soon."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import click
import pytest

from flowkit.cli.main import COMMANDS
from tests.cli.conftest import ROOT, Shell

Printed = Callable[[str, str], None]


def test_help_lists_the_commands_by_what_they_are_for(empty: Shell, printed: Printed) -> None:
    ended = empty("--help")
    assert (ended.code, ended.err) == (0, "")
    printed("help", ended.out)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_reads_well(empty: Shell, printed: Printed, name: str) -> None:
    ended = empty(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert max(map(len, ended.out.splitlines())) <= 80
    printed(f"help-{name}", ended.out)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_table_is_what_the_command_says_of_itself(name: str) -> None:
    command: Any = COMMANDS[name].load()
    assert isinstance(command, click.Command)
    assert command.name == name
    assert (command.help or "").partition("\n")[0] == COMMANDS[name].line


def test_every_command_stands_in_the_table() -> None:
    files = {path.stem for path in (ROOT / "flowkit" / "cli" / "commands").glob("*.py")} - {"__init__"}
    named = {entry.target.partition(":")[0].rpartition(".")[2] for entry in COMMANDS.values()}
    assert files == named


def loaded(program: str) -> set[str]:
    """Return which modules of flowkit are there after a program, those aside that any import of flowkit brings."""
    ask = "import sys; print(*(name for name in sys.modules if name.startswith('flowkit')))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{ask}"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_and_completion_load_no_command() -> None:
    help_ = loaded("from flowkit.cli.main import run\nrun(['--help'])")
    assert {name for name in help_ if name.startswith("flowkit.cli.commands")} == set()


HEAVY = {"asyncio", "cattrs", "multiprocessing", "peewee", "psycopg", "rich", "sqlite3", "structlog", "watchfiles"}
"""What takes long to import, and what no help needs."""


def test_the_help_of_no_command_imports_what_takes_long() -> None:
    program = f"from flowkit.cli.main import run\nfor name in {list(COMMANDS)}:\n    run([name, '--help'])"
    ask = f"import sys; print(*sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{ask}"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == ""


def test_the_shell_completes_commands_without_loading_them(empty: Shell) -> None:
    ended = empty(_FLOWKIT_COMPLETE="bash_complete", COMP_WORDS="flowkit ver", COMP_CWORD="1")
    assert ended.out == "plain,version\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_lets_a_shell_complete_is_printed(empty: Shell, shell: str) -> None:
    ended = empty("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert f"_FLOWKIT_COMPLETE={shell}_complete" in ended.out


def test_a_command_that_is_not_there_is_refused_with_the_nearest_that_is(empty: Shell) -> None:
    ended = empty("vresion")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "error: there is no command 'vresion'; did you mean 'version'?\nwhere: flowkit\nhint: flowkit --help\n"
    )


def test_an_option_before_the_command_is_told_where_it_belongs(empty: Shell) -> None:
    ended = empty("--store", "sqlite:///x.db", "runs")
    assert ended.code == 2
    assert "hint: options come after the command: flowkit runs --store URL\n" in ended.err


def test_version_is_told_as_text_and_as_json(empty: Shell) -> None:
    from flowkit import __version__

    assert empty("version").out == empty("--version").out == f"{__version__}\n"
    assert f'"flowkit": "{__version__}"' in empty("version", "--json").out


@pytest.mark.parametrize(("word", "command"), [("status", "show"), ("logs", "watch"), ("strat", "run")])
def test_what_other_tools_call_a_command_is_known(shell: Shell, word: str, command: str) -> None:
    assert shell(word).err.startswith(f"error: there is no command {word!r}; did you mean {command!r}?\n")


@pytest.mark.parametrize("words", [[], ["artifact"]], ids=["flowkit", "artifact"])
def test_asked_for_nothing_it_says_what_may_be_asked_for(shell: Shell, words: list[str]) -> None:
    ended = shell(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == shell(*words, "--help").out
