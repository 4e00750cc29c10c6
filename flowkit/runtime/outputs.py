"""What a run hands over, structured as its annotation says."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from flowkit.errors import ResultNotFound, RunCanceled, RunFailed, StepNotFound
from flowkit.model.definitions import ANY
from flowkit.model.states import RunStatus, StepStatus
from flowkit.model.step import Step
from flowkit.runtime.registry import Registry
from flowkit.runtime.wakeup import Ended
from flowkit.store.database import Session
from flowkit.store.engine import Engine
from flowkit.store.views_results import StoredOutput, StoredValue


class Unsuccessful(ResultNotFound):
    """The step whose result is asked for has none, for it did not succeed, though its run may have."""

    def __init__(self, step: Step) -> None:
        self.step = step
        super().__init__(step)

    def __str__(self) -> str:
        run, step = self.step.run_id, self.step.id
        return f"step {step!r} of run {run!r} {self.told}; rt.result({run!r}, {step!r}) says more"

    @property
    def told(self) -> str:
        """What became of the step."""
        error = self.step.error
        if self.step.status is StepStatus.FAILED and error is not None:
            return f"failed: {error.code}: {error.message}"
        return f"was canceled ({self.step.reason})"


class Outputs:
    """Outputs of runs, and results of their steps, for one Runtime's handles."""

    def __init__(self, engine: Engine, registry: Registry) -> None:
        self._engine = engine
        self._registry = registry
        self._codec = registry.codec

    def get(self, run_id: str, ended: Ended, step_id: str | None, type: Any) -> Any:
        """Return the output of a run that ended like this, or one step's result, as the annotation says.

        A step that succeeded has a result also where its run has not ended, or not well. In a list, None stands for a
        step that did not succeed.
        """
        if step_id is None and ended.output is not None:
            return self._structured(ended.output, type)
        views, status = self._engine.views, ended.status
        # A step that others have seen to succeed may not be there in the snapshot of the program's own transaction.
        with self._engine.db.outside() if not status.is_ended else self._engine.read() as tx:
            if status.is_ended and status is not RunStatus.SUCCEEDED and not self._succeeded(tx, run_id, step_id):
                raise RunCanceled(run_id) if status is RunStatus.CANCELED else self._failed(tx, run_id)
            if step_id is not None:
                found: StoredOutput | None = StoredOutput(False, [step_id], views.values(tx, run_id, [step_id]))
            else:
                found = views.output(tx, run_id)
            if found is None:
                raise ResultNotFound(
                    f"run {run_id!r} names no output: return a handle from the entrypoint of its package, "
                    "set run.output, or name a step: handle.result('step id')"
                )
            for missing in (one for one in found.step_ids if one not in found.values):
                # Asked for by name, it is refused with the nearest one that is there.
                self._refuse(tx, run_id, missing, is_output=step_id is None)
            if not found.many and found.values[found.step_ids[0]].body is None:
                _refuse_unsuccessful(views.step(tx, run_id, found.step_ids[0]))
        return self._structured(found, type)

    def _structured(self, found: StoredOutput, type: Any) -> Any:
        values = [self._value(one, found.values[one], type) for one in found.step_ids]
        return values if found.many else values[0]

    def _succeeded(self, tx: Session, run_id: str, step_id: str | None) -> bool:
        with suppress(StepNotFound):
            return step_id is not None and self._engine.views.step(tx, run_id, step_id).status is StepStatus.SUCCEEDED
        return False

    def _failed(self, tx: Session, run_id: str) -> RunFailed:
        return RunFailed(run_id, self._engine.views.failed_steps(tx, run_id))

    def _refuse(self, tx: Session, run_id: str, missing: str, *, is_output: bool) -> None:
        try:
            self._engine.views.step(tx, run_id, missing)
        except StepNotFound as error:
            raise StepNotFound(run_id, missing, error.known, is_output) from None

    def _value(self, step_id: str, stored: StoredValue, type: Any) -> Any:
        if stored.body is None:
            return None
        executable = self._registry.executable(stored.kind)
        wanted = executable.signature.returns if type is ANY and executable is not None else type
        return self._codec.decode(stored.body, wanted, f"result of {step_id!r}")


def _refuse_unsuccessful(step: Step) -> None:
    if step.status is not StepStatus.SUCCEEDED:
        raise Unsuccessful(step)
