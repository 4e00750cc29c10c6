"""The doctor names what keeps work from being done, and says how each thing is mended; it changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowkit import QueueConfig, RateLimit, Runtime
from flowkit.runtime.doctor import Complaint, Diagnosis, diagnose
from flowkit.store.versions import VERSION
from flowkit.testing import Crash, FakeClock, WorkerCrashed
from tests.stories.telling import echo, eventually, fail, start

Look = Callable[..., Diagnosis]


@pytest.fixture
def look(flowkit_runtime: Runtime) -> Look:
    return lambda unreachable=None: diagnose(flowkit_runtime._parts.engine, unreachable)


def only(diagnosis: Diagnosis) -> Complaint:
    (complaint,) = diagnosis.complaints
    return complaint


def test_a_store_with_nothing_to_do_is_healthy(flowkit_runtime: Runtime, look: Look) -> None:
    start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    flowkit_runtime.drain()

    diagnosis = look()

    assert (diagnosis.complaints, diagnosis.is_healthy, diagnosis.schema_version) == ((), True, VERSION)


def test_work_without_any_worker_is_a_problem(flowkit_runtime: Runtime, look: Look) -> None:
    start(flowkit_runtime, lambda run: run.map("a", echo, [1, 2]) and None, echo)

    complaint = only(look())

    assert complaint == Complaint("problem", "2 steps are open and no worker runs", "start one: flowkit worker")
    assert not look().is_healthy


def test_a_kind_that_no_live_worker_serves_is_named_with_its_module_and_a_step(
    flowkit_runtime: Runtime, look: Look, tmp_path: Path, flowkit_clock: FakeClock
) -> None:
    run = start(flowkit_runtime, lambda run: [run.step("a", fail), run.step("b", echo, 1, delay=99)], fail, echo)
    url = f"sqlite:///{tmp_path / 'flowkit.db'}"
    with Runtime(url, entry_points=False, clock=flowkit_clock) as other:
        other.register_executor(echo)
        with other.workers():
            eventually(lambda: look().live)
            diagnosis = look()

    complaint = only(diagnosis)
    assert complaint.what == f"no live worker serves kind 'fail': 1 step is open, such as {run.id}/a"
    assert "tests.stories.telling" in complaint.remedy


def test_a_lease_that_nobody_takes_back_is_named_with_who_held_it(
    flowkit_runtime: Runtime, look: Look, flowkit_crash: Crash, flowkit_clock: FakeClock
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    flowkit_crash.at("after_lease")
    with pytest.raises(WorkerCrashed):
        flowkit_runtime.run_once()
    assert all("lease" not in complaint.what for complaint in look().complaints)
    flowkit_clock.advance(90)

    stuck = [complaint for complaint in look().complaints if "lease" in complaint.what]

    assert [complaint.level for complaint in stuck] == ["problem"]
    assert f"{run.id}/a (echo) ran out 60 s ago" in stuck[0].what
    assert repr(flowkit_runtime.worker_id) in stuck[0].what


def test_a_worker_that_died_is_advice(flowkit_runtime: Runtime, look: Look) -> None:
    with flowkit_runtime._parts.engine.write() as tx:
        tx.script("INSERT INTO workers VALUES ('w/1', 'elsewhere', 1, '', '[]', 0, 0)")

    diagnosis = look()

    assert only(diagnosis).level == "advice"
    assert "worker 'w/1' (host elsewhere, process 1) died" in only(diagnosis).what
    assert (diagnosis.is_healthy, len(diagnosis.dead)) == (True, 1)


def test_a_paused_queue_is_a_problem_only_while_work_waits_in_it(flowkit_runtime: Runtime, look: Look) -> None:
    start(flowkit_runtime, lambda run: run.step("a", echo, 1, queue="slow"), echo)
    flowkit_runtime.pause_queue("slow")
    assert "flowkit queues resume slow" in [complaint.remedy for complaint in look().complaints]

    flowkit_runtime.resume_queue("slow")
    flowkit_runtime.drain()
    flowkit_runtime.pause_queue("slow")

    assert look().complaints == ()


@pytest.fixture
def limited(tmp_path: Path, flowkit_clock: FakeClock) -> Iterator[Runtime]:
    queues = {"cpu": QueueConfig(2), "mail": QueueConfig(rate_limit=RateLimit(0.001, burst=1))}
    url = f"sqlite:///{tmp_path / 'flowkit.db'}"
    with Runtime(url, entry_points=False, clock=flowkit_clock, queues=queues) as opened:
        yield opened


def test_a_queue_that_is_configured_and_never_used_is_advice(limited: Runtime, look: Look) -> None:
    start(limited, lambda run: run.step("a", echo, 1, queue="mail"), echo)
    limited.drain()

    assert only(look()).what == "queue 'cpu' is configured, but no step was ever in it"
    assert "'mail'" in only(look()).remedy


def test_a_rate_that_would_take_days_for_what_waits_is_advice(limited: Runtime, look: Look) -> None:
    start(limited, lambda run: run.map("a", echo, range(864), queue="mail") and None, echo)

    told = [complaint.what for complaint in look().complaints]

    assert "queue 'mail' starts 0.001 a second: what waits in it needs 10.0 days" in told


def test_a_setting_that_leads_nowhere_is_a_problem(look: Look) -> None:
    diagnosis = look({"module 'myapp'": "ModuleNotFoundError: No module named 'myapp'"})

    assert only(diagnosis).what == "module 'myapp': ModuleNotFoundError: No module named 'myapp'"
    assert not diagnosis.is_healthy


def test_looking_changes_nothing(flowkit_runtime: Runtime, look: Look) -> None:
    start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    with flowkit_runtime._parts.engine.read() as tx:
        before = tx.script("SELECT * FROM steps"), tx.script("SELECT * FROM history")

    look()

    with flowkit_runtime._parts.engine.read() as tx:
        assert (tx.script("SELECT * FROM steps"), tx.script("SELECT * FROM history")) == before
