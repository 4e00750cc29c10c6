"""The command ``migrate``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.failing import CommandFailed
from flowkit.cli.options import with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import Place, refuse_missing, shown_url, telling

if TYPE_CHECKING:
    from flowkit.runtime.migrating import Migration


@click.command()
@click.option("--check", "only_check", is_flag=True, help="Only say what is to be done; exits with 1 if anything is.")
@click.option("--yes", is_flag=True, help="Do not ask, should a step remove data.")
@with_store
@with_output
def migrate(place: Place, out: Output, only_check: bool, yes: bool) -> int:
    """Bring the store to the schema version of this flowkit.

    Opening a store does so anyway, one process at a time. This shows the
    versions, and asks before a step that removes data: of a SQLite store a
    copy is kept beside its file; of a PostgreSQL store take a backup first.

    \b
    flowkit migrate --check
    flowkit migrate --yes
    """
    from flowkit.runtime.migrating import migrate_store, plan_migration

    url = place.settings.store_url()
    with telling(url):
        refuse_missing(url)
        found = plan_migration(url)
        if not only_check and found.is_needed:
            _confirm(found, yes)
            found = migrate_store(url, consents=yes or found.removes_data)
    if out.is_json:
        out.json(_shape(found, is_done=not only_check))
    else:
        _tell(found, shown_url(url), out, is_done=not only_check)
    return int(only_check and found.is_needed)


def _confirm(found: Migration, yes: bool) -> None:
    if yes or not found.removes_data:
        return
    what = f"bringing the schema from version {found.before} to {found.after} removes data"
    if not sys.stdin.isatty():
        raise CommandFailed(what, hint="take a backup, then say --yes")
    click.confirm(f"{what}; go on?", abort=True, err=True)


def _shape(found: Migration, *, is_done: bool) -> dict[str, Any]:
    after = found.after if is_done else found.before
    return {"before": found.before, "version": after, "newest": found.after, "copy": found.copy}


def _tell(found: Migration, url: str, out: Output, *, is_done: bool) -> None:
    if not found.is_needed:
        out.line(f"{url} has schema version {found.after}, which is the newest that this flowkit knows")
    elif is_done:
        out.line(f"{url} was brought from schema version {found.before} to {found.after}")
    else:
        removes = ", and a step on the way removes data" if found.removes_data else ""
        out.line(f"{url} has schema version {found.before}; this flowkit needs {found.after}{removes}")
    if found.copy is not None:
        out.line(f"a copy of what it was is in {found.copy}")
