"""Where commands print: tables, fields, lines and JSON; without colour unless a terminal reads them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, TextIO

import attrs
import click

from flowkit.cli.failing import FAILED, CommandFailed
from flowkit.cli.plain import Column, field_lines, fits, no_paint, printable, table_lines, wrapped

COLORS = {
    "succeeded": "green",
    "failed": "red",
    "canceled": "yellow",
    "canceling": "yellow",
    "running": "cyan",
    "ready": "blue",
    "pending": "bright_black",
    "paused": "yellow",
    "retried": "yellow",
    "lost": "yellow",
    "released": "yellow",
}
"""The colour of a cell that is one of these words."""

ASCII = {ord("…"): "~", ord("├"): "|", ord("└"): "`", ord("│"): "|", ord("─"): "-"}
ASCII |= {ord("┐"): "\\", ord("┘"): "/", ord("┌"): "/", ord("┤"): "|", ord("┴"): "+", ord("┬"): "+", ord("┼"): "+"}
ASCII |= {ord("●"): "*", ord("✗"): "x", ord("◐"): ">", ord("⊘"): "-", ord("○"): "o", ord("×"): "x"}
ASCII |= {ord("·"): ".", ord("░"): "-", ord("█"): "#", ord("▓"): "%"}
ANY_LENGTH = 10_000


class Unwritten(CommandFailed):
    """What a command prints could not be written, as where the disk is full."""


@contextmanager
def writing() -> Iterator[None]:
    """Tell what keeps this block from printing; not that whoever reads has stopped reading, which is no failure."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unwritten(f"cannot print: {error.strerror}", where="stdout", code=FAILED) from error


@attrs.frozen
class Output:
    """What one command prints: results on stdout, notes for people on stderr.

    Attributes:
        is_aside: all of it is for people, and goes to stderr.
    """

    is_json: bool = False
    is_aside: bool = False

    @property
    def stream(self) -> TextIO:
        """Where it is printed."""
        return sys.stderr if self.is_aside else sys.stdout

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at it, in a terminal that can do more than print lines."""
        return self.stream.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def is_live(self) -> bool:
        """Whether what is printed may be drawn over: a person looks at it, and rich is there to draw."""
        return self.is_terminal and find_spec("rich") is not None

    @property
    def has_color(self) -> bool:
        """Whether colours are wanted."""
        return self.is_terminal and not os.environ.get("NO_COLOR")

    @property
    def width(self) -> int:
        """How many columns there are, as COLUMNS or the terminal says; a pipe takes lines of any length."""
        if os.environ.get("COLUMNS", "").isdigit() or self.is_terminal:
            return max(20, shutil.get_terminal_size().columns)
        return ANY_LENGTH

    def json(self, value: Any) -> None:
        """Print a value as JSON."""
        self._print(printable(json.dumps(value, indent=2, ensure_ascii=False)))

    def line(self, text: str = "") -> None:
        """Print a line without breaking it."""
        self._print(printable(text))

    def happening(self, line: str, word: str) -> None:
        """Print a line in the colour of a word of it."""
        line = printable(line)
        color = COLORS.get(word) if self.has_color else None
        self._print(click.style(line, fg=color) if color else line)

    def box(self, lanes: str, words: Sequence[str]) -> None:
        """Print a line of a drawn graph: its lanes, and what is said of the box that stands there, cut at the width."""
        line, left = lanes, self.width - len(lanes)
        for word in map(printable, words):
            gap = "  " if line != lanes else " "
            shown = word if len(gap) + len(word) <= left else f"{word[: max(0, left - len(gap) - 1)]}…"
            if left > len(gap):
                line += gap + self.paint(word, shown)
                left -= len(gap) + len(shown)
        self._print(line)

    def text(self, text: str, indent: str = "") -> None:
        """Print a text, its lines broken where they are too long."""
        for line in wrapped(printable(text), self.width, indent):
            self._print(line)

    def note(self, text: str) -> None:
        """Tell the person something that is no result: it goes to stderr."""
        click.echo(printable(text), err=True)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Print rows under headings; where there is no room for that, each row's cells below one another."""
        rows = [[printable(cell) for cell in row] for row in rows]
        if self.is_live and fits(columns, rows, self.width):
            from flowkit.cli.rich_tables import print_table

            colors = COLORS if self.has_color else {}
            print_table(columns, rows, stream=self.stream, width=self.width, colors=colors)
            return
        for line in table_lines(columns, rows, self.width, self.paint):
            self._print(line)

    def fields(self, fields: Mapping[str, str]) -> None:
        """Print what is known of one thing, a line for each field."""
        shown = {name: printable(text) for name, text in fields.items()}
        for line in field_lines(shown, self.width, self.paint):
            self._print(line)

    def paint(self, text: str, padded: str) -> str:
        """Return a cell in the colour of its text, if it has one and colours are wanted."""
        color = COLORS.get(text) if self.has_color else None
        return click.style(padded, fg=color) if color else no_paint(text, padded)

    def _print(self, text: str) -> None:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            text = text.translate(ASCII).encode(encoding, "backslashreplace").decode(encoding)
        with writing():
            click.echo(text, err=self.is_aside)
