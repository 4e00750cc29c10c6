"""Clocks that jump while workers work, and processes that fork where they had better not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from flowkit import StoreError
from flowkit.clock import Micros, SystemClock, micros
from flowkit.store.check import check
from tests.environment.conftest import Open
from tests.environment.flows import RESULT_BYTES, filling

HOUR = 3600.0


class JumpingClock(SystemClock):
    """The host's clock, whose wall time a test sets; durations stay right."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> Micros:
        """Return the host's time, off by what was set."""
        return super().now() + micros(self.offset)


@pytest.mark.parametrize("jumps", [[HOUR], [-HOUR], [HOUR, -HOUR, 30 * 24 * HOUR, 0.0], [-3.0, 3.0, -1.0]])
def test_whatever_the_wall_clock_does_every_run_comes_to_its_end(
    tmp_path: Path, opened: Open, jumps: list[float]
) -> None:
    """Leases may be taken back too early, or retries made at once; results stay what they are."""
    path, clock = tmp_path / "store.db", JumpingClock()
    first = opened(path, clock=clock, worker_id="first", max_workers=4)
    second = opened(path, clock=clock, worker_id="second", max_workers=4)
    handles = []
    with first.workers(), second.workers():
        for jump in [0.0, *jumps]:
            clock.offset = jump
            handles.append(first.start_run(filling, 60))
            while handles[-1].status() == "pending":
                time.sleep(0.002)
        assert [handle.result(timeout=100) for handle in handles] == [60 * RESULT_BYTES] * len(handles)
    with first._parts.engine.read() as tx:
        # Times may lie out of order where the clock did; nothing else may be wrong.
        assert {finding.invariant for finding in check(tx)} <= {"I24"}


def test_a_child_that_is_forked_inside_a_transaction_cannot_use_it(tmp_path: Path, opened: Open) -> None:
    """The transaction is the parent's, who goes on with it and commits."""
    runtime = opened(tmp_path / "store.db")
    engine = runtime._parts.engine
    reader, writer = os.pipe()
    with engine.write() as tx:
        tx.script("UPDATE meta SET number = 17 WHERE key = 'record'")
        pid = os.fork()
        if pid == 0:
            try:
                runtime.start_run(filling, 1)
                told = "started"
            except StoreError as error:
                told = str(error)
            os.write(writer, told.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert "forked inside a transaction" in answer.read()
    assert os.waitpid(pid, 0)[1] == 0
    with engine.read() as tx:
        assert tx.script("SELECT number FROM meta WHERE key = 'record'") == [(17,)]
    assert runtime.run(filling, 2).result() == 2 * RESULT_BYTES
