"""Three hosts with four workers each on one server, while workers, connections, the server and a network fail."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import attrs
import pytest

from flowkit import Runtime, StoreError
from flowkit.store.check import check, install_guard
from tests.campaign import hosts_app
from tests.campaign.driver import assert_every_start_is_known
from tests.campaign.hosts_app import LEASE_SECONDS, LIMITS, Plan, expected_results, hosts, open_runtime, work
from tests.campaign.network import CrashingServer, Proxy, crashing_server
from tests.campaign.zygote import Zygote

STEPS = int(os.environ.get("FLOWKIT_HOST_STEPS", "1500"))
SEED = int(os.environ.get("FLOWKIT_SEED", "20261"))
HOSTS, WORKERS = 3, 4
PLAN = Plan(branches=10, leaves=13, limited=4)
OF_A_RUN = 1 + 8 + 10 * 15
"""The steps of one run: what joins the branches, those with limits, and each branch with its leaves and their sum."""
PATIENCE = 180.0


@attrs.define
class Figures:
    """What was done, and what came of it."""

    kills: int = 0
    terminated: int = 0
    restarts: int = 0
    cuts: int = 0
    runs: int = 0
    steps: int = 0
    starts: int = 0
    outcomes: Counter[str] = attrs.field(factory=Counter)
    lost_on_the_cut_host: int = 0
    seconds: float = 0.0


@attrs.define
class Host:
    """Workers that share one way to the server."""

    name: str
    proxy: Proxy
    workers: list[int] = attrs.field(factory=list)
    names: int = 0


class Hosts:
    """The campaign: what goes wrong goes wrong by the share of the work that is done, in an order drawn from a seed."""

    def __init__(self, server: CrashingServer, at: Path, zygote: Zygote, errors: Path) -> None:
        self.server, self.at, self.zygote, self.errors = server, at, zygote, errors
        self.chance = random.Random(SEED)
        self.hosts = [Host(f"host{n}", Proxy(server.socket_path)) for n in range(HOSTS)]
        self.figures = Figures()
        self.mend_at: float | None = None

    def begin(self) -> None:
        for host in self.hosts:
            for _ in range(WORKERS):
                self.add(host)

    def add(self, host: Host) -> None:
        host.names += 1
        name = f"{host.name}-{host.names}"
        host.workers.append(self.zygote.fork(work, host.proxy.url(self.server.url), self.at, name))

    def kill(self) -> None:
        host = self.chance.choice(self.hosts)
        pid = host.workers.pop(self.chance.randrange(len(host.workers)))
        assert self.zygote.kill(pid) == -signal.SIGKILL, "a worker had ended by itself"
        self.figures.kills += 1
        self.add(host)

    def terminate(self) -> None:
        self.figures.terminated += self.server.terminate()

    def restart(self) -> None:
        self.server.restart()
        self.figures.restarts += 1

    def cut(self) -> None:
        self.hosts[0].proxy.cut()
        self.mend_at = time.monotonic() + 2 * LEASE_SECONDS
        self.figures.cuts += 1

    def mend_in_time(self) -> None:
        if self.mend_at is not None and time.monotonic() > self.mend_at:
            self.hosts[0].proxy.mend()
            self.mend_at = None

    def end(self) -> None:
        workers = [pid for host in self.hosts for pid in host.workers]
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
        codes = [self.zygote.reap(pid) for pid in workers]
        assert codes == [0] * len(workers), self.errors.read_text()
        for host in self.hosts:
            host.proxy.close()


def troubles(campaign: Hosts, kills: int) -> list[tuple[float, Callable[[], None]]]:
    """Return what goes wrong, each with the share of the work after which it does."""
    planned = [(0.2, campaign.cut), (0.4, campaign.restart), (0.7, campaign.restart)]
    planned += [(share, campaign.terminate) for share in (0.1, 0.5, 0.8)]
    planned += [(0.05 + 0.85 * n / kills, campaign.kill) for n in range(kills)]
    return sorted(planned, key=lambda one: one[0])


def done(rt: Runtime) -> int:
    """Return how many steps have ended; a server that is being restarted is asked again."""
    counts = rt.stats().steps
    return counts["succeeded"]


@pytest.fixture
def server() -> Iterator[CrashingServer]:
    with crashing_server() as started:
        yield started


@pytest.mark.timeout(300 + STEPS // 5)
def test_nothing_is_lost_and_nothing_committed_twice_whatever_fails(
    server: CrashingServer, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    began, errors = time.monotonic(), tmp_path / "errors"
    runs = -(-STEPS // OF_A_RUN)
    with open_runtime(server.url, tmp_path, "driver") as rt, Zygote(errors, hosts_app.__name__) as zygote:
        with rt._parts.engine.write() as tx:
            install_guard(tx)
        handles = rt.start_runs(hosts, [PLAN] * runs)
        campaign = Hosts(server, tmp_path, zygote, errors)
        campaign.begin()
        planned = troubles(campaign, kills=max(8, STEPS // 250))
        until, before = time.monotonic() + PATIENCE, -1
        while before < runs * OF_A_RUN:
            campaign.mend_in_time()
            with suppress(StoreError):
                if (ended := done(rt)) > before:
                    until, before = time.monotonic() + PATIENCE, ended
            while planned and before >= planned[0][0] * runs * OF_A_RUN and campaign.mend_at is None:
                planned.pop(0)[1]()
            assert time.monotonic() < until, f"{before} of {runs * OF_A_RUN} steps ended, and no more do"
            time.sleep(0.02)
        campaign.end()
        assert planned == [], "not everything went wrong that should have"
        assert errors.read_text() == ""
        figures = campaign.figures
        figures.runs, figures.seconds = runs, round(time.monotonic() - began, 1)
        assert {str(handle.status().value) for handle in handles} == {"succeeded"}
        judge(rt, tmp_path, figures)
    figure("campaign on three hosts", figures)


def judge(rt: Runtime, at: Path, figures: Figures) -> None:
    """Assert that the store is sound, complete and right, that limits held, and that every start is accounted for."""
    of_step = "JOIN steps s ON s.key = x.step JOIN runs r ON r.key = s.run"
    with rt._parts.engine.read() as tx:
        assert check(tx, rt._parts.artifacts, limits=LIMITS) == []
        closed = tx.script(f"SELECT r.id, s.id, x.epoch, x.outcome, x.worker FROM attempts x {of_step}")
        committed = tx.script(f"SELECT r.id, s.id, x.epoch, x.body FROM results x {of_step}")
        figures.steps = int(tx.script("SELECT COUNT(*) FROM steps")[0][0])
    results: dict[str, dict[str, int]] = {}
    for run_id, step_id, _, body in committed:
        results.setdefault(run_id, {})[step_id] = json.loads(bytes(body))
    assert len(results) == figures.runs
    assert all(result == expected_results(PLAN) for result in results.values())
    assert len(committed) == figures.steps == figures.runs * OF_A_RUN
    assert_every_start_is_known(at, [row[:4] for row in closed] + committed)
    figures.starts = len((at / "starts").read_text().splitlines())
    figures.outcomes = Counter(row[3] for row in closed)
    figures.lost_on_the_cut_host = sum(row[3] == "lost" and row[4].startswith("host0-") for row in closed)
    assert figures.lost_on_the_cut_host > 0, "the host that was cut off held no lease"
