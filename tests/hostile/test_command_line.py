"""Command lines that nobody should type: they end with an exit code of the manual, and never with a traceback."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import strategies as st

from flowkit import RunBuilder, Runtime, StepContext, executor, package
from flowkit.cli.main import COMMANDS, run
from tests.hostile.values import ten_thousand

pytestmark = pytest.mark.timeout(600)  # ten thousand cases take seconds, on a loaded machine a minute
CODES = {0, 1, 2, 3, 4}
NOT_TRIED = {"worker", "torture", "init"}
"""They go on until they are told to stop, run for long, or make files; their arguments are refused like all others."""


def commands() -> Iterator[tuple[list[str], click.Command]]:
    """Yield every command that is tried, groups taken apart."""
    for name, entry in COMMANDS.items():
        command = entry.load()
        if name not in NOT_TRIED:
            yield [name], command
            for below in getattr(command, "commands", {}):
                yield [name, below], command.commands[below]  # type: ignore[attr-defined]


WORDS = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "-",
            "--",
            "-1",
            "0",
            "1",
            "1e9",
            "nan",
            "inf",
            "9" * 30,
            "done",
            "waits",
            "keep",
            "kept",
            "@last",
            "@",
            "%",
            "'",
        ]
        + [
            "\x1b[31m",
            "\udc80",
            "é",
            "{}",
            "[",
            "null",
            '{"a": NaN}',
            "@/nowhere",
            "@/",
            "a=b",
            "=",
            "failed",
            "2025-01-31",
            "1w",
        ]
        + [
            "sqlite://",
            "sqlite:///nowhere.db",
            "postgresql://",
            "no-such-thing",
            "succeeded,failed",
            "2024-13-99",
            "--json",
        ]
    ),
    st.text(st.characters(exclude_characters="\0"), max_size=6),
)
OPTIONS = sorted({name for _, command in commands() for one in command.params for name in one.opts if name[0] == "-"})
LINES = st.tuples(
    st.sampled_from([words for words, _ in commands()]),
    st.lists(st.one_of(WORDS, WORDS, st.sampled_from(OPTIONS)), max_size=5),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store that has a run that has ended and one that waits."""
    directory = tmp_path_factory.mktemp("line")

    @executor("keep")
    def keep(step: StepContext, input: Any) -> Any:
        step.record("kept", "it", input)
        step.artifact("kept.txt", "kept")
        return input

    @package("kept")
    def kept(run: RunBuilder, input: Any) -> None:
        run.step("keep", keep, input)

    with Runtime(f"sqlite:///{directory / 'app.db'}", entry_points=False) as runtime:
        runtime.register_executor(keep)
        runtime.register_package(kept)
        runtime.run("kept", 1, run_id="done")
        runtime.start_run("kept", 2, run_id="waits")
    return directory


@ten_thousand(lines=LINES)
def _type_everything(lines: list[tuple[list[str], list[str]]], *, told: dict[int, int]) -> None:
    for command, words in lines:
        out, err = (
            io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors) for errors in ("strict", "backslashreplace")
        )
        before = sys.stdout, sys.stderr, sys.stdin
        sys.stdout, sys.stderr, sys.stdin = out, err, io.StringIO("{}")
        try:
            # What would wait for a run that nobody executes waits no longer than this.
            code = run([*command, *words, *(["--timeout", "0"] if command[0] in ("watch", "result", "run") else [])])
        finally:
            sys.stdout, sys.stderr, sys.stdin = before
        assert code in CODES, (command, words, code)
        told[code] = told.get(code, 0) + 1
        printed = b"".join(stream.buffer.getvalue() for stream in (out, err))  # type: ignore[attr-defined]
        assert b"Traceback" not in printed, (command, words)


@pytest.mark.timeout(600)
def test_every_command_line_ends_with_a_code_of_the_manual(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("FLOWKIT_STORE", "sqlite:///app.db")
    told: dict[int, int] = {}
    _type_everything(told=told)
    assert set(told) >= {0, 1, 2, 3}
