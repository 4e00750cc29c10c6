"""A group of commands that knows their names and help lines without importing them."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from flowkit.cli.failing import USAGE

NOTHING: Mapping[str, str] = MappingProxyType({})


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


class Group(click.Group):
    """A group that, asked for nothing, says on stderr what may be asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before the command; click would make an error of its help."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(USAGE)
        return super().parse_args(ctx, args)


class LazyGroup(Group):
    """A group whose commands stand in a table by name; its help and its completion load none of them.

    Args:
        meant: the command that people mean by a word that is none.
    """

    def __init__(
        self, *arguments: Any, table: Mapping[str, Entry], meant: Mapping[str, str] = NOTHING, **settings: Any
    ) -> None:
        super().__init__(*arguments, **settings)
        self.table = table
        self.meant = meant

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
            close = get_close_matches(name, [*self.table, *self.meant], n=1)
            near = f"; did you mean {self.meant.get(close[0], close[0])!r}?" if close else ""
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
