"""What an attempt hands over besides its result: records, artifacts and progress."""

from __future__ import annotations

from typing import Any

import attrs

from flowkit.clock import Micros


@attrs.frozen
class NewRecord:
    """A record as the attempt made it: *body* is JSON."""

    collection: str
    key: str
    body: bytes


@attrs.frozen
class NewArtifact:
    """An artifact as the attempt made it; ``body`` is None when the bytes lie in the artifact store."""

    id: str
    name: str
    kind: str
    content_type: str | None
    size: int
    sha256: bytes
    body: bytes | None
    metadata: str | None = None

    @property
    def is_external(self) -> bool:
        """Whether the bytes lie in the artifact store."""
        return self.body is None


@attrs.frozen
class Progress:
    """How far a running step says it is.

    Attributes:
        done: how much is done, in units of the step's own.
        total: how much there is to do, where that is known.
        message: for people.
    """

    done: float
    total: float | None = None
    message: str = ""


@attrs.frozen
class Record:
    """A stored record.

    Attributes:
        run_id: the run.
        step_id: the step that made it.
        collection: the name of the stream that it went to.
        key: unique for its step and collection.
        data: a plain JSON value.
        created_at: when its step was committed, in microseconds UTC.
    """

    run_id: str
    step_id: str
    collection: str
    key: str
    data: Any
    created_at: Micros


@attrs.frozen
class ArtifactRef:
    """Where an artifact is, without its bytes.

    Attributes:
        id: unique in its run; ``sha256-<hex>`` for a stored one.
        name: what the step called it.
        kind: ``inline-artifact``, ``external-artifact-ref``, or what the step said.
        content_type: a media type such as ``text/csv``, where the step gave one.
        size: in bytes.
        sha256: hex digest of the bytes.
        metadata: the JSON value that the step gave with it.
    """

    id: str
    name: str
    kind: str
    content_type: str | None
    size: int
    sha256: str
    metadata: Any = None


@attrs.frozen
class Artifact(ArtifactRef):
    """A stored artifact of a run: a reference, and for an inline one the bytes.

    Attributes:
        run_id: the run.
        step_id: the step that made it.
        body: the bytes; None when they lie in the artifact store.
        created_at: when its step was committed, in microseconds UTC.
    """

    run_id: str = ""
    step_id: str = ""
    body: bytes | None = None
    created_at: Micros = 0
