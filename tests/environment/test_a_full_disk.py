"""A disk that is full for a while: refused and told, not spun on; when there is room again, everything goes on."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from flowkit import RunHandle, Runtime, StoreError, StoreFull, StoreUnavailable
from flowkit.store.check import check
from tests.environment.conftest import Open
from tests.environment.flows import RESULT_BYTES, filling

STEPS = 400
pytestmark = pytest.mark.timeout(600)
SIZE = 8 << 20


class Disk(Protocol):
    """A place for files that can be full."""

    path: Path

    def fill(self) -> None: ...

    def free(self) -> None: ...


class SmallDisk:
    """A file system of its own, in memory; only root can make one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", path], check=True, capture_output=True)

    def fill(self) -> None:
        """Leave no room at all."""
        with (self.path / "ballast").open("wb", buffering=0) as ballast:
            for piece in (1 << 16, 1 << 12, 1):
                try:
                    while ballast.write(b"x" * piece):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Make room again."""
        (self.path / "ballast").unlink()

    def close(self) -> None:
        """Take the file system away."""
        subprocess.run(["umount", "-l", self.path], check=True, capture_output=True)


class LimitedFiles:
    """No file of this process may grow beyond what the largest has now: that is as if the disk were full."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        """Let no file grow."""
        largest = max(file.stat().st_size for file in self.path.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, self._before[1]))

    def free(self) -> None:
        """Let files grow again."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)

    def close(self) -> None:
        """Leave nothing behind."""
        self.free()


@pytest.fixture(params=[SmallDisk, LimitedFiles] if os.getuid() == 0 else [LimitedFiles])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "disk"
    path.mkdir()
    made = request.param(path)
    yield made
    made.close()


def test_nothing_is_lost_nor_spun_on_while_the_disk_is_full_and_all_goes_on_by_itself(disk: Disk, opened: Open) -> None:
    runtime = opened(disk.path / "store.db", poll_interval=0.02)
    handle = runtime.start_run(filling, STEPS)
    with runtime.workers():
        while runtime.stats().steps["succeeded"] < 20:
            time.sleep(0.002)
        disk.fill()
        refused = refusal(runtime)
        assert isinstance(refused, (StoreFull, StoreUnavailable))
        # Who spins uses all the time there is; it takes real time to see that somebody does not.
        before, began = time.process_time(), time.monotonic()
        time.sleep(2.0)
        spent, passed = time.process_time() - before, time.monotonic() - began
        assert spent < passed / 2, f"{spent:.1f} s of work in {passed:.1f} s in which there was nothing to do"
        known = runtime.workflow(handle.id)
        assert known is not None
        assert not known.is_ended
        disk.free()
        assert result_of(handle) == STEPS * RESULT_BYTES
        again = runtime.start_run(filling, 3)
        assert result_of(again) == 3 * RESULT_BYTES
    with runtime._parts.engine.read() as tx:
        assert runtime._parts.engine.health.damage(tx) == []
        assert check(tx) == []


def refusal(runtime: Runtime) -> StoreError:
    """Start runs until that is refused; what lies free inside the file lets some of them in."""
    for _ in range(1000):
        try:
            runtime.start_run(filling, 200)
        except StoreError as error:
            return error
    raise AssertionError("a full disk takes a thousand runs")


def result_of(handle: RunHandle[Any]) -> Any:
    return handle.result(timeout=100)
