"""What a store holds is shown by the command line, and never obeyed by the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flowkit import Permanent, RunBuilder, Runtime, StepContext, executor, package
from flowkit.cli.main import run

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\r\u202ebackwards"


@executor("evil/say")
def say(step: StepContext) -> dict[str, str]:
    step.record("words", "it", {"said": EVIL})
    step.artifact(f"name {EVIL}", "body", content_type="text/plain")
    return {"said": EVIL}


@executor("evil/fail")
def fail(step: StepContext) -> None:
    raise Permanent("refused", EVIL, details={"said": EVIL})


@package("evil")
def evil(run: RunBuilder) -> None:
    run.metadata["said"] = EVIL
    run.step("say", say)
    run.step("fail", fail)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evil") / "store.db"
    with Runtime(f"sqlite:///{path}", modules=[__name__], entry_points=False) as runtime:
        runtime.run("evil", run_id="evil")
    return path


@pytest.fixture
def printed_by(store: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """Run a command and return all that it printed."""

    def run_command(arguments: list[str]) -> str:
        assert run([*arguments, "--store", f"sqlite:///{store}"]) in (0, 1, 3)
        captured = capsys.readouterr()
        return captured.out + captured.err

    return run_command


@pytest.mark.parametrize(
    "command",
    [
        ["show", "evil"],
        ["show", "evil", "fail"],
        ["show", "evil", "--json"],
        ["result", "evil"],
        ["result", "evil", "say"],
        ["result", "evil", "say", "--json"],
        ["records", "words"],
        ["records", "words", "--json"],
        ["artifact", "list", "evil"],
        ["watch", "evil"],
        ["runs", "--json"],
        ["explain", f"evil{EVIL}", "say"],
        ["retry", "evil", EVIL],
    ],
)
def test_what_is_stored_is_shown_and_never_obeyed(printed_by: Callable[[list[str]], str], command: list[str]) -> None:
    told = printed_by(command)
    assert not [character for character in told if character in "\x1b\x07\x9b\x7f\r\u202e"]
