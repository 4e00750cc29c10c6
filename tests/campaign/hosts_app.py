"""What the campaign on several hosts runs: the work of the other campaigns, and beside it queues with limits."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path

from attrs import frozen

from flowkit import (
    FileArtifactStore,
    QueueConfig,
    RateLimit,
    RunBuilder,
    Runtime,
    StepContext,
    StepHandle,
    StoreError,
    executor,
    package,
)
from tests.campaign import app
from tests.campaign.app import MANY, Leaf, Width, begin

LEASE_SECONDS = 2.0
LIMITS = {"single": QueueConfig(max_workers=1), "bucket": QueueConfig(rate_limit=RateLimit(40, burst=4))}
"""Held from the first step to the last, so that the history can be judged by them."""


@frozen
class Plan:
    branches: int
    leaves: int
    limited: int


@executor("hosts/single", queue="single", retry=MANY)
def single(step: StepContext, number: int) -> int:
    begin(step)
    return number


@executor("hosts/bucket", queue="bucket", retry=MANY)
def bucket(step: StepContext, number: int) -> int:
    begin(step)
    return -number


@package("hosts")
def hosts(run: RunBuilder, plan: Plan) -> StepHandle[int]:
    run.map("single", single, range(plan.limited))
    run.map("bucket", bucket, range(plan.limited))
    branches = run.map("branch", app.branch, [Leaf(n, plan.leaves) for n in range(plan.branches)])
    return run.step("finish", app.finish, branches=branches)


def expected_results(plan: Plan) -> dict[str, int]:
    """Return what every step of such a run has to come to."""
    results = app.expected_results(Width(plan.branches, plan.leaves))
    for number in range(plan.limited):
        results |= {f"single[{number}]": number, f"bucket[{number}]": -number}
    return results


def open_runtime(store: str, at: Path, worker_id: str | None = None) -> Runtime:
    """Open the store by a URL, which for a worker leads through its host's proxy."""
    app._JOURNAL["at"] = at
    return Runtime(
        store,
        modules=["tests.campaign.app", "tests.campaign.hosts_app"],
        entry_points=False,
        worker_id=worker_id,
        max_workers=4,
        lease_duration=LEASE_SECONDS,
        artifact_store=FileArtifactStore(at / "artifacts"),
        queues=LIMITS,
    )


def work(store: str, at: str, name: str) -> None:
    """Be a worker until SIGTERM; a server that is not there yet is asked again, as whoever keeps services would."""
    # What the driver logs of a connection that is lost while statements are under way on it, it raises, too.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    while not stop.is_set():
        try:
            rt = open_runtime(store, Path(at), name)
        except StoreError:
            time.sleep(0.2)
            continue
        with rt:
            rt.start_workers(stop=stop)
        return
