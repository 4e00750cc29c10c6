"""The command line on a store in PostgreSQL: the same words, and a worker of another process that is woken."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import DEMO, Shell
from tests.postgres import Databases

ORDER = json.dumps({"id": "A-17", "items": ["tea", "cups"]})


@pytest.fixture
def served(empty: Shell, postgres: Databases) -> Iterator[Shell]:
    """A shell in a project whose store is in PostgreSQL."""
    empty.write("demo.py", DEMO)
    empty.write("pyproject.toml", '[tool.flowkit]\nmodules = ["demo"]\n')
    with postgres.empty() as place:
        yield Shell(empty.directory, {"FLOWKIT_STORE": place.url})


def test_a_run_is_executed_watched_and_looked_at(served: Shell) -> None:
    ended = served("run", "order", "--input", ORDER, "--run-id", "order-1", "--wait")
    assert (ended.code, ended.out) == (0, "run order-1 succeeded\n")
    assert served("watch", "@last").out.endswith("succeeded  run order-1\n")
    assert "└─ notify-1  succeeded" in served("show", "order").out
    assert served("graph", "order-1").out.startswith("● charge  succeeded  shop/charge\n├─┐\n")
    steps = json.loads(served("timeline", "order-1", "--json").out)["steps"]
    assert [step["spans"][-1]["outcome"] for step in steps] == ["succeeded"] * 6
    assert served("migrate", "--check").code == 0
    assert served("check", "--store").out == "the store is sound\n"


def test_a_run_is_left_to_a_live_worker(served: Shell) -> None:
    with served.background("worker") as worker:
        assert worker.stderr is not None
        assert "serves 4 kinds of steps" in worker.stderr.readline()
        waits = "this process only waits"
        # The worker announces itself a moment after it says that it is there.
        told = ""
        number = 0
        while waits not in told:
            number += 1
            told = served("run", "order", "--input", ORDER, "--run-id", f"order-{number}", "--wait").err
        worker.terminate()
        assert worker.wait(60) == 0
    attempts = json.loads(served("show", f"order-{number}", "charge", "--json").out)["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["succeeded"]
