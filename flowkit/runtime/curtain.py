"""Hides what is not to be shown: in runs, steps, results and records as they were read, by the store's catalog."""

from __future__ import annotations

import json
from typing import Any

import attrs

from flowkit.model.outcome import StepError
from flowkit.model.outputs import Record
from flowkit.model.run import Run
from flowkit.model.sensitive import names_in, redacted
from flowkit.model.step import Attempt, Step, StepResult
from flowkit.runtime.reads import Reads


class Curtain:
    """Puts ``***`` in place of sensitive values; what was read is not changed, nor what is stored.

    A value is known by the schema of its package's input or its kind's result, and besides by name: what is
    sensitive in any registered class is not shown under that name anywhere.

    Args:
        runtime: whose store's catalog says what is sensitive.
        reveal: hide nothing.
    """

    def __init__(self, runtime: Reads, *, reveal: bool = False) -> None:
        known = runtime.catalog()
        self._engine = runtime._parts.engine
        self._reveal = reveal
        self._inputs = {one.name: one.input_schema for one in known.packages}
        self._results = {one.kind: one.result_schema for one in known.kinds}
        schemas = [*self._inputs.values(), *self._results.values(), *(one.input_schema for one in known.kinds)]
        self._names = frozenset(names_in(schemas))

    def run(self, run: Run) -> Run:
        """Hide what is sensitive in a run's input and metadata."""
        told = run.input
        if told is not None and not self._reveal:
            told = _text(self._draw(json.loads(told), self._inputs.get(run.package)), told)
        return attrs.evolve(run, input=told, metadata=self._draw(dict(run.metadata)))

    def step(self, step: Step) -> Step:
        """Hide what is sensitive in a step's metadata and in the details of its error."""
        return attrs.evolve(step, metadata=self._draw(dict(step.metadata)), error=self._error(step.error))

    def attempt(self, attempt: Attempt) -> Attempt:
        """Hide what is sensitive in the details of an attempt's error."""
        return attrs.evolve(attempt, error=self._error(attempt.error))

    def result(self, result: StepResult, kind: str) -> StepResult:
        """Hide what is sensitive in what a step of this kind handed over."""
        data = self.value(result.data, kind)
        told = None if result.json is None else _text(data, result.json)
        records = tuple(map(self.record, result.records))
        return attrs.evolve(result, data=data, json=told, records=records, error=self._error(result.error))

    def record(self, record: Record) -> Record:
        """Hide what is sensitive in a record, by name alone: nothing else is known of its data."""
        return attrs.evolve(record, data=self._draw(record.data))

    def value(self, value: Any, kind: str) -> Any:
        """Hide what is sensitive in a result of this kind."""
        return self._draw(value, self._results.get(kind))

    def output(self, run_id: str, output: Any) -> Any:
        """Hide what is sensitive in the output of a run that has one."""
        with self._engine.read() as tx:
            found = self._engine.views.output(tx, run_id)
        assert found is not None, "what is hidden was read as the run's output before"
        kinds = [found.values[one].kind for one in found.step_ids]
        return [self.value(*pair) for pair in zip(output, kinds)] if found.many else self.value(output, kinds[0])

    def _error(self, error: StepError | None) -> StepError | None:
        return error if error is None else attrs.evolve(error, details=self._draw(error.details))

    def _draw(self, value: Any, schema: Any = None) -> Any:
        return value if self._reveal else redacted(value, schema, self._names)


def _text(value: Any, stored: str) -> str:
    # What hides nothing stays in the form in which it is stored.
    return stored if value == json.loads(stored) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
