"""Each exit code, through a real process."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess

import pytest

from flowkit import Runtime
from tests.cli.conftest import Play, Shell, eventually

ORDER = {"id": "A-17", "items": ["tea"]}
BROKEN = """\
from flowkit import RunBuilder, package

def split(parts: int) -> int:
    return 1 // parts


@package("broken")
def broken(run: RunBuilder) -> None:
    split(0)
"""


@pytest.fixture
def played(play: Play) -> None:
    """A run that succeeded, one that failed, and one that waits."""
    play("good", ORDER)
    play("bad", {"id": "broke"})
    play("open", ORDER, passes=0)


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize(
    ("code", "line"),
    [
        (0, "runs"),
        (0, "watch good"),
        (0, "result good"),
        (0, "run order --run-id good --input GOOD --wait"),
        (1, "watch bad"),
        (1, "result bad"),
        (1, "run order --run-id bad --input BAD --wait"),
        (1, "cancel good"),
        (1, "retry good"),
        (1, "doctor"),
        (2, "nothing"),
        (2, "runs --status nothing"),
        (2, "run order --input nothing"),
        (2, "run order --input 5"),
        (2, "cancel"),
        (2, "prune --older-than soon"),
        (2, "runs --store nothing://x"),
        (2, "run order --store sqlite://"),
        (3, "show nothing"),
        (3, "show good nothing"),
        (3, "watch nothing"),
        (3, "timeline nothing"),
        (3, "graph nothing"),
        (3, "run nothing"),
        (3, "queues pause nothing"),
        (3, "artifact get good nothing"),
        (3, "runs --store sqlite:///nothing.db"),
        (4, "watch open --timeout 0.1"),
        (4, "result open"),
        (4, "result open --timeout 0.1"),
    ],
)
def test_a_command_exits_as_the_manual_says(shell: Shell, code: int, line: str) -> None:
    inputs = {"GOOD": json.dumps(ORDER), "BAD": '{"id": "broke"}'}
    ended = shell(*(inputs.get(word, word) for word in line.split()))
    assert ended.code == code, ended.err
    if code in (2, 3, 4):
        assert ended.err.startswith("error: ")
    if code:
        assert "Traceback" not in ended.err


def test_all_that_does_not_fit_is_told_as_the_error(shell: Shell) -> None:
    ended = shell("run", "order", "--input", '{"id": 1, "items": 2}')
    assert "hint" not in ended.err
    assert "$.id: expected str, got int; input $.items: expected list" in ended.err.splitlines()[0]


def test_a_semicolon_in_parentheses_or_in_an_id_does_not_end_what_is_told(shell: Shell) -> None:
    shell.write("licensed.py", "raise OSError(\"the host's license is not (at ~ (home; own); at /); buy one; or two\")")

    told = shell("run", "order", "-m", "licensed").err
    assert "OSError: the host's license is not (at ~ (home; own); at /)\n" in told
    assert "\nhint: buy one; or two (" in told
    assert shell("show", "it's; mine").err.splitlines()[0] == "error: run \"it's; mine\" is not in the store"


@pytest.mark.parametrize(
    ("line", "number", "code"),
    [
        ("run slow --run-id one --timeout 1h", signal.SIGINT, 130),
        ("run slow --run-id one --timeout 1h", signal.SIGTERM, 143),
        ("worker", signal.SIGINT, 130),
        ("worker", signal.SIGTERM, 0),
    ],
)
def test_what_executes_steps_stops_gracefully(
    slow: Shell, looking: Runtime, line: str, number: int, code: int
) -> None:
    if line == "worker":
        slow("run", "slow", "--run-id", "one")
    with slow.background(*line.split()) as process:
        eventually(lambda: looking.workflow("one") is not None and len(looking.steps("one", status="running")) == 1)
        process.send_signal(number)
        assert process.stderr is not None
        while "once more stops it at once" not in process.stderr.readline():
            pass
        process.send_signal(number)
        assert process.wait(60) == code
    assert [attempt.outcome for attempt in looking.attempts("one", "hold[0]")] == ["released"]


@pytest.mark.usefixtures("played")
def test_ctrl_c_ends_what_only_waits(shell: Shell) -> None:
    with shell.background("watch", "open") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


@pytest.mark.usefixtures("played")
def test_whoever_reads_may_stop_reading(shell: Shell) -> None:
    with shell.background("records", "parcels") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 141


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("line", ["version", "runs --json"])
def test_what_cannot_be_printed_is_told(shell: Shell, line: str) -> None:
    with open("/dev/full", "w") as full:
        ended = shell.printing(full, *line.split())
    assert (ended.code, ended.err) == (1, "error: cannot print: No space left on device\nwhere: stdout\n")


def test_whoever_wants_to_read_nothing_may_close_what_it_prints_to(shell: Shell) -> None:
    command = " ".join(map(shlex.quote, shell.command("version")))
    done = subprocess.run(
        f"{command} >&-", shell=True, cwd=shell.directory, env=shell.variables(), stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("line", ["run", "graph"])
def test_an_entrypoint_that_raises_is_told_by_its_own_lines_alone(shell: Shell, line: str) -> None:
    shell.write("broken.py", BROKEN)
    ended = shell(line, "broken", "-m", "broken", "--store", "sqlite:///broken.db")
    assert ended.code == 1
    assert ended.err.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{shell.directory}/broken.py", line 9, in broken',
        "    split(0)",
        f'  File "{shell.directory}/broken.py", line 4, in split',
        "    return 1 // parts",
        "error: ZeroDivisionError: integer division or modulo by zero",
        f"where: {shell.directory}/broken.py:9, in broken",
        "hint: the entrypoint of the package raised it; nothing was stored",
    ]
