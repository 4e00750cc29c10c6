"""The parent's side of attempts in other processes: tasks out, answers while they run, settlements when they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from flowkit.clock import SECOND, Micros
from flowkit.dsl.kinds import RemoteKind
from flowkit.errors import ConfigError
from flowkit.model.definitions import ExecutorDef
from flowkit.model.outcome import AttemptTimeout, Failed, Released, Retried, WorkerLost
from flowkit.model.step import Settlement
from flowkit.runtime.attempt import failure, settlement
from flowkit.runtime.attempts import Attempt
from flowkit.runtime.registry import Registry
from flowkit.runtime.remote.wire import Answer, KnownKind, Message, Place, Report, Task, pack, refused, unpack
from flowkit.runtime.services import Services


class Desk:
    """Speaks for one Runtime with the attempts that run elsewhere."""

    def __init__(self, services: Services, registry: Registry) -> None:
        self._services = services
        self._registry = registry

    def task(self, attempt: Attempt, *, can_ask: bool) -> bytes:
        """Write down all that an attempt starts with; the rest it asks for, if it *can_ask*."""
        definition, signature = attempt.executable.definition, attempt.executable.signature
        # Without the context nothing can be emitted, so the kinds need not travel.
        kinds = () if can_ask or not signature.takes_context else self._kinds()
        stores = (
            _place(self._services.artifacts, "artifact store"),
            _place(self._services.projections, "projection store"),
        )
        name = (definition.module, definition.qualname)
        return pack(Task(*name, attempt.leased, self._services.now(), *stores, kinds, dict(attempt.trace)))

    def hear(self, attempt: Attempt, body: bytes, begin: Callable[[Attempt], None]) -> bytes | None:
        """Take what an attempt sends, or answer what it asks."""
        message = unpack(body, Message)
        if message.word == "progress":
            if message.progress is not None:
                attempt.report(message.progress)
            return None
        if message.word == "begin":
            begin(attempt)
        try:
            return pack(Answer(self._answer(message)))
        except Exception as error:
            return pack(refused(error))

    def _answer(self, message: Message) -> bytes:
        names = message.names
        if message.word == "begin":
            return pack(self._services.now())
        if message.word == "run":
            return pack(self._services.read_run(*names))
        if message.word == "step":
            return pack(self._services.read_step(*names))
        if message.word == "result":
            return pack(self._services.read_result(*names))
        if message.word == "kind":
            return pack(self._kind(*names))
        return pack(sorted(self._registry.known_kinds()))

    def _kind(self, kind: str) -> KnownKind | None:
        definition = self._registry.find_executor(kind)
        if definition is not None:
            return _known(definition)
        remote = self._registry.find_remote(kind)
        return KnownKind(remote) if remote else None

    def _kinds(self) -> tuple[KnownKind, ...]:
        return tuple(_known(definition) for definition in self._registry.executors.values())

    def report(self, attempt: Attempt, body: bytes) -> Settlement:
        """Return the settlement of an attempt that ended by itself."""
        try:
            report = unpack(body, Report)
        except Exception as error:  # of another version's child, perhaps
            return self.lost(attempt, f"its report cannot be read: {type(error).__name__}: {error}")
        now = self._services.now()
        if report.progress is not None:
            attempt.progress = report.progress
        outcome = report.outcome
        if isinstance(outcome, (Failed, Retried)):
            outcome = attrs.evolve(outcome, error=attrs.evolve(outcome.error, occurred_at=now))
        return settlement(attempt, outcome, now)

    def lost(self, attempt: Attempt, reason: str) -> Settlement:
        """Return the settlement of an attempt of which nothing will come any more."""
        now = self._services.now()
        return settlement(attempt, failure(attempt, WorkerLost(reason), now), now)

    def stopped(self, attempt: Attempt) -> Settlement:
        """Return the settlement of an attempt that ended because it was told to."""
        now = self._services.now()
        if attempt.stop_reason == "timeout":
            # Whoever ended it settles it too; which of the two comes first must make no difference.
            return settlement(attempt, failure(attempt, _timeout(attempt.leased.timeout), now), now)
        return settlement(attempt, Released(), now)


def _timeout(timeout: Micros | None) -> AttemptTimeout:
    return AttemptTimeout(f"the attempt ran longer than its timeout of {(timeout or 0) / SECOND:g} s")


def _known(definition: ExecutorDef) -> KnownKind:
    signature = definition.signature()
    results = {name: parameter.required for name, parameter in signature.results.items()}
    remote = RemoteKind(definition.kind, results, signature.takes_input, signature.input_required)
    return KnownKind(remote, definition.module, definition.qualname)


def _place(open_store: Callable[[], Any], what: str) -> Place:
    try:
        url = getattr(open_store(), "url", None)
    except ConfigError as error:
        return Place(None, str(error))
    if url is None:
        return Place(None, f"this Runtime's {what} serves one process only; a step that uses it needs pool=None")
    return Place(str(url))
