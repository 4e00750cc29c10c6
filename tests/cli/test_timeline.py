"""``flowkit timeline`` shows what the time of a run went into."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from flowkit import Retryable, RunBuilder, Runtime, StepContext, executor, package
from flowkit.testing import FakeClock
from tests.cli.conftest import Shell

Printed = Callable[[str, str], None]


@pytest.fixture
def told(store: Runtime, flowkit_clock: FakeClock) -> None:
    """A run that waited, failed once, was tried again, emitted a step, and has one that is still to come."""

    @executor("film/load")
    def load(step: StepContext) -> None:
        flowkit_clock.advance(3)
        if step.attempt == 1:
            raise Retryable("busy", retry_after=4)

    @executor("film/cut")
    def cut(step: StepContext) -> None:
        flowkit_clock.advance(6)
        step.emit("poster", poster, None, delay=60)

    @executor("film/poster")
    def poster(step: StepContext, input: None) -> None: ...

    @package("film")
    def film(run: RunBuilder) -> None:
        run.step("publish", poster, None, after=[run.step("cut", cut, after=run.step("load", load))], queue="later")

    for one in (load, cut, poster):
        store.register_executor(one)
    store.register_package(film)
    store.pause_queue("later")
    store.start_run("film", run_id="film-1")
    flowkit_clock.advance(2)
    store.run_once()
    flowkit_clock.advance(4)
    store.run_once()


@pytest.mark.usefixtures("told")
def test_a_timeline_is_drawn(shell: Shell, store: Runtime, flowkit_clock: FakeClock, printed: Printed) -> None:
    flowkit_clock.advance(10)
    store.resume_queue("later")
    store.drain()
    flowkit_clock.advance(60)
    store.drain()
    ended = shell("timeline", "@last")
    assert (ended.code, ended.err) == (0, "")
    printed("timeline", ended.out)
    narrow = shell("timeline", "@last", COLUMNS="40", PYTHONIOENCODING="ascii")
    assert max(map(len, narrow.out.splitlines())) <= 40
    printed("timeline-40", narrow.out)


@pytest.mark.usefixtures("told")
def test_what_has_not_ended_lasts_until_now(shell: Shell) -> None:
    load, cut, poster, publish = shell("timeline", "@last").out.splitlines()[1:5]
    assert "░░░" not in load + cut
    assert poster.count("░") == publish.count("░") > 40


@pytest.mark.usefixtures("told")
def test_a_timeline_is_told_as_json(shell: Shell) -> None:
    told = json.loads(shell("timeline", "film-1", "--json").out)
    steps = {step["id"]: step for step in told["steps"]}
    assert list(steps) == ["load", "cut", "publish", "poster"]
    spans = [(span["what"], span["outcome"]) for span in steps["load"]["spans"]]
    assert spans == [("ready", None), ("running", "retried"), ("ready", None), ("running", "succeeded")]
    assert (steps["load"]["ready_seconds"], steps["load"]["running_seconds"]) == (6.0, 6.0)
    assert (steps["cut"]["waiting_seconds"], steps["cut"]["running_seconds"]) == (12.0, 6.0)
    assert [(span["what"], span["end"]) for span in steps["poster"]["spans"]] == [("ready", None)]
