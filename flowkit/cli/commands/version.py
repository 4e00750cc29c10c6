"""The command ``version``."""

from __future__ import annotations

import sys

import click

from flowkit.cli.options import with_output
from flowkit.cli.output import Output


@click.command()
@with_output
def version(out: Output) -> None:
    """Print the version of flowkit.

    With --json, those of Python and of what flowkit stands on too.
    """
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    # The package itself is there already: it came with this module.
    own: str = sys.modules["flowkit"].__version__
    if not out.is_json:
        out.line(own)
        return
    found: dict[str, str | None] = {"flowkit": own, "python": platform.python_version()}
    for name in ("attrs", "cattrs", "click", "peewee", "rich", "structlog"):
        try:
            found[name] = version_of(name)
        except PackageNotFoundError:
            found[name] = None
    out.json(found)
