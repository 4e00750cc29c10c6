"""The workflow of the kill campaign: fan-out, join, emitted steps and retries, each result a function of its input."""

from __future__ import annotations

import os
import sys
import threading
import zlib
from pathlib import Path

from attrs import frozen

from flowkit import (
    FileArtifactStore,
    Retry,
    Retryable,
    RunBuilder,
    Runtime,
    SQLiteStore,
    StepContext,
    StepHandle,
    executor,
    package,
)

MANY = Retry(max_attempts=60, initial=0.0, maximum=0.0)
"""Lost workers are charged too; with twenty kills no step may run out of attempts."""


@frozen
class Width:
    branches: int
    leaves: int


@frozen
class Leaf:
    branch: int
    number: int


def mark(step: StepContext) -> None:
    """Write down, outside the store, that an attempt began; each is one append, so kills cannot tear it."""
    line = f"{step.run_id} {step.step_id} {step.lease.epoch}\n".encode()
    journal = os.open(os.environ["CAMPAIGN_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(journal, line)
    finally:
        os.close(journal)


@executor("campaign/leaf", retry=MANY)
def leaf(step: StepContext, input: Leaf) -> int:
    mark(step)
    if step.attempt == 1 and input.number % 7 == 0:
        raise Retryable("first_time", "every seventh leaf fails once")
    step.record("leaves", f"{input.branch}/{input.number}", input.number)
    return zlib.crc32(f"{input.branch}:{input.number}".encode())


@executor("campaign/total", retry=MANY)
def total(step: StepContext, *, leaves: list[int]) -> int:
    mark(step)
    return sum(leaves)


@executor("campaign/branch", retry=MANY)
def branch(step: StepContext, input: Leaf) -> int:
    mark(step)
    leaves = step.map(f"{step.step_id}/leaf", leaf, [Leaf(input.branch, n) for n in range(input.number)])
    step.emit(f"{step.step_id}/total", total, leaves=leaves)
    return input.number


@executor("campaign/finish", retry=MANY)
def finish(step: StepContext, *, branches: list[int]) -> int:
    mark(step)
    return sum(branches)


@package("campaign")
def campaign(run: RunBuilder, width: Width) -> StepHandle[int]:
    branches = run.map("branch", branch, [Leaf(n, width.leaves) for n in range(width.branches)])
    return run.step("finish", finish, branches=branches)


def expected_total(number: int, leaves: int) -> int:
    return sum(zlib.crc32(f"{number}:{n}".encode()) for n in range(leaves))


def open_runtime(path: Path, worker_id: str | None = None) -> Runtime:
    return Runtime(
        SQLiteStore(path, durability="process"),
        modules=["tests.campaign.app"],
        entry_points=False,
        worker_id=worker_id,
        max_workers=8,
        lease_duration=2,
        artifact_store=FileArtifactStore(path.parent / "artifacts"),
    )


def work(path: str, worker_id: str) -> None:
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    with open_runtime(Path(path), worker_id) as rt:
        print("working", flush=True)
        rt.start_workers(stop=stop)


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2])
