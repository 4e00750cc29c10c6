"""Tables as rich draws them: headings in bold, statuses in colour, and long cells wrapped rather than cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from flowkit.cli.plain import Column


def print_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, stream: TextIO, width: int, colors: Mapping[str, str]
) -> None:
    """Print a table that fits the width.

    Args:
        colors: of cells that are one of these words; none where no colour is wanted.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False, no_color=not colors)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        justify = "right" if column.right else "left"
        table.add_column(Text(column.name), justify=justify, no_wrap=not column.shrinks, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(cell, style=colors.get(cell, "")) for cell in row))
    console.print(table)
