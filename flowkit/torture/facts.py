"""What a run came to, in a form that two rounds can be compared by, and in what they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from flowkit.model.step import Step, StepResult
from flowkit.runtime.curtain import Curtain
from flowkit.runtime.reads import Reads

_SHOWN = 200
_DUE_TO_FAULTS = frozenset({"lost", "fenced", "discarded"})


@attrs.frozen
class StepFacts:
    """How a step ended and all that it handed over."""

    status: str
    error: str | None
    result: str | None
    records: tuple[tuple[str, str, str], ...]
    artifacts: tuple[tuple[str, str, int, str], ...]
    emitted: tuple[str, ...]
    shown: Mapping[str, str] = attrs.field(factory=dict, eq=False)
    """What may be shown of the result and the records, sensitive values hidden."""


@attrs.frozen
class RunFacts:
    """How a run ended and what its steps came to, in the order they were declared."""

    status: str
    steps: Mapping[str, StepFacts]


@attrs.frozen
class Difference:
    """In what two rounds differ, and in which step; None for the run itself."""

    step_id: str | None
    text: str


def facts_of(runtime: Reads, run_id: str) -> RunFacts:
    """Read what a run that has ended came to."""
    run, curtain = runtime.handle(run_id).wait(0), Curtain(runtime)
    steps: dict[str, StepFacts] = {}
    for step in runtime.steps(run_id):
        found = runtime.result(run_id, step.id)
        assert found is not None
        hidden = curtain.result(found, step.kind)
        shown = {"result": str(hidden.json), "records": repr(_records(hidden))}
        steps[step.id] = attrs.evolve(_facts(step, found), shown=shown)
    return RunFacts(run.status.value, steps)


def _facts(step: Step, found: StepResult) -> StepFacts:
    return StepFacts(
        step.status.value,
        step.error.code if step.error is not None else None,
        found.json,
        _records(found),
        tuple(sorted((one.id, one.name, one.size, one.sha256) for one in found.artifacts)),
        found.emitted_ids,
    )


def _records(found: StepResult) -> tuple[tuple[str, str, str], ...]:
    return tuple(sorted((one.collection, one.key, repr(one.data)) for one in found.records))


def differences(calm: RunFacts, found: RunFacts) -> Iterator[Difference]:
    """Yield in what a run differs from the same run undisturbed, the step that was declared first before the others."""
    if calm.status != found.status:
        yield Difference(None, f"the run {found.status}, undisturbed it {calm.status}")
    for step_id, before in calm.steps.items():
        after = found.steps.get(step_id)
        if after is None:
            yield Difference(step_id, "the step is not there; undisturbed it is")
        elif after != before:
            yield Difference(step_id, _changed(before, after))
    yield from (
        Difference(step_id, "the step is there; undisturbed it is not")
        for step_id in found.steps
        if step_id not in calm.steps
    )


def _changed(before: StepFacts, after: StepFacts) -> str:
    for name in ("status", "error", "result", "records", "artifacts", "emitted"):
        one, other = getattr(before, name), getattr(after, name)
        if one != other:
            one, other = before.shown.get(name, one), after.shown.get(name, other)
            return f"{name} {_short(other)}, undisturbed {_short(one)}"
    raise AssertionError("the facts are equal")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def ran_out(runtime: Reads, run_id: str) -> list[str]:
    """Return the failed steps that lost attempts to a fault: they may have failed for that alone."""
    found = []
    for step in runtime.steps(run_id, status="failed"):
        attempts = [one for one in runtime.attempts(run_id, step.id) if one.generation == step.generation]
        codes = {one.error.code for one in attempts if one.error is not None}
        if codes & {"timeout", "worker_lost"} or {one.outcome for one in attempts} & _DUE_TO_FAULTS:
            found.append(step.id)
    return found


def told_of(runtime: Reads, run_id: str, step_id: str) -> str:
    """Tell of a step's attempts in a few words: ``attempt 1 lost, attempt 2 succeeded``."""
    attempts = runtime.attempts(run_id, step_id)[-8:]
    return ", ".join(f"attempt {one.attempt} {one.outcome or 'running'}" for one in attempts)
