"""What the campaigns run: fan-out, joins, emitted steps, retries and artifacts, each result a function of its input."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from flowkit import (
    FileArtifactStore,
    InvalidTransition,
    Retry,
    Retryable,
    RunBuilder,
    RunHandle,
    Runtime,
    SQLiteStore,
    StepContext,
    StepHandle,
    WaitTimeout,
    executor,
    package,
)

MANY = Retry(max_attempts=100_000, initial=0.0, maximum=0.0)
"""Lost workers are charged too; however many are killed, no step may run out of attempts."""

LEASE_SECONDS = 1.0
OPEN_RUNS = 6
"""How many runs of its own a client lets wait before it starts more."""

BODY = b"what a step stored outside the database\n"
_JOURNAL: dict[str, Path] = {}
"""Where this process writes its journal; a process of the campaign has one, set before it opens the store."""


@frozen
class Width:
    branches: int
    leaves: int


@frozen
class Leaf:
    branch: int
    number: int


def write_line(name: str, *words: object) -> None:
    """Append a line to a journal beside the store: one append, which a kill cannot tear."""
    journal = os.open(_JOURNAL["at"] / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(journal, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(journal)


def begin(step: StepContext) -> None:
    """Write down, outside the store, that an attempt began."""
    write_line("starts", step.run_id, step.step_id, step.lease.epoch)


@executor("campaign/leaf", retry=MANY)
def leaf(step: StepContext, input: Leaf) -> int:
    begin(step)
    if step.attempt == 1 and input.number % 4 == 1:
        raise Retryable("first_time", "every fourth leaf fails once")
    step.record("leaves", f"{input.branch}/{input.number}", input.number)
    if input.number % 4 == 2:
        step.store_artifact("leaf.txt", BODY * (input.branch + 1))
    time.sleep(0.002 * input.number)
    return zlib.crc32(f"{input.branch}:{input.number}".encode())


@executor("campaign/total", retry=MANY)
async def total(step: StepContext, *, leaves: list[int]) -> int:
    begin(step)
    await asyncio.sleep(0.003)
    return sum(leaves)


@executor("campaign/branch", retry=MANY)
def branch(step: StepContext, input: Leaf) -> int:
    begin(step)
    leaves = step.map(f"{step.step_id}/leaf", leaf, [Leaf(input.branch, n) for n in range(input.number)])
    step.emit(f"{step.step_id}/total", total, leaves=leaves)
    return input.number


@executor("campaign/finish", retry=MANY)
def finish(step: StepContext, *, branches: list[int]) -> int:
    begin(step)
    return sum(branches)


@package("campaign")
def campaign(run: RunBuilder, width: Width) -> StepHandle[int]:
    branches = run.map("branch", branch, [Leaf(n, width.leaves) for n in range(width.branches)])
    return run.step("finish", finish, branches=branches)


def expected_results(width: Width) -> dict[str, int]:
    """Return what every step of a run of this width has to come to."""
    results = {"finish": width.branches * width.leaves}
    for number in range(width.branches):
        leaves = [zlib.crc32(f"{number}:{n}".encode()) for n in range(width.leaves)]
        results |= {f"branch[{number}]": width.leaves, f"branch[{number}]/total": sum(leaves)}
        results |= {f"branch[{number}]/leaf[{n}]": value for n, value in enumerate(leaves)}
    return results


def open_runtime(store: str, at: Path, worker_id: str | None = None) -> Runtime:
    """Open a store by its URL; what lies outside it is in the directory *at*."""
    is_file = store.startswith("sqlite:///")
    opened: Any = SQLiteStore(store.removeprefix("sqlite:///"), durability="process") if is_file else store
    _JOURNAL["at"] = at
    return Runtime(
        opened,
        modules=["tests.campaign.app"],
        entry_points=False,
        worker_id=worker_id,
        max_workers=4,
        lease_duration=LEASE_SECONDS,
        artifact_store=FileArtifactStore(at / "artifacts"),
    )


def _stopped_by_sigterm() -> threading.Event:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    return stop


def work(store: str, at: str, name: str) -> None:
    """Be a worker until SIGTERM."""
    stop = _stopped_by_sigterm()
    with open_runtime(store, Path(at), name) as rt:
        write_line("working", name)
        rt.start_workers(stop=stop)


def start(store: str, at: str, name: str) -> None:
    """Be a client until SIGTERM: start runs, cancel some of them and retry some of those; write down each call."""
    stop, chance = _stopped_by_sigterm(), random.Random(name)
    waiting: deque[RunHandle[Any]] = deque()
    with open_runtime(store, Path(at), name) as rt:
        number = 0
        while not stop.is_set():
            number += 1
            run_id, width = f"{name}-{number}", Width(chance.randint(1, 3), chance.randint(2, 6))
            call("start", run_id, partial(rt.start_run, campaign, width, run_id=run_id))
            waiting.append(rt.handle(run_id))
            if chance.random() < 0.15:
                call("cancel", run_id, partial(rt.cancel_run, run_id))
                if chance.random() < 0.5:
                    call("retry", run_id, partial(rt.retry_run, run_id))
            while len(waiting) >= OPEN_RUNS and not stop.is_set():
                with suppress(WaitTimeout):
                    waiting[0].wait(timeout=0.1)
                    waiting.popleft()


def call(verb: str, run_id: str, function: Callable[[], object]) -> None:
    """Call something; it is written down before that it is asked, and after how it was answered."""
    write_line("calls", "asked", verb, run_id)
    try:
        function()
    except InvalidTransition:
        write_line("calls", "refused", verb, run_id)
    else:
        write_line("calls", "done", verb, run_id)
