"""What an executor sees of its step; it buffers what the attempt hands over until the one commit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from flowkit.clock import Micros
from flowkit.dsl.builder import EmitBuilder
from flowkit.dsl.typing import Context, MapCall, StepCall
from flowkit.errors import LeaseLost, Permanent, ResultNotFound, RunCanceled
from flowkit.model.definitions import ANY
from flowkit.model.gate import ARTIFACT_LIMIT, RECORD_LIMIT, dumps
from flowkit.model.lease import Lease
from flowkit.model.names import joined, shortened
from flowkit.model.outcome import AttemptTimeout, safe_text
from flowkit.model.outputs import ArtifactRef, NewArtifact, NewRecord, Progress
from flowkit.model.run import Run
from flowkit.model.step import Step, StepResult
from flowkit.projections import Projection
from flowkit.runtime.attempts import Attempt
from flowkit.runtime.labels import NO_RESULT, metadata_text, require_name, word
from flowkit.runtime.misfits import coded
from flowkit.runtime.services import Services

INLINE, EXTERNAL = "inline-artifact", "external-artifact-ref"
NO_INPUT = "invalid_input"


class StepContext(Context):
    """The step context: what an executor may ask and what it may hand over.

    Nothing that it hands over is visible before the attempt's outcome is committed; then all of it is. Once the
    executor has returned that is refused with ``InvalidTransition``, and with ``LeaseLost`` once the step was taken
    from the attempt, as by its timeout.
    """

    def __init__(self, attempt: Attempt, services: Services) -> None:
        self._attempt = attempt
        self._leased = attempt.leased
        self._services = services
        self._log: Any = None
        self._builder: EmitBuilder | None = None
        self.now: Micros = services.now()
        self.has_result = False
        self.value: Any = None
        self.records: dict[tuple[str, str], NewRecord] = {}
        # Of inline artifacts by id; of stored ones, whose id is that of their bytes, by name too.
        self.artifacts: dict[tuple[str, str], NewArtifact] = {}

    @property
    def workflow(self) -> Run:
        """The run, as it is stored now."""
        return self._services.read_run(self._leased.run_id)

    @property
    def step(self) -> Step:
        """The step, as it is stored now."""
        return self._services.read_step(self._leased.run_id, self._leased.id)

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._leased.run_id

    @property
    def step_id(self) -> str:
        """The id of the step."""
        return self._leased.id

    @property
    def lease(self) -> Lease:
        """The lease, as it was acquired."""
        return self._leased.lease

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._leased.attempt

    @property
    def idempotency_key(self) -> str:
        """The same text in every attempt of this step, for calls to the outside; an operator's retry changes it."""
        return joined(self._leased.run_id, self._leased.id, self._leased.generation)

    @property
    def attempt_key(self) -> str:
        """A text that no other attempt has."""
        return joined(self._leased.run_id, self._leased.id, self._leased.generation, self._leased.lease.epoch)

    @property
    def raw_input(self) -> str:
        """The stored input, as JSON text."""
        return self._leased.input.decode()

    def input(self, type: Any = ANY) -> Any:
        """Decode the input again, into *type* or else into the executor's annotation.

        Raises:
            InvalidInput: it does not fit.
        """
        if type is ANY:
            return coded(NO_INPUT, self._attempt.executable.decode_input)(self._leased.input)
        return coded(NO_INPUT, self._services.decode)(self._leased.input, type, "input")

    def result(self, value: Any) -> None:
        """Set the step's result; returning it says the same, and doing both is an error."""
        self._attempt.require_open()
        if self.has_result:
            raise Permanent("result_set_twice", "the step's result was set already")
        self.has_result, self.value = True, value

    def record(self, collection: str, key: str, data: Any) -> None:
        """Append a record to a collection; a second one of the same key replaces the first one of this step.

        Raises:
            ValueError: a blank collection or key.
            InvalidInput: the data is not JSON or over 1 MiB.
        """
        self._attempt.require_open()
        for field, name in (("collection", collection), ("key", key)):
            require_name("record", field, name)
        body = coded(NO_RESULT, dumps)(data, f"record {collection}/{key}", RECORD_LIMIT)
        self.records[collection, key] = NewRecord(collection, key, body)

    def artifact(
        self,
        name: str,
        body: bytes | str,
        content_type: str | None = None,
        *,
        id: str | None = None,
        kind: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Hand over named bytes, at most 1 MiB, that are stored with the result; returns the artifact's id.

        Raises:
            ValueError: a bad name or id, an id used before in this attempt, or a body that is none or too large.
        """
        self._attempt.require_open()
        require_name("artifact", "name", name)
        if not isinstance(body, (str, bytes, bytearray, memoryview)):
            got = type(body).__name__
            raise ValueError(f"artifact {name!r}: expected bytes or a str, got {got}; step.store_artifact takes files")
        data = body.encode() if isinstance(body, str) else bytes(body)
        if len(data) > ARTIFACT_LIMIT:
            raise ValueError(f"artifact {name!r}: {len(data)} bytes, at most {ARTIFACT_LIMIT}; use step.store_artifact")
        if id is None:
            id = shortened(f"{self._leased.id}:artifact:{len(self.artifacts) + 1:03d}")
        require_name("artifact", "id", id)
        if (id, "") in self.artifacts:
            raise ValueError(f"artifact id {id!r} is used twice in this attempt")
        digest = hashlib.sha256(data).digest()
        kind, content_type, text = word("kind", kind), word("content_type", content_type), metadata_text(metadata)
        self.artifacts[id, ""] = NewArtifact(id, name, kind or INLINE, content_type, len(data), digest, data, text)
        return id

    def store_artifact(
        self,
        name: str,
        body: Any,
        content_type: str | None = None,
        *,
        kind: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> ArtifactRef:
        """Store named bytes of any size in the Runtime's artifact store; the result keeps a reference.

        Args:
            body: bytes, text, a binary file object or a path; it is streamed.

        Raises:
            ConfigError: the Runtime has no artifact store.
            InvalidInput: the body is none, or the metadata is not JSON.
        """
        self._attempt.require_open()
        require_name("artifact", "name", name)
        kind, content_type, text = word("kind", kind), word("content_type", content_type), metadata_text(metadata)
        stored = coded(NO_RESULT, self._services.artifacts().put)(body)
        digest = bytes.fromhex(stored.sha256)
        new = NewArtifact(stored.id, name, kind or EXTERNAL, content_type, stored.size, digest, None, text)
        self.artifacts[stored.id, name] = new
        shown = json.loads(text) if text else None
        return ArtifactRef(stored.id, name, new.kind, content_type, stored.size, stored.sha256, shown)

    def projection(self, name: str) -> Projection:
        """Return a projection by name: a database of its own, written at least once, so write it idempotently.

        Raises:
            ConfigError: the Runtime has no projection store.
        """
        return self._services.projections().open(name)

    def dependency(self, step_id: str, type: Any = ANY) -> Any:
        """Return the data of an upstream step's result, structured into *type* where one is given.

        Raises:
            StepNotFound: the run has no such step.
            ResultNotFound: it has not succeeded.
            InvalidInput: the data does not fit *type*.
        """
        result = self.dependency_result(step_id)
        if result.error is not None or result.status != "succeeded":
            raise ResultNotFound(f"step {step_id!r} of run {self.run_id!r} is {result.status.value}: it has no data")
        if type is ANY or result.json is None:
            return result.data
        return coded(NO_INPUT, self._services.decode)(result.json.encode(), type, f"result of {step_id!r}")

    def dependency_result(self, step_id: str) -> StepResult:
        """Return the whole result of an upstream step.

        Raises:
            ResultNotFound: it has not ended; declare it as a dependency.
        """
        result = self._services.read_result(self.run_id, step_id)
        if result is None:
            raise ResultNotFound(f"step {step_id!r} has not ended; declare it with after= or bind its result")
        return result

    @property
    def emit(self) -> StepCall:
        """Declare a child step, stored only if this step succeeds; takes what ``run.step`` takes.

        It may depend on any stored step of the run, by id, and on what else this attempt emits.
        """
        return self.builder.step

    @property
    def map(self) -> MapCall:
        """Declare a child step for each input, stored only if this step succeeds; takes what ``run.map`` takes."""
        return self.builder.map

    @property
    def builder(self) -> EmitBuilder:
        """What collects the emitted steps."""
        self._attempt.require_open()
        if self._builder is None:
            self._builder = self._services.builder(self._leased.id)
        return self._builder

    @property
    def emitted(self) -> EmitBuilder | None:
        """The builder, where something was emitted."""
        return self._builder

    @property
    def canceled(self) -> bool:
        """Whether this attempt should stop: its run was canceled, its time is over, or its lease is lost."""
        return self._attempt.stop_reason is not None

    def raise_if_canceled(self) -> None:
        """Stop here if the attempt should stop.

        Raises:
            RunCanceled: the run was canceled.
            LeaseLost: the lease is lost, or the worker gave it back.
            AttemptTimeout: the attempt's time is over.
        """
        reason = self._attempt.stop_reason
        if reason == "canceled":
            raise RunCanceled(self.run_id)
        if reason == "timeout":
            raise AttemptTimeout("the attempt's time is over")
        if reason is not None:
            raise LeaseLost(self.run_id, self.step_id)

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Say how far the step is; operators see it, at most once a second, while it runs.

        Raises:
            ValueError: *done* or *total* is no finite number.
        """
        self._attempt.require_open()
        numbers = [done] if total is None else [done, total]
        if not all(isinstance(number, (int, float)) and abs(number) <= 1e300 for number in numbers):
            raise ValueError(f"progress: expected finite numbers, got done={done!r}, total={total!r}")
        self._attempt.report(Progress(done, total, safe_text(lambda: message, limit=1000, fallback="")))

    @property
    def log(self) -> Any:
        """A structlog logger bound to run_id, step_id, kind and attempt."""
        if self._log is None:
            known = {"run_id": self.run_id, "step_id": self.step_id, "kind": self._leased.kind}
            self._log = self._services.logger(**known, attempt=self.attempt)
        return self._log
