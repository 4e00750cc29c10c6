"""Steps on a Dask cluster: its executor is a pool like any other, and what an attempt hands over is committed here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from flowkit import FileArtifactStore, Runtime
from flowkit.model.outputs import Progress
from tests.runtime import remote_tasks
from tests.runtime.remote_tasks import Page, Pages

LONG = 60
PROMPT = {"distributed.scheduler.allowed-failures": 0}
"""Dask repeats by itself what killed a worker; so it does not, and the step's own policy decides."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Executor]:
    """Two worker processes of Dask on this machine."""
    local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    with dask.config.set(PROMPT), LocalCluster(**local) as started, Client(started) as client:
        yield client.get_executor()


@pytest.fixture
def runtime(cluster: Executor, tmp_path: Path) -> Iterator[Runtime]:
    with Runtime(
        f"sqlite:///{tmp_path / 'flowkit.db'}",
        modules=[remote_tasks],
        entry_points=False,
        artifact_store=FileArtifactStore(tmp_path / "artifacts"),
        pools={"elsewhere": cluster},
        poll_interval=0.05,
    ) as opened:
        yield opened


def test_steps_run_on_the_cluster_and_all_they_hand_over_is_stored_here(runtime: Runtime) -> None:
    handle = runtime.run("book elsewhere", Pages((Page(1), Page(2))))

    assert handle.result() == 3
    assert runtime.step(handle.id, "more").status == "succeeded"
    assert runtime.step(handle.id, "page[0]").progress == Progress(1, 1, "read")
    assert sorted(record.key for record in runtime.records(handle.id, collection="pages")) == ["1", "2", "2"]


def test_a_worker_of_the_cluster_that_dies_is_a_lost_attempt_and_the_policy_decides(runtime: Runtime) -> None:
    handle = runtime.run("one", ["elsewhere/die"])

    step = runtime.step(handle.id, "step")
    assert step.error is not None
    assert (step.status, step.attempt, step.error.code) == ("failed", 2, "worker_lost")
    assert step.error.message.startswith("pool 'elsewhere' lost the attempt: KilledWorker")


def test_an_attempt_that_was_fenced_meanwhile_hands_nothing_over(runtime: Runtime, tmp_path: Path) -> None:
    with runtime.workers():
        handle = runtime.start_run("one", ["elsewhere/hold", str(tmp_path)])
        while not (tmp_path / "begun").exists():
            threading.Event().wait(0.01)
        runtime.retry_step(handle.id, "step", force=True)
        (tmp_path / "go").touch()
        assert handle.result("step", timeout=LONG) == "held"

    assert [attempt.outcome for attempt in runtime.attempts(handle.id, "step")] == ["fenced", "succeeded"]
