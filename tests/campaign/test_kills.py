"""Eight worker processes on one file, killed at random while they work: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from flowkit import Runtime, WaitTimeout
from flowkit.model.states import RunStatus
from flowkit.store.check import check
from tests.campaign.app import Width, campaign, expected_total, open_runtime

ROOT = Path(__file__).parents[2]
WORKERS = 8
KILLS = 20
RUNS = 10
WIDTH = Width(branches=10, leaves=48)
"""Ten runs of ten branches, each of 48 leaves and a total: 5,010 steps."""


class Fleet:
    """Worker processes; one that is killed is replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.started = 0
        self.processes: list[subprocess.Popen[str]] = []

    def add(self) -> None:
        self.started += 1
        command = [sys.executable, "-m", "tests.campaign.app", str(self.path), f"worker-{self.started}"]
        environment = {**os.environ, "CAMPAIGN_JOURNAL": str(self.path.parent / "journal")}
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)

    def kill_one(self, chance: random.Random) -> None:
        victim = self.processes.pop(chance.randrange(len(self.processes)))
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        self.add()

    def stop(self) -> list[str]:
        """Let the workers stop in good order and return what each wrote to its standard error."""
        return [process.communicate(timeout=60)[1] for process in self.processes]


@pytest.mark.timeout(300)
def test_every_run_ends_right_under_twenty_kills(tmp_path: Path) -> None:
    """Invariants hold, results are what their inputs say, and no "database is locked" reaches anybody."""
    store, seed = tmp_path / "store" / "engine.db", 20_261
    chance = random.Random(seed)
    fleet = Fleet(store)
    with open_runtime(store) as rt:
        handles = rt.start_runs(campaign, [WIDTH] * RUNS)
        for _ in range(WORKERS):
            fleet.add()
        kill_at = [(n + 1) / (KILLS + 2) for n in range(KILLS)]
        deadline = time.monotonic() + 240
        while not all(handle.status().is_ended for handle in handles):
            assert time.monotonic() < deadline, "the runs do not end"
            counts = rt.stats().steps
            done = counts["succeeded"] / (RUNS * (1 + WIDTH.branches * (WIDTH.leaves + 2)))
            if kill_at and done >= kill_at[0]:
                kill_at.pop(0)
                fleet.kill_one(chance)
            with suppress(WaitTimeout):
                handles[-1].wait(timeout=0.02)
        errors = fleet.stop()

        assert not kill_at, f"{len(kill_at)} kills were not made"
        assert [error for error in errors if error] == []
        assert {handle.status() for handle in handles} == {RunStatus.SUCCEEDED}
        for handle in handles:
            assert handle.result() == WIDTH.branches * WIDTH.leaves
            for number in range(WIDTH.branches):
                result = rt.result(handle.id, f"branch[{number}]/total")
                assert result is not None
                assert result.data == expected_total(number, WIDTH.leaves)
        with rt._parts.engine.read() as tx:
            assert check(tx) == []
        assert_every_start_is_known(rt, tmp_path / "store" / "journal")


def assert_every_start_is_known(rt: Runtime, journal: Path) -> None:
    """Each attempt that began is in the store once, and each step that began has exactly one result."""
    started = Counter(line for line in journal.read_text().splitlines())
    assert {line: count for line, count in started.items() if count > 1} == {}
    epochs: dict[tuple[str, str], set[int]] = {}
    for line in started:
        run_id, step_id, epoch = line.split()
        epochs.setdefault((run_id, step_id), set()).add(int(epoch))
    for (run_id, step_id), seen in epochs.items():
        attempts = rt.attempts(run_id, step_id)
        assert seen <= {attempt.epoch for attempt in attempts}
        assert [attempt.outcome for attempt in attempts].count("succeeded") == 1
