"""Every event is a line of the log, at a level that fits; without a configured log nothing is written."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import structlog

from flowkit import Retry, Runtime, StepContext, executor
from flowkit.testing import Crash, FakeClock, WorkerCrashed
from tests.stories.telling import busy, echo, fail, start


def levels(log: list[Any]) -> set[tuple[str, str]]:
    return {(one["event"], one["log_level"]) for one in log}


def test_each_event_is_logged_at_its_level(
    log: list[Any], flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_clock: FakeClock
) -> None:
    start(flowkit_runtime, lambda run: run.step("a", busy, retry=Retry(2, initial=0)), busy, echo, fail)
    flowkit_runtime.drain()
    start(flowkit_runtime, lambda run: run.step("a", echo, 1))
    flowkit_crash.at("after_lease")
    with pytest.raises(WorkerCrashed):
        flowkit_runtime.drain()
    flowkit_clock.advance(31)
    flowkit_runtime.drain()
    assert levels(log) >= {
        ("run_created", "debug"),
        ("step_leased", "debug"),
        ("step_retried", "warning"),
        ("step_failed", "error"),
        ("lease_expired", "warning"),
        ("run_finished", "info"),
    }


def test_a_line_says_which_step_of_which_run_it_is_about(log: list[Any], flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", fail), fail)
    flowkit_runtime.drain()
    line = next(one for one in log if one["event"] == "step_failed")
    known = {name: line[name] for name in ("run_id", "step_id", "kind", "queue", "attempt", "worker_id", "code")}
    assert known == {
        "run_id": run.id,
        "step_id": "a",
        "kind": "fail",
        "queue": "default",
        "attempt": 1,
        "worker_id": flowkit_runtime.worker_id,
        "code": "broken",
    }
    assert line["error"] == "it broke"


def test_what_a_step_logs_says_which_attempt_wrote_it(log: list[Any], flowkit_runtime: Runtime) -> None:
    @executor("talk")
    def talk(step: StepContext) -> None:
        step.log.info("halfway", pages=3)

    run = start(flowkit_runtime, lambda run: run.step("a", talk), talk)
    flowkit_runtime.drain()
    line = next(one for one in log if one["event"] == "halfway")
    assert (line["run_id"], line["step_id"], line["kind"], line["attempt"], line["pages"]) == (
        run.id,
        "a",
        "talk",
        1,
        3,
    )


def test_a_log_that_breaks_hurts_nobody(flowkit_runtime: Runtime) -> None:
    def broken(logger: Any, name: str, event: Any) -> Any:
        raise RuntimeError("broken")

    structlog.configure(processors=[broken])
    try:
        run = start(flowkit_runtime, lambda run: run.step("a", fail), fail)
        with flowkit_runtime.workers():
            assert run.wait(timeout=30).status == "failed"
    finally:
        structlog.reset_defaults()


def test_nothing_is_written_where_the_program_configured_no_log(
    flowkit_runtime: Runtime, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a program without pytest, whose handlers would take what is logged.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    start(flowkit_runtime, lambda run: run.step("a", fail), fail)
    flowkit_runtime.drain()
    assert capfd.readouterr() == ("", "")
    assert not structlog.is_configured()


def test_lines_go_to_the_standard_logger_where_structlog_is_not_configured(
    flowkit_runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="flowkit"):
        start(flowkit_runtime, lambda run: run.step("a", fail), fail)
        flowkit_runtime.drain()
    lines = [(record.name, record.levelname, record.getMessage().split(" ")[0]) for record in caplog.records]
    assert lines == [("flowkit", "ERROR", "event='step_failed'"), ("flowkit", "INFO", "event='run_finished'")]
