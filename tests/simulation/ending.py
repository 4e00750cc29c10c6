"""What must be true when everything has come to rest: nothing lost, nothing invented, every invariant."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowkit.store.check import check
from tests.simulation.app import stored_bytes

if TYPE_CHECKING:
    from tests.simulation.model import RunModel, StepModel
    from tests.simulation.world import World

_KNOWN = """SELECT r.id, s.id, x.epoch, x.outcome FROM (
  SELECT step, epoch, outcome FROM attempts UNION ALL SELECT step, epoch, 'succeeded' FROM results
) x JOIN steps s ON s.key = x.step JOIN runs r ON r.key = s.run"""


def judge_the_end(world: World) -> None:
    """Fail the world where what is stored is not what was asked for and done."""
    _check_everything(world)
    _check_journal(world)
    _check_attempts(world)
    for run in world.judge.runs.values():
        for step in run.steps.values():
            if step.status == "succeeded":
                _check_outputs(world, run, step)


def _check_everything(world: World) -> None:
    # What is merged from many histories needs one clock.
    honest = world.judge.clocks_are_honest and not world.faults.has("drift")
    world.checks += 1
    with world.stage.observer.read() as tx:
        for finding in check(tx, world.stage.artifacts, limits=world.client.limits if honest else None):
            world.fail(f"invariant {finding}")


def _check_journal(world: World) -> None:
    """NL1 to NL3: what was acknowledged is there, nothing else is, and all of it has ended."""
    acknowledged = {call.arguments[0] for call in world.client.journal if (call.name, call.ending) == ("start", "ok")}
    asked = {call.arguments[0] for call in world.client.journal if call.name == "start"}
    stored = {row[0]: row[1] for row in world.stage.rows("SELECT id, status FROM runs")}
    if not acknowledged <= stored.keys() <= asked:
        world.fail(f"stored are {sorted(stored)}, acknowledged {sorted(acknowledged)}, asked for {sorted(asked)}")
    if any(status not in ("succeeded", "failed", "canceled") for status in stored.values()):
        world.fail(f"not every run has ended: {stored}")


def _check_attempts(world: World) -> None:
    """NL4 and NL5: every start of an executor is known to the store, once."""
    known: dict[Any, str] = {(run, step, epoch): outcome for run, step, epoch, outcome in world.stage.rows(_KNOWN)}
    for identity, times in world.judge.started.items():
        if times > 1 or identity not in known:
            world.fail(f"{identity} was started {times} times, the store says {known.get(identity)}")
    for identity, outcome in known.items():
        if outcome in ("succeeded", "retried") and identity not in world.judge.started:
            world.fail(f"{identity} is stored as {outcome}, but nobody ran it")


def _check_outputs(world: World, run: RunModel, step: StepModel) -> None:
    """Records and artifacts are those of the committed attempt, and whole."""
    key, do = (run.key << 21) + step.place, step.node.do
    records = world.stage.rows("SELECT name, epoch, body FROM records WHERE step = ? ORDER BY name", key)
    wanted = [(f"{n}", step.epoch, {"epoch": step.epoch, "number": n}) for n in range(do.get("records", 0))]
    if [(name, epoch, json.loads(body)) for name, epoch, body in records] != wanted:
        world.fail(f"{run.id}/{step.node.id} has the records {records}, it made {wanted}")
    artifacts = world.stage.rows("SELECT id, epoch, body FROM artifacts WHERE step = ? ORDER BY place", key)
    bodies = [bytes(body) if body is not None else _read(world, id) for id, _, body in artifacts]
    made = [f"{run.id}/{step.node.id}/{step.epoch}".encode()] if do.get("inline") else []
    made += [stored_bytes(run.id, step.node.id)] if do.get("stored") else []
    if bodies != made or any(epoch != step.epoch for _, epoch, _ in artifacts):
        world.fail(f"{run.id}/{step.node.id} has the artifacts {artifacts}, it made {made}")


def _read(world: World, id: str) -> bytes:
    with world.stage.artifacts.open(id) as file:
        return file.read()
