"""What steps handed over, as callers read it: results, records, artifacts; every payload is checked as it is read."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import attrs
from peewee import JOIN

from flowkit.errors import ResultNotFound, RunNotFound
from flowkit.model.gate import loads
from flowkit.model.names import name_problem
from flowkit.model.outputs import Artifact, ArtifactRef, Record
from flowkit.model.run import Page
from flowkit.model.states import StepStatus
from flowkit.model.step import StepResult
from flowkit.store.closing import error_from_text
from flowkit.store.database import Row, Session
from flowkit.store.keys import first_key, last_key
from flowkit.store.leases import verified
from flowkit.store.paging import checked_limit, key_at, page_of
from flowkit.store.rows import artifact_from_row, record_columns, record_from_row, ref_columns, ref_from_row
from flowkit.store.statements import param, statement
from flowkit.store.views_steps import StepViews


@attrs.frozen
class StoredValue:
    """A step's result as it is stored, and the kind of the step, which says how to read it."""

    kind: str
    body: bytes | None


@attrs.frozen
class StoredOutput:
    """What a run handed over.

    Attributes:
        many: whether it is a list.
        step_ids: the steps whose results it is, in order.
        values: their results, by id; a step that was named need not be there.
    """

    many: bool
    step_ids: list[str]
    values: dict[str, StoredValue]


