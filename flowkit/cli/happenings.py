"""What happens in a run, in a line each: an event of its history as people read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from flowkit.cli.words import clock_time, count, duration

if TYPE_CHECKING:
    from flowkit.model.events import HistoryEvent

NAMED = 5
"""How many steps are named where an event is about many."""

WORDS: Mapping[str, str] = {
    "step_leased": "running",
    "step_succeeded": "succeeded",
    "step_failed": "failed",
    "step_retried": "retried",
    "step_canceled": "canceled",
    "step_discarded": "canceled",
    "step_released": "released",
    "step_reclaimed": "lost",
    "step_lost": "failed",
    "step_fenced": "taken",
    "step_revived": "revived",
    "step_revived_waiting": "revived",
    "run_canceling": "canceling",
}
"""What is said of each event; one that is not here is no news to people."""

NOTES: Mapping[str, str] = {
    "step_discarded": "the run was canceled",
    "step_released": "its worker stopped",
    "step_reclaimed": "its worker is gone",
    "step_lost": "worker_lost",
    "step_fenced": "from its worker",
    "step_revived_waiting": "it waits for others",
}
WIDEST = max(map(len, WORDS.values()))


@attrs.frozen
class Happening:
    """One thing that happened.

    Attributes:
        word: what became of it, mostly a status.
        about: the step, the steps, or the run.
        note: what else there is to say.
    """

    at: int
    word: str
    about: str
    note: str = ""

    @property
    def line(self) -> str:
        """Write it as a line, without its time."""
        return f"{self.word.ljust(WIDEST)}  {self.about}" + (f"  {self.note}" if self.note else "")

    @property
    def timed(self) -> str:
        """Write it as a line that begins with the time of day, in UTC."""
        return f"{clock_time(self.at)}  {self.line}"


class Teller:
    """Says what the events of one run mean; remembers since when each step runs, to tell how long it took."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._since: dict[str | None, int] = {}

    def tell(self, events: Iterable[HistoryEvent]) -> Iterator[Happening]:
        """Yield what is worth telling of these events."""
        for event in events:
            if event.name == "steps_added":
                yield self._added(event)
            elif event.name == "run_finished":
                yield Happening(event.at, event.fields["status"], f"run {self._run_id}")
            elif event.name in WORDS:
                yield Happening(event.at, WORDS[event.name], self._about(event), self._note(event))

    def _added(self, event: HistoryEvent) -> Happening:
        steps, parent = event.fields["step_ids"], event.fields.get("parent")
        if parent is None:
            return Happening(event.at, "stored", f"run {self._run_id}", f"with {count(len(steps), 'step')}")
        return Happening(event.at, "emitted", _named(steps), f"by {parent}")

    def _about(self, event: HistoryEvent) -> str:
        if event.name == "run_canceling":
            return f"run {self._run_id}"
        return event.step_id if event.step_id is not None else _named(event.fields.get("step_ids", ()))

    def _note(self, event: HistoryEvent) -> str:
        if event.name == "step_leased":
            self._since[event.step_id] = event.at
            return f"start {event.epoch}" if event.epoch and event.epoch > 1 else ""
        since = self._since.pop(event.step_id, None)
        kind, _, culprit = str(event.fields.get("reason") or "").partition(":")
        parts = [
            str(event.fields.get("code") or NOTES.get(event.name, "")),
            f"requires {culprit}" if kind == "dependency" else "",
            f"after {duration(event.at - since)}" if since is not None else "",
        ]
        return " ".join(part for part in parts if part)


def _named(steps: Iterable[str]) -> str:
    listed = list(steps)
    if len(listed) == 1:
        return str(listed[0])
    shown = ", ".join(listed[:NAMED]) + (", ..." if len(listed) > NAMED else "")
    return f"{count(len(listed), 'step')}: {shown}"
