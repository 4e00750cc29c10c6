"""Does this code serve every unfinished run in that store: kinds that are gone, values that no longer fit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import attrs

from flowkit.errors import InvalidInput, nearest
from flowkit.model.plan import Binding
from flowkit.runtime.registry import Executable, Registry
from flowkit.store.engine import Engine
from flowkit.store.unfinished import OpenStep

EXAMPLES = 5
"""How many steps of a finding are named."""

Problem = Literal["unknown_kind", "input", "binding", "result", "damaged"]


@attrs.frozen
class Example:
    """A step that this code could not run, and why."""

    run_id: str
    step_id: str
    message: str


@attrs.frozen
class Misfit:
    """Something about a kind of step for which this code does not serve steps that are stored.

    Attributes:
        problem: ``unknown_kind``: no executor; ``input``, ``result``: a stored value does not fit the executor's
            annotations; ``binding``: its result parameters are others; ``damaged``: an input fails its checksum.
        count: how many open steps have it.
        hint: how to mend it.
        examples: the first of them.
    """

    problem: Problem
    kind: str
    count: int
    hint: str
    examples: tuple[Example, ...]


@attrs.frozen
class CodeCheck:
    """What was looked at, and what was found; nothing found means that this code can take over.

    Attributes:
        runs, steps: how many unfinished runs, and open steps of them, were looked at.
    """

    runs: int
    steps: int
    misfits: tuple[Misfit, ...]

    @property
    def is_sound(self) -> bool:
        """Whether this code serves every unfinished run."""
        return not self.misfits


def check_code(engine: Engine, registry: Registry) -> CodeCheck:
    """Try every open step of every unfinished run on the executors that are registered; nothing is executed.

    Steps are read a few at a time, so the store may be of any size and workers may go on meanwhile.
    """
    looked = _Looked()
    for run, run_id in engine.unfinished.runs():
        looked.runs += 1
        trial = _Trial(engine, registry)
        for step in engine.unfinished.steps(run, run_id):
            looked.steps += 1
            for problem, message in trial.problems(step):
                looked.add(problem, step, message)
    return CodeCheck(looked.runs, looked.steps, tuple(looked.misfits(engine, registry)))


class _Trial:
    """The open steps of one run, each tried on the executor of its kind."""

    def __init__(self, engine: Engine, registry: Registry) -> None:
        self._engine = engine
        self._registry = registry
        # Steps that wait for one group bind the same results: they are decoded once for each kind of waiter.
        self._judged: dict[tuple[Any, ...], str | None] = {}

    def problems(self, step: OpenStep) -> Iterator[tuple[Problem, str]]:
        executable = self._registry.executable(step.kind)
        if executable is None:
            yield "unknown_kind", f"no executor for kind {step.kind!r}"
            return
        if step.input is None:
            yield "damaged", "its stored input does not match its checksum"
        elif executable.signature.takes_input and (message := _misfit(executable.decode_input, step.input)):
            yield "input", message
        yield from _unbound(executable, step)
        for binding in step.bindings:
            if binding.name in executable.signature.results and (message := self._result(executable, step, binding)):
                yield "result", message

    def _result(self, executable: Executable, step: OpenStep, binding: Binding) -> str | None:
        asked = (step.kind, binding.name, binding.spans, binding.many)
        if asked not in self._judged:
            self._judged[asked] = next(self._misfits(executable, step, binding), None)
        return self._judged[asked]

    def _misfits(self, executable: Executable, step: OpenStep, binding: Binding) -> Iterator[str]:
        for place, body in self._engine.unfinished.bound(step, binding):
            message = _misfit(partial(executable.decode_result, binding, place=place), body)
            if message:
                yield message


def _misfit(decode: Any, body: bytes | None) -> str | None:
    try:
        decode(body)
    except InvalidInput as error:
        return str(error)
    return None


def _unbound(executable: Executable, step: OpenStep) -> Iterator[tuple[Problem, str]]:
    bound = {binding.name for binding in step.bindings}
    known = executable.signature.results
    for name in sorted(bound - set(known)):
        yield "binding", f"executor {step.kind!r} has no result parameter {name!r} any more{nearest(name, known)}"
    for name in sorted(known.keys() - bound):
        if known[name].required:
            yield "binding", f"executor {step.kind!r} requires a result {name!r}, which the stored step does not bind"


@attrs.define
class _Looked:
    """What was found so far: counts, and a few examples of each sort."""

    runs: int = 0
    steps: int = 0
    _counts: dict[tuple[Problem, str], int] = attrs.field(factory=dict)
    _examples: dict[tuple[Problem, str], list[Example]] = attrs.field(factory=dict)

    def add(self, problem: Problem, step: OpenStep, message: str) -> None:
        sort = (problem, step.kind)
        self._counts[sort] = self._counts.get(sort, 0) + 1
        shown = self._examples.setdefault(sort, [])
        if len(shown) < EXAMPLES:
            shown.append(Example(step.run_id, step.id, message))

    def misfits(self, engine: Engine, registry: Registry) -> Iterator[Misfit]:
        for (problem, kind), count in sorted(self._counts.items()):
            hint = _unknown_hint(engine, registry, kind) if problem == "unknown_kind" else _HINTS[problem]
            yield Misfit(problem, kind, count, hint, tuple(self._examples[problem, kind]))


_HINTS: dict[Problem, str] = {
    "input": "let the annotation take what is stored too (a default for a new field, X | Y), or give it a new kind",
    "binding": "keep result parameters that stored steps bind, and give new ones a default; or give it a new kind",
    "result": "let the annotation of the parameter take what is stored too, or give the executor a new kind",
    "damaged": "look at the whole store with flowkit check --store, and restore it from a backup",
}


def _unknown_hint(engine: Engine, registry: Registry, kind: str) -> str:
    near = nearest(kind, registry.known_kinds())
    with engine.read() as tx:
        recorded = engine.catalog.kind(tx, kind)
    if recorded is None:
        return f"register an executor of this kind, or cancel those runs{near}"
    return f"module {recorded.module!r} had it: name that module too, or register an executor of this kind{near}"
