"""Plays a seed and says how to play it again; a seed that fails is told with as little as still makes it fail."""

from __future__ import annotations

import json
from collections import Counter

import attrs

from tests.simulation.choices import EVERYTHING, FAULTS, Cuts
from tests.simulation.stage import Stage
from tests.simulation.world import Violation, World


@attrs.define
class Tally:
    """What was really played."""

    seeds: int = 0
    commits: int = 0
    statements: int = 0
    checks: int = 0
    runs: int = 0
    steps: int = 0
    attempts: int = 0
    points: int = 0
    faults: Counter[str] = attrs.field(factory=Counter)

    def add(self, world: World) -> None:
        """Count a world."""
        self.seeds += 1
        self.commits += world.commits
        self.statements += world.statements
        self.checks += world.checks
        self.runs += len(world.judge.runs)
        self.steps += sum(len(run.steps) for run in world.judge.runs.values())
        self.attempts += len(world.judge.started)
        self.faults += world.faults.injected

    def as_text(self) -> str:
        """Return the same as JSON, for who adds up several."""
        return json.dumps(attrs.asdict(self))

    def merge(self, text: str) -> None:
        """Count what another process counted."""
        for name, value in json.loads(text).items():
            if name == "faults":
                self.faults.update(value)
            else:
                setattr(self, name, getattr(self, name) + value)

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.faults.items()))
        return (
            f"{self.seeds:,} seeds, {self.runs:,} runs, {self.steps:,} steps, {self.attempts:,} attempts, "
            f"{self.commits:,} commits judged, {self.statements:,} statements, {self.checks:,} full checks of every "
            f"invariant; faults: {told or 'none'}; beside them {self.points:,} crash points tried one after the other"
        )


def play(
    stage: Stage, seed: int, cuts: Cuts = EVERYTHING, tally: Tally | None = None, *, watchful: bool | None = None
) -> str | None:
    """Play a seed; returns what is broken and the command that shows it again, or None."""
    found = attempt(stage, seed, cuts, watchful)
    world = played(stage)
    if tally is not None:
        tally.add(world)
    if found is None:
        return None
    watch = " --watch" if world.watchful else ""
    return f"seed {seed}: {found}\nagain: python -m tests.simulation {seed}{cuts.arguments()}{watch}"


def attempt(stage: Stage, seed: int, cuts: Cuts, watchful: bool | None = None) -> str | None:
    """Play a seed once; returns what is broken, or None."""
    if stage.world is not None:
        stage.world.bury()
    world = World(stage, seed, cuts, watchful=watchful)
    stage.world = world
    try:
        world.run()
    except Violation:
        return world.failure
    return None


def played(stage: Stage) -> World:
    """Return the world that was played last."""
    assert stage.world is not None
    return stage.world


def shrink(stage: Stage, seed: int, watchful: bool | None = None) -> Cuts:
    """Return the cuts with which a failing seed still fails: fewer runs, fewer kinds of faults, fewer faults."""
    cuts = Cuts()
    for fewer in (1, 2):
        if attempt(stage, seed, attrs.evolve(cuts, runs=fewer), watchful):
            cuts = attrs.evolve(cuts, runs=fewer)
            break
    for kind in FAULTS:
        less = attrs.evolve(cuts, without=cuts.without | {kind})
        if attempt(stage, seed, less, watchful):
            cuts = less
    return _fewer_faults(stage, seed, cuts, watchful)


def _fewer_faults(stage: Stage, seed: int, cuts: Cuts, watchful: bool | None) -> Cuts:
    attempt(stage, seed, cuts, watchful)
    left = [n for n, kind in played(stage).faults.drawn if kind not in cuts.without]
    size = max(1, len(left) // 2)
    while left:
        for start in range(0, len(left), size):
            less = attrs.evolve(cuts, skip=cuts.skip | set(left[start : start + size]))
            if attempt(stage, seed, less, watchful):
                cuts = less
        if size == 1:
            break
        left = [number for number in left if number not in cuts.skip]
        size = max(1, size // 2)
    return cuts
