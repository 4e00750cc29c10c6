"""The command ``timeline``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.options import run_argument, with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import Place, find_run
from flowkit.cli.words import SECOND, duration

if TYPE_CHECKING:
    from flowkit.runtime.timeline import Span, Timeline, Track

MARKS = {"waiting": "·", "ready": "░", "running": "█"}
BROKEN = "▓"
LEGEND = "· waits for others  ░ ready, or between tries  █ runs  ▓ tried in vain"
NARROW = 60
"""Below so many columns there is room for the bar and how long the step ran, and no more."""
SHORTEST = 10
"""How many columns a bar has at least."""


@click.command()
@run_argument
@click.option("--limit", metavar="N", type=int, default=100, show_default=True, help="How many steps at most.")
@with_store
@with_output
def timeline(place: Place, out: Output, run_id: str, limit: int) -> None:
    """Show what the time of a run went into.

    A bar for each step: when it waited for others, when it was ready for a
    worker or between two tries, and when it ran; with how often it was
    tried, how long it was ready, and how long it ran.

    \b
    flowkit timeline @last
    flowkit timeline order-17 --json
    """
    from flowkit.runtime.timeline import timeline_of

    with place.reading() as runtime:
        found = timeline_of(runtime, find_run(runtime, run_id), limit=limit)
    if out.is_json:
        out.json(_shape(found))
        return
    _draw(found, out)
    if found.has_more:
        out.note(f"there are more steps: --limit {limit * 5} shows some of them")


def _draw(found: Timeline, out: Output) -> None:
    from flowkit.model.tree import tree

    tracks = {track.step.id: track for track in found.tracks}
    rows = [(branch + step.id, tracks[step.id]) for branch, step in tree([track.step for track in found.tracks])]
    start = found.run.created_at
    end = max([start + 1, found.run.ended_at or found.now, *(_ends(track) for track in found.tracks)])
    numbers = {id(track): _numbers(track, found.now, out) for _, track in rows}
    names = ["TRIES", "READY", "RAN"][-1 if out.width < NARROW else -3 :]
    sizes = [max(len(name), *(len(cells[at]) for cells in numbers.values())) for at, name in enumerate(names)]
    width = min(out.width, 200)
    label = min(max([4, *(len(name) for name, _ in rows)]), width // 3)
    bar = max(SHORTEST, width - label - sum(sizes) - 2 * len(sizes) - 2)
    total = duration(end - start)
    heading = f"{'STEP'.ljust(label)}  0{total.rjust(bar - 1)}"
    out.line("  ".join([heading, *(name.rjust(size) for name, size in zip(names, sizes))]))
    for name, track in rows:
        shown = name if len(name) <= label else f"{name[: label - 1]}…"
        drawn = _bar(track, start, end, found.now, bar)
        cells = [cell.rjust(size) for cell, size in zip(numbers[id(track)], sizes)]
        out.happening("  ".join([shown.ljust(label), drawn, *cells]).rstrip(), track.step.status.value)
    out.line()
    out.text(LEGEND)


def _ends(track: Track) -> int:
    return max((span.end or 0 for span in track.spans), default=0)


def _numbers(track: Track, now: int, out: Output) -> list[str]:
    ran = track.length("running", now)
    cells = [f"{track.step.attempt}/{track.step.retry.max_attempts}", duration(track.length("ready", now))]
    return [*(cells if out.width >= NARROW else []), duration(ran) if _has_run(track) else ""]


def _has_run(track: Track) -> bool:
    return any(span.what == "running" for span in track.spans)


def _bar(track: Track, start: int, end: int, now: int, width: int) -> str:
    cells = [" "] * width
    # What runs is drawn last: however short it was, it is to be seen.
    for what in MARKS:
        for span in track.spans:
            if span.what == what:
                first = min(width - 1, (span.start - start) * width // (end - start))
                last = min(width - 1, ((span.end if span.end is not None else now) - start) * width // (end - start))
                cells[first : max(first, last) + 1] = [_mark(span)] * (max(first, last) + 1 - first)
    return "".join(cells)


def _mark(span: Span) -> str:
    is_broken = span.attempt is not None and span.attempt.outcome not in (None, "succeeded")
    return BROKEN if is_broken else MARKS[span.what]


def _shape(found: Timeline) -> dict[str, Any]:
    from flowkit.runtime.shapes import instant, run_shape

    return {
        "run": run_shape(found.run),
        "now": instant(found.now),
        "steps": [_track_shape(track, found.now) for track in found.tracks],
        "more": found.has_more,
    }


def _track_shape(track: Track, now: int) -> dict[str, Any]:
    step = track.step
    return {
        "id": step.id,
        "kind": step.kind,
        "status": step.status.value,
        "parent": step.parent_id,
        "waiting_seconds": track.length("waiting", now) / SECOND,
        "ready_seconds": track.length("ready", now) / SECOND,
        "running_seconds": track.length("running", now) / SECOND,
        "spans": [_span_shape(span) for span in track.spans],
    }


def _span_shape(span: Span) -> dict[str, Any]:
    from flowkit.runtime.shapes import instant

    attempt = span.attempt
    return {
        "what": span.what,
        "start": instant(span.start),
        "end": instant(span.end),
        "attempt": attempt.attempt if attempt is not None else None,
        "outcome": attempt.outcome if attempt is not None else None,
        "worker": attempt.worker_id if attempt is not None else None,
    }
