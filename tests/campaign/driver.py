"""Drives a campaign: workers and clients on one store, killed, stopped and told to end while they work; then judges."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import attrs

from flowkit import Runtime, WaitTimeout
from flowkit.store.check import check, install_guard
from flowkit.store.database import Row
from tests.campaign import app
from tests.campaign.zygote import Zygote

WORKERS = 5
CLIENTS = 1
IMPORTED = (app.__name__, "flowkit.store.postgres_store", "psycopg")
PATIENCE = 120.0
"""Seconds without any attempt after which a campaign is given up, on a machine however slow."""


@attrs.define
class Figures:
    """What was done to the processes, and what came of it."""

    kills: int = 0
    while_opening: int = 0
    pauses: int = 0
    ends: int = 0
    runs: int = 0
    steps: int = 0
    starts: int = 0
    lost: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.kills} SIGKILLs ({self.while_opening} while opening), {self.pauses} pauses beyond the lease, "
            f"{self.ends} SIGTERMs: {self.runs} runs, {self.steps} steps, {self.starts} starts, "
            f"{self.lost} attempts lost with their worker, in {self.seconds:.0f} s"
        )


@attrs.define
class Campaign:
    """One campaign.

    Args:
        store: the URL of the store.
        at: a directory for what lies beside it.
        kills: how many SIGKILLs are made.
        seed: decides who is killed, and after how much work; what the processes do meanwhile is up to the machine.
    """

    store: str
    at: Path
    kills: int
    seed: int
    figures: Figures = attrs.field(factory=Figures)
    _chance: random.Random = attrs.field(init=False)
    _workers: list[int] = attrs.field(factory=list)
    _clients: list[int] = attrs.field(factory=list)
    _paused: list[tuple[float, int]] = attrs.field(factory=list)
    _ending: list[int] = attrs.field(factory=list)
    _names: int = 0

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def run(self) -> Figures:
        """Make every kill, let the work end, stop the processes, and assert that nothing was lost or done twice."""
        began = time.monotonic()
        errors = self.at / "errors"
        with app.open_runtime(self.store, self.at, "driver") as rt, Zygote(errors, *IMPORTED) as zygote:
            with rt._parts.engine.write() as tx:
                install_guard(tx)
            for _ in range(WORKERS):
                self._workers.append(self._fork(zygote, app.work))
            for _ in range(CLIENTS):
                self._clients.append(self._fork(zygote, app.start))
            while self.figures.kills < self.kills:
                self._wait_for_work(self._chance.randint(1, 12))
                self._strike(zygote)
            self._end(rt, zygote)
            assert errors.read_text() == ""
            self.figures.seconds = time.monotonic() - began
            judge(rt, self.at, self.figures)
        return self.figures

    def _fork(self, zygote: Zygote, job: Callable[..., None]) -> int:
        self._names += 1
        return zygote.fork(job, self.store, self.at, f"{job.__name__}-{self._names}")

    def _wait_for_work(self, attempts: int) -> None:
        # By what was begun and not by the clock: on a slow machine a kill hits as much work as on a fast one.
        target, until = self._starts() + attempts * len("client-1-1 branch[0]/leaf[0] 1\n"), time.monotonic() + PATIENCE
        while self._starts() < target:
            assert time.monotonic() < until, f"no attempt began for {PATIENCE:g} s"
            time.sleep(0.002)
            self._wake()

    def _starts(self) -> int:
        try:
            return (self.at / "starts").stat().st_size
        except FileNotFoundError:
            return 0

    def _wake(self) -> None:
        for until, pid in list(self._paused):
            if until <= time.monotonic():
                self._paused.remove((until, pid))
                os.kill(pid, signal.SIGCONT)

    def _strike(self, zygote: Zygote) -> None:
        what = self._chance.choices(["kill", "opening", "client", "pause", "end"], [70, 8, 10, 6, 6])[0]
        if what == "kill":
            self._kill(zygote, self._workers.pop(self._chance.randrange(len(self._workers))))
            self._workers.append(self._fork(zygote, app.work))
        elif what == "client":
            self._kill(zygote, self._clients.pop())
            self._clients.append(self._fork(zygote, app.start))
        elif what == "opening":
            pid = self._fork(zygote, app.work)
            time.sleep(self._chance.uniform(0, 0.02))
            self._kill(zygote, pid)
            self.figures.while_opening += 1
        elif what == "pause" and len(self._paused) < 2:
            pid = self._workers[self._chance.randrange(len(self._workers))]
            os.kill(pid, signal.SIGSTOP)
            self._paused.append((time.monotonic() + app.LEASE_SECONDS * self._chance.uniform(1.2, 2.5), pid))
            self.figures.pauses += 1
        elif what == "end":
            self._tell_to_end(zygote, self._workers.pop(self._chance.randrange(len(self._workers))))
            self._workers.append(self._fork(zygote, app.work))

    def _kill(self, zygote: Zygote, pid: int) -> None:
        self._paused = [(until, paused) for until, paused in self._paused if paused != pid]
        code = zygote.kill(pid)
        told = (self.at / "errors").read_text()
        assert code == -signal.SIGKILL, f"process {pid} had ended by itself, with {code}:\n{told}"
        self.figures.kills += 1

    def _tell_to_end(self, zygote: Zygote, pid: int) -> None:
        if any(paused == pid for _, paused in self._paused):
            os.kill(pid, signal.SIGCONT)
            self._paused = [(until, paused) for until, paused in self._paused if paused != pid]
        os.kill(pid, signal.SIGTERM)
        self._ending.append(pid)
        self.figures.ends += 1

    def _end(self, rt: Runtime, zygote: Zygote) -> None:
        for _, paused in self._paused:
            os.kill(paused, signal.SIGCONT)
        self._paused = []
        for pid in self._clients:
            self._tell_to_end(zygote, pid)
        # What a client still starts before it has ended is to end as well.
        codes = {pid: zygote.reap(pid) for pid in self._clients}
        until, before = time.monotonic() + PATIENCE, -1
        for run_id in sorted(run_id for (_, run_id) in told(self.at, "start", "asked")):
            if rt.workflow(run_id) is None:
                continue
            handle = rt.handle(run_id)
            while not handle.status().is_ended:
                self._wake()
                if self._starts() > before:
                    until, before = time.monotonic() + PATIENCE, self._starts()
                assert time.monotonic() < until, f"run {run_id!r} does not end"
                with suppress(WaitTimeout):
                    handle.wait(timeout=0.1)
        for pid in self._workers:
            self._tell_to_end(zygote, pid)
        # A signal that comes before the process can take it ends it as it ends any other.
        codes |= {pid: zygote.reap(pid) for pid in self._ending if pid not in codes}
        assert set(codes.values()) <= {0, -signal.SIGTERM}, codes


def told(at: Path, verb: str, how: str) -> set[tuple[str, str]]:
    """Return verb and run of every call that was *asked*, *done* or *refused*."""
    lines = [line.split() for line in (at / "calls").read_text().splitlines()]
    return {(verb, line[2]) for line in lines if line[:2] == [how, verb]}


def judge(rt: Runtime, at: Path, figures: Figures) -> None:
    """Assert all that a campaign has to show: sound, complete, correct, and every start accounted for."""
    of_step = "JOIN steps s ON s.key = x.step JOIN runs r ON r.key = s.run"
    with rt._parts.engine.read() as tx:
        assert check(tx, rt._parts.artifacts) == []
        runs = tx.script("SELECT r.id, r.status, i.body FROM runs r JOIN run_inputs i ON i.run = r.key")
        closed = tx.script(f"SELECT r.id, s.id, x.epoch, x.outcome FROM attempts x {of_step}")
        committed = tx.script(f"SELECT r.id, s.id, x.epoch, x.body FROM results x {of_step}")
        figures.steps = int(tx.script("SELECT COUNT(*) FROM steps")[0][0])
    statuses, widths = {row[0]: row[1] for row in runs}, {row[0]: bytes(row[2]) for row in runs}
    assert_calls_were_kept(at, statuses)
    assert_results_are_right(statuses, widths, committed)
    assert_every_start_is_known(at, [*closed, *committed])
    figures.runs = len(runs)
    figures.starts = len((at / "starts").read_text().splitlines())
    figures.lost = sum(outcome == "lost" for *_, outcome in closed)


def assert_calls_were_kept(at: Path, statuses: dict[str, str]) -> None:
    """Every acknowledged call is to be seen, and there is nothing that nobody asked for; every run has ended."""
    asked = {run_id for _, run_id in told(at, "start", "asked")}
    assert {run_id for _, run_id in told(at, "start", "done")} <= set(statuses) <= asked
    revived = {run_id for _, run_id in told(at, "retry", "asked")}
    canceled = {run_id for _, run_id in told(at, "cancel", "done")} - revived
    assert {statuses[run_id] for run_id in canceled} <= {"canceled"}
    untouched = set(statuses) - {run_id for _, run_id in told(at, "cancel", "asked")}
    assert {statuses[run_id] for run_id in untouched} == {"succeeded"}
    assert set(statuses.values()) <= {"succeeded", "canceled"}


def assert_results_are_right(statuses: dict[str, str], widths: dict[str, bytes], committed: list[Row]) -> None:
    """Each result is what its input says, and a run that succeeded has one of every step."""
    results: dict[str, dict[str, int]] = {run_id: {} for run_id in statuses}
    for run_id, step_id, _, body in committed:
        results[run_id][step_id] = json.loads(bytes(body))
    for run_id, status in statuses.items():
        expected = app.expected_results(app.Width(**json.loads(widths[run_id])))
        assert results[run_id].items() <= expected.items()
        assert status != "succeeded" or results[run_id] == expected


def assert_every_start_is_known(at: Path, known: list[Row]) -> None:
    """Each attempt that began is in the store, and none began twice."""
    started = Counter(tuple(line.split()) for line in (at / "starts").read_text().splitlines())
    assert {start: count for start, count in started.items() if count > 1} == {}
    assert set(started) <= {(run_id, step_id, str(epoch)) for run_id, step_id, epoch, _ in known}