class ResultViews(StepViews):
    """Reads of what steps handed over."""

    @statement
    def _result(self) -> Any:
        s, res, a = self._t.steps, self._t.results, self._t.attempts
        # One statement, so that a status is never read without the result that came with it.
        query = s.select(s.key, s.status, s.ended_at, res.body, res.sha256, res.emitted, a.error)
        query = query.join(res, JOIN.LEFT_OUTER, on=(res.step == s.key)).switch(s)
        query = query.join(a, JOIN.LEFT_OUTER, on=((a.step == s.key) & (a.epoch == s.epoch)))
        return query.where((s.run == param("run")) & (s.id == param("id")))

    def _select_records(self) -> Any:
        rec, s, r = self._t.records, self._t.steps, self._t.runs
        query = rec.select(rec.key, r.id, s.id, *record_columns(rec))
        return query.join(s, on=(s.key == rec.step)).join(r, on=(r.key == s.run)).order_by(rec.key)

    @statement
    def _records_of_step(self) -> Any:
        return self._select_records().where(self._t.records.step == param("step"))

    @statement
    def _records(self) -> Any:
        rec = self._t.records
        query = self._select_records().where((rec.collection == param("collection")) & (rec.key > param("after")))
        return query.limit(param("limit"))

    @statement
    def _records_of_run(self) -> Any:
        rec = self._t.records
        # What is added to the columns keeps the planner on the index by step: the run's own records are all it reads.
        found = rec.select(rec.key).where(rec.step.between(param("first"), param("last")))
        found = found.where((rec.collection.concat("") == param("collection")) & (rec.key + 0 > param("after")))
        found = found.order_by(rec.key).limit(param("limit"))
        return self._select_records().where(rec.key.in_(found))

    @statement
    def _artifact(self) -> Any:
        art, s = self._t.artifacts, self._t.steps
        query = art.select(*ref_columns(art), s.id, art.body, art.created_at).join(s, on=(s.key == art.step))
        return query.where((art.run == param("run")) & (art.id == param("id"))).order_by(art.step, art.place).limit(1)

    def _select_refs(self) -> Any:
        art = self._t.artifacts
        return art.select(*ref_columns(art)).order_by(art.step, art.place)

    @statement
    def _refs_of_run(self) -> Any:
        return self._select_refs().where(self._t.artifacts.step.between(param("first"), param("last")))

    @statement
    def _refs_of_step(self) -> Any:
        return self._select_refs().where(self._t.artifacts.step == param("step"))

    @statement
    def _output(self) -> Any:
        r, s, lane, res = self._t.runs, self._t.steps, self._t.lanes, self._t.results
        # Most outputs are the result of one step, which is read at once with its name.
        named = (s.run == r.key) & (s.id == self.db.dialect.text_in(r.output, "id"))
        query = r.select(r.key, r.output, s.id, lane.kind, res.body, res.sha256).join(s, JOIN.LEFT_OUTER, on=named)
        query = query.join(lane, JOIN.LEFT_OUTER, on=(lane.id == s.lane)).switch(s)
        return query.join(res, JOIN.LEFT_OUTER, on=(res.step == s.key)).where(r.id == param("run"))

    @statement
    def _values(self) -> Any:
        s, r, lane, res = self._t.steps, self._t.runs, self._t.lanes, self._t.results
        query = s.select(s.id, lane.kind, res.body, res.sha256).join(r, on=(r.key == s.run)).switch(s)
        query = query.join(lane, on=(lane.id == s.lane)).switch(s).join(res, JOIN.LEFT_OUTER, on=(res.step == s.key))
        return query.where((r.id == param("run")) & self.db.dialect.texts("ids").holds(s.id))

    def result(self, tx: Session, run_id: str, step_id: str) -> StepResult | None:
        """Return how a step ended and what it handed over; None only while it has not ended.

        Raises:
            RunNotFound, StepNotFound: there is none.
            DataCorrupted: what is stored is not what was handed over.
        """
        # In between it may be retried, or pruned with its run: then part of what it handed over would be missing.
        with tx.moment():
            run = self._key(tx, run_id)
            row = tx.row(self._result, run=run, id=step_id)
            if row is None:
                raise self._no_step(tx, run, run_id, step_id)
            if not StepStatus(row[1]).is_ended:
                return None
            return self._result_from(tx, run, (run_id, step_id), row)

    def _result_from(self, tx: Session, run: int, names: tuple[str, str], row: Row) -> StepResult:
        key, status_text, ended_at, body, digest, emitted, error = row
        status = StepStatus(status_text)
        if body is not None:
            body = verified(body, digest, f"the result of step {names[1]!r} of run {names[0]!r}")
        return StepResult(
            *names,
            status,
            data=loads(body) if body is not None else None,
            json=body.decode() if body is not None else None,
            records=tuple(record_from_row(found[1:]) for found in tx.rows(self._records_of_step, step=key)),
            artifacts=tuple(map(ref_from_row, tx.rows(self._refs_of_step, step=key))),
            emitted_ids=tuple(self.ids_at(tx, run, json.loads(emitted))) if emitted is not None else (),
            error=error_from_text(error) if status is StepStatus.FAILED else None,
            completed_at=ended_at,
        )

    def values(self, tx: Session, run_id: str, step_ids: Collection[str]) -> dict[str, StoredValue]:
        """Return the results of several steps, by id, checked; a step that is not there is missing.

        Raises:
            DataCorrupted: what is stored is not what was handed over.
        """
        # No step has an id that could not be stored, and no database can be asked for one.
        ids = [step_id for step_id in step_ids if name_problem(step_id) is None]
        rows = tx.rows(self._values, run=run_id, ids=ids)
        return {row[0]: _value_from(run_id, row) for row in rows}

    def output(self, tx: Session, run_id: str) -> StoredOutput | None:
        """Return what a run's output is, checked; None if it names none.

        Raises:
            RunNotFound: there is none.
            DataCorrupted: what is stored is not what was handed over.
        """
        row = tx.row(self._output, run=run_id)
        if row is None:
            raise RunNotFound(run_id)
        run, output, *value = row
        if output is None:
            return None
        named: dict[str, Any] = json.loads(output)
        if "id" in named:
            return StoredOutput(False, [named["id"]], {value[0]: _value_from(run_id, value)} if value[0] else {})
        step_ids = self.ids_at(tx, run, named["spans"])
        if len(step_ids) < sum(last - first + 1 for first, last in named["spans"]):
            raise RunNotFound(run_id)  # it was pruned meanwhile
        return StoredOutput(True, step_ids, self.values(tx, run_id, step_ids))

    def records(
        self, tx: Session, run_id: str | None = None, *, collection: str, limit: int = 1000, cursor: str | None = None
    ) -> Page[Record]:
        """Return a page of a collection's records, of one run or of all, in the order in which they were recorded.

        Raises:
            RunNotFound: there is none.
            ConfigError: a limit or cursor that cannot be.
            DataCorrupted: what is stored is not what was recorded.
        """
        limit, after = checked_limit("records", limit), key_at("records", cursor) or 0
        asked = {"collection": collection, "after": after, "limit": limit + 1}
        if run_id is None:
            rows = tx.rows(self._records, **asked)
        else:
            run = self._key(tx, run_id)
            rows = tx.rows(self._records_of_run, first=first_key(run), last=last_key(run), **asked)
        return page_of("records", rows, limit, lambda row: record_from_row(row[1:]))

    def artifact(self, tx: Session, run_id: str, artifact_id: str) -> Artifact:
        """Return an artifact of a run, with its bytes where they lie in the store.

        Raises:
            RunNotFound: there is none.
            ResultNotFound: no committed attempt of the run handed over an artifact of this id.
            DataCorrupted: the bytes are not what was handed over.
        """
        row = tx.row(self._artifact, run=self._key(tx, run_id), id=artifact_id)
        if row is None:
            hint = f"rt.result({run_id!r}, step_id).artifacts lists those of a step"
            raise ResultNotFound(f"run {run_id!r} has no artifact {artifact_id!r}; {hint}")
        return artifact_from_row(run_id, row)

    def artifacts(self, tx: Session, run_id: str, step_id: str | None = None) -> tuple[ArtifactRef, ...]:
        """Return the references of a run's artifacts, or of one step's, by step and id.

        Raises:
            RunNotFound, StepNotFound: there is none.
        """
        if step_id is not None:
            return tuple(map(ref_from_row, tx.rows(self._refs_of_step, step=self._key_of_step(tx, run_id, step_id))))
        run = self._key(tx, run_id)
        return tuple(map(ref_from_row, tx.rows(self._refs_of_run, first=first_key(run), last=last_key(run))))


def _value_from(run_id: str, row: Sequence[Any]) -> StoredValue:
    step_id, kind, body, digest = row
    if body is not None:
        body = verified(body, digest, f"the result of step {step_id!r} of run {run_id!r}")
    return StoredValue(kind, body)
