"""A run drawn anew by rich while it goes on: how far it is, what runs now; above that, what went wrong."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from flowkit.cli.happenings import Teller
from flowkit.cli.output import COLORS, Output
from flowkit.cli.plain import printable
from flowkit.cli.words import duration, now

if TYPE_CHECKING:
    from flowkit.model.step import Step
    from flowkit.runtime.following import News

TOLD = ("failed", "retried", "lost", "released", "taken", "canceling")
"""What scrolls by above the picture; all else is to be seen in it."""
ROWS = 8
"""How many running steps are shown."""
BAR = 24


class Live:
    """Draws a run on a terminal, four times a second, until the block ends; nothing of the picture stays."""

    wants_running = True

    def __init__(self, out: Output, run_id: str) -> None:
        from rich.console import Console
        from rich.live import Live as Drawing

        self._teller = Teller(run_id)
        self._console = Console(file=out.stream, highlight=False, markup=False, emoji=False)
        self._news: News | None = None
        self._drawing = Drawing(
            get_renderable=self._picture, console=self._console, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> Live:
        self._drawing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drawing.stop()

    def show(self, news: News) -> None:
        """Draw this from now on, and print what went wrong."""
        self._news = news
        for happening in self._teller.tell(news.events):
            if happening.word in TOLD:
                self._console.print(happening.line, style=COLORS.get(happening.word), soft_wrap=True)

    def _picture(self) -> Any:
        from rich.table import Table

        news = self._news
        if news is None:
            return ""
        picture = Table.grid(padding=(0, 1))
        picture.add_row(self._headline(news))
        for step in news.running[:ROWS]:
            picture.add_row(_running(step))
        return picture

    def _headline(self, news: News) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        run = news.run
        ended = run.steps.total - run.steps.open
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(1, run.steps.total), completed=ended, width=min(BAR, self._console.width // 3))
        since = duration(max(0, now() - run.created_at))
        more = len(news.running) - ROWS
        line.add_row(bar, f"{ended}/{run.steps.total}", since, run.id, f"and {more} more run" if more > 0 else "")
        return line


def _running(step: Step) -> Any:
    from rich.text import Text

    since = duration(max(0, now() - step.started_at)) if step.started_at is not None else ""
    line = Text("  ", no_wrap=True, overflow="ellipsis")
    line.append(step.id, style=COLORS["running"])
    line.append(f"  {since}")
    if step.progress is not None:
        total = step.progress.total
        share = f"{step.progress.done / total:4.0%} " if total else ""
        line.append(f"  {share}{step.progress.done:g}" + (f"/{total:g}" if total is not None else ""))
        line.append(f" {printable(step.progress.message)}", style="dim")
    return line
