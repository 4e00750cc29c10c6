"""Ctrl-C at bad moments of a pass that is made in the calling thread: neither its slot nor a step is lost by it."""

from __future__ import annotations

import linecache
import os
import sys
import threading
from types import FrameType
from typing import Any

from flowkit import Retry, RunBuilder, Runtime, StepHandle, executor, package
from flowkit.testing import FakeClock


@executor("echo")
def echo(number: int) -> int:
    return number


@package("once")
def once(run: RunBuilder) -> StepHandle[int]:
    return run.step("a", echo, 1, retry=Retry(max_attempts=2, initial=0))


class Interrupt:
    """Raises at the beginning of one line of the engine, as Ctrl-C there would."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.where: tuple[str, int] | None = None

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        folder = os.path.basename(os.path.dirname(frame.f_code.co_filename))
        if event == "call":
            return self if folder in ("runtime", "scheduler") else None
        # Where a block ends its line comes again; there it is C that runs, which no signal interrupts.
        if event == "line" and "with " not in linecache.getline(frame.f_code.co_filename, frame.f_lineno):
            self.left -= 1
            if not self.left:
                sys.settrace(None)
                self.where = (frame.f_code.co_qualname if sys.version_info >= (3, 11) else folder, frame.f_lineno)
                raise KeyboardInterrupt
        return self


def interrupted_at(line: int, runtime: Runtime, clock: FakeClock) -> tuple[str, int] | None:
    """Interrupt the run of one step at the nth line of the engine; see that another and it itself can be run then."""
    interrupt, traced = Interrupt(line), sys.gettrace()
    try:
        sys.settrace(interrupt)
        runtime.run("once", run_id=f"run-{line}")
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(traced)
    assert runtime.run("once").result() == 1, interrupt.where
    interrupted = runtime.workflow(f"run-{line}")
    if interrupted is not None and not interrupted.is_ended:
        # A lease that nobody can know of any more has to expire, as after a crash.
        clock.advance(31)
        runtime.drain()
        assert runtime.handle(f"run-{line}").status() == "succeeded", interrupt.where
    return interrupt.where


def test_ctrl_c_at_any_line_leaves_the_slot_and_the_step_to_the_next_call(flowkit_clock: FakeClock) -> None:
    line = 1
    failed: list[Any] = []

    def sweep(runtime: Runtime) -> None:
        nonlocal line
        try:
            assert runtime.run("once").result() == 1
            while interrupted_at(line, runtime, flowkit_clock) is not None:
                line += 2
        except BaseException as error:
            failed.append(error)

    with Runtime("sqlite://", entry_points=False, clock=flowkit_clock, max_workers=1) as runtime:
        runtime.register_executor(echo)
        runtime.register_package(once)
        swept = threading.Thread(target=sweep, args=(runtime,), daemon=True)
        swept.start()
        swept.join(120)
        assert not failed
        assert not swept.is_alive(), f"it stands still, interrupted at line {line}"
    assert line > 300
