"""Lays out tables and fields as lines of text that fit a width."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

import attrs

GAP = "  "
NARROWEST = 8
CUT = "…"

_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_HIDDEN = [code for code in (*range(0x20), *range(0x7F, 0xA0), *_BIDI) if chr(code) not in "\n\t"]
SHOWN = {code: f"\\u{code:04x}" for code in _HIDDEN}
"""What a terminal would obey, or that changes the order in which text is read, and what is printed instead."""

Paint = Callable[[str, str], str]
"""Colours a cell: given its text, and the same as it is laid out."""


@attrs.frozen
class Column:
    """A column of a table.

    Attributes:
        shrinks: may be cut short where there is no room; what cannot be told without being whole may not.
        right: its cells stand to the right, as numbers do.
    """

    name: str
    shrinks: bool = False
    right: bool = False


def printable(text: str) -> str:
    """Return a text that a terminal only shows: what it would obey is spelled out, as JSON would."""
    return text.translate(SHOWN)


def no_paint(text: str, padded: str) -> str:
    """Leave a cell as it is."""
    return padded


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, paint: Paint = no_paint
) -> list[str]:
    """Return headings and rows side by side, cut where a column shrinks; or below each other, where no room is left."""
    cells = [[_one_line(cell) for cell in row] for row in rows]
    widths = _widths(columns, cells, width)
    if widths is None:
        return _stacked(columns, rows, width, paint)
    heading = _row(columns, widths, [column.name for column in columns], no_paint)
    return [heading, *(_row(columns, widths, row, paint) for row in cells)]


def fits(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Say whether rows fit side by side."""
    return _widths(columns, [[_one_line(cell) for cell in row] for row in rows], width) is not None


def field_lines(fields: Mapping[str, str], width: int, paint: Paint = no_paint) -> list[str]:
    """Return a line for each field, more where its text is too long."""
    names = max(map(len, fields), default=0)
    lines: list[str] = []
    for name, text in fields.items():
        lines += _field(name.ljust(names), text, width, paint)
    return lines


def wrapped(text: str, width: int, indent: str = "", first: str | None = None) -> list[str]:
    """Return a text's lines, broken where they are longer than *width*; each begins with *indent*."""
    lines: list[str] = []
    lead = indent if first is None else first
    for line in text.splitlines() or [""]:
        lines += textwrap.wrap(
            line,
            max(width, len(indent) + NARROWEST),
            initial_indent=lead,
            subsequent_indent=indent,
            replace_whitespace=False,
            drop_whitespace=True,
            break_on_hyphens=False,
        ) or [lead.rstrip()]
        lead = indent
    return lines


def _one_line(cell: str) -> str:
    return " ".join(cell.split()) if "\n" in cell or "\t" in cell else cell


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int] | None:
    widths = [max(map(len, [column.name, *(row[at] for row in cells)])) for at, column in enumerate(columns)]
    excess = sum(widths) + len(GAP) * (len(columns) - 1) - width
    for at in reversed(range(len(columns))):
        if excess > 0 and columns[at].shrinks:
            taken = min(excess, max(0, widths[at] - max(NARROWEST, len(columns[at].name))))
            widths[at] -= taken
            excess -= taken
    return widths if excess <= 0 else None


def _row(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str], paint: Paint) -> str:
    laid = []
    for column, width, cell in zip(columns, widths, cells):
        text = cell if len(cell) <= width else cell[: width - 1] + CUT
        laid.append(paint(cell, text.rjust(width) if column.right else text.ljust(width)))
    return GAP.join(laid).rstrip()


def _stacked(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, paint: Paint) -> list[str]:
    names = max(len(column.name) for column in columns[1:]) if len(columns) > 1 else 0
    lines: list[str] = []
    for row in rows:
        lines += wrapped(row[0], width)
        for column, cell in zip(columns[1:], row[1:]):
            if cell:
                lines += _field(GAP + column.name.lower().ljust(names), cell, width, paint)
    return lines


def _field(name: str, text: str, width: int, paint: Paint) -> list[str]:
    first = f"{name}{GAP}"
    if len(first) + len(text) <= width and "\n" not in text:
        return [(first + paint(text, text)).rstrip()]
    # A name that leaves no room for its text stands above it.
    indent = " " * (len(first) if len(first) <= width // 2 else 2 * len(GAP))
    if len(first) > width // 2:
        return [name.rstrip(), *wrapped(text, width, indent)]
    return wrapped(text, width, indent, first)
