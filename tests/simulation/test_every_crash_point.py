"""A process dies at every statement and every commit of a whole run, once and twice: the run comes to the same end."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulation.choices import FAULTS, Cuts
from tests.simulation.operators import Client
from tests.simulation.play import Tally
from tests.simulation.stage import Stage
from tests.simulation.story import Graph
from tests.simulation.world import World

COMMITS = ("commit", "committed")
CALM = Cuts(without=frozenset(FAULTS))


def told(id: str, *waits: list[str], do: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Tell one step of the graph below."""
    known = {"kind": "sim/work", "queue": "default", "retry": [5, 1], "priority": 0}
    return {"id": id, "waits": list(waits), **known, "do": {"salt": len(id), "seconds": 0.5, **(do or {})}, **more}


CHILDREN = [told("child", count=2), told("joined", ["child", "bind"], ["convert", "require"])]
GRAPH: Graph = [
    told("convert", do={"records": 2, "stored": True}),
    told("page", ["convert", "bind"], count=3, queue="narrow"),
    told("index", ["page", "bind"], do={"inline": True, "emit": CHILDREN}),
    told("count", ["page", "require"], delay=3, queue="rated"),
    told("broken", ["convert", "require"], do={"fatal": 99}, allow_failure=True),
    told("because", ["broken", "require"]),
    told("anyway", ["broken", "bind_optional"], ["because", "optional"], do={"flaky": 1}),
]
"""Twelve steps: a gate that two wait for, a failure and its cascade, an optional edge, a retry, a delay, children."""


class CanonicalWorld(World):
    """One worker, one run, no accidents but deaths at chosen boundaries, counted from the first one."""

    chaos = 0.0

    def __init__(self, stage: Stage, deaths: tuple[int, ...], only: tuple[str, ...] | None = None) -> None:
        self.deaths = frozenset(deaths)
        self.passed: list[str] = []
        self._only = only
        if stage.world is not None:
            stage.world.bury()
        super().__init__(stage, 0, CALM, watchful=only is None)
        stage.world = self
        self.workers = self.stage.workers[:1]

    def _client(self) -> Client:
        client = Client(self, self.stage.client)
        client.graphs = {"run-1": GRAPH}
        # Whoever does not know whether a start was made starts again.
        client._script = [(at, ("start", "run-1", GRAPH)) for at in (1.0, 45.0, 90.0)]
        return client

    def dies_at(self, boundary: str) -> bool:
        if self._only is not None and boundary not in self._only:
            return False
        self.passed.append(boundary)
        return len(self.passed) in self.deaths


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    made = Stage()
    logger = logging.getLogger("flowkit")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield made
    logger.setLevel(level)
    made.close()


def end_of(world: World) -> dict[str, tuple[str, str | None, Any]]:
    """Return how each step ended, and its result."""
    (run,) = world.judge.runs.values()
    assert run.status == "succeeded"
    return {step.node.id: (step.status, step.reason, step.value) for step in run.steps.values()}


def test_the_run_that_is_killed_has_twelve_steps_of_every_sort(stage: Stage) -> None:
    world = CanonicalWorld(stage, ())
    world.run()

    end = end_of(world)
    assert len(end) == 12
    assert {status for status, _, _ in end.values()} == {"succeeded", "failed", "canceled"}
    assert stage.rows("SELECT 1 FROM gates") != []


@pytest.mark.parametrize("part", range(4))
def test_one_death_at_every_statement_and_every_commit_changes_nothing_of_the_end(
    stage: Stage, part: int, record_property: Any
) -> None:
    calm = CanonicalWorld(stage, ())
    calm.run()
    expected, tally = end_of(calm), Tally()

    for moment in range(1 + part, len(calm.passed) + 1, 4):
        world = CanonicalWorld(stage, (moment,))
        world.run()
        assert end_of(world) == expected, f"death at boundary {moment}: {calm.passed[moment - 1]}"
        tally.points += 1
    record_property("simulation", tally.as_text())


@pytest.mark.parametrize("part", range(4))
def test_two_deaths_around_any_two_commits_change_nothing_of_the_end(
    stage: Stage, part: int, record_property: Any
) -> None:
    calm = CanonicalWorld(stage, (), COMMITS)
    calm.run()
    expected, tally = end_of(calm), Tally()

    pairs = itertools.combinations(range(1, len(calm.passed) + 1), 2)
    for first, second in itertools.islice(pairs, part, None, 4):
        world = CanonicalWorld(stage, (first, second), COMMITS)
        world.run()
        assert end_of(world) == expected, f"deaths at commits {first} and {second}"
        tally.points += 1
    record_property("simulation", tally.as_text())
