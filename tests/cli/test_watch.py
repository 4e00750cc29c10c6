"""``flowkit watch`` follows a run, and ``flowkit run --wait`` sees one through, here or with a live worker."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable

import pytest

from flowkit import Runtime
from tests.cli.conftest import Play, Shell, eventually

Printed = Callable[[str, str], None]
ORDER = {"id": "A-17", "items": ["tea", "cups"]}


@pytest.mark.parametrize(
    ("name", "id", "code"), [("watch", "A-17", 0), ("watch-failed", "broke", 1), ("watch-flaky", "flaky", 0)]
)
def test_a_run_is_told_line_by_line(shell: Shell, play: Play, printed: Printed, name: str, id: str, code: int) -> None:
    play("order-1", {"id": id, "items": ["tea", "cups"]})
    ended = shell("watch", "@last")
    assert (ended.code, ended.err) == (code, "")
    printed(name, ended.out)


def test_each_event_is_told_as_a_line_of_json(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-1", {"id": "flaky"})
    ended = shell("watch", "@last", "--json")
    assert [json.loads(line)["seq"] for line in ended.out.splitlines()] == list(range(9))
    printed("watch-json", ended.out)


def test_only_what_is_new_is_told_if_that_is_wanted(shell: Shell, play: Play) -> None:
    play("order-1", ORDER)
    assert shell("watch", "@last", "--new").out == ""


def test_watching_ends_with_4_when_its_time_is_over(shell: Shell, play: Play) -> None:
    play("order-1", ORDER, passes=0)
    ended = shell("watch", "order-1", "--timeout", "0.1s")
    assert (ended.code, len(ended.out.splitlines())) == (4, 1)
    assert ended.err.startswith("error: run 'order-1' is pending after 0.1 s\n")


UNSERVED = "no live worker serves 'shop/charge': start one with flowkit worker; `flowkit explain order-1` says more\n"


@pytest.mark.parametrize("words", ["watch order-1", "result order-1", "result order-1 charge"])
def test_who_waits_is_told_once_after_five_seconds_that_no_live_worker_serves_the_run(
    shell: Shell, play: Play, words: str
) -> None:
    play("order-1", ORDER, passes=0)
    ended = shell(*words.split(), "--timeout", "5.6s")
    assert ended.code == 4
    assert ended.err.startswith(UNSERVED + "error: ")


def test_who_waits_is_told_nothing_while_a_live_worker_serves_the_run(slow: Shell, looking: Runtime) -> None:
    slow("run", "slow", "--run-id", "one")
    with slow.background("worker", "--concurrency", "1"):
        eventually(lambda: looking.step("one", "hold[0]").status == "running")
        slow("run", "slow", "--run-id", "two")
        assert slow("result", "two", "--timeout", "5.6s").err.startswith("error: run 'two' is pending after 5.6 s")
        slow.write("go", "")


def test_what_happens_is_told_when_it_happens(slow: Shell, looking: Runtime) -> None:
    slow("run", "slow", "--run-id", "one")
    with slow.background("watch", "one") as watching, slow.background("worker"):
        assert watching.stdout is not None
        lines = [watching.stdout.readline(), watching.stdout.readline()]
        assert [re.sub(r"^\S+ +", "", line) for line in lines] == [
            "stored     run one  with 1 step\n",
            "running    hold[0]\n",
        ]
        slow.write("go", "")
        assert "succeeded  hold[0]  after " in watching.stdout.readline()
        assert watching.wait(60) == 0


def test_ctrl_c_ends_the_watching_and_not_the_run(slow: Shell, looking: Runtime) -> None:
    slow("run", "slow", "--run-id", "one")
    with slow.background("watch", "one") as watching:
        assert watching.stdout is not None
        watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
    run = looking.workflow("one")
    assert run is not None
    assert run.status == "pending"


def test_on_a_terminal_the_run_is_drawn_and_nothing_of_that_stays(shell: Shell, play: Play) -> None:
    play("order-1", {"id": "broke"})
    ended = shell.in_terminal("watch", "order-1")
    assert ended.code == 1
    assert ended.out.endswith("run order-1 failed\r\n")
    assert "\x1b[31mfailed     charge  no_money" in ended.out
    # The cursor goes back up over the picture, and clears it.
    assert "\x1b[1A\x1b[2K" in ended.out


def test_on_a_terminal_that_can_do_nothing_there_are_lines(shell: Shell, play: Play) -> None:
    play("order-1", ORDER)
    ended = shell.in_terminal("watch", "order-1", TERM="dumb")
    assert "\x1b" not in ended.out
    assert "running    charge" in ended.out


def test_the_progress_of_a_run_is_told_beside_its_end(shell: Shell) -> None:
    ended = shell("run", "order", "--input", json.dumps(ORDER), "--run-id", "order-1", "--wait")
    assert (ended.code, ended.out) == (0, "run order-1 succeeded\n")
    assert "running    pack[0]\n" in ended.err
    assert ended.err.endswith("succeeded  run order-1\nflowkit show order-1 tells more\n")


def test_a_run_that_fails_tells_why(shell: Shell) -> None:
    ended = shell("run", "order", "--input", '{"id": "broke"}', "--run-id", "order-1", "--wait")
    assert (ended.code, ended.out) == (1, "run order-1 failed\n")
    assert "charge failed: no_money: the card was refused\n" in ended.err


def test_a_run_on_a_terminal_is_drawn(shell: Shell) -> None:
    ended = shell.in_terminal("run", "order", "--input", json.dumps(ORDER), "--run-id", "order-1", "--wait")
    assert (ended.code, "\x1b[1A\x1b[2K" in ended.out) == (0, True)
    assert "run order-1 succeeded\r\n" in ended.out


def test_waiting_for_a_run_ends_with_4_when_its_time_is_over_and_hands_its_steps_back(
    slow: Shell, looking: Runtime
) -> None:
    ended = slow("run", "slow", "--run-id", "one", "--timeout", "3s")
    assert (ended.code, ended.out) == (4, "")
    # On a slow machine the three seconds may be over before the step has begun.
    assert re.search(r"^error: run 'one' is (running|pending) after 3 s$", ended.err, re.MULTILINE)
    assert "hint: it goes on with the next worker" in ended.err
    assert (looking.step("one", "hold[0]").status, looking.step("one", "hold[0]").attempt) == ("ready", 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_executed_here_is_stored_for_later_when_the_command_is_stopped(
    slow: Shell, looking: Runtime, number: int, code: int
) -> None:
    with slow.background("run", "slow", "--run-id", "one", "--wait") as process:
        eventually(lambda: running(looking) == ["hold[0]"])
        process.send_signal(number)
        assert process.stderr is not None
        while "once more stops it at once" not in process.stderr.readline():
            pass
        process.send_signal(number)
        out, told = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert told.endswith("stopped: run one is running with 1 step to do, and goes on with the next worker\n")
    assert [attempt.outcome for attempt in looking.attempts("one", "hold[0]")] == ["released"]


def test_what_runs_here_may_end_within_the_grace(slow: Shell, looking: Runtime) -> None:
    with slow.background("run", "slow", "--run-id", "one", "--wait") as process:
        eventually(lambda: running(looking) == ["hold[0]"])
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "once more stops it at once" not in process.stderr.readline():
            pass
        slow.write("go", "")
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "run one succeeded\n")


def running(looking: Runtime) -> list[str]:
    run = looking.workflow("one")
    return [step.id for step in looking.steps("one", status="running")] if run is not None else []


def test_a_run_that_a_live_worker_serves_is_left_to_it(slow: Shell, looking: Runtime) -> None:
    with slow.background("worker"):
        (worker,) = served(looking)
        stored = slow("run", "slow", "--run-id", "zero")
        assert stored.err == f"worker {worker} serves it: flowkit watch zero\n"
        with slow.background("run", "slow", "--run-id", "one", "--wait") as waiting:
            eventually(lambda: running(looking) == ["hold[0]"])
            slow.write("go", "")
            out, told = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (0, "run one succeeded\n")
    assert told.startswith(f"worker {worker} serves it: this process only waits\n")
    (attempt,) = looking.attempts("one", "hold[0]")
    assert attempt.worker_id == worker.partition("/")[0]


def served(looking: Runtime) -> list[str]:
    eventually(lambda: bool(looking.stats().workers))
    return [worker.id for worker in looking.stats().workers]


def test_a_run_is_taken_over_when_no_live_worker_serves_it_any_more(slow: Shell, looking: Runtime) -> None:
    looking.pause_queue("slow")
    slow.write("go", "")
    with slow.background("worker") as worker:
        served(looking)
        with slow.background("run", "slow", "--run-id", "one", "--wait") as waiting:
            assert waiting.stderr is not None
            assert "this process only waits" in waiting.stderr.readline()
            stop(worker)
            told = waiting.stderr.readline() + waiting.stderr.readline()
            assert "no live worker serves it any more: this process goes on with it\n" in told
            looking.resume_queue("slow")
            assert waiting.wait(60) == 0
    assert looking.step("one", "hold[0]").status == "succeeded"


def stop(worker: subprocess.Popen[str]) -> None:
    worker.terminate()
    assert worker.wait(60) == 0
