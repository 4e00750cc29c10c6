"""A program that is started has another name for itself than those who import it; they agree all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from flowkit import Retry, RunBuilder, Runtime, StepContext, StepHandle, executor, package


class Flaky(Exception):
    pass


@executor("work", retry=Retry(max_attempts=3, initial=0, on=(Flaky,)){options})
def work(step: StepContext) -> int:
    if step.attempt < 3:
        raise Flaky("not yet")
    return step.attempt


@package("once")
def once(run: RunBuilder) -> StepHandle[int]:
    return run.step("only", work)


def runtime(module: str) -> Runtime:
    return Runtime("sqlite:///store.db", modules=[module], entry_points=False)
"""
START = "rt.start_run(once, run_id='r')"
FINISH = "rt.drain(); print(rt.handle('r').result())"


def played(directory: Path, name: str, *calls: str, options: str = "") -> str:
    """Run the program, as itself where *name* is "__main__", or imported by another one."""
    body = "".join(f"        {call}\n" for call in calls)
    main = f"if __name__ == '__main__':\n    with runtime({name!r}) as rt:\n{body}"
    text = PROGRAM.replace("{options}", options)
    if name == "__main__":
        (directory / "prog.py").write_text(text + main)
        file = "prog.py"
    else:
        (directory / "prog.py").write_text(text)
        (directory / "other.py").write_text(f"from prog import once, runtime\n{main}")
        file = "other.py"
    ended = subprocess.run([sys.executable, file], cwd=directory, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("options", ["", ', pool="process"'], ids=["thread", "process"])
def test_the_program_itself_retries_what_its_steps_list(tmp_path: Path, options: str) -> None:
    assert played(tmp_path, "__main__", START, FINISH, options=options) == "3"


@pytest.mark.parametrize(("starts", "finishes"), [("__main__", "prog"), ("prog", "__main__")])
def test_what_one_has_started_the_other_retries(tmp_path: Path, starts: str, finishes: str) -> None:
    played(tmp_path, starts, START)
    assert played(tmp_path, finishes, FINISH) == "3"
