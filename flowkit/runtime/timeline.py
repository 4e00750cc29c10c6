"""What the time of a run went into: of each step when it waited, was ready, and ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import attrs

from flowkit.clock import Micros
from flowkit.errors import RunNotFound
from flowkit.model.events import HistoryEvent
from flowkit.model.run import Run
from flowkit.model.states import StepStatus
from flowkit.model.step import Attempt, Step
from flowkit.runtime.reads import Reads
from flowkit.store.fold import places_of

What = Literal["waiting", "ready", "running"]
"""Waiting for other steps; ready for a worker, or between two tries; or running."""

GOES_ON = frozenset({"retried", "lost", "released", "fenced"})
"""Outcomes of an attempt after which the step is ready again by itself."""


@attrs.frozen
class Span:
    """A stretch of a step's time, in microseconds UTC; ``end`` is None while it lasts.

    Attributes:
        attempt: what ran, where it ran; its outcome is None while it does.
    """

    what: What
    start: Micros
    end: Micros | None
    attempt: Attempt | None = None


@attrs.frozen
class Track:
    """A step and what its time went into, in order."""

    step: Step
    spans: tuple[Span, ...]

    def length(self, what: What, now: Micros) -> Micros:
        """Return how long all stretches of a kind are together; one that lasts counts until *now*."""
        spans = [span for span in self.spans if span.what == what]
        return sum(max(0, (span.end if span.end is not None else now) - span.start) for span in spans)


@attrs.frozen
class Timeline:
    """A run's steps over time.

    Attributes:
        now: when it was read, by the engine's clock.
        has_more: whether the run has more steps than are here.
    """

    run: Run
    tracks: tuple[Track, ...]
    now: Micros
    has_more: bool


def timeline_of(runtime: Reads, run_id: str, *, limit: int) -> Timeline:
    """Return what the time of a run's first *limit* steps went into.

    Raises:
        RunNotFound: there is no such run.
    """
    runtime._parts.check_open()
    engine = runtime._parts.engine
    with engine.read() as tx:
        stored = engine.runs.find(tx, run_id)
        run = engine.views.run(tx, run_id)
        if stored is None or run is None:
            raise RunNotFound(run_id)
        steps = engine.views.steps(tx, run_id, limit=limit)
        attempts = engine.pictures.attempts(tx, stored.key)
        places = {node.place: node.id for node in engine.pictures.nodes(tx, stored.key)}
        ready = _first_ready(engine.views.history(tx, run_id), places)
        now = tx.now()
    tracks = tuple(Track(step, tuple(_spans(step, attempts.get(step.id, ()), ready.get(step.id)))) for step in steps)
    return Timeline(run, tracks, now, steps.cursor is not None)


def _first_ready(history: Iterable[HistoryEvent], places: dict[int, str]) -> dict[str, Micros]:
    """Return when each step became ready for the first time; its row only knows the last."""
    found: dict[str, Micros] = {}
    for event in history:
        if event.name == "steps_added":
            ready: Iterable[str] = (places.get(place, "") for place in places_of(event.fields.get("ready")))
        elif event.name == "step_promoted":
            ready = event.fields.get("step_ids", ())
        else:
            continue
        for step_id in ready:
            found.setdefault(step_id, event.at)
    return found


def _spans(step: Step, attempts: Sequence[Attempt], ready: Micros | None) -> Iterator[Span]:
    if ready is None:
        yield Span("waiting", step.created_at, step.ended_at)
        return
    if ready > step.created_at:
        yield Span("waiting", step.created_at, ready)
    since: Micros | None = ready
    for attempt in attempts:
        if since is not None and attempt.started_at > since:
            yield Span("ready", since, attempt.started_at)
        yield Span("running", attempt.started_at, attempt.ended_at, attempt)
        # What an operator revived was ended for a time: that is no wait of the engine's.
        since = attempt.ended_at if attempt.outcome in GOES_ON else None
    last = attempts[-1].outcome if attempts else "released"
    if since is not None and last in GOES_ON and step.status not in (StepStatus.RUNNING, StepStatus.FAILED):
        yield Span("ready", since, step.ended_at)
