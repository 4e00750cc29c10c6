"""How a run that goes on is shown: as lines, as JSON, or drawn anew on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from flowkit.cli.happenings import Teller
from flowkit.cli.output import Output

if TYPE_CHECKING:
    from flowkit.runtime.following import News


class View(Protocol):
    """Something that shows what is new in a run."""

    @property
    def wants_running(self) -> bool:
        """Whether the news shall bring the steps that run."""

    def show(self, news: News) -> None:
        """Show it."""


class Lines:
    """A line for each thing that happened, as soon as it has."""

    wants_running = False

    def __init__(self, out: Output, run_id: str) -> None:
        self._out = out
        self._teller = Teller(run_id)

    def show(self, news: News) -> None:
        """Print what happened."""
        for happening in self._teller.tell(news.events):
            self._out.happening(happening.timed, happening.word)
        self._out.stream.flush()


class JsonLines:
    """A line of JSON for each event of the run's history."""

    wants_running = False

    def __init__(self, out: Output) -> None:
        self._out = out

    def show(self, news: News) -> None:
        """Print the events."""
        from flowkit.runtime.shapes import event_shape

        for event in news.events:
            self._out.line(json.dumps(event_shape(event), ensure_ascii=False))
        self._out.stream.flush()


@contextmanager
def view_of(out: Output, run_id: str) -> Iterator[View]:
    """Give the view that suits what is printed to."""
    if out.is_json:
        yield JsonLines(out)
    elif out.is_live:
        from flowkit.cli.live import Live

        with Live(out, run_id) as live:
            yield live
    else:
        yield Lines(out, run_id)
