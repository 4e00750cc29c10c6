"""What operators do: ``retry``, ``cancel`` and ``queues``."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from flowkit import QueueConfig, RateLimit, Runtime
from flowkit.cli.many import Became, became
from flowkit.testing import Crash, FakeClock, WorkerCrashed
from tests.cli.conftest import Play, Shell

Printed = Callable[[str, str], None]
ORDER = {"id": "A-17", "items": ["tea"]}


def test_a_failed_run_is_retried(shell: Shell, play: Play, store: Runtime) -> None:
    play("order-1", {"id": "broke"})
    ended = shell("retry", "@last")
    assert (ended.code, ended.out, ended.err) == (0, "run order-1 is running again, 2 steps to do\n", "")
    assert store.step("order-1", "charge").status == "ready"


def test_a_failed_step_is_retried(shell: Shell, play: Play, store: Runtime) -> None:
    play("order-1", {"id": "broke"})
    ended = shell("retry", "order-1", "charge", "--json")
    assert (ended.code, json.loads(ended.out)["status"]) == (0, "ready")


def test_a_running_step_is_retried_by_force_alone(shell: Shell, play: Play, store: Runtime) -> None:
    play("order-1", ORDER, passes=0)
    Crash(store).at("after_lease")
    with pytest.raises(WorkerCrashed):
        store.run_once()
    ended = shell("retry", "order-1", "charge")
    assert ended.code == 1
    assert "' is running\n" in ended.err
    assert "hint: --force takes it from the worker that runs it" in ended.err
    ended = shell("retry", "order-1", "charge", "--force")
    assert (ended.code, ended.out) == (0, "step charge of run order-1 is ready again\n")


def test_force_without_a_step_is_refused(shell: Shell, play: Play) -> None:
    play("order-1", ORDER, passes=0)
    assert shell("retry", "order-1", "--force").code == 2


def test_what_cannot_be_retried_says_so(shell: Shell, play: Play) -> None:
    play("order-1", ORDER)
    ended = shell("retry", "order-1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: run 'order-1' is succeeded\n")


def test_runs_are_canceled_by_name(shell: Shell, play: Play, store: Runtime) -> None:
    play("order-1", ORDER, passes=0)
    play("order-2", ORDER, passes=0)
    ended = shell("cancel", "order-1", "order-2")
    assert (ended.code, ended.out) == (0, "run order-1 is canceled\nrun order-2 is canceled\n")
    assert {run.status.value for run in store.runs()} == {"canceled"}


def test_of_several_names_all_are_found_before_one_is_canceled(shell: Shell, play: Play, store: Runtime) -> None:
    play("order-1", ORDER, passes=0)
    assert shell("cancel", "order-1", "nobody").code == 3
    assert [run.status.value for run in store.runs()] == ["pending"]


def test_a_run_that_has_ended_cannot_be_canceled(shell: Shell, play: Play) -> None:
    play("order-1", ORDER)
    ended = shell("cancel", "order-1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: too late: succeeded\n")


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_the_beginning_of_an_id_that_somebody_chose_is_no_run_to_change(
    shell: Shell, play: Play, store: Runtime, verb: str
) -> None:
    play("order-170", ORDER, passes=0)
    ended = shell(verb, "order-17")
    assert (ended.code, ended.out) == (3, "")
    assert "error: run 'order-17' is not in the store\n" in ended.err
    assert "hint: did you mean 'order-170'?" in ended.err
    assert [run.status.value for run in store.runs()] == ["pending"]
    drawn = store.start_run("order", ORDER).id
    assert shell("cancel", drawn[: len("order-") + 14]).out == f"run {drawn} is canceled\n"


def test_a_run_that_has_ended_keeps_none_of_the_others_from_being_canceled(shell: Shell, play: Play) -> None:
    play("done", ORDER)
    play("order-1", ORDER, passes=0)
    play("order-2", ORDER, passes=0)
    ended = shell("cancel", "order-1", "done", "order-2")
    assert (ended.code, ended.out) == (1, "run order-1 is canceled\nrun order-2 is canceled\n")
    assert ended.err == "error: too late: succeeded\nwhere: run done\n"


@pytest.fixture
def many(play: Play) -> None:
    """Three runs that wait, and one that has ended."""
    play("order-done", ORDER)
    for number in range(3):
        play(f"order-{number}", ORDER, passes=0, metadata={"even": number % 2 == 0})


@pytest.mark.usefixtures("many")
def test_many_are_canceled_only_with_yes_where_nobody_can_be_asked(shell: Shell, store: Runtime) -> None:
    ended = shell("cancel", "--package", "order")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: 3 runs would be canceled, and there is nobody to ask\n")
    assert len(store.runs(status="pending")) == 3
    ended = shell("cancel", "--package", "order", "--yes")
    assert (ended.code, ended.out) == (0, "3 runs canceled\n")
    assert len(store.runs(status="canceled")) == 3


@pytest.mark.usefixtures("many")
def test_a_filter_chooses_what_is_canceled(shell: Shell) -> None:
    ended = shell("cancel", "--metadata", "even=true", "--yes", "--json")
    assert [run["id"] for run in json.loads(ended.out)["runs"]] == ["order-2", "order-0"]
    assert shell("cancel", "--package", "nobody", "--yes").out == "0 runs canceled\n"


@pytest.mark.parametrize(
    "arguments", [[], ["order-1", "--package", "order"], ["--status", "failed"], ["--package", ""]]
)
def test_it_must_be_clear_what_is_to_be_canceled(shell: Shell, play: Play, arguments: list[str]) -> None:
    play("order-1", ORDER, passes=0)
    assert shell("cancel", *arguments, "--yes").code == 2


@pytest.fixture
def broken(play: Play) -> None:
    """Two runs that failed, one that was canceled, one that succeeded and one that waits."""
    play("order-done", ORDER)
    play("order-1", {"id": "broke"})
    play("order-2", {"id": "broke"}, metadata={"urgent": True})
    play("order-waits", ORDER, passes=0)


@pytest.mark.usefixtures("broken")
def test_all_runs_that_failed_are_retried_by_a_filter(shell: Shell, store: Runtime) -> None:
    ended = shell("retry", "--package", "order")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: 2 runs would be retried, and there is nobody to ask\n")
    assert shell("retry", "--metadata", "urgent=true", "--yes").out == "1 run retried\n"
    ended = shell("retry", "--package", "order", "--yes", "--json")
    assert json.loads(ended.out) == {"runs": [{"id": "order-1", "status": "running"}]}
    assert {run.id for run in store.runs(status=["pending", "running"])} == {"order-1", "order-2", "order-waits"}


@pytest.mark.usefixtures("broken")
def test_runs_that_were_canceled_are_retried_only_if_that_is_said(shell: Shell, store: Runtime) -> None:
    store.cancel_run("order-waits")
    assert shell("retry", "--since", "2000-01-01", "--yes").out == "2 runs retried\n"
    assert store.workflow("order-waits").status == "canceled"
    assert shell("retry", "--status", "canceled", "--yes").out == "1 run retried\n"


@pytest.mark.usefixtures("broken")
def test_what_had_moved_on_since_it_was_chosen_is_told_apart_from_what_was_done(store: Runtime) -> None:
    assert became(store.retry_run, "order-1") == Became("running", is_done=True)
    assert became(store.retry_run, "order-1") == Became("running", is_done=False)
    assert became(store.retry_run, "pruned") == Became("gone", is_done=False)


@pytest.mark.parametrize(
    "arguments", [[], ["order-1", "--package", "order"], ["--status", "running"], ["--package", ""]]
)
def test_it_must_be_clear_what_is_to_be_retried(shell: Shell, play: Play, arguments: list[str]) -> None:
    play("order-1", {"id": "broke"})
    assert shell("retry", *arguments, "--yes").code == 2


@pytest.fixture
def queued(shell: Shell, store: Runtime, play: Play, flowkit_clock: FakeClock) -> None:
    """A step waits in each of two queues, of which one is limited."""
    limits = {"trucks": QueueConfig(max_workers=2, rate_limit=RateLimit(0.5, burst=3))}
    url = f"sqlite:///{shell.directory / 'var' / 'app.db'}"
    Runtime(url, entry_points=False, clock=flowkit_clock, queues=limits).close()
    play("order-1", ORDER, passes=0)


@pytest.mark.usefixtures("queued")
def test_queues_are_listed_with_what_waits_in_them(shell: Shell, printed: Printed) -> None:
    printed("queues", shell("queues").out)
    printed("queues-40", shell("queues", COLUMNS="40").out)
    printed("queues-json", shell("queues", "--json").out)


@pytest.mark.usefixtures("queued")
def test_a_queue_is_paused_and_resumed(shell: Shell, store: Runtime) -> None:
    def paused() -> list[str]:
        return [queue.name for queue in store.queues() if queue.paused]

    assert shell("queues", "pause", "trucks").out == "queue trucks is paused\n"
    assert paused() == ["trucks"]
    assert shell("queues", "resume", "trucks").out == "queue trucks is open\n"
    assert paused() == []


@pytest.mark.usefixtures("queued")
def test_a_queue_that_is_not_there_is_not_paused(shell: Shell, store: Runtime) -> None:
    ended = shell("queues", "pause", "truck")
    assert (ended.code, ended.out) == (3, "")
    assert "error: there is no queue 'truck'\n" in ended.err
    assert "hint: did you mean 'trucks'?" in ended.err


def test_who_only_starts_a_run_leaves_the_limits_alone_that_the_workers_obey(shell: Shell) -> None:
    limited = '[tool.flowkit]\nstore = "sqlite:///var/app.db"\nmodules = ["demo"]\n[tool.flowkit.queues.trucks]\n'
    order = ("run", "order", "--input", json.dumps({"id": "broke"}))
    shell.write("pyproject.toml", f"{limited}max_workers = 7\n")
    assert "queue" not in shell(*order, "--wait").err
    shell.write("pyproject.toml", f"{limited}max_workers = 2\nrate_per_second = 20\n")
    assert "queue" not in shell(*order).err
    assert "7 at once" in shell("queues").out
    ended = shell(*order, "--wait")
    assert "queue trucks: 7 at once is now 2 at once, 20/s, as this project says\n" in ended.err
    shell.write("pyproject.toml", limited)
    assert "queue trucks: 2 at once, 20/s is now without limits, as this project says\n" in shell(*order, "--wait").err
