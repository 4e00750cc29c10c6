"""A group of commands that knows their names and help lines without importing them."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem


class Entry(NamedTuple):
    """A command that is imported when it is chosen: its section in the help, ``module:attribute``, its help line."""

    section: str
    target: str
    line: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, attribute = self.target.partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found


class Unread(Exception):
    """Whoever read what a command prints has stopped reading."""


class LazyGroup(click.Group):
    """A group whose commands stand in a table by name; its help and its completion load none of them."""

    def __init__(self, *arguments: Any, table: Mapping[str, Entry], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.table = table

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is meant; a closed pipe is told by ``Unread``, for click would make it exit with 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise Unread from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names in the table's order."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        entry = self.table.get(cmd_name)
        return entry.load() if entry is not None else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; one that is not there is refused with the nearest that is."""
        name = args[0]
        if name not in self.table and not ctx.resilient_parsing and not name.startswith("-"):
            close = get_close_matches(name, self.table, n=1, cutoff=0.5)
            near = f"; did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"there is no command {name!r}{near}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help's list of commands by section."""
        width = max(map(len, self.table))
        for section in dict.fromkeys(entry.section for entry in self.table.values()):
            with formatter.section(section):
                shown = [(name, entry.line) for name, entry in self.table.items() if entry.section == section]
                formatter.write_dl([(name.ljust(width), line) for name, line in shown])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name, or an option."""
        names = [CompletionItem(name, help=self.table[name].line) for name in self.table if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)
