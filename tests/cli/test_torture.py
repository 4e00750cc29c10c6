"""``flowkit torture`` runs a project's own packages under faults, and tells what is not as it is undisturbed."""

from __future__ import annotations

import json
import shlex
from itertools import islice
from typing import Any

import attrs
import pytest

from flowkit.torture.faults import faults, wrong_clock
from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(900)  # dozens of processes are started and killed, on a machine however loaded

FLOWS = '''\
"""Packages that stand torture, and some that do not."""

import os
import random
import threading
import time
from pathlib import Path
from typing import Annotated

from flowkit import Retry, RunBuilder, Sensitive, StepContext, StepHandle, executor, package


@executor("sound/leaf")
def leaf(step: StepContext, number: int) -> int:
    time.sleep(0.01)
    step.record("leaves", str(number), number)
    step.store_artifact("leaf.txt", b"leaf %d" % number)
    return number * number


@executor("sound/once", retry=Retry(max_attempts=1))
async def once(step: StepContext, number: int) -> int:
    step.emit(None, leaf, number)
    return number


@executor("sound/total")
def total(step: StepContext, *, parts: list[int], once: int) -> int:
    return sum(parts) + once


@package("sound")
def sound(run: RunBuilder) -> StepHandle[int]:
    return run.step("total", total, parts=run.map("leaf", leaf, [1, 2, 3, 4]), once=run.step("once", once, 5))


@executor("counts/attempts")
def attempts(step: StepContext) -> int:
    time.sleep(0.05)
    return step.attempt


@executor("secret/word")
def word(step: StepContext) -> Annotated[str, Sensitive()]:
    return f"s3cr3t-{random.random()}"


@package("secret")
def secret(run: RunBuilder, input: int) -> StepHandle[str]:
    return run.step("word", word)


@package("counts")
def counts(run: RunBuilder, input: int) -> StepHandle[int]:
    return run.step("count", attempts)


@executor("locks/file")
def lock(step: StepContext) -> None:
    """Whoever is killed here leaves the lock, and the next one waits for ever."""
    path = Path(os.environ["LOCKS"]) / step.run_id
    while True:
        try:
            path.touch(exist_ok=False)
            break
        except FileExistsError:
            time.sleep(0.02)
    time.sleep(0.1)
    path.unlink()


@package("locks")
def locks(run: RunBuilder, input: int) -> StepHandle[None]:
    return run.step("lock", lock)


@executor("draws/number")
def draw(step: StepContext) -> float:
    return random.random()


@package("draws")
def draws(run: RunBuilder, input: int) -> StepHandle[float]:
    return run.step("draw", draw)


@executor("dies/itself", retry=Retry(max_attempts=2, initial=0))
def die(step: StepContext) -> None:
    os._exit(7)


@executor("hangs/on", timeout=0.1, retry=Retry(max_attempts=1000, initial=0.05, maximum=0.05))
def hang(step: StepContext) -> None:
    threading.Event().wait()


@package("hangs")
def hangs(run: RunBuilder, input: int) -> StepHandle[None]:
    return run.step("hang", hang)


@package("dies")
def dies(run: RunBuilder, input: int) -> StepHandle[None]:
    return run.step("die", die)
'''


@pytest.fixture
def project(empty: Shell) -> Shell:
    empty.write("flows.py", FLOWS)
    (empty.directory / "locks").mkdir()
    empty.environment.update(LOCKS=str(empty.directory / "locks"), TMPDIR=str(empty.directory))
    return attrs.evolve(empty, seconds=300)


def tortured(shell: Shell, *arguments: str) -> tuple[int, dict[str, Any]]:
    ended = shell("torture", "flows", *arguments, "--json")
    assert ended.out, ended.err
    return ended.code, json.loads(ended.out)


def test_packages_that_stand_torture_come_to_the_same_and_leave_nothing_behind(project: Shell) -> None:
    """Steps that may be attempted once are retried as an operator would retry them."""
    code, told = tortured(project, "--kills", "8", "--seed", "3", "--copies", "10")
    assert (code, told["broken"]) == (0, [])
    assert told["kills"] == 8
    assert told["steps"] == 7 * told["runs"] == 70 * told["rounds"]
    assert list(project.directory.glob("flowkit-torture-*")) == []


def test_a_result_that_depends_on_the_attempt_is_found_and_the_replay_finds_it_again(project: Shell) -> None:
    code, told = tortured(project, "--package", "counts", "--input", "1", "--kills", "6", "--seed", "5")
    assert code == 1
    assert {(one["kind"], one["step_id"]) for one in told["broken"]} == {("differs", "count")}
    assert "undisturbed 1 (attempt 1 lost, attempt 2 " in told["broken"][0]["text"]
    assert (project.directory / told["scratch"]).exists()
    again = project(*shlex.split(told["replay"])[1:])
    assert again.code == 1
    assert "not the same as undisturbed: case-1-" in again.out
    assert told["replay"] in again.out


def test_a_lock_that_a_killed_attempt_leaves_behind_is_found(project: Shell) -> None:
    # Workers that were killed last must be there again before it is judged, on a machine however busy.
    options = ["--kills", "12", "--seed", "5", "--copies", "30", "--patience", "15"]
    code, told = tortured(project, "--package", "locks", "--input", "1", *options)
    assert code == 1
    stuck = [one for one in told["broken"] if one["kind"] == "stuck"]
    assert [one["step_id"] for one in stuck] == ["lock"]
    # One is told of for all of them. Whether that one has a slot is chance: others may hang in all of them, and on a
    # starved machine so do attempts whose leases were lost meanwhile.
    assert "does not end (attempt 1 lost" in stuck[0]["text"]
    assert "no live worker" not in stuck[0]["text"]


def test_a_step_that_has_come_due_does_not_wait_for_its_time_where_hung_executors_hold_every_slot(
    project: Shell,
) -> None:
    options = ["--copies", "1", "--workers", "1", "--patience", "2"]
    code, told = tortured(project, "--package", "hangs", "--input", "1", *options)
    assert (code, told["rounds"]) == (1, 0)
    assert [(one["kind"], one["step_id"]) for one in told["broken"]] == [("undisturbed", "hang")]
    text = told["broken"][0]["text"]
    assert "does not end" in text
    assert "no live worker" not in text


def test_what_is_never_the_same_is_not_blamed_on_faults(project: Shell) -> None:
    code, told = tortured(project, "--package", "draws", "--input", "1")
    assert (code, told["rounds"]) == (1, 0)
    assert [(one["kind"], one["step_id"]) for one in told["broken"]] == [("undisturbed", "draw")]


def test_a_sensitive_result_that_differs_is_told_of_and_not_shown(project: Shell) -> None:
    code, told = tortured(project, "--package", "secret", "--input", "1")
    assert code == 1
    assert told["broken"][0]["text"].startswith('result "***", undisturbed "***"')
    assert "s3cr3t" not in json.dumps(told)


def test_a_worker_that_ends_by_itself_is_told_of(project: Shell) -> None:
    code, told = tortured(project, "--package", "dies", "--input", "1")
    assert code == 1
    assert "ended by itself with exit code 7" in told["broken"][0]["text"]


def test_a_modules_own_inputs_are_taken(project: Shell) -> None:
    flows = "from flows import *\ntorture_inputs = {counts: [1, 2], 'draws': []}\n"
    project.write("more.py", flows)
    ended = project("torture", "more", "--package", "counts", "--kills", "0", "--copies", "2")
    assert ended.code == 0
    assert "running 2 cases undisturbed" in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nowhere"], 2, "cannot discover 'nowhere'"),
        (["flows", "--package", "count"], 3, "did you mean 'counts'"),
        (["flows", "--package", "counts"], 2, "package 'counts' requires an input"),
        (["flows", "--input", "1"], 2, "inputs are those of one package"),
        (["flows", "--package", "counts", "--input", '"x"'], 2, "expected int, got str"),
    ],
)
def test_what_cannot_be_tortured_is_refused(project: Shell, arguments: list[str], code: int, told: str) -> None:
    ended = project("torture", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err
    assert list(project.directory.glob("flowkit-torture-*")) == []


def test_a_seed_stands_for_the_same_faults_every_time() -> None:
    assert list(islice(faults(7), 50)) == list(islice(faults(7), 50)) != list(islice(faults(8), 50))
    assert {one.kind for one in islice(faults(7), 200)} == {"kill", "pause", "clock", "lock"}
    clocks = [wrong_clock(one, 1.5) for one in islice(faults(7), 200)]
    assert clocks == [wrong_clock(one, 1.5) for one in islice(faults(7), 200)]
    assert max(abs(one.jump) for one in clocks) > 600
